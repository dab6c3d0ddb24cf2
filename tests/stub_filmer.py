"""Filmers for tests: a face drawn by a formula (`tiny_captures`), or a simulated person before a simulated webcam."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiny_captures import tiny_capture
from tiny_recordings import EXPOSURE_NS, LAG_NS, SETTLING_NS, film, presented_steps, tiny_recording

from flash_sequencer.plan import FlashPlan
from flash_sequencer.player import FlashPlayer
from flashproof.simulated_webcam import SimulatedWebcam
from sdk_reference.camera import CameraFrame
from sdk_reference.collecting import Recorded


@dataclass
class StubFilmer:
    """Films the person `subject`; raises the `trouble` of each turn first, if there is one."""

    species: str = "live"
    subject: str = "ann"
    seed: int = 100
    trouble: list[Exception | None] = field(default_factory=list)
    plans: list[FlashPlan] = field(default_factory=list)

    def film(self, plan: FlashPlan) -> Recorded:
        self.plans.append(plan)
        if self.trouble and (error := self.trouble.pop(0)) is not None:
            raise error
        self.seed += 1
        capture = tiny_capture(self.seed, self.subject, self.species, plan=plan)
        times = tiny_recording(capture).frame_timestamps_ns
        frames = tuple(CameraFrame(image, at) for image, at in zip(film(capture, times), times, strict=True))
        return Recorded(frames, presented_steps(capture), EXPOSURE_NS, LAG_NS, SETTLING_NS)


class SimulatedFilmer:
    """Films a simulated person on a clock of its own: a player shows the plan, nothing waits."""

    def __init__(self, kind: str, seed: int) -> None:
        self.now = 10**9
        self.player: FlashPlayer | None = None
        self.camera = SimulatedWebcam(lambda: self.now, self.colour_at, kind=kind, seed=seed)

    def colour_at(self, t_ns: int) -> tuple[int, int, int]:
        return (32, 32, 32) if self.player is None else self.player.colour_at(t_ns)

    def film(self, plan: FlashPlan) -> Recorded:
        self.camera.open()
        info = self.camera.lock()
        self.player = FlashPlayer(plan, lambda: self.now, ideal_display=True)
        self.player.start()
        frames: list[CameraFrame] = []
        while not self.player.finished(self.now - 150_000_000):
            self.now += 10_000_000
            frames += self.camera.poll()
        lag_ns = round(self.camera.settings.latency_ms * 1e6)
        return Recorded(tuple(frames), self.player.presented(), info.exposure_ns, lag_ns, SETTLING_NS)
