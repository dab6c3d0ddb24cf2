"""Captures of an evaluation made up by hand, with what became of them, so that tables can be counted on fingers."""

from __future__ import annotations

from typing import Any

from sdk_reference.capture import Labels
from training.outcomes import Outcome
from training.store import StoredCapture


def outcome(
    species: str = "live",
    score: float | None = 0.9,
    refusal: str | None = None,
    *,
    threshold: float = 0.5,
    **labels: Any,
) -> Outcome:
    """One capture; without a score no face was found. The verdict follows from gates and score."""
    named = Labels(simulated=True, species=species, **({"subject": "a"} | labels))
    refused = None if score is not None else {"code": refusal or "no_face"}
    record = StoredCapture(0, "000000.zip", 1, "00", vars(named), refused, None, None)
    code = refusal or (refused and refused["code"])
    accepted = score is not None and score >= threshold
    verdict = "retry" if code else "live" if accepted else "spoof"
    reasons = (code,) if code else () if accepted else ("score_below_threshold",)
    return Outcome(record, code, score, accepted, verdict, reasons)  # type: ignore[arg-type]
