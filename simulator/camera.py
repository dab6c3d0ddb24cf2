"""A camera that sees the flash: the webcam's stand-in for the demo and for tests.

It stands where a phone's camera does (the paper's figure 1): the caller's player says what the screen shows at each
moment, the light arrives after the display's latency, and each frame integrates it over its own exposure, so a frame
during a change of colour is a mixture and must be told apart by the matching of timestamps; motion smears over the same
exposure, and exposure and white balance follow the light from frame to frame. Time is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from flash_sequencer.colour import srgb8_to_linear
from simulator.errors import SimulationError, require_between, require_one_of
from simulator.instruments import INSTRUMENTS, SPECIES
from simulator.motion import MotionWalk, image_speed_px, motion_map, move
from simulator.phone import ExposureControl
from simulator.scene import relight
from simulator.stage import Stage, set_stage

ScreenColour = Callable[[int], tuple[int, int, int]]
"""What the screen is told to show at a time in ns: sRGB, 0..255."""

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
EXPOSURE_SAMPLES = 16
"""Moments at which the screen's colour is read during an exposure; evenly spread."""


class SimulatedClock:
    """A clock that moves only when told."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = int(start_ns)

    def now_ns(self) -> int:
        """The time, ns."""
        return self._now_ns

    def advance(self, by_ns: int) -> None:
        """Let `by_ns` >= 0 pass."""
        if by_ns < 0:
            raise SimulationError(found=f"advance by {by_ns} ns", expected="0 or more", remedy="time only goes forward")
        self._now_ns += int(by_ns)


@dataclass(frozen=True)
class CameraFrame:
    """One photograph."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    timestamp_ns: int
    """The start of its exposure on the clock, as phones report it."""


class SimulatedCamera:
    """Photographs a stage at a steady rate while somebody else decides what the screen shows."""

    def __init__(
        self,
        person: Stage,
        screen: ScreenColour,
        clock: SimulatedClock,
        *,
        size: int = 256,
        frame_rate_hz: float = 30.0,
        exposure_ms: float = 20.0,
        latency_ms: float = 45.0,
        rng: np.random.Generator,
    ) -> None:
        """`latency_ms`: from the command to show a colour to its light on the face."""
        require_between("frame_rate_hz", frame_rate_hz, 1.0, 240.0, "give the camera's frames per second")
        require_between(
            "exposure_ms", exposure_ms, 0.1, 1000.0 / frame_rate_hz, "an exposure ends before the next frame"
        )
        require_between("latency_ms", latency_ms, 0.0, 500.0, "give the display's latency in ms")
        self.person, self.size = person, int(size)
        self._screen, self._clock, self._rng = screen, clock, rng
        self._period_ns = round(NS_PER_S / frame_rate_hz)
        self._exposure_ns = round(exposure_ms * NS_PER_MS)
        self._latency_ns = round(latency_ms * NS_PER_MS)
        self._next_ns: int | None = None
        self._last_ns = 0

    @property
    def exposure_ns(self) -> int:
        """Length of an exposure."""
        return self._exposure_ns

    @property
    def gains(self) -> np.ndarray:
        """(3,) what the last frame's exposure and balance multiply each channel by: full scale per cd/m²."""
        return self._exposure.gain * self._exposure.balance

    def open(self) -> None:
        """Start the stream: meter the scene under a grey screen, at rest."""
        self.meter()
        self._walk = MotionWalk(self._rng, self.person.distance_cm)
        self._next_ns = self._last_ns = self._clock.now_ns()

    def meter(self, *, hold: bool = False) -> None:
        """Set exposure and balance anew, by a grey screen, as before a flash; `hold`: nothing moves them afterwards."""
        person = self.person
        metered = relight(person.layers, person.lighting.screen.radiance(np.full(3, person.phone.metering_level)))
        phone = person.phone
        if hold:
            phone = replace(phone, exposure_reaction=0.0, exposure_jitter=0.0, balance_reaction=0.0, balance_drift=0.0)
        self._exposure = ExposureControl(phone, metered, self._rng)

    def close(self) -> None:
        """Stop the stream; reading on is an error."""
        self._next_ns = None

    def read(self) -> CameraFrame:
        """Wait (on the clock) for the next frame's exposure to end and return it; frames slept through are dropped."""
        if self._next_ns is None:
            raise SimulationError(found="a camera that is not open", expected="an open one", remedy="call open() first")
        start_ns = self._next_beat(self._next_ns)
        self._clock.advance(max(start_ns + self._exposure_ns - self._clock.now_ns(), 0))
        elapsed_s = (start_ns - self._last_ns) / NS_PER_S
        motion = self._walk.step(elapsed_s)
        person = self.person
        source = motion_map(person.layers, motion, person.middle_cm, person.view, self.size)
        radiance = person.lighting.screen.radiance(self.screen_light(start_ns))
        image = self._exposure.photograph(
            move(relight(person.layers, radiance), source),
            elapsed_s=elapsed_s,
            speed_px=image_speed_px(self._walk.speed(), person.middle_cm, person.view, self.size),
            exposure_s=self._exposure_ns / NS_PER_S,
        )
        self._last_ns, self._next_ns = start_ns, start_ns + self._period_ns
        return CameraFrame(image, start_ns)

    def screen_light(self, start_ns: int) -> np.ndarray:
        """Mean linear colour (3,) of the screen's light over the exposure that starts at `start_ns`."""
        moments = (
            start_ns - self._latency_ns + (np.arange(EXPOSURE_SAMPLES) + 0.5) / EXPOSURE_SAMPLES * self._exposure_ns
        )
        shown = np.array([self._screen(int(moment)) for moment in moments])
        if shown.shape != (EXPOSURE_SAMPLES, 3) or shown.min() < 0 or shown.max() > 255:
            raise SimulationError(
                found=f"a screen that shows {shown[0]!r}",
                expected="sRGB triples from 0 to 255",
                remedy="let the screen function return the colour shown at that time",
            )
        return srgb8_to_linear(shown.astype(np.uint8)).mean(0)

    def _next_beat(self, planned_ns: int) -> int:
        late_ns = self._clock.now_ns() - planned_ns
        return planned_ns if late_ns <= 0 else planned_ns + -(-late_ns // self._period_ns) * self._period_ns


def simulated_camera(
    kind: str, seed: int, screen: ScreenColour, clock: SimulatedClock, size: int = 256
) -> SimulatedCamera:
    """A camera before a random person or artefact of this kind: live, print, replay or mask."""
    require_one_of("kind", kind, SPECIES, "choose what stands before the camera")
    rng = np.random.default_rng([int(seed), 99])
    instrument = str(rng.choice(INSTRUMENTS[kind]))
    stage = set_stage(int(seed), int(rng.integers(1_000_000)), kind, instrument, size)
    return SimulatedCamera(stage, screen, clock, size=size, rng=rng)
