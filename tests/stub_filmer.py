"""A filmer for tests: shows a plan to a face drawn by a formula (`tiny_captures`), with lag and settling."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiny_captures import tiny_capture
from tiny_recordings import EXPOSURE_NS, LAG_NS, SETTLING_NS, film, presented_steps, tiny_recording

from flash_sequencer.plan import FlashPlan
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
