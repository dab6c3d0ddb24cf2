"""Frames misplaced by known fractions of a pixel come to lie on each other; what shows nothing is left where it is."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import ndimage
from textured_faces import (
    CENTRE,
    IDENTITY,
    SIZE,
    Light,
    about_centre,
    draw,
    lit_frames,
    misplacements,
    residual_px,
    textured_capture,
)

from flash_sequencer.colour import srgb_to_linear
from flash_sequencer.plan import default_plan
from sdk_reference.align import TEMPLATE, compose, invert, map_points
from sdk_reference.landmarks import N_LANDMARKS, Face
from sdk_reference.preprocess import PreprocessSettings, landmark_affines, preprocess, registered_affines
from sdk_reference.registration import LARGEST_PX, corrections, detail_planes

STILL = [IDENTITY] * 5
NONE = np.tile(IDENTITY, (5, 1, 1))
CORNERS = np.array([(0, 0), (SIZE, 0), (0, SIZE), (SIZE, SIZE)], np.float64)


def aligned(frames: np.ndarray) -> np.ndarray:
    """(N0,H,W,3) → the (N0,3,H,W) that `corrections` takes."""
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2))


def farthest_px(one: np.ndarray, other: np.ndarray) -> float:
    """How far apart two sets of maps take a corner of the frame."""
    gaps = [map_points(CORNERS, a) - map_points(CORNERS, b) for a, b in zip(one, other, strict=True)]
    return float(np.linalg.norm(gaps, axis=-1).max())


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize("seed", range(4))
def test_misplaced_frames_come_to_lie_on_each_other_under_any_light(seed: int, noise: float) -> None:
    """Colours of the flash, gradients of up to 30 %, exposures of ×0.67 to ×1.5, and noise."""
    rng = np.random.default_rng(seed)
    placed = misplacements(rng)
    found = corrections(aligned(lit_frames(placed, rng, noise)))
    assert residual_px(placed, NONE) > 0.7
    assert residual_px(placed, found) < 0.2


@pytest.mark.parametrize(
    "moved",
    [about_centre(2.5, -1.25), about_centre(0, 0, degrees=1.5), about_centre(0, 0, scale=1.02)],
    ids=["shift", "turn", "scale"],
)
def test_one_frame_moved_alone_is_brought_back_by_the_inverse_of_its_motion(moved: np.ndarray) -> None:
    placed = [IDENTITY, IDENTITY, moved, IDENTITY, IDENTITY]
    found = corrections(aligned(np.stack([draw(at, Light()) for at in placed])))
    relative = compose(invert(found[0]), found[2])  # against the frames that stayed
    ends = CENTRE + np.array([(-1, 0), (1, 0), (0, -1), (0, 1)]) * TEMPLATE.ellipse_semi_axes
    before, after = (
        np.linalg.norm(map_points(ends, motion) - ends, axis=1).max() for motion in (moved, compose(relative, moved))
    )
    assert before > 1.4 and after < 0.1 * before


def test_still_frames_stay_where_they_are_however_the_light_changes() -> None:
    rng = np.random.default_rng(0)
    assert residual_px(STILL, corrections(aligned(lit_frames(STILL, rng)))) < 0.15


def test_an_outline_that_only_the_screen_lights_misplaces_frames_by_less_than_a_pixel() -> None:
    """What it cannot tell from a shift, at its worst: a disc cut out at the edge of the face's ellipse."""
    frames = lit_frames(STILL, np.random.default_rng(0))
    frames[:, ~TEMPLATE.face_region()] = 60
    assert residual_px(STILL, corrections(aligned(frames))) < 1.0


def test_identical_frames_give_identities() -> None:
    frames = np.stack([draw(IDENTITY, Light())] * 5)
    assert farthest_px(corrections(aligned(frames)), NONE) < 1e-6


def test_the_inverse_corrections_of_a_capture_average_to_the_identity() -> None:
    rng = np.random.default_rng(3)
    found = corrections(aligned(lit_frames(misplacements(rng), rng)))
    assert farthest_px(found, NONE) > 0.5
    np.testing.assert_allclose(np.mean([invert(one) for one in found], axis=0), IDENTITY, atol=1e-9)


def random_levels(mean: float, deviation: float) -> np.ndarray:
    values = np.random.default_rng(0).normal(mean, deviation, (5, 3, SIZE, SIZE))
    return np.clip(values, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("black", np.zeros((5, 3, SIZE, SIZE), np.uint8)),
        ("white", np.full((5, 3, SIZE, SIZE), 255, np.uint8)),
        ("grey", np.full((5, 3, SIZE, SIZE), 120, np.uint8)),
        ("five greys", np.tile(np.arange(80, 180, 20, dtype=np.uint8)[:, None, None, None], (1, 3, SIZE, SIZE))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_frames_that_show_nothing_give_identities(name: str, frames: np.ndarray) -> None:
    assert farthest_px(corrections(frames), NONE) < 1e-6


@pytest.mark.parametrize(("mean", "deviation"), [(127, 80), (120, 4), (2, 2), (0, 1), (255, 10)])
def test_noise_gives_finite_maps_within_the_limit(mean: float, deviation: float) -> None:
    found = corrections(random_levels(mean, deviation))
    assert np.isfinite(found).all()
    assert residual_px(STILL, found) <= LARGEST_PX


def test_one_black_frame_among_others_gives_finite_maps_within_the_limit() -> None:
    frames = lit_frames(STILL, np.random.default_rng(0))
    frames[4] = 0
    found = corrections(aligned(frames))
    assert np.isfinite(found).all() and residual_px(STILL, found) <= LARGEST_PX


def test_a_blink_in_one_frame_hardly_moves_the_result() -> None:
    rng = np.random.default_rng(1)
    placed = misplacements(rng)
    open_eyes = lit_frames(placed, rng, 0.005)
    shut = open_eyes.copy()
    for side in (-33, 33):  # skin over the eye, smooth
        x, y = np.add(CENTRE, (side, -17)).astype(int)
        shut[2, y - 7 : y + 8, x - 14 : x + 15] = shut[2, y + 9, x]
    assert np.abs(shut.astype(int) - open_eyes).max() > 30
    found, before = corrections(aligned(shut)), corrections(aligned(open_eyes))
    assert farthest_px(found, before) < 0.4
    assert residual_px(placed, found) < 0.2


def test_a_capture_whose_frames_do_not_show_the_same_is_left_alone() -> None:
    """Faces of different people, far apart: a runaway search corrects nothing rather than anything."""
    far = [about_centre(30.0 * k, -20.0 * k) for k in (-2, -1, 0, 1, 2)]
    frames = np.stack([draw(at, Light(), seed=k) for k, at in enumerate(far)])
    np.testing.assert_array_equal(corrections(aligned(frames)), NONE)


def test_the_same_frames_give_the_same_maps_and_are_left_as_they_were() -> None:
    rng = np.random.default_rng(2)
    frames = aligned(lit_frames(misplacements(rng), rng, 0.01))
    before = frames.copy()
    np.testing.assert_array_equal(corrections(frames), corrections(frames))
    np.testing.assert_array_equal(frames, before)


@pytest.mark.parametrize("n0", [3, 8])
def test_captures_of_three_to_eight_frames_are_registered(n0: int) -> None:
    rng = np.random.default_rng(n0)
    placed = misplacements(rng, n0)
    found = corrections(aligned(lit_frames(placed, rng)))
    before = residual_px(placed, np.tile(IDENTITY, (n0, 1, 1)))
    assert found.shape == (n0, 2, 3) and found.dtype == np.float64
    assert before > 0.7  # two rounds; what is left of each is a part 1/(n0 − 1), for the others were misplaced, too
    assert residual_px(placed, found) < before / (n0 - 1) ** 2 + 0.1


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((5, SIZE, SIZE, 3), np.uint8),
        np.zeros((5, 3, 128, 128), np.uint8),
        np.zeros((3, SIZE, SIZE), np.uint8),
        np.zeros((1, 3, SIZE, SIZE), np.uint8),
        np.zeros((0, 3, SIZE, SIZE), np.uint8),
        np.zeros((5, 3, SIZE, SIZE), np.float32),
        np.zeros((5, 3, SIZE, SIZE), np.int64),
    ],
    ids=lambda frames: f"{frames.shape} {frames.dtype}",
)
def test_other_shapes_and_types_are_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \(N0, 3, 256, 256\) uint8"):
        corrections(frames)


def test_detail_does_not_change_with_exposure_nor_with_a_slow_gradient() -> None:
    plain, other = (draw(IDENTITY, light) for light in (Light(exposure=0.7), Light(exposure=1.4, slope=(0.2, -0.2))))
    one, two = detail_planes(aligned(np.stack([plain, other])))
    inside = TEMPLATE.face_region(128, 0.95)
    assert one[inside].std() > 0.05
    assert np.abs(one - two)[inside].mean() < 0.1 * one[inside].std()


class MisplacingDetector:
    """Finds the template's landmarks, taken to each frame and jittered, frame by frame."""

    def __init__(self, placed: list[np.ndarray]) -> None:
        self._placed = iter(placed)

    def detect(self, frame: np.ndarray) -> list[Face]:
        points = np.tile(CENTRE, (N_LANDMARKS, 1))
        turn = np.linspace(0, 2 * np.pi, N_LANDMARKS, endpoint=False)
        points += 0.9 * np.stack([np.sin(turn), -np.cos(turn)], 1) * TEMPLATE.ellipse_semi_axes
        points[list(TEMPLATE.indices)] = TEMPLATE.points
        return [Face(map_points(points, next(self._placed)).astype(np.float32), np.zeros(N_LANDMARKS, np.float32))]


def test_preprocess_corrects_what_landmarks_misplace() -> None:
    """The face stands still; its landmarks do not."""
    rng = np.random.default_rng(5)
    capture, wrong = textured_capture(STILL, rng), misplacements(rng)
    detail, plain = (
        preprocess(capture, MisplacingDetector(wrong), PreprocessSettings(registration=kind))
        for kind in ("detail", "none")
    )
    np.testing.assert_array_equal(plain.affines, landmark_affines(plain.faces))
    assert farthest_px(plain.affines, np.stack([invert(one) for one in wrong])) < 0.01
    assert residual_px(STILL, plain.affines) > 0.7
    assert residual_px(STILL, detail.affines) < 0.2
    face = TEMPLATE.face_region(grow=0.9)
    straight = preprocess(capture, MisplacingDetector(STILL), PreprocessSettings(registration="none"))
    errors = [np.abs(one.differential - straight.differential)[:, :, face].mean() for one in (detail, plain)]
    assert errors[0] < 0.35 * errors[1]


def test_registration_none_returns_the_landmark_maps_untouched() -> None:
    rng = np.random.default_rng(6)
    frames, maps = lit_frames(STILL, rng), np.stack(misplacements(rng))
    assert registered_affines(frames, maps, PreprocessSettings(registration="none")) is maps
    assert farthest_px(registered_affines(frames, maps, PreprocessSettings()), maps) > 0.5


def test_it_takes_less_than_a_quarter_of_a_second() -> None:
    """About 40 ms on one core; landmarks on five frames take longer than that."""
    frames = aligned(lit_frames(STILL, np.random.default_rng(0)))
    corrections(frames)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        corrections(frames)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.25


def ported(frames: np.ndarray) -> np.ndarray:
    """docs/bundle.md, section "Registration", written down with numpy and scipy, in float64."""
    y, x = np.mgrid[:128, :128].astype(float)
    u, v = (x - 64) / 32, (y - 64) / 32
    (cx, cy), (ax, ay) = TEMPLATE.ellipse_centre, TEMPLATE.ellipse_semi_axes
    face = ((2 * x + 1 - cx) / (0.95 * ax)) ** 2 + ((2 * y + 1 - cy) / (0.95 * ay)) ** 2 <= 1
    weights = np.exp(-(np.arange(-20, 21) ** 2) / 50)
    weights /= weights.sum()

    def detail(frame: np.ndarray) -> np.ndarray:
        light = np.tensordot((0.2126, 0.7152, 0.0722), srgb_to_linear(frame / 255), 1)
        log = np.log(light.reshape(128, 2, 128, 2).mean(axis=(1, 3)) + 0.004)
        rows = ndimage.correlate1d(log, weights, 0, mode="mirror")
        return log - ndimage.correlate1d(rows, weights, 1, mode="mirror")

    def sampled(plane: np.ndarray, p: np.ndarray) -> np.ndarray:
        places = [y + p[1] + p[4] * u + p[5] * v, x + p[0] + p[2] * u + p[3] * v]
        return ndimage.map_coordinates(plane, places, order=1, mode="nearest")

    def search(target: np.ndarray, plane: np.ndarray, p: np.ndarray) -> np.ndarray:
        for _ in range(3):
            image = sampled(plane, p)
            g = (image * target)[face].sum() / max((image**2)[face].sum(), 1e-9)
            r = (target - g * image)[face]
            down, across = np.gradient(image)  # central differences inside
            s = g * np.stack([across, down, across * u, across * v, down * u, down * v], -1)[face]
            q = 1.4826 * np.median(np.abs(r)) + 1e-6
            w = 1 / (1 + (r / (2 * q)) ** 2)
            h = (s * w[:, None]).T @ s
            h += np.eye(6) * (0.02 * np.trace(h) / 6 + 1e-9)
            p = p + np.linalg.solve(h, (s * w[:, None]).T @ r)
        return p

    planes = [detail(frame) for frame in frames]
    found = np.zeros((len(planes), 6))
    for _ in range(2):
        placed = [sampled(plane, p) for plane, p in zip(planes, found, strict=True)]
        targets = [np.mean([other for j, other in enumerate(placed) if j != k], axis=0) for k in range(len(placed))]
        found = np.stack([search(*task) for task in zip(targets, planes, found, strict=True)])
        found -= found.mean(axis=0)
    maps = []
    for p in found:
        a = np.array([[1 + p[2] / 32, p[3] / 32], [p[4] / 32, 1 + p[5] / 32]])
        b = p[:2] + 64 - a @ (64, 64)
        inverse = np.linalg.inv(a)
        maps.append(np.hstack([inverse, (-2 * inverse @ (b + 0.5 - a @ (0.5, 0.5)))[:, None]]))
    return np.stack(maps)


@pytest.mark.parametrize(("seed", "noise"), [(0, 0.0), (1, 0.01), (2, 0.005)])
def test_a_port_written_from_the_document_agrees_within_its_tolerance(seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    frames = aligned(lit_frames(misplacements(rng), rng, noise))
    assert farthest_px(ported(frames), corrections(frames)) < 0.05
    assert default_plan().n0 == len(frames)
