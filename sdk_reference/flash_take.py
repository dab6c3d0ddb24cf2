"""Filming a plan: the screen shows its steps, the camera's frames are kept, and nothing else is done meanwhile.

The paper takes one frame per colour. A camera gives what it gives; which frame saw which colour is decided afterwards
(`sdk_reference.frame_choice`), from all frames and from the times at which the colours really were on the screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flash_sequencer.plan import FlashPlan
from flash_sequencer.player import FlashPlayer, PresentedStep
from sdk_reference.camera import CameraFrame
from sdk_reference.display import FlashScreen, GuideScreen
from sdk_reference.errors import TimedOut
from sdk_reference.rig import Rig
from sdk_reference.session_clock import NS_PER_MS

TRAILING_NS: Final = 400 * NS_PER_MS
"""Filmed on after the last step: its light is still on the way through display and camera."""
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


def film(rig: Rig, plan: FlashPlan) -> FlashTake:
    """Show a plan and film it.

    Raises TimedOut when the display cannot keep up, and what `Rig.tick` raises.
    """
    player = FlashPlayer(plan, rig.now_ns)
    frames: list[CameraFrame] = []
    latest_ns = rig.now_ns() + PATIENCE * plan.duration_ms * NS_PER_MS
    shown: int | None = None
    player.start()
    while not player.finished(rig.now_ns()):
        index = player.step_at(rig.now_ns())
        if index is not None and index != shown:
            player.report_shown(index, rig.show(FlashScreen(plan.steps[index].srgb)))
            shown = index
        if rig.now_ns() > latest_ns:
            raise _too_slow(plan)
        frames += rig.tick(flashing=True)
    ended_ns = rig.show(GuideScreen("matching"))
    frames += rig.frames_until(rig.now_ns() + TRAILING_NS)
    return FlashTake(plan, player.presented(), tuple(frames), ended_ns)


def _too_slow(plan: FlashPlan) -> TimedOut:
    return TimedOut(
        found=f"a flash of {plan.duration_ms / 1000:g} s that took over {PATIENCE} times as long",
        expected="a display that keeps up",
        remedy="close other programs, do not use a remote desktop, and try again",
    )
