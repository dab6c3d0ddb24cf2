"""Relighting: a rendered scene photographed again and again, so that no epoch of training sees the same picture twice.

A simulated data set made with `--layers` keeps its scenes as layers of light. When it is prepared, the layers of every
training capture are aligned once (by the landmarks found in its first frame, which no motion has moved yet) and kept
beside the aligned frames. A relit capture then is: another plan of colours, another exposure and white balance that
drift in their own way, another noise, other errors of registration; the person, the room and the phone stay. Everything
is drawn once per *capture*; what differs between its frames are those things that do in any capture, from one
distribution for all species. The paper states no augmentation.

    prepared-<key>/layers.npy     (K, 6, 256, 256) float16: the room's light (RGB), then the screen's (one per primary)
                   layers.jsonl   one line per row: row, scale of the room's light, phone, screen, sharpness
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import srgb8_to_linear
from flash_sequencer.plan import FlashPlan, challenge, default_plan
from sdk_reference.align import TEMPLATE, Affine, compose, resample, scale_of
from sdk_reference.atomic_files import write_atomically
from sdk_reference.pair import relight as blend_light
from sdk_reference.response import expected_response
from simulator.light import ScreenLight
from simulator.phone import ExposureControl, Phone
from simulator.stage import Stage
from training.augment import AugmentSettings, draw_crop, place_depth
from training.errors import DatasetInvalid
from training.relit_looks import draw_blotches, draw_room_tint, with_saturation
from training.store import open_array, reserve_array
from training.synthesis import CHALLENGE_SHARE

LAYERS_FILE, LAYERS_INDEX = "layers.npy", "layers.jsonl"
PLANES = 6
LARGEST_STORED = 30_000.0  # half floats end at 65,504
STEP_S = (0.15, 0.35)  # between two photographs of a capture, as in `simulator.capture`
NONCE_BYTES = 16
CHALLENGES = 4096  # more than there are plans that D can tell apart


@dataclass(frozen=True, eq=False)
class AlignedLayers:
    """A scene's light in the alignment template."""

    ambient: npt.NDArray[np.float32]
    """(256,256,3), cd/m² under the room's light."""
    screen: npt.NDArray[np.float32]
    """(256,256,3): radiance per unit radiance of the screen's primaries."""
    phone: Phone
    """With the sensor's pixels per pixel of the template for its scale."""
    light: ScreenLight


@dataclass(frozen=True)
class LayersRecord:
    """One line of the index."""

    row: int
    ambient_scale: float
    """What the stored room light was divided by."""
    phone: dict[str, Any]
    screen: dict[str, Any]
    sensor_px: float
    """Pixels of the sensor per pixel of the template, in one direction."""


def write_layers(place: Path, row: int, stage: Stage, affine: Affine) -> LayersRecord:
    """Align the layers of a scene into `row` of layers.npy; returns its line for the index.

    `affine` (2,3) maps pixels of the capture's first frame in time to the template.
    """
    frame_px = stage.size / stage.view.size  # frame pixels per pixel of the layers
    to_template = affine.copy()
    to_template[:, :2] *= frame_px
    layers = stage.layers
    ambient, screen = (resample(image, to_template, TEMPLATE.size) for image in (layers.ambient, layers.screen))
    scale = max(float(ambient.max()) / LARGEST_STORED, 1e-6)
    planes = np.concatenate([ambient / np.float32(scale), screen], axis=-1).transpose(2, 0, 1)
    open_array(place / LAYERS_FILE, writable=True)[row] = planes.astype(np.float16)
    sensor_px = stage.phone.sensor_scale / scale_of(affine)
    return LayersRecord(row, scale, asdict(stage.phone), asdict(stage.lighting.screen), sensor_px)


def begin_layers(place: Path, count: int, rows: Sequence[int]) -> None:
    """Make room for the layers of `count` captures, or keep those of `rows`, which are done, and forget the others.

    Raises `DatasetInvalid` when there is an index without the layers that it speaks of.
    """
    if (place / LAYERS_INDEX).is_file() and not (place / LAYERS_FILE).is_file():
        raise _damaged(f"{place / LAYERS_INDEX} without {LAYERS_FILE}", place)
    if not (place / LAYERS_FILE).is_file():
        reserve_array(place / LAYERS_FILE, (count, PLANES, TEMPLATE.size, TEMPLATE.size), np.dtype(np.float16))
    done = set(rows)
    content = b"".join(_line(record) for record in read_layers_index(place) if record.row in done)
    if not (place / LAYERS_INDEX).is_file() or (place / LAYERS_INDEX).read_bytes() != content:
        write_atomically(place / LAYERS_INDEX, content)


def add_layers_line(place: Path, record: LayersRecord) -> None:
    """Append one capture to the index."""
    with (place / LAYERS_INDEX).open("ab") as index:
        index.write(_line(record))


def read_layers_index(place: Path) -> list[LayersRecord]:
    """Return the whole lines of the index, none where there is no index; raises `DatasetInvalid` for a damaged one."""
    path = place / LAYERS_INDEX
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    try:
        return [_parse(line) for line in lines]
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise _damaged(f"{path} with a damaged line ({error})", place) from error


def _parse(line: bytes) -> LayersRecord:
    record = LayersRecord(**json.loads(line))
    if type(record.row) is not int or record.row < 0:
        raise ValueError(f"row {record.row!r}")
    if not (0 < record.ambient_scale < math.inf and 0 < record.sensor_px < math.inf):
        raise ValueError(f"scales {record.ambient_scale!r}, {record.sensor_px!r}")
    Phone(**_frozen(record.phone))
    ScreenLight(**_frozen(record.screen))
    return record


def _damaged(found: str, place: Path) -> DatasetInvalid:
    return DatasetInvalid(
        found=found,
        expected=f"{LAYERS_FILE}, and {LAYERS_INDEX} with one JSON object per line",
        remedy=f"delete {place} to have it made again",
    )


def _line(record: LayersRecord) -> bytes:
    return (json.dumps(asdict(record), allow_nan=False) + "\n").encode()


class LayerStore:
    """Read access to the aligned layers of a prepared data set; may be sent to a worker, and may be empty."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._by_row = {record.row: record for record in read_layers_index(place)}

    def __len__(self) -> int:
        return len(self._by_row)

    def __contains__(self, row: int) -> bool:
        return row in self._by_row

    def layers(self, row: int) -> AlignedLayers:
        """Return the layers of a row that is there."""
        record = self._by_row[row]
        planes = np.asarray(open_array(self.place / LAYERS_FILE)[row], np.float32).transpose(1, 2, 0)
        phone = Phone(**_frozen(record.phone))
        return AlignedLayers(
            ambient=np.ascontiguousarray(planes[..., :3]) * np.float32(record.ambient_scale),
            screen=np.ascontiguousarray(planes[..., 3:]),
            phone=replace(phone, sensor_scale=max(record.sensor_px, 1.0)),
            light=ScreenLight(**_frozen(record.screen)),
        )


def _frozen(values: dict[str, Any]) -> dict[str, Any]:
    """A frozen dataclass's fields from their JSON form: lists become tuples again, however deep."""
    return {name: _tuples(value) for name, value in values.items()}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


@dataclass(frozen=True, eq=False)
class Relit:
    """A capture that was never taken."""

    aligned: npt.NDArray[np.uint8]
    """(N0,3,256,256) RGB, sRGB-coded."""
    depth: npt.NDArray[np.float32]
    """(64,64), 0..1."""
    response: npt.NDArray[np.float32]
    """(N,3): what the plan calls for."""


def relit(
    layers: AlignedLayers, depth: npt.NDArray[np.float32], settings: AugmentSettings, rng: np.random.Generator
) -> Relit:
    """Photograph a scene under a plan, a camera and errors drawn from `rng`; `depth` (64,64) moves with the crop."""
    plan = draw_plan(rng)
    phone = with_saturation(Phone.draw(rng, layers.phone.profile, layers.phone.sensor_scale), settings, rng)
    room = np.float32(np.exp(rng.uniform(-1.0, 1.0) * settings.ambient_stops * np.log(2.0)))
    blotches = draw_blotches(settings, rng, TEMPLATE.size)
    ambient = layers.ambient * (room * draw_room_tint(settings, rng) * blotches)
    scene = replace(layers, ambient=ambient, screen=layers.screen * blotches, phone=phone)
    crop = draw_crop(settings, rng, TEMPLATE.size)
    misplaced = draw_misplacements(settings.relit_registration_px, plan.n0, rng)
    placements = [compose(error, crop) for error in misplaced]
    take = _blend if rng.random() < settings.blended_share else _photograph
    frames = take(scene, plan, placements, rng)
    return Relit(frames, place_depth(depth, crop, TEMPLATE.size), expected_response(plan))


def draw_plan(rng: np.random.Generator) -> FlashPlan:
    """Draw the default plan or one of `CHALLENGES` challenges, as often as simulated data sets do."""
    return default_plan() if rng.random() < 1 - CHALLENGE_SHARE else _challenge(int(rng.integers(CHALLENGES)))


@cache
def _challenge(number: int) -> FlashPlan:
    # Proving a plan safe takes a tenth of photographing it, so plans are kept.
    return challenge(hashlib.sha256(f"flashproof relit {number}".encode()).digest()[:NONCE_BYTES])


def draw_misplacements(size_px: float, n_frames: int, rng: np.random.Generator) -> list[Affine]:
    """Return an affine map near the identity per frame, pixels of 256: what registration leaves.

    `size_px` is the standard deviation of the shift along each axis; turning, scaling and shearing move a point at half
    the face's height by as much again.
    """
    middle = np.full(2, (TEMPLATE.size - 1) / 2)
    reach = TEMPLATE.ellipse_semi_axes[1]
    wildness = np.exp(rng.normal() * 0.5)  # some captures register worse than others, in all their frames
    found = []
    for _ in range(n_frames):
        linear = np.eye(2) + rng.normal(size=(2, 2)) * (wildness * size_px / reach)
        shift = rng.normal(size=2) * (wildness * size_px)
        found.append(np.hstack([linear, (middle - linear @ middle + shift)[:, None]]))
    return found


def _photograph(
    scene: AlignedLayers, plan: FlashPlan, placements: Sequence[Affine], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """(N0,3,256,256): the frames by rank, photographed in the plan's order of time."""
    colours = np.asarray(plan.colours_linear(), np.float64)
    camera = ExposureControl(scene.phone, _lit(scene, np.full(3, scene.phone.metering_level)), rng)
    elapsed_s = rng.uniform(*STEP_S)
    frames = np.empty((plan.n0, TEMPLATE.size, TEMPLATE.size, 3), np.uint8)
    for rank in plan.time_order():
        frames[rank] = camera.photograph(_place(_lit(scene, colours[rank]), placements[rank]), elapsed_s=elapsed_s)
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2))


def _blend(
    scene: AlignedLayers, plan: FlashPlan, placements: Sequence[Affine], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """(N0,3,256,256): the frames by rank, blended of two photographs of one exposure, screen off and white."""
    off, white = _lit(scene, np.zeros(3)), _lit(scene, np.ones(3))
    gain = scene.phone.meter(white)
    dark, lit = (
        srgb8_to_linear(scene.phone.photograph(_place(light, placement), gain, np.ones(3), rng))
        for light, placement in ((off, placements[0]), (white, placements[-1]))
    )
    return np.ascontiguousarray(blend_light(dark, lit, plan).transpose(0, 3, 1, 2))


def _lit(scene: AlignedLayers, colour: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """(256,256,3) cd/m² while the screen shows a linear colour."""
    return scene.ambient + scene.screen * scene.light.radiance(colour).astype(np.float32)


def _place(image: npt.NDArray[np.float32], affine: Affine) -> npt.NDArray[np.float32]:
    """Move a (256,256,3) picture by a map between pixels counted from the first one's centre."""
    side = TEMPLATE.size
    moved = cv2.warpAffine(image, affine, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)
