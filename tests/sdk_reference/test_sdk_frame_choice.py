"""From a made-up film to its capture: the camera's drift is measured, undone where it is clear, and told."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from synthetic_faces import face, lit_scene, photograph, shifted

from flash_sequencer.colour import srgb8_to_linear
from flash_sequencer.drift import exposure_change
from flash_sequencer.plan import challenge
from flash_sequencer.player import DARK_SURROUND, PresentedStep
from flash_sequencer.screen_light import ScreenLight
from sdk_reference.camera import CameraFrame
from sdk_reference.flash_take import FlashTake
from sdk_reference.frame_choice import FaceTrack, FrameChoice, choose_frames

MS = 1_000_000
LAG_NS, EXPOSURE_NS = 60 * MS, 15 * MS
AMBIENT = 0.25
PLAN = challenge(bytes(16))
STEPS = tuple(
    PresentedStep(step.rank, step.srgb, start * MS, end * MS)
    for step, (start, end) in zip(PLAN.steps, pairwise([1000 + 300 * at for at in range(6)]), strict=True)
)
LIGHT = ScreenLight(STEPS, DARK_SURROUND)
STAMPS = [at * MS for at in range(700, 2700, 31)]


def gains_of(share: float) -> np.ndarray:
    """(F,3) of an exposure that gives way to the flash by `share`, in log."""
    metered = LIGHT.metered(LIGHT.seconds(STAMPS) - LAG_NS / 1e9, 0.3)
    return np.exp(-share * np.repeat(metered[:, None], 3, axis=1))


def take_of(gains: np.ndarray) -> FlashTake:
    rng = np.random.default_rng(3)
    light = LIGHT.mean(LIGHT.seconds(STAMPS) - LAG_NS / 1e9, EXPOSURE_NS / 1e9)
    images = [
        photograph(gain * lit_scene(0.5 * colour, AMBIENT), 0.004, rng)
        for gain, colour in zip(gains, light, strict=True)
    ]
    frames = tuple(CameraFrame(image, stamp) for image, stamp in zip(images, STAMPS, strict=True))
    return FlashTake(PLAN, STEPS, frames, STEPS[-1].ended_at_ns)


@pytest.fixture(autouse=True)
def featureless_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up face has no detail but noise, in which nothing goes on from frame to frame."""
    monkeypatch.setattr("sdk_reference.continuity.LEAST_LIKENESS", -2.0)


def seen(take: FlashTake) -> FaceTrack:
    track = FaceTrack(face())
    for frame in take.frames:
        track.see(frame)
    return track


def chosen(take: FlashTake, *, held: bool = False) -> FrameChoice:
    return choose_frames(take, seen(take), EXPOSURE_NS, held=held)


@pytest.fixture(scope="module")
def drifting() -> FlashTake:
    return take_of(gains_of(1.2))


def test_the_background_is_measured_apart_from_the_face(drifting: FlashTake) -> None:
    background = seen(drifting).background
    assert background is not None and background.shape == (len(STAMPS), 3)
    np.testing.assert_allclose(background, 0.4 * AMBIENT * gains_of(1.2), rtol=0.02)


@pytest.mark.parametrize("level", [0, 255])
def test_a_background_without_light_or_with_too_much_is_none(level: int) -> None:
    track = FaceTrack(face())
    track.see(CameraFrame(np.full((256, 256, 3), level, np.uint8), 0))
    assert track.background is None


def test_what_lies_beyond_the_frame_is_no_background() -> None:
    track = FaceTrack(face(shifted(-60, -120)))  # above and to the left of the frame there is nothing
    track.see(CameraFrame(np.full((160, 140, 3), 100, np.uint8), 0))
    assert track.background is None


def test_a_clear_drift_is_undone_in_the_chosen_frames(drifting: FlashTake) -> None:
    choice = chosen(drifting)
    indices = list(choice.matching.frame_index_by_rank)
    true = gains_of(1.2)[indices]
    assert exposure_change(true) > 1.5
    assert exposure_change(choice.drift[indices] / true) < 1.1
    assert choice.factors is not None and choice.factors.max() == 1.0
    filmed, judged = (
        srgb8_to_linear(frames)[:, :20].mean(axis=(1, 2, 3))
        for frames in (np.stack([drifting.frames[index].image for index in indices]), choice.capture.frames)
    )
    assert filmed.max() / filmed.min() > 1.5 and judged.max() / judged.min() < 1.1  # the wall, in room light only
    assert choice.capture.timestamps_ns == tuple(STAMPS[index] for index in indices)


def test_a_camera_that_was_held_is_believed(drifting: FlashTake) -> None:
    choice = chosen(drifting, held=True)
    assert choice.factors is None
    for rank, index in enumerate(choice.matching.frame_index_by_rank):
        assert np.array_equal(choice.capture.frames[rank], drifting.frames[index].image)


def test_a_steady_camera_is_left_alone() -> None:
    choice = chosen(take_of(gains_of(0.0)))
    assert exposure_change(choice.drift) < 1.05 and choice.factors is None
