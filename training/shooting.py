"""All that is drawn for one relit capture, before any light is worked out: plan, camera, room, looks, places.

The draws are numbers of one capture and cost little; what is done with them to the light is in `training.relight` (on a
processor, picture by picture) and `training.batch_relight` (on a GPU, a batch at once). Everything is drawn once per
*capture*; what differs between its frames are those things that do in any capture, from one distribution for all
species. The paper states no augmentation.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from flash_sequencer.plan import FlashPlan, challenge, default_plan
from sdk_reference.align import TEMPLATE, Affine, compose
from simulator.phone import Phone
from training.augment import AugmentSettings, draw_crop
from training.relit_looks import (
    Background,
    Blotches,
    draw_background,
    draw_blotches,
    draw_contrast,
    draw_room_tint,
    with_saturation,
)
from training.synthesis import CHALLENGE_SHARE

NONCE_BYTES = 16
CHALLENGES = 4096  # more than there are plans that D can tell apart


@dataclass(frozen=True, eq=False)
class Shooting:
    """How a scene is photographed once more."""

    plan: FlashPlan
    phone: Phone
    """With the sensor's pixels per pixel of the template for its scale."""
    room: npt.NDArray[np.float32]
    """(3,) factors of the room's light."""
    chroma: float
    """How many times as strongly colour changes from place to place on the person or the artefact."""
    shading: float
    """How many times as strong the screen's slow shading of them is."""
    blotches: Blotches | None
    """Of every surface; None for none."""
    background: Background | None
    """What stands behind the person or the artefact instead; None leaves it as it was."""
    crop: Affine
    """(2,3): what all frames share, pixels of 256 counted from the first one's centre."""
    placements: tuple[Affine, ...]
    """Per rank: the crop and this frame's own misplacement."""
    blended: bool
    """Whether the frames are blended of two photographs."""


def draw_shooting(phone: Phone, settings: AugmentSettings, rng: np.random.Generator) -> Shooting:
    """Draw a shooting; of `phone` its profile and its scale stay. What is switched off draws nothing from `rng`."""
    plan = draw_plan(rng)
    drawn = with_saturation(Phone.draw(rng, phone.profile, phone.sensor_scale), settings.relit_saturation, rng)
    stops = np.float32(np.exp(rng.uniform(-1.0, 1.0) * settings.ambient_stops * np.log(2.0)))
    room = np.asarray(stops * draw_room_tint(settings.room_tint, rng), np.float32)
    chroma = draw_contrast(settings.chroma_contrast, rng)
    shading = draw_contrast(settings.shading_contrast, rng)
    blotches = draw_blotches(settings.blotches, rng)
    background = draw_background(settings.background_share, rng)
    crop = draw_crop(settings, rng, TEMPLATE.size)
    misplaced = draw_misplacements(settings.relit_registration_px, plan.n0, rng)
    return Shooting(
        plan=plan,
        phone=drawn,
        room=room,
        chroma=chroma,
        shading=shading,
        blotches=blotches,
        background=background,
        crop=crop,
        placements=tuple(compose(error, crop) for error in misplaced),
        blended=settings.blended_share > 0.0 and rng.random() < settings.blended_share,
    )


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
