"""How late the camera sees the screen, found in the filmed sequence itself. The paper takes lag for granted.

For each lag on a grid, the light that every frame gathered is worked out from what was shown (the screen's linear
colour, averaged over the exposure) and fitted to the mean colour of the face, channel by channel:

    mean ≈ room + gain · light + drift,   drift = a combination of m, m · light, t and t · light

where t is time and m the luminance of the screen as a slow meter sees it: automatic exposure that follows the flash
takes gain away in proportion to m, and a slow change of exposure or room is one in t. The drift terms are held down by
a small ridge, so that they explain what the screen cannot; how far the camera drifted is not read off them but found
afterwards, at the lag, by `flash_sequencer.drift`. The lag with the least residual is taken; frames that straddle a
change tell it to within milliseconds. The exposure given is an upper bound: shorter ones are tried, too, and what that
leaves open is part of the uncertainty.

Frames can change in time with the screen and yet answer another plan (a recording played in). So the colours of the
steps are fitted freely as well, at the same lag. What they leave over is noise; how much of what they explain the
plan's own colours explain is the agreement; and how much of what they explain beyond a grey screen of the same
luminance, the hue agreement. Limits are provisional: chosen on made-up sequences (`flash_sequencer.lag_trial`, seeds 1
and 7) and ten simulated sessions, and not yet held against others.

Frames that do not follow the screen are no error but an answer: `LagEstimate.doubt` says what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from flash_sequencer.errors import MatchingError
from flash_sequencer.lag_fit import Candidates, FloatArray, Judgement, Scan, judged, scanned
from flash_sequencer.palette import Srgb
from flash_sequencer.player import DARK_SURROUND, PresentedStep
from flash_sequencer.screen_light import NS_PER_S, ScreenLight

__all__ = ["LagDoubt", "LagEstimate", "estimate_lag"]

LONGEST_LAG_S = 0.5
COARSE_S, FINE_S = 0.005, 0.001
COARSE_EXPOSURES, FINE_EXPOSURES = (1.0, 0.6, 0.3), (1.0, 0.8, 0.6, 0.45, 0.3, 0.2)  # shares of the upper bound
METER_MEMORY_S = (0.06, 0.2, 0.5)
LEAD_S = 0.1  # frames that began earlier before the first step are not used
SEPARATE_S = 0.04  # another minimum is at least as far away
# Least uncertainty, and this share of the exposure on top: what is not modelled, as the roll of the shutter.
FLOOR_NS, FLOOR_SHARE = 2_000_000, 0.2

SPARE_FRAMES = 4
MIN_FREE_EXPLAINED = 0.6
MIN_AGREEMENT = 0.85
# A camera mixes the channels: of 8 live faces before the simulator's, 7 reached 0.69 to 0.99 and one (gentle) 0.08.
MIN_HUE_AGREEMENT = 0.3
MIN_SIGNAL_TO_NOISE = 2.0
MAX_UNCERTAINTY_NS = 60_000_000
MAX_RUNNER_UP = 0.97
MAX_LAG_NS = 300_000_000  # a plan that is another one shifted by a step of 300 ms fits later than that


class LagDoubt(str, Enum):
    """Why an estimate must not be used."""

    TOO_FEW_FRAMES = "too_few_frames"
    """Too few different frames lie between the first step and the last light."""
    NO_ANSWER = "no_answer"
    """The frames change too little, or in another rhythm than the screen."""
    OTHER_COLOURS = "other_colours"
    """They change in time with the screen, but not to its colours (or darken where it lights up): another plan."""
    AMBIGUOUS = "ambiguous"
    """Lags far apart explain them about as well."""
    OUT_OF_RANGE = "out_of_range"
    """The best lag is none that a screen and a camera have: under 5 or over 300 ms, by when the next step may be on."""


@dataclass(frozen=True, eq=False)
class LagEstimate:
    """What `estimate_lag` found."""

    lag_ns: int
    """From showing a colour to its light in the camera; 0 when there were too few frames."""
    uncertainty_ns: int
    """How far the true lag may lie from it, either way (about 5 standard deviations)."""
    exposure_ns: int
    """Of the exposures tried, the one that fits best; only roughly known."""
    doubt: LagDoubt | None
    """Why the estimate must not be used, or None."""
    explained: float
    """Share of the frames' variance that the plan's colours explain, at most 1."""
    free_explained: float
    """The same for any colours that change when the screen did."""
    agreement: float
    """How much of what free colours explain the plan's colours explain, beyond noise; at most 1."""
    hue_agreement: float
    """The same of what free colours explain beyond a grey screen of the plan's luminances; at most 1."""
    runner_up_ns: int | None
    """The best lag elsewhere, if there is another minimum."""
    runner_up_explained: float
    """Share of the variance explained there, relative to `explained`; 0 if there is none."""
    signal_to_noise: float
    """Root mean square of the frames' answer over that of the noise of one frame."""
    frames: int
    """How many frames the estimate rests on."""
    curve: tuple[tuple[int, float], ...] = ()
    """(lag ns, share explained) over the coarse grid from 0 to half a second, rising; empty with too few frames."""

    @property
    def plausible(self) -> bool:
        """Whether the frames follow the screen."""
        return self.doubt is None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `curve` as a list of two numbers per lag."""
        numbers = ("explained", "free_explained", "agreement", "hue_agreement", "runner_up_explained")
        return {
            "plausible": self.plausible,
            "doubt": None if self.doubt is None else self.doubt.value,
            "lag_ns": self.lag_ns,
            "uncertainty_ns": self.uncertainty_ns,
            "exposure_ns": self.exposure_ns,
            **{name: round(float(getattr(self, name)), 4) for name in numbers},
            "runner_up_ns": self.runner_up_ns,
            "signal_to_noise": round(self.signal_to_noise, 3),
            "frames": self.frames,
            "curve": [[lag_ns, round(explained, 4)] for lag_ns, explained in self.curve],
        }


def estimate_lag(
    presented: Sequence[PresentedStep],
    frame_timestamps_ns: Sequence[int],
    means: npt.ArrayLike,
    *,
    exposure_ns: int,
    surround: Srgb = DARK_SURROUND,
) -> LagEstimate:
    """Estimate the lag of frames whose faces have the mean linear RGB `means` (F,3), about 0 to 1.

    `presented` in time order; `frame_timestamps_ns` (F) starts of exposure; `exposure_ns` an upper bound; `surround`
    (8-bit sRGB) must have stood on the screen for a third of a second before the first step, and after the last.
    Repeated frames (a time or means of the frame before) are left out. Raises MatchingError for input that makes no
    sense; frames that do not follow the screen give an estimate with a `doubt`.
    """
    values = _checked(presented, frame_timestamps_ns, means, exposure_ns)
    light = ScreenLight(presented, surround)
    starts_s = light.seconds(frame_timestamps_ns)
    last_s = float(light.seconds(presented[-1].ended_at_ns))
    used = _fresh(starts_s, values) & (starts_s >= -LEAD_S) & (starts_s <= last_s + LONGEST_LAG_S)
    if used.sum() < len(presented) + SPARE_FRAMES or not np.ptp(values[used], axis=0).any():
        return _nothing(int(used.sum()), exposure_ns, len(presented))
    candidates = Candidates(light, starts_s[used], values[used], exposure_ns / NS_PER_S)
    coarse = scanned(
        candidates, np.arange(0.0, LONGEST_LAG_S + COARSE_S / 2, COARSE_S), COARSE_EXPOSURES, METER_MEMORY_S
    )
    low_s, high_s = coarse.acceptable()
    first_s = max(low_s - COARSE_S, coarse.best.lag_s - SEPARATE_S)
    last_s = min(high_s + COARSE_S, coarse.best.lag_s + SEPARATE_S)
    fine = scanned(candidates, np.arange(first_s, last_s, FINE_S), FINE_EXPOSURES, METER_MEMORY_S)
    return _estimate(candidates, coarse, fine)


def _estimate(candidates: Candidates, coarse: Scan, fine: Scan) -> LagEstimate:
    low_s, high_s = fine.acceptable()
    if coarse.acceptable()[0] < low_s - COARSE_S or coarse.acceptable()[1] > high_s + COARSE_S:
        low_s, high_s = coarse.acceptable()
    near_s = fine.acceptable(sigmas=1.0)
    best = fine.best._replace(lag_s=sum(near_s) / 2)
    judgement = judged(candidates, best)
    runner_up = coarse.runner_up(SEPARATE_S)
    runner_explained = 0.0 if runner_up is None else max(1 - runner_up.residual / candidates.total, 0.0)
    explained = 1 - fine.best.residual / candidates.total
    lag_ns = round(best.lag_s * NS_PER_S)
    floor_s = FLOOR_NS / NS_PER_S + FLOOR_SHARE * candidates.longest_exposure_s
    uncertainty_ns = round(floor_s * NS_PER_S) + round(max(high_s - best.lag_s, best.lag_s - low_s, 0.0) * NS_PER_S)
    relative = runner_explained / explained if explained > 0 else 1.0
    return LagEstimate(
        lag_ns=lag_ns,
        uncertainty_ns=uncertainty_ns,
        exposure_ns=round(best.exposure_s * NS_PER_S),
        doubt=_doubt(judgement, lag_ns, uncertainty_ns, relative),
        explained=explained,
        free_explained=judgement.free_explained,
        agreement=judgement.agreement,
        hue_agreement=judgement.hue_agreement,
        runner_up_ns=None if runner_up is None else round(runner_up.lag_s * NS_PER_S),
        runner_up_explained=relative,
        signal_to_noise=judgement.signal_to_noise,
        frames=len(candidates.values),
        curve=_curve(coarse, candidates.total),
    )


def _curve(scan: Scan, total: float) -> tuple[tuple[int, float], ...]:
    lags_ns = np.rint(scan.lags_s * NS_PER_S).astype(np.int64)
    return tuple(zip(lags_ns.tolist(), (1 - scan.residuals / total).tolist(), strict=True))


def _doubt(judgement: Judgement, lag_ns: int, uncertainty_ns: int, runner_up: float) -> LagDoubt | None:
    if judgement.free_explained < MIN_FREE_EXPLAINED or judgement.signal_to_noise < MIN_SIGNAL_TO_NOISE:
        return LagDoubt.NO_ANSWER
    if min(judgement.agreement - MIN_AGREEMENT, judgement.hue_agreement - MIN_HUE_AGREEMENT, judgement.least_gain) < 0:
        return LagDoubt.OTHER_COLOURS
    if not COARSE_S * NS_PER_S < lag_ns <= MAX_LAG_NS:
        return LagDoubt.OUT_OF_RANGE
    if uncertainty_ns > MAX_UNCERTAINTY_NS or runner_up > MAX_RUNNER_UP:
        return LagDoubt.AMBIGUOUS
    return None


def _fresh(starts_s: FloatArray, values: FloatArray) -> npt.NDArray[np.bool_]:
    """Per frame: whether it is later than all before it and not the picture before it again."""
    earlier = np.maximum.accumulate(np.concatenate([[-np.inf], starts_s[:-1]]))
    repeated = np.concatenate([[False], (np.diff(values, axis=0) == 0).all(axis=1)])
    return np.asarray((starts_s > earlier) & ~repeated)


def _nothing(used: int, exposure_ns: int, steps: int) -> LagEstimate:
    doubt = LagDoubt.TOO_FEW_FRAMES if used < steps + SPARE_FRAMES else LagDoubt.NO_ANSWER
    zeros = (0.0, 0.0, 0.0, 0.0)
    return LagEstimate(0, MAX_UNCERTAINTY_NS, exposure_ns, doubt, *zeros, None, 0.0, 0.0, used)


def _checked(
    presented: Sequence[PresentedStep], starts_ns: Sequence[int], means: npt.ArrayLike, exposure_ns: int
) -> FloatArray:
    values = np.asarray(means, dtype=np.float64)
    if values.shape != (len(starts_ns), 3) or not np.isfinite(values).all():
        found = f"found means of shape {values.shape}, {int((~np.isfinite(values)).sum())} of them not finite"
        raise MatchingError(f"{found}; expected ({len(starts_ns)}, 3) finite linear values; leave faceless frames out")
    if exposure_ns <= 0:
        raise MatchingError(f"found exposure {exposure_ns} ns; expected a positive upper bound; ask the camera for it")
    if len(presented) < 2 or any(
        step.ended_at_ns <= step.shown_at_ns or step.shown_at_ns < before.ended_at_ns
        for before, step in pairwise(presented)
    ):
        raise MatchingError("found no steps in time order; expected those of a plan; pass FlashPlayer.presented()")
    return values
