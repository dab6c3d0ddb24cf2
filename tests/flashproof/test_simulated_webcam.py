"""The simulated webcam is lit by what was shown, keeps its camera's habits, repeats exactly, and frames a selfie."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from flashproof.faulty_camera import FAULTS, Fault, ScriptedFaults
from flashproof.simulated_people import SimulatedWebcamSettings, cast_in_place, draw_settings, on_the_way
from flashproof.simulated_webcam import PATIENCE_FRAMES, SimulatedWebcam
from sdk_reference.camera import CameraFrame, CameraStream
from sdk_reference.errors import CameraLost, SeveralFaces
from sdk_reference.landmarks import FaceMeshDetector, find_single_face
from simulator.errors import SimulationError

MS, SECOND = 1_000_000, 1_000_000_000
KINDS = ("live", "print", "replay", "mask")


class Clock:
    def __init__(self) -> None:
        self.now = 7 * SECOND

    def __call__(self) -> int:
        return self.now


def dark(_: int) -> tuple[int, int, int]:
    return (32, 32, 32)


def filmed(camera: CameraStream, clock: Clock, seconds: float, tick_ms: float = 7.0) -> list[CameraFrame]:
    """What comes from polling for so long."""
    frames: list[CameraFrame] = []
    end = clock.now + round(seconds * SECOND)
    while clock.now < end:
        clock.now += round(tick_ms * MS)
        frames += camera.poll()
    return frames


def simulated(clock: Clock, screen: Callable[[int], tuple[int, int, int]] = dark, **options: Any) -> SimulatedWebcam:
    keywords = {name: options.pop(name) for name in ("kind", "seed", "ambient_lux", "threaded") if name in options}
    settings = SimulatedWebcamSettings(**{"size": 128, **options})
    return SimulatedWebcam(clock, screen, **{"kind": "live", "seed": 3, **keywords}, settings=settings)


@pytest.fixture(scope="module")
def detector() -> Iterator[FaceMeshDetector]:
    found = FaceMeshDetector()
    yield found
    found.close()


@pytest.mark.parametrize(("reaction", "changed"), [(0.0, False), (0.9, True)])
def test_a_camera_reacts_as_it_is_told_and_its_gains_are_known(reaction: float, changed: bool) -> None:
    def lit(at_ns: int) -> tuple[int, int, int]:
        return (255, 255, 255) if at_ns > 8 * SECOND else (0, 0, 0)

    clock = Clock()
    camera = simulated(clock, lit, reaction=reaction, ambient_lux=5.0)
    camera.open()
    frames = filmed(camera, clock, 2.0)
    gains = np.array([frame.gains for frame in camera.log])
    before, after = gains[20], gains[-1]
    assert gains.shape == (len(camera.log), 3) and len(frames) >= 50
    assert (after.mean() < 0.8 * before.mean()) == changed
    camera.close()


def test_a_frame_comes_when_its_exposure_and_transport_are_over() -> None:
    clock = Clock()
    camera = simulated(clock, exposure_ms=20.0, transport_ms=15.0)
    stream: CameraStream = camera
    opened_ns = clock.now
    info = stream.open()
    assert (info.width, info.height, info.frame_rate_hz, info.exposure_ns) == (128, 128, 30.0, 20 * MS)
    clock.now = opened_ns + 35 * MS - 1
    assert stream.poll() == []
    clock.now += 1
    (frame,) = stream.poll()
    assert frame.timestamp_ns == opened_ns
    assert stream.poll() == []


def test_light_arrives_after_the_latency_and_only_the_light_that_was_shown() -> None:
    clock = Clock()
    begun_ns = clock.now
    shown = lambda t: (255, 255, 255) if begun_ns + 300 * MS <= t < begun_ns + 600 * MS else (0, 0, 0)  # noqa: E731
    camera = simulated(
        clock, shown, latency_ms=120.0, ambient_lux=20.0, frame_rate_hz=50.0, exposure_ms=10.0, locks=True
    )
    camera.open()
    camera.lock()
    frames = filmed(camera, clock, 1.0)
    light = np.array([frame.image.mean() for frame in frames])
    lit = np.array([begun_ns + 420 * MS <= frame.timestamp_ns < begun_ns + 710 * MS for frame in frames])
    assert light[lit].min() > light[~lit].max() + 20
    assert [truth.timestamp_ns for truth in camera.log] == [frame.timestamp_ns for frame in frames]
    assert all(truth.lit_from_ns == truth.exposed_from_ns - 120 * MS for truth in camera.log)


def test_the_same_seed_gives_the_same_film_whenever_it_is_polled() -> None:
    films = []
    for tick_ms in (7.0, 33.0):
        clock = Clock()
        camera = simulated(clock, jitter_ms=3.0, dropped_share=0.2, duplicated_share=0.2)
        camera.open()
        films.append(filmed(camera, clock, 0.9, tick_ms)[:16])
    for one, other in zip(*films, strict=True):
        assert one.timestamp_ns == other.timestamp_ns
        np.testing.assert_array_equal(one.image, other.image)


def test_frames_are_dropped_repeated_and_stamped_unevenly_as_asked() -> None:
    clock = Clock()
    camera = simulated(
        clock, frame_rate_hz=60.0, exposure_ms=10.0, dropped_share=0.2, duplicated_share=0.2, jitter_ms=3
    )
    camera.open()
    frames = filmed(camera, clock, 3.0)
    assert 0.7 * 180 < len(frames) < 0.9 * 180
    assert 0.12 < np.mean([truth.repeated for truth in camera.log]) < 0.4
    for before, frame, truth in zip(frames, frames[1:], camera.log[1:], strict=False):
        assert np.array_equal(before.image, frame.image) == truth.repeated
    off_beat = np.array([truth.timestamp_ns - truth.exposed_from_ns for truth in camera.log if not truth.repeated])
    assert 1.0 * MS < np.abs(off_beat).max() <= 3 * MS
    assert (np.diff([frame.timestamp_ns for frame in frames]) > 0).all()
    rate_hz = camera.achieved_rate_hz
    assert rate_hz is not None and 42 < rate_hz < 54


def test_after_a_long_pause_the_newest_frames_are_there_and_the_others_counted() -> None:
    clock = Clock()
    camera = simulated(clock)
    camera.open()
    clock.now += 60 * SECOND
    frames = camera.poll()
    assert 1 <= len(frames) <= PATIENCE_FRAMES
    assert clock.now - frames[-1].timestamp_ns < 0.1 * SECOND
    assert camera.dropped + len(frames) == pytest.approx(60 * 30, abs=2)


def test_locking_holds_only_a_camera_that_can() -> None:
    for locks in (False, True):
        clock = Clock()
        camera = simulated(clock, locks=locks)
        camera.open()
        info = camera.lock()
        assert (info.exposure_locked, info.balance_locked) == (locks, locks)
        assert len(filmed(camera, clock, 0.2)) > 2


def test_in_real_time_a_thread_films_while_the_caller_does_something_else() -> None:
    camera = SimulatedWebcam(
        time.monotonic_ns, dark, kind="live", seed=3, settings=SimulatedWebcamSettings(size=128), threaded=True
    )
    camera.open()
    begun_ns = time.monotonic_ns()
    time.sleep(0.8)
    polling = time.perf_counter()
    frames = camera.poll()
    assert time.perf_counter() - polling < 0.1  # whoever colours the screen is not held up
    camera.close()
    assert len(frames) + camera.dropped >= 8
    assert frames[-1].timestamp_ns > begun_ns
    with pytest.raises(CameraLost, match="not open"):
        camera.poll()


def test_a_thread_that_fails_is_a_lost_camera() -> None:
    def broken(_: int) -> tuple[int, int, int]:
        raise RuntimeError("no screen")

    camera = SimulatedWebcam(
        time.monotonic_ns, broken, kind="live", seed=3, settings=SimulatedWebcamSettings(size=128), threaded=True
    )
    camera.open()
    give_up = time.monotonic() + 10
    with pytest.raises(CameraLost, match="no screen"):
        while time.monotonic() < give_up:
            camera.poll()
    camera.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"frame_rate_hz": 2.0},
        {"frame_rate_hz": 60.0, "exposure_ms": 20.0},
        {"latency_ms": 5.0},
        {"jitter_ms": 30.0},
        {"dropped_share": 0.6, "duplicated_share": 0.6},
        {"size": 16},
    ],
)
def test_cameras_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SimulationError):
        SimulatedWebcamSettings(**settings)


def test_drawn_cameras_differ_and_every_one_is_possible() -> None:
    drawn = [draw_settings(seed) for seed in range(200)]
    assert len({settings.frame_rate_hz for settings in drawn}) == 200
    assert draw_settings(5, locks=True, latency_ms=30.0).latency_ms == 30.0
    assert min(settings.latency_ms for settings in drawn) < 40 < 200 < max(settings.latency_ms for settings in drawn)


def test_nobody_else_stands_before_the_camera() -> None:
    with pytest.raises(SimulationError, match="sculpture"):
        cast_in_place("sculpture", 1)


def test_the_face_is_found_in_the_middle_and_large_enough(detector: FaceMeshDetector) -> None:
    found, offsets, shares = 0, [], []
    for kind in KINDS:
        for seed in range(3):
            clock = Clock()
            camera = simulated(clock, kind=kind, seed=seed, size=256, ambient_lux=100.0)
            camera.open()
            faces = detector.detect(filmed(camera, clock, 0.1)[-1].image)
            found += len(faces) == 1
            for face in faces[:1]:
                left, top, right, bottom = face.bounds
                offsets.append(np.hypot((left + right) / 512 - 0.5, (top + bottom) / 512 - 0.5))
                shares.append(face.width / 256)
    assert found >= 11  # an attack may be too poor to show a face
    assert max(offsets) < 0.16
    assert 0.3 < min(shares) and max(shares) < 0.75


def test_who_is_on_the_way_is_seen_far_and_aside_first(detector: FaceMeshDetector) -> None:
    clock = Clock()
    camera = simulated(clock, size=256, ambient_lux=150.0, approach_s=2.0)
    camera.open()
    frames = filmed(camera, clock, 2.4)
    first, last = (detector.detect(frames[place].image) for place in (3, -1))
    assert last[0].width > 95 and all(face.width < 64 for face in first)
    np.testing.assert_array_equal(on_the_way(frames[-1].image, 1.0), frames[-1].image)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_happens_at_its_time_and_not_before(fault: Fault) -> None:
    clock = Clock()
    at_ns = clock.now + 300 * MS
    needs_other = fault in ("second_face", "face_swapped")
    other = simulated(clock, seed=4) if needs_other else None
    camera = ScriptedFaults(simulated(clock), fault, at_ns, clock, other=other)
    plain_clock = Clock()
    plain = simulated(plain_clock)
    camera.open(), plain.open()
    good = filmed(plain, plain_clock, 0.6)
    if fault == "unplugged":
        with pytest.raises(CameraLost):
            filmed(camera, clock, 0.6)
        assert camera.happened and clock.now >= at_ns
        return
    frames = filmed(camera, clock, 0.6)
    before = [frame for frame in good if frame.timestamp_ns < at_ns]
    count = len(before) if fault != "silent" else len(frames)
    for one, true in zip(frames[:count], before[:count], strict=True):
        np.testing.assert_array_equal(one.image, true.image)
    assert camera.happened
    last, true = frames[-1], good[-1]
    if fault == "silent":
        assert len(frames) <= len(before) and clock.now - last.timestamp_ns > 250 * MS
    elif fault == "clock_jump":
        assert last.timestamp_ns - true.timestamp_ns == 3600 * SECOND
    elif fault == "resolution_changed":
        assert last.image.shape == (96, 64, 3)
    else:
        assert last.image.shape == true.image.shape and not np.array_equal(last.image, true.image)
        assert (last.image.max() == 0) == (fault == "black")
    camera.close()


def test_a_second_face_is_seen_as_one(detector: FaceMeshDetector) -> None:
    clock = Clock()
    one, two = (simulated(clock, seed=seed, size=256, ambient_lux=150.0) for seed in (3, 4))
    camera = ScriptedFaults(one, "second_face", 0, clock, other=two)
    camera.open()
    image = filmed(camera, clock, 0.2)[-1].image
    with pytest.raises(SeveralFaces):
        find_single_face(detector.detect(image), image.shape)
