"""A simulated person before a simulated camera, as a `CameraStream`: what `--camera sim:live` opens.

The camera is `simulator.camera` (the paper's figure 1 without a phone), lit by what the session's screen really showed.
Its own clock trails the session's: a frame is photographed once its exposure and its way to the computer are over by
the session's clock, and is then lit by the past. On a test's clock everything happens inside `poll` and repeats
exactly; with `threaded=True` a thread photographs in real time, and what it cannot keep up with is dropped, as by a
slow camera.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from flashproof.simulated_people import SimulatedWebcamSettings, cast_in_place, on_the_way
from sdk_reference.camera import CameraFrame, CameraInfo
from sdk_reference.errors import CameraLost

if TYPE_CHECKING:
    from simulator.camera import SimulatedCamera, SimulatedClock
    from simulator.stage import Stage

ScreenColour = Callable[[int], tuple[int, int, int]]
"""8-bit sRGB that was on the screen at a time, ns of the session's clock; with `threaded`, asked by another thread."""

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
PATIENCE_FRAMES: Final = 64
"""On a test's clock: frames caught up with; as many as a webcam's queue holds."""

THREADED_PATIENCE_FRAMES: Final = 1
SHORTEST_PAUSE_S: Final = 0.001
JOIN_S: Final = 2.0
STILL_FAR: Final = 0.5
"""Of `approach_s`: the person stands far, then comes."""


@dataclass(frozen=True)
class TrueFrame:
    """What really happened when a frame was taken; for tests, which a camera could not tell."""

    timestamp_ns: int
    """As the frame says."""
    exposed_from_ns: int
    """Session's clock; of a repeated frame, when the picture in it was really taken."""
    lit_from_ns: int
    """The screen's time whose light the exposure saw first."""
    lit_to_ns: int
    repeated: bool
    gains: tuple[float, float, float]
    """What exposure and white balance multiplied each channel's light by, on a scale of its own."""


class SimulatedWebcam:
    """A camera before a simulated person or attack; `CameraStream`."""

    def __init__(
        self,
        clock_ns: Callable[[], int],
        screen: ScreenColour,
        *,
        kind: str,
        seed: int,
        settings: SimulatedWebcamSettings | None = None,
        ambient_lux: float | None = None,
        threaded: bool = False,
    ) -> None:
        """`kind` is live, print, replay or mask; `seed` draws who, where and all noise; `ambient_lux` None: drawn."""
        self.settings = settings or SimulatedWebcamSettings()
        self.casting = cast_in_place(kind, seed, self.settings.size)
        if ambient_lux is not None:
            self.casting = replace(self.casting, ambient_lux=ambient_lux)
        self._clock_ns, self._screen, self._threaded = clock_ns, screen, threaded
        self._stage: Stage | None = None
        self._camera: SimulatedCamera | None = None
        self._clock: SimulatedClock | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._camera_lock, self._queue_lock = threading.Lock(), threading.Lock()
        self._queue: deque[CameraFrame] = deque()
        self._log: list[TrueFrame] = []
        self._failure: Exception | None = None
        self.dropped = 0

    @property
    def stage(self) -> Stage:
        """The scene with its true labels; rendered when first asked for."""
        from simulator.stage import set_stage

        if self._stage is None:
            who = self.casting
            self._stage = set_stage(
                who.seed, who.subject, who.kind, who.instrument, self.settings.size, ambient_lux=who.ambient_lux
            )
        return self._stage

    @property
    def log(self) -> tuple[TrueFrame, ...]:
        """The truth about every frame that was photographed since `open`, in order."""
        with self._queue_lock:
            return tuple(self._log)

    @property
    def achieved_rate_hz(self) -> float | None:
        """Frames a second that really came since `open`; None before two did."""
        times = [frame.timestamp_ns for frame in self.log]
        return (len(times) - 1) * NS_PER_S / (times[-1] - times[0]) if len(times) > 1 else None

    def open(self) -> CameraInfo:
        """Render the scene (seconds, when compiled code is not there yet) and start."""
        self.close()
        # Compiles what will be needed, so that the real camera does not begin by falling behind.
        self._camera_on(0, lambda _: (0, 0, 0)).read()
        self._begin(self._clock_ns())
        if self._threaded:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="simulated webcam", daemon=True)
            self._thread.start()
        return self._info(locked=False)

    def lock(self) -> CameraInfo:
        """Meter the scene anew and, if this camera can, hold that."""
        camera = self._opened()
        with self._camera_lock:
            camera.meter(hold=self.settings.locks)
        return self._info(locked=self.settings.locks)

    def poll(self) -> list[CameraFrame]:
        """The frames since the last call; without a thread they are photographed here."""
        self._opened()
        if self._failure is not None:
            raise CameraLost(
                found=f"a simulation that failed: {self._failure}", expected="a simulated frame", remedy="report this"
            ) from self._failure
        if self._thread is None:
            self._photograph_due(PATIENCE_FRAMES)
        with self._queue_lock:
            frames = list(self._queue)
            self._queue.clear()
        return frames

    def close(self) -> None:
        """Stop; the scene is kept for another `open`."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)
        self._thread, self._camera = None, None

    def _begin(self, now_ns: int) -> None:
        self._rng = np.random.default_rng([self.casting.seed, 62])
        self._camera = self._camera_on(now_ns, self._screen)
        self._opened_ns = self._beat_ns = now_ns
        self._stamp_ns = -1
        self._last: tuple[npt.NDArray[np.uint8], int, tuple[float, float, float]] | None = None
        self._queue.clear()
        self._log, self._failure, self.dropped = [], None, 0

    def _camera_on(self, now_ns: int, screen: ScreenColour) -> SimulatedCamera:
        from simulator.camera import SimulatedCamera, SimulatedClock

        wanted = self.settings
        self._clock = SimulatedClock(now_ns)
        camera = SimulatedCamera(
            _reacting(self.stage, wanted.reaction),
            screen,
            self._clock,
            size=wanted.size,
            frame_rate_hz=wanted.frame_rate_hz,
            exposure_ms=wanted.exposure_ms,
            latency_ms=wanted.latency_ms,
            rng=np.random.default_rng([self.casting.seed, 63]),
        )
        camera.open()
        return camera

    def _opened(self) -> SimulatedCamera:
        if self._camera is None:
            raise CameraLost(found="a camera that is not open", expected="an open one", remedy="call open() first")
        return self._camera

    def _info(self, *, locked: bool) -> CameraInfo:
        size, rate_hz = self.settings.size, self.settings.frame_rate_hz
        exposure_ns = self._opened().exposure_ns
        name = f"simulated camera ({self.casting.kind})"
        return CameraInfo(name, size, size, rate_hz, exposure_ns, locked, locked, simulated=True)

    @property
    def _period_ns(self) -> int:
        return round(NS_PER_S / self.settings.frame_rate_hz)

    def _run(self) -> None:
        try:
            while True:
                self._photograph_due(THREADED_PATIENCE_FRAMES)
                pause_s = -self._overdue_ns() / NS_PER_S
                if self._stopping.wait(max(pause_s, SHORTEST_PAUSE_S)):
                    return
        except Exception as error:  # told to whoever polls: an exception in a thread is heard by nobody
            self._failure = error

    def _overdue_ns(self) -> int:
        """How long the next frame could have been polled already; negative while it cannot."""
        way_ns = self._opened().exposure_ns + round(self.settings.transport_ms * NS_PER_MS)
        return self._clock_ns() - self._beat_ns - way_ns

    def _photograph_due(self, patience: int) -> None:
        while (overdue_ns := self._overdue_ns()) >= 0 and not self._stopping_thread():
            behind = overdue_ns // self._period_ns
            if behind > patience:
                self._beat_ns += behind * self._period_ns
                self.dropped += behind
            with self._camera_lock:
                self._take_beat()
            self._beat_ns += self._period_ns

    def _stopping_thread(self) -> bool:
        return self._threaded and self._stopping.is_set()

    def _take_beat(self) -> None:
        """Photograph the frame of this beat, or repeat the last, or lose it."""
        fate, wobble = self._rng.random(), self._rng.uniform(-1.0, 1.0)
        wanted = self.settings
        if fate < wanted.dropped_share:
            return
        repeated = fate < wanted.dropped_share + wanted.duplicated_share and self._last is not None
        if not repeated:
            image = self._photograph()
            red, green, blue = map(float, self._opened().gains)
            self._last = (image, self._beat_ns, (red, green, blue))
        assert self._last is not None, "a first frame is never repeated"
        self._stamp_ns = max(self._beat_ns + round(wobble * wanted.jitter_ms * NS_PER_MS), self._stamp_ns + 1)
        self._give(*self._last, repeated=repeated)

    def _photograph(self) -> npt.NDArray[np.uint8]:
        camera, clock = self._opened(), self._clock
        assert clock is not None, "made together with the camera"
        clock.advance(max(self._beat_ns - clock.now_ns(), 0))
        frame = camera.read()
        assert frame.timestamp_ns == self._beat_ns, "the camera and this file count the same beats"
        return on_the_way(frame.image, self._way_gone(self._beat_ns))

    def _way_gone(self, at_ns: int) -> float:
        """0 while the person stands far, 1 from `approach_s` on."""
        whole_s = self.settings.approach_s
        if whole_s == 0.0:
            return 1.0
        share = (at_ns - self._opened_ns) / NS_PER_S / whole_s
        return float(np.clip((share - STILL_FAR) / (1.0 - STILL_FAR), 0.0, 1.0))

    def _give(
        self, image: npt.NDArray[np.uint8], exposed_ns: int, gains: tuple[float, float, float], *, repeated: bool
    ) -> None:
        lit_ns = exposed_ns - round(self.settings.latency_ms * NS_PER_MS)
        truth = TrueFrame(self._stamp_ns, exposed_ns, lit_ns, lit_ns + self._opened().exposure_ns, repeated, gains)
        with self._queue_lock:
            if len(self._queue) == PATIENCE_FRAMES:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(CameraFrame(image, self._stamp_ns))
            self._log.append(truth)


def _reacting(stage: Stage, reaction: float | None) -> Stage:
    if reaction is None:
        return stage
    return replace(stage, phone=replace(stage.phone, exposure_reaction=reaction, balance_reaction=reaction / 2))
