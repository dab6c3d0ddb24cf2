"""From what was measured and what the model said to a verdict, in an order in which doubt comes first.

The paper decides by the score alone; the authors' released code also refuses captures whose flash response disagrees
with the screen on more than 2 of 6 differences. We put a third verdict before both: `retry`, for captures that nobody
should judge. `live` is what remains when nothing failed, nothing disagrees and the score reaches the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from sdk_reference.errors import ModelFailed, UserFailure
from sdk_reference.manifest import SPECIES_ORDER
from sdk_reference.runtime import ModelOutputs

Verdict = Literal["live", "spoof", "retry"]

EXIT_STATUS: Final[Mapping[str, int]] = {"live": 0, "spoof": 1, "retry": 2}
"""What `flashproof check` ends with; errors are 3 and above."""


@dataclass(frozen=True)
class Reason:
    """Why a verdict is not live."""

    code: str
    """Stable and machine-readable, e.g. `flash_too_weak`."""

    message: str
    """What was found and what was expected."""

    hint: str
    """What a person can do about it."""


@dataclass(frozen=True)
class Decision:
    """The answer to one capture."""

    verdict: Verdict
    score: float | None
    """Probability of live by the model, 0..1; None when the capture never reached the model."""

    threshold: float
    """A score at or above it may be live."""

    species: str | None
    """For a spoof the likeliest kind (print, replay or mask), else None."""

    reasons: tuple[Reason, ...]
    """Empty exactly when the verdict is live."""

    timings_ms: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock milliseconds by stage."""

    bundle: str = ""
    """Name, version and hash of the bundle that decided."""

    def __post_init__(self) -> None:
        # The last guard: no code path may build a live decision out of doubt.
        scored = self.score is not None and self.threshold <= self.score <= 1
        if (self.verdict == "live") != (not self.reasons) or (self.verdict == "live" and not scored):
            raise ValueError(f"a {self.verdict} decision with score {self.score} and {len(self.reasons)} reasons")

    @property
    def exit_status(self) -> int:
        return EXIT_STATUS[self.verdict]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that `flashproof check --json` prints."""
        return {
            "verdict": self.verdict,
            "score": self.score,
            "threshold": self.threshold,
            "species": self.species,
            "reasons": [{"code": r.code, "message": r.message, "hint": r.hint} for r in self.reasons],
            "timings_ms": {stage: round(spent, 3) for stage, spent in self.timings_ms.items()},
            "bundle": self.bundle,
        }


def decide(
    outputs: ModelOutputs,
    failures: Sequence[UserFailure],
    disagreeing: npt.NDArray[np.bool_],
    *,
    threshold: float,
    max_disagreeing_rows: int,
    timings_ms: Mapping[str, float] | None = None,
    bundle: str = "",
) -> Decision:
    """Judge one capture.

    `failures` are the quality limits that it missed; `disagreeing` (N,) bool tells for each difference whether the
    colour that the model saw contradicts the colour that the plan showed. A capture with failures is `retry` whatever
    its score. Raises ModelFailed for outputs or a threshold that are not finite numbers in range.
    """
    check_numbers(outputs, threshold)
    if failures:
        verdict: Verdict = "retry"
        reasons = tuple(reason_of(failure) for failure in failures)
    else:
        reasons = tuple(doubts(outputs.score, disagreeing, threshold, max_disagreeing_rows))
        verdict = "spoof" if reasons else "live"
    species = SPECIES_ORDER[int(outputs.type.argmax())] if verdict == "spoof" else None
    return Decision(verdict, outputs.score, threshold, species, reasons, dict(timings_ms or {}), bundle)


def retry(
    failure: UserFailure, *, threshold: float, timings_ms: Mapping[str, float] | None = None, bundle: str = ""
) -> Decision:
    """The decision on a capture that failed before it reached the model."""
    return Decision("retry", None, threshold, None, (reason_of(failure),), dict(timings_ms or {}), bundle)


def check_numbers(outputs: ModelOutputs, threshold: float) -> None:
    """Raise ModelFailed unless every number that the verdict rests on is finite and in range.

    The backend has checked its own outputs; this check does not rely on that, since NaN compares false with everything.
    """
    if not (math.isfinite(threshold) and 0 < threshold <= 1):
        raise failed(f"a threshold of {threshold}", "above 0 and at most 1")
    if not (math.isfinite(outputs.score) and 0 <= outputs.score <= 1):
        raise failed(f"a score of {outputs.score}", "0 to 1")
    if outputs.type.shape != (len(SPECIES_ORDER),) or not np.isfinite(outputs.type).all():
        raise failed("type probabilities that are not finite", f"{len(SPECIES_ORDER)} finite numbers")
    if not (np.isfinite(outputs.depth).all() and np.isfinite(outputs.flash_response).all()):
        raise failed("a depth map or flash response with values that are not finite", "finite numbers")


def doubts(score: float, disagreeing: npt.NDArray[np.bool_], threshold: float, allowed: int) -> list[Reason]:
    """Every reason to call a usable capture a spoof."""
    found = []
    count = int(np.count_nonzero(disagreeing))
    if disagreeing.size == 0:
        raise failed("no flash response to compare with the plan", "one row per difference")
    if count > allowed:
        found.append(
            Reason(
                "response_mismatch",
                f"the face answered {count} of {disagreeing.size} screen changes in another colour than was shown; "
                f"at most {allowed} may disagree",
                "record a new capture with a fresh challenge; frames of an earlier session do not answer it",
            )
        )
    if not score >= threshold:
        found.append(
            Reason(
                "score_below_threshold",
                f"the score {score:.3f} is below the threshold {threshold:.3f}",
                "for a real face: less light around, phone at 25 to 35 cm, hold still, then try again",
            )
        )
    return found


def reason_of(failure: UserFailure) -> Reason:
    """A failed quality limit as a reason."""
    return Reason(failure.code, f"found {failure.found}; expected {failure.expected}", failure.remedy)


def failed(found: str, expected: str) -> ModelFailed:
    return ModelFailed(found=found, expected=expected, remedy="check the bundle with `flashproof verify`")
