"""The thread that owns a webcam: opens it, looks at its first frames, reads on, locks it when asked, gives it back.

No call to the device is made from anywhere else, for OpenCV's devices are not safe to share and any call may hang. The
others wait for this thread with a timeout, and a thread that never answers again is left behind as a daemon.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from sdk_reference.camera import CameraFrame, CameraInfo
from sdk_reference.errors import CameraLost, CameraUnsuitable, FlashproofError
from sdk_reference.frame_watch import FirstLook, FrameWatch
from sdk_reference.webcam_lock import Locks, try_locks

if TYPE_CHECKING:
    from sdk_reference.webcam import OpenSource, VideoSource, WebcamSettings

PAUSE_AFTER_FAILURE_S: Final = 0.02
JOIN_S: Final = 1.0
"""How long closing waits for the device to be given back."""

LOCK_S: Final = 5.0
"""How long locking may take before the camera counts as lost."""

NOT_OPEN: Final = "opening"
POS_MSEC: Final = 0  # cv2.CAP_PROP_POS_MSEC


class WebcamReader:
    """One opening of a camera, from `start` to `stop`."""

    def __init__(
        self,
        open_source: OpenSource,
        clock_ns: Callable[[], int],
        settings: WebcamSettings,
        known_cameras: Callable[[], tuple[int, ...] | None],
    ) -> None:
        self.dropped = 0
        self._open_source, self._clock_ns, self._settings = open_source, clock_ns, settings
        self._known_cameras = known_cameras
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._queue: deque[CameraFrame] = deque()
        self._failure: FlashproofError | None = None
        self._info: CameraInfo | None = None
        self._lock_wanted = False
        self._locks: Locks | None = None
        self._stage = NOT_OPEN
        self._arrived_ns = 0
        self._thread = threading.Thread(target=self._run, name="webcam", daemon=True)

    def start(self) -> CameraInfo:
        """Open and return what is known of the camera; raises CameraLost or CameraUnsuitable."""
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._info or self._failure, self._settings.opening_s)
            if self._failure is not None:
                raise self._failure
            if self._info is None:
                raise self._unanswered()
            return self._info

    def lock(self) -> Locks:
        """Have the thread lock the camera; raises CameraLost."""
        with self._changed:
            self._lock_wanted, self._locks = True, None
            self._changed.wait_for(lambda: self._locks or self._failure, LOCK_S)
            if self._failure is not None:
                raise self._failure
            if self._locks is None:
                raise lost(f"no answer within {LOCK_S:g} s while exposure was being locked")
            return self._locks

    def take(self) -> list[CameraFrame]:
        """The frames since the last call; then, if there will be no more, CameraLost."""
        with self._changed:
            frames = list(self._queue)
            self._queue.clear()
            if frames:
                return frames
            if self._failure is not None:
                raise self._failure
            silent_s = (self._clock_ns() - self._arrived_ns) / 1e9
        if silent_s > self._settings.silence_s:
            raise lost(f"no frame for {silent_s:.1f} s")
        return []

    def stop(self) -> None:
        """Ask the thread to end and wait a little; harmless when it hangs."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(JOIN_S)

    def _run(self) -> None:
        source: VideoSource | None = None
        restore: Callable[[], None] = lambda: None  # noqa: E731 (replaced when something was locked)
        try:
            source = self._open_source()
            self._require_open(source)
            look = self._first_look(source)
            times, watch = look.times(), FrameWatch(self._settings)
            self._announce(look.info(self._name(source)))
            while not self._stopping.is_set():
                if self._lock_wanted:
                    restore()
                    locks, restore = try_locks(source, lambda: self._read(source))
                    self._tell_locks(locks)
                    watch = FrameWatch(self._settings)
                image = self._read(source)
                arrived_ns = self._clock_ns()
                watch.check(image, arrived_ns)
                self._put(CameraFrame(image, times.start_ns(arrived_ns, driver_ns(source))), arrived_ns)
        except FlashproofError as error:
            self._fail(error)
        except Exception as error:  # OpenCV, a driver: whatever it is, the camera is gone
            failure = lost(f"a camera that failed: {error}")
            failure.__cause__ = error
            self._fail(failure)
        finally:
            self._give_back(source, restore)

    def _require_open(self, source: VideoSource) -> None:
        if source.isOpened():
            self._stage = "reading"
            return
        index, known = self._settings.index, self._known_cameras()
        if known is None:
            raise lost(f"a camera {index} that does not open: it is missing, not permitted, or in use")
        if index not in known:
            cameras = ", ".join(map(str, known)) or "none"
            raise CameraLost(
                found=f"no camera {index} (cameras here: {cameras})",
                expected="the number of a connected camera",
                remedy="connect one, or choose another number",
            )
        raise lost(f"camera {index}, which is there but does not open: in use, not permitted, or no camera of pictures")

    def _first_look(self, source: VideoSource) -> FirstLook:
        look = FirstLook(self._settings)
        while not look.done:
            if self._stopping.is_set():
                raise lost("a camera that was closed while it was being opened")
            image = self._read(source)
            look.add(image, self._clock_ns(), driver_ns(source))
        look.require_suitable()
        return look

    def _read(self, source: VideoSource) -> npt.NDArray[np.uint8]:
        """The next frame, RGB, upright."""
        for _ in range(self._settings.read_failures):
            taken, image = source.read()
            if taken and image is not None:
                return upright(image, self._settings.rotate)
            if self._stopping.wait(PAUSE_AFTER_FAILURE_S):
                break
        raise lost(f"{self._settings.read_failures} reads in a row without a frame: it was unplugged, or is in use")

    def _announce(self, info: CameraInfo) -> None:
        with self._changed:
            self._info, self._arrived_ns = info, self._clock_ns()
            self._changed.notify_all()

    def _tell_locks(self, locks: Locks) -> None:
        with self._changed:
            self._locks, self._lock_wanted, self._arrived_ns = locks, False, self._clock_ns()
            self._changed.notify_all()

    def _put(self, frame: CameraFrame, arrived_ns: int) -> None:
        with self._changed:
            if len(self._queue) == self._settings.queue_frames:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(frame)
            self._arrived_ns = arrived_ns

    def _fail(self, error: FlashproofError) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def _give_back(self, source: VideoSource | None, restore: Callable[[], None]) -> None:
        # A camera that is gone cannot be set back, and there is nobody left to tell.
        with contextlib.suppress(Exception):
            restore()
        with contextlib.suppress(Exception):
            if source is not None:
                source.release()

    def _unanswered(self) -> CameraLost:
        waited = f"within {self._settings.opening_s:g} s"
        if self._stage == NOT_OPEN:
            return lost(f"camera {self._settings.index}, which does not open {waited}")
        return lost(f"camera {self._settings.index}, which opens but gives no usable frame {waited}")

    def _name(self, source: VideoSource) -> str:
        return f"camera {self._settings.index} ({source.getBackendName()})"


def upright(image: npt.NDArray[Any], rotate: int) -> npt.NDArray[np.uint8]:
    """HWC uint8 BGR → HWC uint8 RGB, turned clockwise by `rotate` degrees; raises CameraUnsuitable."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise CameraUnsuitable(
            found=f"frames of shape {image.shape}, {image.dtype}",
            expected="(height, width, 3) uint8: a colour camera",
            remedy="choose another camera; an infrared camera does not see colours",
        )
    return np.ascontiguousarray(np.rot90(image[..., ::-1], -(rotate // 90)))


def driver_ns(source: VideoSource) -> int | None:
    """When the driver says the last frame was, ns on whatever clock it has; None when it does not say."""
    stamp_ms = source.get(POS_MSEC)
    return round(stamp_ms * 1e6) if np.isfinite(stamp_ms) and stamp_ms > 0 else None


def lost(found: str) -> CameraLost:
    """Return the error about a camera that does not work."""
    return CameraLost(
        found=found,
        expected="a connected camera that nobody else uses and this program may use",
        remedy="close other programs that film, check plug, cover and permission, and try again",
    )
