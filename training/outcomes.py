"""What became of each capture of a split: refused, judged live or judged a spoof, and why.

Everything that an evaluation counts is counted from this list, so that tables cannot disagree on what a capture was.
The verdict is the phone's: `sdk_reference.decide.decide` itself is asked, with the gates and the flash response.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sdk_reference.decide import Verdict, decide
from sdk_reference.quality import Quality, failures
from sdk_reference.response import disagreements
from training.data import UNKNOWN, Example, PreparedData
from training.evaluated_model import Model
from training.scoring import Scored
from training.splits import SPLITS, split_of
from training.store import StoredCapture

ALL = "all"  # the name of all splits together


@dataclass(frozen=True)
class Outcome:
    """One capture and what became of it."""

    record: StoredCapture
    refusal: str | None
    """Code of the first reason for which nobody should judge it; None when it was judged."""
    score: float | None
    """Probability of live; None when no face could be aligned."""
    accepted: bool
    """Whether the score alone reaches the threshold; False without a score."""
    verdict: Verdict
    """What a phone says: gates, flash response and score together."""
    reasons: tuple[str, ...]
    """Codes of the verdict's reasons; none of a live one."""

    @property
    def species(self) -> str:
        """`live`, `print`, `replay` or `mask`."""
        return self.record.species

    @property
    def is_live(self) -> bool:
        """Whether a live person was before the camera."""
        return self.species == "live"

    @property
    def judged(self) -> bool:
        """Whether it counts in the rates: a face was aligned and no quality limit missed."""
        return self.refusal is None

    def label(self, name: str) -> str:
        """Return a label as text, `unknown` where there is none."""
        value = self.record.labels.get(name)
        return UNKNOWN if value is None else str(value)

    def number(self, name: str) -> float | None:
        """Return a label that is a number, else None."""
        value = self.record.labels.get(name)
        return float(value) if isinstance(value, int | float) else None


def names_of(split: str) -> tuple[str, ...]:
    """Return the splits that a choice of `--split` stands for."""
    return SPLITS if split == ALL else (split,)


def examples_of(data: PreparedData, split: str) -> list[Example]:
    """Return the captures of a split in which a face was aligned, those beyond a quality limit included."""
    return [example for name in names_of(split) for example in data.by_split[name]]


def records_without_face(data: PreparedData, split: str) -> list[StoredCapture]:
    """Return the captures of a split in which no face could be aligned."""
    records = [record for store in data.stores for record in store.records if record.refused is not None]
    return [record for record in records if split_of(record.subject) in names_of(split)]


def outcomes_of(data: PreparedData, split: str, scored: Scored, model: Model) -> tuple[Outcome, ...]:
    """Return what became of every capture of a split, first those in `scored`, in its order."""
    return (
        *(_judged(scored, position, model) for position in range(len(scored.examples))),
        *(_without_face(record) for record in records_without_face(data, split)),
    )


def _judged(scored: Scored, position: int, model: Model) -> Outcome:
    example, outputs = scored.examples[position], scored.outputs[position]
    record = example.record
    expected = np.asarray(record.response, np.float32)
    decision = decide(
        outputs,
        failures(Quality(**record.quality), model.limits) if record.quality else [],
        disagreements(outputs.flash_response, expected, model.cosine_limit),
        threshold=model.threshold,
        max_disagreeing_rows=model.max_disagreeing,
    )
    return Outcome(
        record=record,
        refusal=example.failures[0] if example.failures else None,
        score=float(scored.scores[position]),
        accepted=bool(scored.scores[position] >= model.threshold),
        verdict=decision.verdict,
        reasons=tuple(reason.code for reason in decision.reasons),
    )


def _without_face(record: StoredCapture) -> Outcome:
    code = (record.refused or {})["code"]
    return Outcome(record, code, None, False, "retry", (code,))


def of_species(outcomes: Iterable[Outcome], species: str) -> list[Outcome]:
    """Return the captures of one species."""
    return [outcome for outcome in outcomes if outcome.species == species]


def species_in(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the species that occur: live first, attacks in alphabetical order."""
    names = {outcome.species for outcome in outcomes}
    return [name for name in ("live", *sorted(names - {"live"})) if name in names]
