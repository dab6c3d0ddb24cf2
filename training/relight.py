"""Relighting: a rendered scene photographed again and again, so that no epoch of training sees the same picture twice.

A simulated data set made with `--layers` keeps its scenes as layers of light, aligned when it is prepared
(`training.layer_store`). A relit capture then is: another plan of colours, another exposure and white balance that
drift in their own way, another noise, other errors of registration, and other looks (`training.shooting`); the person
or the artefact and the phone stay. A share is blended of two photographs instead, as real pairs are
(`sdk_reference.pair`). The paper states no augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import srgb8_to_linear
from flash_sequencer.plan import FlashPlan
from sdk_reference.align import TEMPLATE, Affine
from sdk_reference.pair import relight as blend_light
from sdk_reference.response import expected_response
from simulator.phone import ExposureControl
from training.augment import AugmentSettings, place_depth
from training.layer_store import AlignedLayers
from training.relit_looks import behind, blotch_factors, chroma_factors, shading_factors
from training.shooting import Shooting, draw_shooting

STEP_S = (0.15, 0.35)  # between two photographs of a capture, as in `simulator.capture`


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
    shooting = draw_shooting(layers.phone, settings, rng)
    scene = set_up(layers, shooting)
    take = _blend if shooting.blended else _photograph
    frames = take(scene, shooting.plan, shooting.placements, rng)
    return Relit(frames, place_depth(depth, shooting.crop, TEMPLATE.size), expected_response(shooting.plan))


def set_up(layers: AlignedLayers, shooting: Shooting) -> AlignedLayers:
    """The scene with the shooting's room, looks and phone."""
    surface = blotch_factors(shooting.blotches, TEMPLATE.size)
    surface = surface * chroma_factors(layers.screen, layers.covered, shooting.chroma)
    room, screen = shooting.room * surface, surface
    screen = screen * shading_factors(layers.screen, layers.covered, shooting.shading)
    if shooting.background is not None:
        other = blotch_factors(shooting.background.blotches, TEMPLATE.size)
        room = room * behind(other * shooting.background.room, layers.covered)
        screen = screen * behind(other * shooting.background.screen, layers.covered)
    return replace(layers, ambient=layers.ambient * room, screen=layers.screen * screen, phone=shooting.phone)


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
