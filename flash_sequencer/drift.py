"""How the camera's exposure and white balance moved during the flash, and what to multiply by to undo it.

A camera that cannot be locked takes back part of what the screen gives (not in the paper, whose frames are taken with a
steady camera). Its gain per frame and channel is measured relative to the first frame, in one of two ways:

- on the background, which the screen hardly lights: its mean in each frame over that in the first. A background that
  the screen does light makes a drift of its own, of the size of its share in that light, and a moving one another.
- on the face, by relations that are known: frames of one colour must look alike however long it has stood, and the
  steps must stand to each other as their colours do. That is the drift part of the fit behind `lag.estimate_lag`.

What cannot be told apart: a gain that follows the screen at once and for as long as a colour stands looks like a face
that answers less, and a change common to all frames has no first frame to be held against. Without a background, then,
what is found is the part of the drift that is late or slow. A change of the room's light in the same rhythm is seen as
drift, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from flash_sequencer.errors import MatchingError
from flash_sequencer.lag import LagEstimate

__all__ = ["Drift", "compensated", "drift_from_background", "drift_from_face"]

FloatArray = npt.NDArray[np.float64]
DARKEST = 1e-3  # linear: about a third of the first of 255 levels; below it a ratio is noise
MAX_FACTOR = 4.0


@dataclass(frozen=True, eq=False)
class Drift:
    """Gain of each frame relative to the first."""

    gains: FloatArray
    """(F,3) float64, per channel, positive; 1 = as in the first frame."""
    source: Literal["background", "face"]

    @property
    def exposure(self) -> FloatArray:
        """(F,) what all three channels share: the geometric mean of the gains."""
        shared: FloatArray = np.exp(np.log(self.gains).mean(axis=1))
        return shared

    @property
    def largest_exposure_change(self) -> float:
        """Brightest over darkest frame by exposure, at least 1."""
        return float(self.exposure.max() / self.exposure.min())

    @property
    def largest_balance_change(self) -> float:
        """The same of any channel beside the exposure: how far white balance moved, at least 1."""
        balance = self.gains / self.exposure[:, None]
        return float((balance.max(axis=0) / balance.min(axis=0)).max())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `gains` as three numbers per frame."""
        return {
            "source": self.source,
            "gains": np.round(self.gains, 4).tolist(),
            "largest_exposure_change": round(self.largest_exposure_change, 4),
            "largest_balance_change": round(self.largest_balance_change, 4),
        }


def drift_from_background(background: npt.ArrayLike) -> Drift:
    """Measure drift on the mean linear RGB (F,3), about 0 to 1, of what the screen hardly lights.

    Raises MatchingError where it is too dark, or not a finite number per frame and channel.
    """
    means = np.asarray(background, dtype=np.float64)
    if means.ndim != 2 or means.shape[-1] != 3 or not len(means) or not np.isfinite(means).all():
        raise MatchingError(f"found background of shape {means.shape}; expected (F, 3) finite values; pass its means")
    if means.min() < DARKEST:
        found = f"found a background as dark as {means.min():.2g}"
        raise MatchingError(f"{found}; expected {DARKEST} or more; measure the drift on the face instead")
    return Drift(means / means[0], "background")


def drift_from_face(estimate: LagEstimate) -> Drift:
    """The drift that the lag's fit found in the face. Raises MatchingError when the frames do not follow the screen."""
    if not estimate.plausible:
        doubt = "none" if estimate.doubt is None else estimate.doubt.value
        raise MatchingError(f"found frames in doubt ({doubt}); expected a plausible lag; repeat the capture")
    return Drift(estimate.drift, "face")


def compensated(gains: npt.ArrayLike) -> FloatArray:
    """(F,3) what to multiply the linear values of each frame and channel by, so that all are exposed as the first.

    `gains` (F,3) positive; factors beyond 4 either way are refused with MatchingError: little of the picture is left.
    """
    values = np.asarray(gains, dtype=np.float64)
    if not np.isfinite(values).all() or not values.min(initial=1.0) > 0:
        raise MatchingError("found gains that are no positive numbers; expected those of a Drift; measure again")
    factors: FloatArray = 1 / values
    if max(factors.max(initial=1.0), values.max(initial=1.0)) > MAX_FACTOR:
        found = f"found a drift of {max(factors.max(), values.max()):.1f} times"
        raise MatchingError(f"{found}; expected at most {MAX_FACTOR:g}; lock the exposure or repeat the capture")
    return factors
