"""Error rates of a run or a bundle on data sets (paper, section 6.3; ISO/IEC 30107-3).

All rates hold at the threshold that was fixed on the validation split of the training; nothing is chosen here, but for
`at_bpcer_1_percent`, which says so. Captures without a usable face, or beyond the quality limits, are counted apart: a
phone asks for another capture and decides nothing; `without_gates` has the rates with them. The rates are the score's
alone, as in the paper; `with_response_check` adds the flash-response check that `flashproof check` applies as well, and
`verdicts` counts what a phone says with everything together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from sdk_reference.landmarks import FaceMeshDetector
from training import metrics, rate_tables
from training.augment import NO_AUGMENTATION
from training.breakdown import breakdowns
from training.data import CaptureDataset, PreparedData, join_stores
from training.errors import require_choice
from training.evaluated_model import Model, open_model, require_n0
from training.evaluation_goals import evaluation_goals
from training.machine import Machine, torch_threads
from training.metrics import ErrorRates, Rate
from training.outcomes import ALL, Outcome, examples_of, outcomes_of, records_without_face
from training.prepare import DetectorFactory, prepare_all
from training.progress import progress_bar
from training.protocol import protocol
from training.rate_tables import BOOTSTRAP_SEED
from training.response_report import response_report
from training.scoring import Scored, score_dataset
from training.splits import SPLITS, require_both_classes

MIN_THRESHOLD, MAX_THRESHOLD = 1e-6, 1.0  # what a manifest accepts
INTERVALS = (
    "95 %. EER, HTER and shares of wrong plans caught: bootstrap over people with all their captures. Shares of "
    "captures: Clopper-Pearson, which takes captures as independent and is too narrow where people are few."
)


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """The rates of one model on one split, and what they were computed from."""

    model: Model
    split: str
    data: PreparedData
    dataset: CaptureDataset
    """The captures with an aligned face, those beyond a quality limit included."""
    scored: Scored
    """What the model said of them."""
    outcomes: tuple[Outcome, ...]
    """What became of every capture of the split; first those of `scored`, in its order."""
    rates: ErrorRates | None
    """Of the captures that a phone would judge; None when they lack live faces or attacks."""

    @property
    def judged(self) -> Scored:
        """The part of `scored` that a phone would judge."""
        return self.scored.chosen(self.scored.accepted)

    @property
    def screen_off(self) -> bool:
        """Whether all data was simulated with a screen that shows nothing."""
        return all((store.dataset_record.get("settings") or {}).get("screen_off") is True for store in self.data.stores)

    @cached_property
    def details(self) -> dict[str, Any]:
        """Everything beside the headline rates, as JSON values."""
        threshold, outcomes = self.model.threshold, self.outcomes
        ungated = rate_tables.rates_without_gates(outcomes, threshold)
        at_bpcer = rate_tables.at_bpcer(outcomes)
        cosine_limit, rows = self.model.cosine_limit, self.model.max_disagreeing
        return {
            "intervals": INTERVALS,
            "protocol": protocol(self.model, self.data, self.split, outcomes),
            "goals": [asdict(goal) for goal in evaluation_goals(self.rates, at_bpcer, outcomes, self.screen_off)],
            "apcer_by_instrument": rate_tables.instruments(outcomes),
            "refusals": rate_tables.refusals(outcomes),
            "without_gates": None if ungated is None else ungated.to_dict(),
            "at_bpcer_1_percent": at_bpcer,
            "verdicts": rate_tables.verdicts(outcomes),
            "breakdowns": breakdowns(outcomes),
            "flash_response": response_report(self.scored, outcomes, self.model.n0, cosine_limit, rows),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints; DESIGN's keys, where the numbers come from, and the details."""
        return {
            **rate_tables.rates_dict(self.rates, self.outcomes, self.model.threshold),
            "refused_reasons": self.refused_reasons,
            "with_response_check": self.with_response_check,
            "simulated": self.data.simulated,
            "screen_off": self.screen_off,
            "split": self.split,
            "model": {"kind": self.model.kind, "name": self.model.name},
            "data_sha256": self.data.sha256,
            **self.details,
        }

    @property
    def refused_reasons(self) -> dict[str, int]:
        """How many captures nobody should judge, by the first reason."""
        return dict(sorted(Counter(outcome.refusal for outcome in self.outcomes if outcome.refusal).items()))

    @property
    def with_response_check(self) -> dict[str, Any] | None:
        """`apcer` per species, `apcer_max` and `bpcer` of score and flash-response check together."""
        return None if self.rates is None else response_checked_rates(self.judged, self.model)


def evaluate(
    model_path: Path,
    folders: Sequence[Path],
    *,
    split: str = "test",
    machine: Machine | None = None,
    artifact: str | None = None,
    detector_factory: DetectorFactory = FaceMeshDetector,
) -> EvaluationResult:
    """Score a split of the data sets with the run or bundle at `model_path`.

    Raises `RunInvalid`, a bundle error, `N0Mismatch`, `DatasetInvalid`, `LabelsMissing` or `ClassMissing`.
    """
    require_choice("split", split, (*SPLITS, ALL))
    machine = machine or Machine()
    model = open_model(model_path, artifact, machine.threads)
    stores = prepare_all(folders, machine.workers, machine.quiet, detector_factory)
    require_n0(stores[0].n0, model)
    data = join_stores(stores, model.limits)
    examples = examples_of(data, split)
    records = [*(example.record for example in examples), *records_without_face(data, split)]
    require_both_classes(split, [record.species for record in records])
    dataset = CaptureDataset(data.stores, examples, model.preprocess, NO_AUGMENTATION, seed=0)
    with torch_threads(machine.threads), progress_bar("Scoring", machine.quiet) as progress:
        scored = score_dataset(model.scorer, dataset, progress, model.cosine_limit)
    outcomes = outcomes_of(data, split, scored, model)
    return EvaluationResult(
        model, split, data, dataset, scored, outcomes, rate_tables.rates_of(outcomes, model.threshold)
    )


def response_checked_rates(scored: Scored, model: Model) -> dict[str, Any]:
    """Return APCER and BPCER when a capture must also answer the plan's colours."""
    answered = scored.disagreeing <= model.max_disagreeing
    scores = np.where(answered, scored.scores, 0.0)
    apcer = metrics.apcer(scores, scored.species, model.threshold)
    return {
        "apcer": {species: rate.to_dict() for species, rate in apcer.items()},
        "apcer_max": metrics.apcer_max(apcer).to_dict(),
        "bpcer": metrics.bpcer(scores, scored.live, model.threshold).to_dict(),
    }


def operating_point(scored: Scored, simulated: bool) -> dict[str, Any]:
    """Fix the threshold where the error rates of the validation split are equal.

    Returns the fields of `sdk_reference.manifest.OperatingPoint`.
    """
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    threshold = metrics.eer(scored.scores, scored.live).threshold
    threshold = float(np.clip(threshold, MIN_THRESHOLD, MAX_THRESHOLD))
    subjects = scored.subjects if scored.examples else None
    rates = metrics.error_rates(scored.scores, scored.species, threshold, rng, subjects=subjects)
    attacks = scored.scores[~scored.live]
    named = {
        "eer": rates.eer,
        "hter": rates.hter,
        "far": metrics.share(int((attacks >= threshold).sum()), attacks.size),
        "frr": rates.bpcer,
        "bpcer": rates.bpcer,
        **{f"apcer_{species}": rate for species, rate in rates.apcer.items()},
    }
    return {
        "threshold": threshold,
        "chosen_by": "equal error rate",
        "split": "validation",
        "simulated": simulated,
        "captures": len(scored.scores),
        "rates": {name: asdict(rate) for name, rate in named.items()},
    }


def table(result: EvaluationResult) -> Table:
    """Return the rates as a table for people; simulated rates say so, each of them."""
    rates, origin = result.rates, "simulated" if result.data.simulated else "real"
    drawn = Table(
        title=f"{result.model.kind} {result.model.name}, {result.split} split, threshold {result.model.threshold:.4f}"
    )
    for column, justify in (("rate", "left"), ("%", "right"), ("95 % interval", "right"), ("captures", "right")):
        drawn.add_column(column, justify=justify)  # type: ignore[arg-type]
    drawn.add_column("data")
    for name, rate, count in [*(() if rates is None else _rate_rows(rates)), _not_live_row(result)]:
        drawn.add_row(name, *_percent(rate), str(count), origin)
    reasons = ", ".join(f"{number} {code}" for code, number in result.refused_reasons.items())
    refused = sum(result.refused_reasons.values())
    drawn.caption = f"refused and in no error rate: {refused}" + (f" ({reasons})" if reasons else "")
    return drawn


def _rate_rows(rates: ErrorRates) -> list[tuple[str, Rate, int]]:
    total, n_live = sum(rates.counts.values()), rates.counts.get("live", 0)
    return [
        ("EER", rates.eer, total),
        ("HTER", rates.hter, total),
        *((f"APCER {species}", rate, rates.counts[species]) for species, rate in rates.apcer.items()),
        ("APCER, worst", rates.apcer_max, total - n_live),
        ("BPCER", rates.bpcer, n_live),
    ]


def _not_live_row(result: EvaluationResult) -> tuple[str, Rate, int]:
    found = result.details["verdicts"]["live"]["not_live"]
    return "live people not called live", rate_in(found), found["trials"]


def rate_in(values: dict[str, Any]) -> Rate:
    """Return the rate in a JSON object that may hold more."""
    return Rate(values["value"], values["low"], values["high"])


def _percent(rate: Rate) -> tuple[str, str]:
    return f"{rate.value:.2%}", f"{rate.low:.2%} – {rate.high:.2%}"
