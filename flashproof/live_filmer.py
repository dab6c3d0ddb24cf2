"""Films people for training with the window and the camera of a live session: what `flashproof collect` uses."""

from __future__ import annotations

from dataclasses import dataclass, field

from flash_sequencer.plan import FlashPlan
from sdk_reference.collecting import Recorded
from sdk_reference.frame_choice import FaceTrack
from sdk_reference.landmarks import LandmarkDetector
from sdk_reference.quality import QualityLimits
from sdk_reference.rig import Rig
from sdk_reference.session_settings import SessionSettings
from sdk_reference.session_states import SessionStates


@dataclass
class LiveFilmer:
    """Positions the person, lets exposure settle, shows the plan; the rig is open."""

    rig: Rig
    detector: LandmarkDetector
    settings: SessionSettings = field(default_factory=SessionSettings)
    limits: QualityLimits = field(default_factory=QualityLimits)

    def film(self, plan: FlashPlan) -> Recorded:
        """Film one presentation, whatever the light: a training needs bright rooms, too. Raises UserFailure."""
        states = SessionStates(self.rig, self.detector, self.settings, self.limits)
        track = FaceTrack(states.position())
        states.meter(track)
        take = states.flash(plan, track)
        choice = states.match(take, track)
        return Recorded(choice.take.frames, take.presented, self.rig.exposure_ns, choice.lag.lag_ns, choice.settling_ns)
