"""Filming a plan: the screen shows its steps, the camera's frames are kept, and nothing else is done meanwhile.

The paper takes one frame per colour. A camera gives what it gives; which frame saw which colour is decided afterwards
(`sdk_reference.frame_choice`), from all frames and from the times at which the colours really were on the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from flash_sequencer.plan import FlashPlan
from flash_sequencer.player import FlashPlayer, PresentedStep
from sdk_reference.camera import CameraFrame
from sdk_reference.display import FlashScreen, GuideScreen
from sdk_reference.errors import TimedOut
from sdk_reference.flash_watch import FlashWatch
from sdk_reference.rig import Rig
from sdk_reference.session_clock import NS_PER_MS

LEAD_NS: Final = 500 * NS_PER_MS
"""Filmed before the first step, with the screen dark: the estimate of the lag begins from there."""
PATIENCE: Final = 3
"""Times its planned length that a presentation may take, display frames that come late included."""


@dataclass(frozen=True, eq=False)
class FlashTake:
    """What was shown and what was filmed meanwhile."""

    plan: FlashPlan
    presented: tuple[PresentedStep, ...]
    """The steps at the times at which they were on the screen, in time order."""
    frames: tuple[CameraFrame, ...]
    """All of them, oldest first."""
    ended_ns: int
    """When the last step was taken off the screen."""

    def with_frames(self, frames: Sequence[CameraFrame]) -> FlashTake:
        """The same film, gone on: the last step's light is still under way when it leaves the screen."""
        return replace(self, frames=(*self.frames, *frames))


def film(rig: Rig, plan: FlashPlan, see: Callable[[CameraFrame], None], watch: FlashWatch) -> FlashTake:
    """Show a plan and film it until its last step is over; `see` is given every frame at once and must be quick.

    Raises TimedOut when the display cannot keep up, and what `Rig.tick`, `see` and `watch` raise.
    """
    player = FlashPlayer(plan, rig.now_ns)
    rig.show(GuideScreen("flashing"))
    frames: list[CameraFrame] = []

    def keep(new: Iterable[CameraFrame]) -> None:
        for frame in new:
            frames.append(frame)
            see(frame)

    begins_ns = rig.now_ns() + LEAD_NS
    while rig.now_ns() < begins_ns:
        keep(new := rig.tick(flashing=True, wake_ns=begins_ns))
        for frame in new[-1:]:
            watch.glance(frame, begins_ns)
    latest_ns = rig.now_ns() + PATIENCE * plan.duration_ms * NS_PER_MS
    shown: int | None = None
    player.start()
    while not player.finished(rig.now_ns()):
        index = player.step_at(rig.now_ns())
        if index is not None and index != shown:
            preview = frames[-1].image if frames else None
            player.report_shown(index, rig.show(FlashScreen(plan.steps[index].srgb, preview)))
            shown = index
        if rig.now_ns() > latest_ns:
            raise _too_slow(plan)
        keep(new := rig.tick(flashing=True))
        due_ns = player.change_due_ns()
        for frame in new[-1:]:
            if index is not None and due_ns is not None:
                watch.glance(frame, due_ns, plan.steps[index].srgb)
    ended_ns = rig.show(GuideScreen("matching"))
    return FlashTake(plan, player.presented(), tuple(frames), ended_ns)


def _too_slow(plan: FlashPlan) -> TimedOut:
    return TimedOut(
        found=f"a flash of {plan.duration_ms / 1000:g} s that took over {PATIENCE} times as long",
        expected="a display that keeps up",
        remedy="close other programs, do not use a remote desktop, and try again",
    )
