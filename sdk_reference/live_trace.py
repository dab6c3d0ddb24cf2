"""What happened in one live session, in numbers: enough to understand a verdict afterwards, and no picture of anybody.

Not in the paper, which shows results and no sessions. A session fills a `LiveTrace` as far as it came; what it did not
reach stays empty. `to_dict` is JSON; `sdk_reference.live_report` makes the engineer's page of it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from flash_sequencer.palette import Srgb
from flash_sequencer.plan import FlashPlan
from flash_sequencer.player import PresentedStep
from sdk_reference.camera import CameraInfo
from sdk_reference.display import DisplayInfo

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class StateSpan:
    """The session was in one state."""

    name: str
    """E.g. `positioning`, `flashing`."""
    start_ns: int
    """Session's clock."""
    end_ns: int


@dataclass(frozen=True)
class Shown:
    """A colour that filled the screen from then on."""

    srgb: Srgb
    at_ns: int
    """When it was presented, session's clock."""


@dataclass(frozen=True)
class TracedFrame:
    """One frame of the camera during the flash."""

    timestamp_ns: int
    """Start of its exposure, as the camera says."""
    face_linear: Rgb | None = None
    """Mean linear RGB of the face, 0 to 1; None when nobody measured it."""
    used_for_rank: int | None = None
    """Rank of the step that it was used for."""
    drop_reason: str | None = None
    """Why it was not used, e.g. `transition`."""
    gains: Rgb | None = None
    """Exposure of this frame against the first, per channel, as estimated; 1 = the same."""


@dataclass(frozen=True)
class TracedLag:
    """The estimate of display-to-camera lag."""

    lag_ns: int
    uncertainty_ns: int
    explained: float
    """Share of the frames' variance that the shown colours explain at this lag."""
    plausible: bool
    doubt: str | None = None
    """Why it must not be used."""
    curve: tuple[tuple[int, float], ...] = ()
    """(lag ns, share explained) over the lags tried, rising; may be empty."""


@dataclass(frozen=True)
class LiveTrace:
    """One session."""

    verdict: str
    """live, spoof or retry."""
    reason: str | None = None
    """Code of the first reason, if there is one."""
    states: tuple[StateSpan, ...] = ()
    """In order of time."""
    presented: tuple[Shown, ...] = ()
    """Everything the screen showed around the flash, in order of time."""
    steps: tuple[PresentedStep, ...] = ()
    """The plan's steps as they were shown."""
    frames: tuple[TracedFrame, ...] = ()
    """Every frame from shortly before the first step on, in order of time."""
    exposure_ns: int = 0
    settling_ns: int = 0
    lag: TracedLag | None = None
    exposure_corrected: bool = False
    """Whether frames were divided by their gains before they were judged."""
    safety: dict[str, Any] | None = None
    """`SafetyReport.to_dict()` of what was really presented."""
    camera: CameraInfo | None = None
    display: DisplayInfo | None = None
    plan: FlashPlan | None = None
    """With profile and nonce."""
    attempt: int = 1
    after_flash_ms: dict[str, float] = field(default_factory=dict)
    """What the time from the last flash to the verdict went to, in order."""
    notes: tuple[str, ...] = ()
    """Whatever else a reader should know, a sentence each."""

    @property
    def dropped(self) -> dict[str, int]:
        """Frames by the reason why they were not used, most frequent first."""
        return dict(Counter(frame.drop_reason for frame in self.frames if frame.drop_reason is not None).most_common())

    @property
    def used(self) -> int:
        """Frames that were used."""
        return sum(frame.used_for_rank is not None for frame in self.frames)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the plan with its hash, frames dropped by reason counted."""
        plain = asdict(self)
        plain["plan"] = None if self.plan is None else self.plan.to_dict()
        plain["plan_hash"] = None if self.plan is None else self.plan.canonical_hash()
        return plain | {"used": self.used, "dropped": self.dropped}
