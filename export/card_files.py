"""Which files of measurements go into a bundle: read, matched to the model, and small enough to ship.

A card must not quote another model's figures, so each file states the threshold it was measured at, and an evaluation
the run and the rule for the flash response as well. No file ships the name of anybody's folder of photographs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from export.card_figures import Evaluation, Figure
from export.card_real import RealPairs
from sdk_reference.errors import InvalidInput
from sdk_reference.manifest import Manifest

EVALUATION_FILE: Final = "reports/evaluation.json"
SCREEN_OFF_FILE: Final = "reports/screen_off.json"
REAL_FILE: Final = "reports/real_pairs.json"

THRESHOLD_TOLERANCE: Final = 1e-9
MAX_FILE_BYTES: Final = 2**20
MAX_SHIPPED_BYTES: Final = 100_000
"""Above, an evaluation ships without the points of its curve."""
ANSWER_KEYS: Final = ("live", "plan", "verdict", "score", "least_cosine", "reasons")
NAMED: Final = 5
"""So many missing keys are named in an error."""

EVALUATE: Final = "evaluate the run again with this release: flashproof evaluate RUN --data DIR --json FILE"
SCREEN_OFF: Final = (
    "flashproof simulate DIR --screen-off, then flashproof evaluate RUN --data DIR --split all --json FILE"
)
REAL: Final = "judge the pairs again with this run: python -m training.real_pairs RUN --real DIR --json FILE"
AnyFigure = TypeVar("AnyFigure", bound=Figure)


class EvaluationUnusable(InvalidInput):
    """A file of measurements is damaged, of an older release or of another model."""

    code = "evaluation_unusable"


@dataclass(frozen=True)
class CardFigures:
    """What was measured of a model; None of what was not."""

    evaluation: Evaluation | None = None
    screen_off: Evaluation | None = None
    """Of captures whose screen showed nothing."""
    real: RealPairs | None = None
    """Answers to real photographs."""
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Path in the bundle → content as JSON values."""


def read_figures(
    evaluation: Path | None = None, screen_off: Path | None = None, real: Path | None = None
) -> CardFigures:
    """Read the files that are given; raises EvaluationUnusable."""
    files: dict[str, Mapping[str, Any]] = {}
    tested = lightless = photographed = None
    if evaluation is not None:
        tested, files[EVALUATION_FILE] = read_evaluation(evaluation, screen_off=False)
    if screen_off is not None:
        lightless, files[SCREEN_OFF_FILE] = read_evaluation(screen_off, screen_off=True)
    if real is not None:
        photographed, content = read(real, RealPairs, REAL)
        files[REAL_FILE] = without_names(content)
    return CardFigures(tested, lightless, photographed, files)


def read_evaluation(path: Path, screen_off: bool) -> tuple[Evaluation, Mapping[str, Any]]:
    """Read what `flashproof evaluate --json` wrote, and its content as it ships; raises EvaluationUnusable."""
    found, content = read(path, Evaluation, SCREEN_OFF if screen_off else EVALUATE)
    if found.screen_off != screen_off:
        state = {True: "screen off", False: "screen on"}
        remedy = "give it with --screen-off" if found.screen_off else "give it with --evaluation"
        raise unusable(f"{path.name}, whose captures had the {state[found.screen_off]}", state[screen_off], remedy)
    return found, shippable(content)


def read(path: Path, kind: type[AnyFigure], remedy: str) -> tuple[AnyFigure, dict[str, Any]]:
    """Read a file of measurements as `kind` and as JSON values; raises EvaluationUnusable."""
    try:
        data = path.read_bytes()
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"more than {MAX_FILE_BYTES} bytes")
        return kind.model_validate_json(data), dict(json.loads(data, parse_constant=no_constant))
    except ValidationError as error:
        raise unusable(
            f"{path.name} {defect(error)}", "a whole file of measurements as this release writes it", remedy
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise unusable(f"{path.name}, which cannot be read ({reason})", "a file of measurements", remedy) from error


def no_constant(name: str) -> None:
    """Refuse NaN and infinity, which JSON does not have and which could not be shipped."""
    raise ValueError(f"{name}, which is no number")


def defect(error: ValidationError) -> str:
    """What is wrong with a file: the keys that it lacks, as one of an older release does, or else its first error."""
    problems = error.errors(include_url=False, include_context=False)
    missing = [".".join(map(str, problem["loc"])) for problem in problems if problem["type"] == "missing"]
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        return f"without {', '.join(missing[:NAMED])}{more}"
    place = ".".join(map(str, problems[0]["loc"])) or "the top"
    return f"with an unusable value ({problems[0]['msg'][:200]} at {place})"


def shippable(content: dict[str, Any]) -> dict[str, Any]:
    """Return an evaluation's content, without the points of the flash response's curve where it is large."""
    if len(as_json(content)) <= MAX_SHIPPED_BYTES:
        return content
    response = {name: value for name, value in content["flash_response"].items() if name != "curve"}
    return content | {"flash_response": response, "left_out": ["flash_response.curve"]}


def without_names(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of real_pairs.json with numbers for names: a folder may be called after a person."""
    pairs = RealPairs.model_validate_json(json.dumps(content)).pairs
    numbered = {pair.answers[0].pair: f"pair {pair.number}, {pair.truth}" for pair in pairs}
    answers = [
        {"pair": numbered[answer["pair"]]} | {name: answer[name] for name in ANSWER_KEYS if name in answer}
        for answer in content["answers"]
    ]
    return {"threshold": content["threshold"], "answers": answers}


def as_json(value: Mapping[str, Any]) -> bytes:
    """Readable JSON as the bundle holds it; ValueError for NaN and infinity."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def require_same_model(manifest: Manifest, record: Mapping[str, Any], figures: CardFigures) -> None:
    """Raise EvaluationUnusable when figures were measured on another run, threshold or flash-response rule."""
    evaluations = ((figures.evaluation, EVALUATE), (figures.screen_off, SCREEN_OFF))
    for evaluation, remedy in evaluations:
        if evaluation is not None:
            require_threshold(evaluation.threshold, manifest, remedy)
            require_same_run(evaluation, manifest, record, remedy)
    if figures.real is not None:
        require_threshold(figures.real.threshold, manifest, REAL)


def require_threshold(found: float, manifest: Manifest, remedy: str) -> None:
    """Raise EvaluationUnusable unless `found` is the threshold that ships."""
    threshold = manifest.artifacts[0].operating_point.threshold
    if not abs(found - threshold) <= THRESHOLD_TOLERANCE:
        raise unusable(f"figures at the threshold {found}", f"{threshold}, the threshold of this run", remedy)


def require_same_run(evaluation: Evaluation, manifest: Manifest, record: Mapping[str, Any], remedy: str) -> None:
    """Raise EvaluationUnusable for figures of another run or of another flash-response rule."""
    model, rule, own = evaluation.model, evaluation.flash_response.rule, manifest.response_rule
    if model.kind == "run" and model.name != record["name"]:
        raise unusable(f"figures of the run {model.name!r}", f"those of {record['name']!r}", remedy)
    if (rule.cosine_limit, rule.max_disagreeing) != (own.cosine_limit, own.max_disagreeing_rows):
        stated = f"cosine limit {own.cosine_limit}, {own.max_disagreeing_rows} rows"
        found = f"figures under the response rule of cosine limit {rule.cosine_limit}, {rule.max_disagreeing} rows"
        raise unusable(found, stated, remedy)


def unusable(found: str, expected: str, remedy: str) -> EvaluationUnusable:
    return EvaluationUnusable(found=found, expected=expected, remedy=remedy)
