"""Relighting (`training.relight`) of a whole batch at once, in torch: for GPUs, beside which processors would be slow.

A loader draws what `training.relight` would draw and sends it as numbers, with the aligned layers as they are stored
(`sheet_of`); on the GPU they become the network's input (`develop_batch`): frames photographed and quantized to bytes
by `training.batch_camera`, then the phone side's own steps, differences and gain (`sdk_reference.preprocess`). Noise
is drawn on the GPU from a seed that the batch carries. The paper states no augmentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import default_collate

from sdk_reference.align import TEMPLATE
from sdk_reference.differential import differential_rows
from sdk_reference.preprocess import PreprocessSettings
from simulator import phone as simulated_phone
from training import batch_camera
from training.batch_camera import numbers_of, photograph, srgb_decode, srgb_encode
from training.batch_looks import scene_light
from training.layer_store import StoredLayers
from training.relight import STEP_S
from training.relit_looks import stacked
from training.shooting import Shooting

LEVELS = 255.0
NOISE_SEEDS = 1 << 62


def sheet_of(layers: StoredLayers, shooting: Shooting, rng: np.random.Generator) -> dict[str, Any]:
    """Return a relit capture as arrays of fixed shapes, which default collation stacks to a batch's."""
    plan, phone = shooting.plan, shooting.phone
    colours = np.asarray(plan.colours_linear(), np.float64)
    metering = np.full(3, phone.metering_level)
    shown = [*colours, metering, np.zeros(3), np.ones(3)]
    background = shooting.background
    ones = np.ones(3, np.float32)
    return {
        "planes": np.array(layers.planes),
        "ambient_scale": np.float32(layers.ambient_scale),
        "radiance": np.stack([layers.light.radiance(colour) for colour in shown]),
        "colours": colours.astype(np.float32),
        "order": np.asarray(plan.time_order(), np.int64),
        "room": shooting.room,
        "chroma": np.float32(shooting.chroma),
        "shading": np.float32(shooting.shading),
        "blotches": stacked(shooting.blotches),
        "room_behind": ones if background is None else background.room,
        "screen_behind": ones if background is None else background.screen,
        "blotches_behind": stacked(None if background is None else background.blotches),
        "maps": np.stack([_source(placement) for placement in shooting.placements]),
        "blended": np.bool_(shooting.blended),
        "elapsed_s": np.float32(rng.uniform(*STEP_S)),
        "wander": rng.normal(size=(plan.n0, 4)).astype(np.float32),
        "noise_seed": np.int64(rng.integers(NOISE_SEEDS)),
        "phone": numbers_of(phone),
    }


def _source(placement: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """(2, 3): from where in the picture each place takes its light, −1..1 between the outermost pixels' centres."""
    inverse = cv2.invertAffineTransform(placement)
    half = (TEMPLATE.size - 1) / 2
    middle = inverse[:, :2] @ np.full(2, half) + inverse[:, 2]
    return np.hstack([inverse[:, :2], ((middle - half) / half)[:, None]]).astype(np.float32)


def collate_sheets(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stack examples of `training.data`, those with a `sheet` apart from those with an `input`."""
    sheets = [item["sheet"] for item in items if "sheet" in item]
    if not sheets:
        return cast("dict[str, Any]", default_collate(list(items)))
    inputs = [item["input"] for item in items if "input" in item]
    rest = [{name: value for name, value in item.items() if name not in ("sheet", "input")} for item in items]
    batch = default_collate(rest)
    batch["sheets"] = default_collate(sheets)
    batch["undeveloped"] = torch.tensor(["sheet" in item for item in items])
    if inputs:
        batch["input"] = default_collate(inputs)
    return cast("dict[str, Any]", batch)


def develop_ready(batch: dict[str, Any], settings: PreprocessSettings) -> dict[str, Any]:
    """Return a batch of `collate_sheets` with an `input` for every example, in order, and without sheets."""
    if "sheets" not in batch:
        return batch
    rest = {name: value for name, value in batch.items() if name not in ("sheets", "undeveloped", "input")}
    developed, undeveloped = develop_batch(batch["sheets"], settings), batch["undeveloped"]
    whole = torch.empty((len(undeveloped), *developed.shape[1:]), device=developed.device)
    whole[undeveloped] = developed
    if "input" in batch:
        whole[~undeveloped] = batch["input"]
    return {**rest, "input": whole}


def develop_batch(sheets: Mapping[str, Any], settings: PreprocessSettings, *, noise: bool = True) -> Tensor:
    """Collated sheets of M captures → the network's input (M, N, 3, S, S) float32 in −1..1."""
    return to_input(frames_of(sheets, noise=noise), settings)


def frames_of(sheets: Mapping[str, Any], *, noise: bool = True) -> Tensor:
    """Collated sheets of M captures → aligned frames (M, N0, 3, 256, 256) by rank: whole levels 0..255, float32."""
    blended = sheets["blended"]
    generator = _generator(sheets) if noise else None
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # a difference needs all digits
        ambient, screen = scene_light(sheets)
        frames = torch.empty((*sheets["order"].shape, *ambient.shape[1:]), device=ambient.device)
        for take, chosen in ((_photographed, ~blended), (_blended, blended)):
            places = chosen.nonzero().flatten()
            if len(places) > 0:
                frames[places] = take(_part(sheets, places), ambient[places], screen[places], generator)
    return frames


def _photographed(
    sheets: Mapping[str, Any], ambient: Tensor, screen: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Frames by rank under automatic exposure and white balance, as `simulator.phone.ExposureControl` has them."""
    phones, order = sheets["phone"], sheets["order"]
    n0 = order.shape[1]
    first = batch_camera.metered(_lit(ambient, screen, sheets["radiance"][:, n0 : n0 + 1]))[:, 0]
    light = _placed(_lit(ambient, screen, sheets["radiance"][:, :n0]), sheets["maps"])
    means = batch_camera.metered(light)
    gain, balance = batch_camera.meter(phones, first), torch.ones_like(first)
    gains, balances = torch.empty_like(means[..., 0]), torch.empty_like(means)
    steps = sheets["elapsed_s"] / simulated_phone.STEP_S
    wander = sheets["wander"] * steps.sqrt()[:, None, None]
    reaction = 1.0 - (1.0 - phones["exposure_reaction"]) ** steps
    tuning = 1.0 - (1.0 - phones["balance_reaction"]) ** steps
    drift = phones["balance_drift"][:, None] * torch.tensor([1.0, 0.3, 1.0], device=means.device)
    for moment in range(n0):
        rank = order[:, moment : moment + 1]
        mean = means.gather(1, rank[..., None].expand(-1, 1, 3))[:, 0]
        jitter = (wander[:, moment, 3] * phones["exposure_jitter"]).exp()
        gain = gain * (batch_camera.meter(phones, mean) / gain) ** reaction * jitter
        reacted = balance * (_wanted_balance(mean, first) / balance) ** tuning[:, None]
        balance = reacted * (wander[:, moment, :3] * drift).exp()
        gains.scatter_(1, rank, gain[:, None])
        balances.scatter_(1, rank[..., None].expand(-1, 1, 3), balance[:, None])
    return photograph(phones, light, gains, balances, generator)


def _wanted_balance(mean: Tensor, first: Tensor) -> Tensor:
    change = mean.clamp(min=1e-6) / first.clamp(min=1e-6)
    wanted = -simulated_phone.BALANCE_ADAPTS * (change / change[:, 1:2]).log()
    return wanted.clamp(-simulated_phone.BALANCE_LIMIT, simulated_phone.BALANCE_LIMIT).exp()


def _blended(sheets: Mapping[str, Any], ambient: Tensor, screen: Tensor, generator: torch.Generator | None) -> Tensor:
    """Frames by rank, blended of two photographs of one exposure, screen off and white (`sdk_reference.pair`)."""
    light = _lit(ambient, screen, sheets["radiance"][:, -2:])
    gain = batch_camera.meter(sheets["phone"], batch_camera.metered(light[:, 1]))[:, None].expand(-1, 2)
    taken = photograph(
        sheets["phone"],
        _placed(light, sheets["maps"][:, [0, -1]]),
        gain,
        torch.ones((*gain.shape, 3), device=gain.device),
        generator,
    )
    dark, lit = srgb_decode(taken / LEVELS).unbind(dim=1)
    colours = sheets["colours"][..., None, None]
    frames = dark[:, None] + colours * (lit - dark)[:, None]
    return (srgb_encode(frames.clamp(0.0, 1.0)) * LEVELS).round()


def _lit(ambient: Tensor, screen: Tensor, radiance: Tensor) -> Tensor:
    """Light (M, K, 3, 256, 256) while the screen gives (M, K, 3) cd/m²."""
    return ambient[:, None] + screen[:, None] * radiance[..., None, None]


def _placed(light: Tensor, maps: Tensor) -> Tensor:
    """Move each of (M, K, 3, H, W) by its map (M, K, 2, 3); edges are repeated outwards."""
    flat = light.flatten(0, 1)
    grid = F.affine_grid(maps.flatten(0, 1), list(flat.shape), align_corners=True)
    return F.grid_sample(flat, grid, mode="bilinear", padding_mode="border", align_corners=True).view_as(light)


def to_input(frames: Tensor, settings: PreprocessSettings) -> Tensor:
    """Steps 2 to 6 of `sdk_reference.preprocess`: (M, N0, 3, 256, 256) levels → (M, N, 3, S, S) float32 in −1..1."""
    encoded = frames / LEVELS
    values = srgb_decode(encoded) if settings.transfer == "linear" else encoded
    averaged = values
    if frames.shape[-1] != settings.input_size:
        flat = F.adaptive_avg_pool2d(values.flatten(0, 1), settings.input_size)
        averaged = flat.view(*frames.shape[:3], settings.input_size, settings.input_size)
    taken, subtracted = _rows(frames.shape[1], frames.device)
    differences = averaged[:, taken] - averaged[:, subtracted]
    if settings.gain == "none":
        return differences
    face = _face(settings.input_size, frames.device)
    mean = (differences.abs() * face).sum(dim=(1, 2, 3, 4)) / (face.sum() * differences.shape[1] * 3)
    gain = (settings.gain_target / mean.clamp(min=1e-12)).clamp(max=settings.gain_limit)
    return (differences * gain.view(-1, 1, 1, 1, 1)).clamp(-1.0, 1.0)


@lru_cache(maxsize=4)
def _rows(n0: int, device: torch.device) -> tuple[Tensor, ...]:
    return torch.tensor(differential_rows(n0), device=device).unbind(dim=1)


@lru_cache(maxsize=4)
def _face(size: int, device: torch.device) -> Tensor:
    return torch.from_numpy(TEMPLATE.face_region(size)).to(device)


def _part(sheets: Mapping[str, Any], places: Tensor) -> dict[str, Any]:
    """These captures of the batch, without the layers."""
    return {
        name: _part(value, places) if isinstance(value, Mapping) else value[places]
        for name, value in sheets.items()
        if name != "planes"
    }


def _generator(sheets: Mapping[str, Any]) -> torch.Generator:
    seeds = sheets["noise_seed"]
    return torch.Generator(device=seeds.device).manual_seed(int(seeds[0]))
