"""A webcam gives upright RGB frames with honest times, is refused or lost with a reason, and never holds anybody up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fake_video import AUTO_BALANCE, AUTO_EXPOSURE, SECOND, FakeVideo, WalkingClock, noise

from sdk_reference.camera import CameraFrame, CameraStream
from sdk_reference.errors import CameraLost, CameraUnsuitable
from sdk_reference.video import open_sink
from sdk_reference.webcam import MIN_RATE_HZ, Webcam, WebcamSettings

PATIENCE_S = 10.0


@contextmanager
def webcam(video: FakeVideo, **settings: Any) -> Iterator[Webcam]:
    known: tuple[int, ...] | None = settings.pop("known", (0,))
    camera = Webcam(video.clock, WebcamSettings(**settings), lambda: video, lambda: known)
    try:
        yield camera
    finally:
        closer = threading.Thread(target=camera.close)
        closer.start()
        video.allow(50)  # a reader that waits for its next frame ends
        closer.join()


def polled(camera: Webcam, count: int) -> list[CameraFrame]:
    """The next frames, as they come from the thread."""
    frames: list[CameraFrame] = []
    give_up = time.monotonic() + PATIENCE_S
    while len(frames) < count and time.monotonic() < give_up:
        frames += camera.poll()
    return frames


def failure(camera: Webcam) -> CameraLost:
    """What `poll` raises in the end."""
    give_up = time.monotonic() + PATIENCE_S
    with pytest.raises(CameraLost) as caught:
        while time.monotonic() < give_up:
            camera.poll()
    return caught.value


def test_frames_are_rgb_and_timed_by_arrival_less_a_period() -> None:
    video = FakeVideo(WalkingClock())
    with webcam(video) as camera:
        stream: CameraStream = camera
        info = stream.open()
        assert (info.width, info.height, info.frame_rate_hz) == (320, 240, 30.0)
        assert not info.exposure_locked and not info.balance_locked
        opened_ns = video.clock.now
        video.allow(3)
        frames = polled(camera, 3)
        np.testing.assert_array_equal(frames[0].image, noise(10)[..., ::-1])
        assert [frame.timestamp_ns - opened_ns for frame in frames] == [k * SECOND // 30 for k in range(3)]
        assert info.exposure_ns == SECOND // 30


def test_the_drivers_stamps_are_moved_onto_our_clock_and_remove_the_jitter_of_delivery() -> None:
    # The driver counts from another zero; our thread is up to 20 ms late in telling.
    def late(number: int) -> int:
        return (number % 3) * 10_000_000

    clock = WalkingClock()
    video = FakeVideo(clock, stamp=lambda number, now: (now - 3 * SECOND) / 1e6)
    arrival = Webcam(lambda: clock.now + late(video.number), WebcamSettings(), lambda: video, lambda: (0,))
    try:
        arrival.open()
        video.allow(6)
        times = [frame.timestamp_ns for frame in polled(arrival, 6)]
    finally:
        threading.Timer(0.05, lambda: video.allow(9)).start()
        arrival.close()
    assert np.abs(np.diff(times) - SECOND / 30).max() < 1000


@pytest.mark.parametrize(
    "stamp",
    [
        lambda number, now: 0.0,  # does not say
        lambda number, now: float("nan"),
        lambda number, now: 40.0,  # stands still
        lambda number, now: 1000.0 - number,  # runs backwards
        lambda number, now: 1000.0 * number,  # runs thirty times too fast
        lambda number, now: now / 1e6 if number < 13 else 1.0,  # jumps in the middle
    ],
)
def test_implausible_stamps_of_the_driver_are_not_believed(stamp: Callable[[int, int], float]) -> None:
    video = FakeVideo(WalkingClock(), stamp=stamp)
    with webcam(video) as camera:
        camera.open()
        opened_ns = video.clock.now
        video.allow(6)
        times = np.array([frame.timestamp_ns for frame in polled(camera, 6)])
        np.testing.assert_allclose(times - opened_ns, np.arange(6) * (SECOND // 30), atol=1000)


@pytest.mark.parametrize(("rotate", "size"), [(0, (320, 240)), (90, (240, 320)), (180, (320, 240)), (270, (240, 320))])
def test_a_camera_that_is_mounted_turned_is_set_upright(rotate: int, size: tuple[int, int]) -> None:
    video = FakeVideo(WalkingClock())
    with webcam(video, rotate=rotate) as camera:
        info = camera.open()
        assert (info.width, info.height) == size
        video.allow(1)
        expected = np.rot90(noise(10)[..., ::-1], -(rotate // 90))
        np.testing.assert_array_equal(polled(camera, 1)[0].image, expected)


def test_the_oldest_frames_are_dropped_and_counted() -> None:
    video = FakeVideo(WalkingClock())
    with webcam(video, queue_frames=4) as camera:
        camera.open()
        video.allow(10)
        give_up = time.monotonic() + PATIENCE_S
        while camera.dropped < 6 and time.monotonic() < give_up:
            time.sleep(0.001)
        frames = camera.poll()
        assert (len(frames), camera.dropped) == (4, 6)
        np.testing.assert_array_equal(frames[-1].image, noise(19)[..., ::-1])


@pytest.mark.parametrize(
    ("known", "said"),
    [((0, 2), "no camera 7 (cameras here: 0, 2)"), ((), "cameras here: none"), ((7,), "in use"), (None, "in use")],
)
def test_a_camera_that_does_not_open_is_told_from_one_that_is_not_there(
    known: tuple[int, ...] | None, said: str
) -> None:
    video = FakeVideo(WalkingClock(), opened=False)
    with webcam(video, index=7, known=known) as camera, pytest.raises(CameraLost) as caught:
        camera.open()
    assert said in str(caught.value)
    assert video.released.wait(PATIENCE_S)


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ({"picture": lambda n: noise(n, 160, 120)}, CameraUnsuitable, "160×120"),
        ({"period_ns": SECOND // 2}, CameraUnsuitable, f"at least {MIN_RATE_HZ:.1f}"),
        ({"picture": lambda n: noise(n) * 0, "free": 200}, CameraUnsuitable, "cover"),
        ({"picture": lambda n: noise(n)[..., 0]}, CameraUnsuitable, "infrared"),
        ({"picture": lambda n: None, "free": 50}, CameraLost, "without a frame"),
    ],
)
def test_a_camera_that_cannot_film_a_flash_is_refused_when_it_is_opened(
    fault: dict[str, Any], kind: type[Exception], said: str
) -> None:
    video = FakeVideo(WalkingClock(), **fault)
    with webcam(video, read_failures=5) as camera, pytest.raises(kind) as caught:
        camera.open()
    assert said in str(caught.value)


def test_a_camera_that_begins_with_black_frames_is_waited_for() -> None:
    video = FakeVideo(WalkingClock(), picture=lambda n: noise(n) * (n >= 12), free=13)
    with webcam(video) as camera:
        assert camera.open().width == 320


@pytest.mark.parametrize("stage", ["opening", "reading"])
def test_a_device_that_hangs_costs_a_timeout_and_closing_does_not_hang(stage: str) -> None:
    video = FakeVideo(WalkingClock(), free=0)
    never = threading.Event()

    def open_source() -> FakeVideo:
        if stage == "opening":
            never.wait()
        return video

    camera = Webcam(video.clock, WebcamSettings(opening_s=0.1), open_source, lambda: (0,))
    begun = time.monotonic()
    with pytest.raises(CameraLost, match="does not open" if stage == "opening" else "gives no usable frame"):
        camera.open()
    camera.close()
    assert time.monotonic() - begun < 5.0
    never.set()
    video.allow(50)
    assert video.released.wait(PATIENCE_S)  # and once it answers, it is given back


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (lambda n: noise(min(n, 12)), "very same frame"),
        (lambda n: noise(n) * (n < 12), "black frames"),
        (lambda n: noise(n) if n < 12 else noise(n, 640, 480), "change from 320×240 to 640×480"),
        (lambda n: noise(n) if n < 12 else None, "unplugged"),
    ],
)
def test_a_camera_that_stops_working_is_lost_after_its_last_good_frames(
    picture: Callable[[int], np.ndarray | None], said: str
) -> None:
    video = FakeVideo(WalkingClock(), picture=picture)
    with webcam(video, read_failures=3) as camera:
        camera.open()
        video.allow(90)
        assert said in str(failure(camera))


def test_a_camera_that_falls_silent_is_lost() -> None:
    video = FakeVideo(WalkingClock())
    with webcam(video, silence_s=1.5) as camera:
        camera.open()
        assert camera.poll() is not None
        video.clock.now += 2 * SECOND
        assert "no frame for 2.0 s" in str(failure(camera))


def test_a_driver_that_raises_is_a_lost_camera() -> None:
    def broken(number: int) -> np.ndarray:
        if number > 11:
            raise RuntimeError("USB says no")
        return noise(number)

    video = FakeVideo(WalkingClock(), picture=broken)
    with webcam(video) as camera:
        camera.open()
        video.allow(5)
        assert "USB says no" in str(failure(camera))


def test_locking_holds_exposure_and_balance_and_closing_sets_them_back() -> None:
    video = FakeVideo(WalkingClock())
    with webcam(video) as camera:
        camera.open()
        video.allow(30)
        info = camera.lock()
        assert info.exposure_locked and info.balance_locked
        assert (video.properties[AUTO_EXPOSURE], video.properties[AUTO_BALANCE]) == (1.0, 0.0)
    assert video.released.is_set()
    assert (video.properties[AUTO_EXPOSURE], video.properties[AUTO_BALANCE]) == (3.0, 1.0)


def test_a_backend_that_says_yes_and_does_nothing_is_not_called_locked() -> None:
    video = FakeVideo(WalkingClock(), backend="MSMF")
    video.takes, video.lies, video.properties = set(), True, {}
    with webcam(video) as camera:
        camera.open()
        video.allow(60)
        info = camera.lock()
        assert (info.exposure_locked, info.balance_locked) == (False, False)


def test_a_lock_that_changes_the_picture_is_undone() -> None:
    """Many cameras jump to an old manual exposure."""
    clock = WalkingClock()
    video = FakeVideo(clock)
    video.picture = lambda n: noise(n) // (4 if video.properties[AUTO_EXPOSURE] == 1.0 else 1)
    with webcam(video) as camera:
        camera.open()
        video.allow(60)
        info = camera.lock()
        assert (info.exposure_locked, info.balance_locked) == (False, True)
        assert video.properties[AUTO_EXPOSURE] == 3.0


def test_the_session_goes_on_after_a_lock_and_a_camera_can_be_opened_again() -> None:
    clock = WalkingClock()
    videos = [FakeVideo(clock, free=200), FakeVideo(clock, free=200)]
    waiting = iter(videos)
    camera = Webcam(clock, WebcamSettings(), lambda: next(waiting), lambda: (0,))
    for _ in videos:
        camera.open()
        camera.lock()
        assert polled(camera, 3)
    camera.close()
    camera.close()
    assert all(video.released.is_set() for video in videos)


def test_a_camera_that_is_not_open_says_so() -> None:
    camera = Webcam(WalkingClock())
    camera.close()
    with pytest.raises(CameraLost, match="not open"):
        camera.poll()
    with pytest.raises(CameraLost, match="not open"):
        camera.lock()


def test_opencvs_own_device_is_read_as_it_is(tmp_path: Path) -> None:
    """No camera here, but a video is opened by the same class: names, colours and the end of the stream are real."""
    sink = open_sink(tmp_path / "video.mkv")
    pictures = [noise(number)[..., ::-1] for number in range(30)]
    for picture in pictures:
        sink.add(np.ascontiguousarray(picture))
    sink.close()
    camera = Webcam(
        time.monotonic_ns,
        WebcamSettings(read_failures=2),
        lambda: cv2.VideoCapture(str(tmp_path / "video.mkv"), cv2.CAP_FFMPEG),
        lambda: (0,),
    )
    info = camera.open()
    assert (info.width, info.height, info.name) == (320, 240, "camera 0 (FFMPEG)")
    frames = polled(camera, 20)
    np.testing.assert_array_equal(frames[-1].image, pictures[-1])
    assert (np.diff([frame.timestamp_ns for frame in frames]) > 0).all()
    assert "without a frame" in str(failure(camera))
    camera.close()


def test_a_machine_without_this_camera_says_so() -> None:
    camera = Webcam(time.monotonic_ns, WebcamSettings(index=63))
    with pytest.raises(CameraLost, match="camera 63"):
        camera.open()
