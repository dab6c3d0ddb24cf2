"""Error rates of a run or a bundle on data sets (paper, section 6.3; ISO/IEC 30107-3).

All rates hold at the threshold that was fixed on the validation split of the training; nothing is chosen here. Captures
without a usable face, or beyond the quality limits, are counted apart: a phone asks for another capture and decides
nothing. The rates are the score's alone, as in the paper; `with_response_check` adds the flash-response check that
`flashproof check` applies as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from sdk_reference.atomic_files import write_json
from sdk_reference.bundle import load_bundle
from sdk_reference.errors import N0Mismatch
from sdk_reference.landmarks import FaceMeshDetector
from sdk_reference.preprocess import PreprocessSettings
from sdk_reference.quality import QualityLimits
from sdk_reference.response import COSINE_LIMIT, MAX_DISAGREEING_FRAMES
from sdk_reference.runtime import open_backend
from training import metrics
from training.augment import NO_AUGMENTATION
from training.checkpoint import RUN_FILE, SETTINGS_FILE, load_run
from training.data import CaptureDataset, PreparedData, join_stores
from training.errors import require_choice
from training.machine import Machine, torch_threads
from training.metrics import ErrorRates, Rate
from training.prepare import DetectorFactory, prepare_all
from training.progress import progress_bar
from training.scoring import Scored, Scorer, backend_scorer, network_scorer, score_dataset, score_positions
from training.splits import SPLITS, require_both_classes

ALL = "all"
BOOTSTRAP_SEED = 0  # the same scores give the same intervals
MIN_THRESHOLD, MAX_THRESHOLD = 1e-6, 1.0  # what a manifest accepts
PANELS_PER_SPECIES = 2


@dataclass(frozen=True, eq=False)
class Model:
    """What evaluation needs to know of a run or a bundle."""

    kind: str
    """`run` or `bundle`."""
    name: str
    scorer: Scorer
    n0: int
    preprocess: PreprocessSettings
    limits: QualityLimits
    threshold: float
    cosine_limit: float = COSINE_LIMIT
    max_disagreeing: int = MAX_DISAGREEING_FRAMES


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """The rates of one model on one split, and what they were computed from."""

    model: Model
    split: str
    data: PreparedData
    dataset: CaptureDataset
    """The captures that were scored."""
    scored: Scored
    rates: ErrorRates
    with_response_check: dict[str, Any]
    """`apcer` per species, `apcer_max` and `bpcer` of the score and the flash-response check together."""
    refused_reasons: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints; DESIGN's keys, and where the numbers come from."""
        return {
            **self.rates.to_dict(),
            "refused_reasons": self.refused_reasons,
            "with_response_check": self.with_response_check,
            "simulated": self.data.simulated,
            "split": self.split,
            "model": {"kind": self.model.kind, "name": self.model.name},
            "data_sha256": self.data.sha256,
        }


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
    examples = [example for name in SPLITS if split in (name, ALL) for example in data.usable(name)]
    require_both_classes(split, [example.record.species for example in examples])
    dataset = CaptureDataset(data.stores, examples, model.preprocess, NO_AUGMENTATION, seed=0)
    with torch_threads(machine.threads), progress_bar("Scoring", machine.quiet) as progress:
        scored = score_dataset(model.scorer, dataset, progress, model.cosine_limit)
    return _result(model, split, data, dataset, scored)


def open_model(path: Path, artifact: str | None = None, threads: int = 1) -> Model:
    """Open a run folder, or else a bundle."""
    if (path / RUN_FILE).is_file() or (path / SETTINGS_FILE).is_file():
        run = load_run(path)
        scorer = network_scorer(run.network)
        n0 = run.settings.n0
        return Model("run", path.resolve().name, scorer, n0, run.preprocess, run.limits, run.threshold)
    bundle = load_bundle(path)
    manifest = bundle.manifest
    return Model(
        kind="bundle",
        name=bundle.identity,
        scorer=backend_scorer(open_backend(bundle, artifact, threads)),
        n0=manifest.n0,
        preprocess=manifest.preprocess,
        limits=manifest.quality_limits,
        threshold=manifest.artifact(artifact).operating_point.threshold,
        cosine_limit=manifest.response_rule.cosine_limit,
        max_disagreeing=manifest.response_rule.max_disagreeing_rows,
    )


def require_n0(n0: int, model: Model) -> None:
    """Raise `N0Mismatch` unless the data has as many frames per capture as the model takes."""
    if n0 != model.n0:
        raise N0Mismatch(
            found=f"captures of {n0} frames",
            expected=f"{model.n0}, the number that {model.name} was trained for",
            remedy="evaluate on captures of a plan with that many colours",
        )


def _result(model: Model, split: str, data: PreparedData, dataset: CaptureDataset, scored: Scored) -> EvaluationResult:
    refused, reasons = refused_captures(data, split)
    scores = np.concatenate([scored.scores, np.zeros(len(refused))])  # the scores of refused ones are not looked at
    is_refused = np.arange(len(scores)) >= len(scored.scores)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    rates = metrics.error_rates(scores, [*scored.species, *refused], model.threshold, rng, is_refused)
    checked = response_checked_rates(scored, model)
    return EvaluationResult(model, split, data, dataset, scored, rates, checked, dict(sorted(reasons.items())))


def refused_captures(data: PreparedData, split: str) -> tuple[list[str], Counter[str]]:
    """Return the species of each capture of a split that no phone would judge, and how many there are by reason."""
    refused = [(species, code) for name, species, code in data.refused_captures() if split in (name, ALL)]
    return [species for species, _ in refused], Counter(code for _, code in refused)


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
    rates = metrics.error_rates(scored.scores, scored.species, threshold, rng)
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
        title=f"{result.model.kind} {result.model.name}, {result.split} split, threshold {rates.threshold:.4f}"
    )
    for column, justify in (("rate", "left"), ("%", "right"), ("95 % interval", "right"), ("captures", "right")):
        drawn.add_column(column, justify=justify)  # type: ignore[arg-type]
    drawn.add_column("data")
    counts = rates.counts
    total, n_live = sum(counts.values()), counts.get("live", 0)
    for name, rate, count in (
        ("EER", rates.eer, total),
        ("HTER", rates.hter, total),
        *((f"APCER {species}", rate, counts[species]) for species, rate in rates.apcer.items()),
        ("APCER, worst", rates.apcer_max, total - n_live),
        ("BPCER", rates.bpcer, n_live),
    ):
        drawn.add_row(name, *_percent(rate), str(count), origin)
    reasons = ", ".join(f"{number} {code}" for code, number in result.refused_reasons.items())
    drawn.caption = f"refused and in no rate: {sum(rates.refused.values())}" + (f" ({reasons})" if reasons else "")
    return drawn


def _percent(rate: Rate) -> tuple[str, str]:
    return f"{rate.value:.2%}", f"{rate.low:.2%} – {rate.high:.2%}"


def write_report(result: EvaluationResult, folder: Path) -> None:
    """Write evaluation.json and three pictures into `folder`."""
    from training import figures

    origin = "simulated data" if result.data.simulated else "real data"
    title = f"{result.model.name}, {result.split} split, {origin}"
    scored, threshold = result.scored, result.rates.threshold
    species = list(scored.species)
    write_json(folder / "evaluation.json", result.to_dict())
    histogram = figures.score_histogram(scored.scores, species, threshold, title)
    figures.save_figure(histogram, folder / "scores.png")
    tradeoff = figures.detection_error_tradeoff(scored.scores, species, threshold, title)
    figures.save_figure(tradeoff, folder / "det.png")
    figures.save_figure(figures.depth_panels(depth_panels(result), title), folder / "depth.png")


def depth_panels(result: EvaluationResult) -> list[dict[str, Any]]:
    """Return the first captures of each species as `figures.depth_panels` wants them."""
    species = np.asarray(result.scored.species)
    panels = []
    for name in sorted(set(species.tolist())):
        positions = [int(position) for position in np.flatnonzero(species == name)[:PANELS_PER_SPECIES]]
        for position, outputs in zip(
            positions, score_positions(result.model.scorer, result.dataset, positions), strict=True
        ):
            aligned, label = result.dataset.arrays(position)
            caption = f"{name} {outputs.score:.2f}"
            panels.append(
                {"frame": aligned[0].transpose(1, 2, 0), "label": label, "depth": outputs.depth, "caption": caption}
            )
    return panels
