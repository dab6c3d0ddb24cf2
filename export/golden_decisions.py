"""`golden/decisions.json`: cases of `export.decision_cases` with the reference's answers, written, read, replayed.

Not in the paper; docs/bundle.md, "Golden decisions", specifies the file. JSON has no NaN: `null` stands for it in the
inputs of a case. What is read is trusted as little as other golden files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from export.decision_cases import MEASUREMENTS, Case, Row, Rows, cases_of
from export.golden import FOLDER, decision_record, json_bytes
from export.golden_reading import finite, parse
from export.parity import Gate
from export.replay import Finding, same
from sdk_reference.bundle import Bundle
from sdk_reference.decide import decide
from sdk_reference.errors import FlashproofError
from sdk_reference.manifest import Manifest
from sdk_reference.quality import Quality, failures
from sdk_reference.response import checked_expectation, disagreements
from sdk_reference.runtime import checked_outputs

FORMAT: Final = "flashproof-decisions"
VERSION: Final = 1
FILE: Final = f"{FOLDER}/decisions.json"

REFUSED: Final[Mapping[str, Any]] = {"error": True}
"""The answer where nothing may be decided."""
ANSWER_KEYS: Final = ("disagreeing", "verdict", "score", "species", "reasons")
KINDS: Final = frozenset({"live", "spoof", "retry", "error"})
"""Every file has cases with each of these answers: one without would let a port pass that cannot say it."""
MOST_NAMED: Final = 5


@dataclass(frozen=True)
class StoredCase:
    """A case and what was answered."""

    case: Case
    answer: Mapping[str, Any]
    """REFUSED, or ANSWER_KEYS."""

    @property
    def kind(self) -> str:
        """One of KINDS."""
        return "error" if self.answer == REFUSED else str(self.answer["verdict"])


def answer_of(case: Case, manifest: Manifest) -> Mapping[str, Any]:
    """What the reference says to a case under the rules of `manifest`."""
    depth = np.full((1, 1, 1), case.depth, np.float32)
    raw = {"score": [case.score], "type": case.type, "depth": depth, "flash_response": case.flash_response}
    try:
        outputs = checked_outputs({name: np.asarray(values, np.float32) for name, values in raw.items()})
        given = np.asarray(case.expected, np.float32).reshape(-1, 3)
        expected = checked_expectation(given, len(manifest.differential_rows))
        disagreeing = disagreements(outputs.flash_response, expected, manifest.response_rule.cosine_limit)
        decision = decide(
            outputs,
            failures(Quality(**case.quality), manifest.quality_limits),
            disagreeing,
            threshold=case.threshold,
            max_disagreeing_rows=manifest.response_rule.max_disagreeing_rows,
        )
    except FlashproofError:
        return REFUSED
    record = decision_record(decision)
    return {key: record.get(key, disagreeing.tolist()) for key in ANSWER_KEYS}


def write_decisions(root: Path, manifest: Manifest) -> None:
    """Write the file below `root`, the folder that becomes a bundle."""
    cases = [{**as_json(case), "answer": answer_of(case, manifest)} for case in cases_of(manifest)]
    content = {"format": FORMAT, "version": VERSION, "cases": cases}
    (root / FILE).parent.mkdir(parents=True, exist_ok=True)
    (root / FILE).write_bytes(json_bytes(content))


def as_json(case: Case) -> dict[str, Any]:
    """The inputs of a case, with None for NaN."""
    return {name: without_nan(value) for name, value in asdict(case).items()}


def without_nan(value: Any) -> Any:
    """`value` with None for every NaN, at every depth."""
    if isinstance(value, dict):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def read_decisions(bundle: Bundle) -> tuple[StoredCase, ...]:
    """Read the cases of a bundle; none where it has no such file, as in bundles of earlier releases.

    Raises BundleMalformed for what is not as docs/bundle.md specifies it.
    """
    return parse(bundle, FILE, stored_cases) if FILE in bundle.manifest.files else ()


def stored_cases(content: Mapping[str, Any]) -> tuple[StoredCase, ...]:
    """The cases of the file; ValueError, TypeError or KeyError for another format or too few kinds of answers."""
    if set(content) != {"format", "version", "cases"} or (content["format"], content["version"]) != (FORMAT, VERSION):
        raise ValueError(f"another format than {FORMAT} version {VERSION}")
    cases = tuple(stored_case(record) for record in content["cases"])
    if len({one.case.name for one in cases}) != len(cases):
        raise ValueError("two cases of one name")
    missing = KINDS - {one.kind for one in cases}
    if missing:
        raise ValueError(f"no case whose answer is {', '.join(sorted(missing))}")
    return cases


def stored_case(record: Mapping[str, Any]) -> StoredCase:
    """One case of the file."""
    names = {field.name for field in fields(Case)}
    if set(record) != names | {"answer"} or set(record["quality"]) != set(MEASUREMENTS):
        raise ValueError(f"a case with the keys {sorted(record)}")
    case = Case(
        name=text(record["name"]),
        quality={name: number(value) for name, value in record["quality"].items()},
        expected=rows(record["expected"]),
        flash_response=rows(record["flash_response"]),
        score=number(record["score"]),
        type=row(record["type"]),
        depth=number(record["depth"]),
        threshold=number(record["threshold"]),
    )
    answer = record["answer"]
    if answer != REFUSED and (set(answer) != set(ANSWER_KEYS) or answer["verdict"] not in KINDS - {"error"}):
        raise ValueError(f"an answer to {case.name!r} that is none")
    return StoredCase(case, answer)


def text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"a case named {value!r}")
    return value


def number(value: Any) -> float:
    """A finite number, or None for NaN; ValueError for anything else."""
    return math.nan if value is None else finite(value)


def row(values: Any) -> Row:
    """Three numbers; ValueError for anything else."""
    if not isinstance(values, list) or len(values) != 3:
        raise ValueError(f"a row that is not three numbers: {str(values)[:80]}")
    return tuple(number(value) for value in values)


def rows(values: Any) -> Rows:
    """A list of rows, however many."""
    if not isinstance(values, list):
        raise ValueError(f"no list of rows: {str(values)[:80]}")
    return tuple(row(one) for one in values)


def replay_decisions(cases: Sequence[StoredCase], manifest: Manifest) -> Gate:
    """Answer every case anew under the rules of `manifest`; the value counts those answered otherwise."""
    wrong = [difference for one in cases if (difference := differs(one, manifest))]
    return Finding(
        "golden decisions: cases answered otherwise", not wrong, float(len(wrong)), 0.0, "; ".join(wrong[:MOST_NAMED])
    )


def differs(stored: StoredCase, manifest: Manifest) -> str:
    """In what the answer differs from the stored one; empty where it does not."""
    found = answer_of(stored.case, manifest)
    if set(found) == set(stored.answer) and all(same(found[key], stored.answer[key]) for key in found):
        return ""
    return f"{stored.case.name}: {json.dumps(found)}, stored {json.dumps(stored.answer)}"
