"""A whole live session without a window and without waiting: headless display, simulated webcam, virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from flash_sequencer.presentation import Presentation
from flashproof.headless import HeadlessDisplay
from flashproof.simulated_people import SimulatedWebcamSettings
from flashproof.simulated_webcam import SimulatedWebcam
from sdk_reference.bundle import SHIPPED_BUNDLE, load_bundle
from sdk_reference.camera import CameraStream
from sdk_reference.checker import Checker
from sdk_reference.landmarks import FaceMeshDetector
from sdk_reference.nonce_book import NonceBook
from sdk_reference.rig import Rig
from sdk_reference.session import LiveSession, SessionResult
from sdk_reference.session_clock import VirtualClock
from sdk_reference.session_settings import SessionSettings

QUICK = SessionSettings(attempts=1, warning_s=0.2, positioning_s=4.0, lighting_s=4.0, hint_s=0.3, result_s=0.2)


@lru_cache(maxsize=1)
def detector() -> FaceMeshDetector:
    """One for all tests of a process: it takes half a second to load."""
    return FaceMeshDetector()


@lru_cache(maxsize=1)
def shipped_checker() -> Checker:
    """The shipped model."""
    return Checker(load_bundle(SHIPPED_BUNDLE), detector())


@dataclass
class Scene:
    """Who is filmed by what; `hold` runs the session."""

    kind: str = "live"
    seed: int = 2
    lux: float = 60.0
    camera: SimulatedWebcamSettings = field(default_factory=SimulatedWebcamSettings)
    settings: SessionSettings = QUICK
    jitter_ns: int = 0
    wrap: Callable[[SimulatedWebcam, VirtualClock, Presentation], CameraStream] = lambda camera, *_: camera
    """Puts something between camera and session."""

    def __post_init__(self) -> None:
        self.clock, self.presentation = VirtualClock(), Presentation()
        self.display = HeadlessDisplay(self.clock, self.jitter_ns)
        self.webcam = self.webcam_of(self.kind, self.seed)
        self.nonces = NonceBook(source=np.random.default_rng(self.seed).bytes)  # the same plans in every run
        self.states: list[str] = []

    def webcam_of(self, kind: str, seed: int) -> SimulatedWebcam:
        """A camera before somebody in the same light."""
        return SimulatedWebcam(
            self.clock.now_ns,
            self.presentation.colour_at,
            kind=kind,
            seed=seed,
            settings=self.camera,
            ambient_lux=self.lux,
        )

    def hold(self, checker: Checker | None = None, nonce: str | None = None) -> SessionResult:
        """Hold the session."""
        camera = self.wrap(self.webcam, self.clock, self.presentation)
        return LiveSession(
            Rig(camera, self.display, self.clock, self.presentation),
            checker or shipped_checker(),
            detector(),
            self.nonces,
            self.settings,
            nonce=nonce,
            on_state=self.states.append,
        ).run()
