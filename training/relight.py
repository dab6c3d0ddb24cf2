"""Relighting: a rendered scene photographed again and again, so that no epoch of training sees the same picture twice.

A simulated data set made with `--layers` keeps its scenes as layers of light, aligned when it is prepared
(`training.layer_store`). A relit capture then is: another plan of colours, another exposure and white balance that
drift in their own way, another noise, other errors of registration, and other looks (`training.relit_looks`); the
person, the room and the phone stay. Everything is drawn once per *capture*; what differs between its frames are those
things that do in any capture, from one distribution for all species. A share is blended of two photographs instead, as
real pairs are (`sdk_reference.pair`). The paper states no augmentation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import srgb8_to_linear
from flash_sequencer.plan import FlashPlan, challenge, default_plan
from sdk_reference.align import TEMPLATE, Affine, compose
from sdk_reference.pair import relight as blend_light
from sdk_reference.response import expected_response
from simulator.phone import ExposureControl, Phone
from training.augment import AugmentSettings, draw_crop, place_depth
from training.layer_store import AlignedLayers
from training.relit_looks import draw_blotches, draw_room_tint, with_saturation
from training.synthesis import CHALLENGE_SHARE

STEP_S = (0.15, 0.35)  # between two photographs of a capture, as in `simulator.capture`
NONCE_BYTES = 16
CHALLENGES = 4096  # more than there are plans that D can tell apart


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
    blended = settings.blended_share > 0.0 and rng.random() < settings.blended_share
    take = _blend if blended else _photograph
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
