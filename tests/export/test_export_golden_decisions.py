"""The cases of the decision ask for every rule, hold what docs/bundle.md says, and catch whoever forgets one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stub_capture import StubDetector

from export import golden_decisions
from export.decision_cases import COLOURED, COSINE_STEP, GREY, LEAST_COSINE, MEASUREMENTS, cases_of
from export.golden_decisions import FILE, answer_of, read_decisions, replay_decisions, stored_cases, write_decisions
from export.verify import verify
from sdk_reference.bundle import SHIPPED_BUNDLE, load_bundle
from sdk_reference.errors import BundleMalformed
from sdk_reference.manifest import Manifest, from_json
from sdk_reference.quality import QualityLimits

GATE = "golden decisions: cases answered otherwise"
MISMATCH, LOW, WEAK = "response_mismatch", "score_below_threshold", "flash_too_weak"
CODES = ("face_too_small", "moved", "overexposed", "light_changed", WEAK, WEAK)
ALL_CODES = list(dict.fromkeys(CODES))
LIVE: list[str] = []

REASONS: dict[str, list[str] | None] = {
    "all well": LIVE,
    "score exactly at the threshold": LIVE,
    "score one float32 below the threshold": [LOW],
    "score above 1 by rounding": LIVE,
    "score below 0 by rounding": [LOW],
    "type adds up to 1 but for rounding": LIVE,
    "likeliest species print": [LOW],
    "likeliest species replay": [LOW],
    "likeliest species mask": [LOW],
    "first two types equal and largest": [LOW],
    "last two types equal and largest": [LOW],
    "score above 1": None,
    "score below 0": None,
    "score is not a number": None,
    "type adds up to less than 1": None,
    "type adds up to more than 1": None,
    "type below 0 and above 1": None,
    "type with a value that is not a number": None,
    "depth above 1": None,
    "depth is not a number": None,
    "flash response with a value that is not a number": None,
    "threshold of 0": None,
    "threshold below 0": None,
    "threshold above 1": None,
    "threshold is not a number": None,
    "score is not a number and a limit missed": None,
    "only the direction of a row counts": LIVE,
    "predicted rows of zeros have cosine 0": [MISMATCH],
    "as many rows disagree as may": LIVE,
    "one row more disagrees than may": [MISMATCH],
    "the last rows disagree": [MISMATCH],
    "every row disagrees": [MISMATCH],
    "columns in another order": [MISMATCH],
    "expected rows too grey to disagree": LIVE,
    "expected rows just coloured enough to disagree": [MISMATCH],
    "rows just inside the cosine limit": LIVE,
    "rows just outside the cosine limit": [MISMATCH],
    "expected rows with a value that is not a number": None,
    "expected rows that are all zero": None,
    "expected rows that are all too grey": None,
    "expected rows one too few": None,
    "expected rows one too many": None,
    "no expected rows": None,
    **{f"{name} exactly at its limit": LIVE for name in MEASUREMENTS},
    **{f"{name} just beyond its limit": [code] for name, code in zip(MEASUREMENTS, CODES, strict=True)},
    **{f"{name} is not a number": [code] for name, code in zip(MEASUREMENTS, CODES, strict=True)},
    "a background that gets brighter": LIVE,
    "both flash limits missed": [WEAK],
    "two limits missed": ["moved", "light_changed"],
    "every limit missed": ALL_CODES,
    "no measurement is a number": ALL_CODES,
    "every row disagrees and the score is low": [MISMATCH, LOW],
    "limits missed, every row disagrees and the score is low": ["overexposed", WEAK],
}
"""What docs/bundle.md calls for; None is an error."""
SPECIES = {
    "likeliest species print": "print",
    "likeliest species mask": "mask",
    "first two types equal and largest": "print",
}
DISAGREEING = {"as many rows disagree as may": 2, "one row more disagrees than may": 3, "every row disagrees": 6}
"""In the bundle of these tests, where 2 of 6 may."""


def manifest_of(folder: Path) -> Manifest:
    return from_json((folder / "manifest.json").read_bytes())


def read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return content


def named(content: dict[str, Any], name: str) -> dict[str, Any]:
    (case,) = (case for case in content["cases"] if case["name"] == name)
    return case


@pytest.mark.parametrize("shipped", [False, True])
def test_every_case_is_answered_as_the_page_says(shipped: bool, packed: Any) -> None:
    manifest = manifest_of(SHIPPED_BUNDLE if shipped else packed.path)
    answers = {case.name: answer_of(case, manifest) for case in cases_of(manifest)}
    assert set(answers) == set(REASONS)
    for name, answer in answers.items():
        reasons = REASONS[name]
        if reasons is None:
            assert answer == {"error": True}, name
            continue
        spoof = bool(reasons) and set(reasons) <= {MISMATCH, LOW}
        assert (answer["reasons"], answer["verdict"]) == (
            reasons,
            "spoof" if spoof else "retry" if reasons else "live",
        ), name
        assert answer["species"] == (SPECIES.get(name, "replay") if spoof else None), name
        assert 0 <= answer["score"] <= 1


def test_cases_lie_as_near_to_the_limits_as_they_say(packed: Any) -> None:
    manifest = manifest_of(packed.path)
    limits, cases = manifest.quality_limits, {case.name: case for case in cases_of(manifest)}
    threshold = np.float32(manifest.artifacts[0].operating_point.threshold)
    assert np.float32(cases["score exactly at the threshold"].score) == threshold
    assert cases["score exactly at the threshold"].threshold == float(threshold)
    below = np.float32(cases["score one float32 below the threshold"].score)
    assert below < threshold and np.nextafter(below, np.float32(1)) == threshold
    assert cases["motion_px exactly at its limit"].quality["motion_px"] == limits.max_motion_px
    assert cases["exposure_drift exactly at its limit"].quality["exposure_drift"] == -limits.max_exposure_drop
    for name in MEASUREMENTS:
        at, beyond = (
            cases[f"{name} {what}"].quality[name] for what in ("exactly at its limit", "just beyond its limit")
        )
        assert beyond == pytest.approx(at, rel=2e-6) and np.float32(at) != np.float32(beyond)
    for name, count in DISAGREEING.items():
        assert sum(answer_of(cases[name], manifest)["disagreeing"]) == count
    lengths = [
        np.linalg.norm(cases[f"expected rows {name} to disagree"].expected[1:], axis=1)
        for name in ("too grey", "just coloured enough")
    ]
    assert (lengths[0] < 0.2).all() and (lengths[0] > 0.198).all() and (lengths[1] > 0.2).all()


def test_an_exported_bundle_holds_the_cases_and_they_replay(packed: Any) -> None:
    bundle = load_bundle(packed.path)
    assert FILE in bundle.manifest.files and bundle.manifest.files[FILE].bytes < 100_000
    content = read(packed.path)
    assert set(content) == {"format", "version", "cases"}
    assert {case["name"] for case in content["cases"]} == set(REASONS)
    assert named(content, "flash_snr is not a number")["quality"]["flash_snr"] is None
    found = {gate.name: gate for gate in packed.gates}
    assert found[GATE].ok and found[GATE].value == 0


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def edit(content: dict[str, Any]) -> dict[str, Any]:
        change(content)
        return content

    return edit


def answered(name: str, **changes: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return edited(lambda content: named(content, name)["answer"].update(changes))


BREAKS = {
    "a verdict": ("all well", answered("all well", verdict="retry")),
    "a score": ("all well", answered("all well", score=0.75)),
    "a score of nothing": ("all well", answered("all well", score=None)),
    "a species": ("every row disagrees", answered("every row disagrees", species="mask")),
    "the order of reasons": (
        "every row disagrees and the score is low",
        answered("every row disagrees and the score is low", reasons=[LOW, MISMATCH]),
    ),
    "a reason left out": ("every limit missed", answered("every limit missed", reasons=ALL_CODES[1:])),
    "rows that disagree": ("all well", answered("all well", disagreeing=[True] + [False] * 5)),
    "rows that agree": ("every row disagrees", answered("every row disagrees", disagreeing=[False] * 6)),
    "an error in a verdict's place": (
        "all well",
        edited(lambda content: named(content, "all well").update(answer={"error": True})),
    ),
    "a verdict in an error's place": (
        "score is not a number",
        edited(
            lambda content: named(content, "score is not a number").update(answer=named(content, "all well")["answer"])
        ),
    ),
    "a measurement": (
        "all well",
        edited(lambda content: named(content, "all well")["quality"].update(motion_px=1e6)),
    ),
    "a score asked": ("all well", edited(lambda content: named(content, "all well").update(score=1e-9))),
    "a row asked": ("all well", edited(lambda content: named(content, "all well")["flash_response"].reverse())),
    "the threshold": (
        "score exactly at the threshold",
        edited(lambda content: named(content, "score exactly at the threshold").update(threshold=0.9)),
    ),
}


def rewrite(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    (folder / FILE).write_text(json.dumps(change(read(folder))), encoding="utf-8")


@pytest.mark.parametrize("broken", BREAKS)
def test_a_case_broken_on_purpose_closes_the_gate_that_names_it(broken: str, bundle: Path, reseal: Any) -> None:
    name, change = BREAKS[broken]
    rewrite(bundle, change)
    sealed = load_bundle(reseal(bundle))
    gate: Any = replay_decisions(read_decisions(sealed), sealed.manifest)
    assert (gate.name, gate.ok, gate.value, gate.limit) == (GATE, False, 1.0, 0.0)
    assert gate.detail.startswith(f"{name}: ")


def test_verify_misses_the_gate_of_a_bundle_whose_limits_were_loosened(bundle: Path, reseal: Any) -> None:
    loose = manifest_of(bundle).response_rule.model_copy(update={"max_disagreeing_rows": 6})
    found = verify(
        reseal(bundle, response_rule=loose, quality_limits=QualityLimits(0, 0, 1e9, 1, 1e9, 0)), StubDetector()
    )
    (gate,) = (gate for gate in found.gates if gate.name == GATE)
    assert not gate.ok and gate.value > 10


MALFORMED = {
    "another format": lambda content: content | {"format": "flashproof-golden"},
    "another version": lambda content: content | {"version": 2},
    "more than there is": lambda content: content | {"more": 1},
    "no cases": lambda content: content | {"cases": []},
    "cases that are none": lambda content: content | {"cases": [[]]},
    "a list": lambda content: [content],
    "a field that is missing": edited(lambda content: content["cases"][0].pop("depth")),
    "a measurement that is missing": edited(lambda content: content["cases"][0]["quality"].pop("flash_snr")),
    "a field too many": edited(lambda content: content["cases"][0].update(more=1)),
    "a score that is text": edited(lambda content: content["cases"][0].update(score="0.9")),
    "a score that is true": edited(lambda content: content["cases"][0].update(score=True)),
    "a score that JSON has not": edited(lambda content: content["cases"][0].update(score=float("nan"))),
    "an infinite depth": edited(lambda content: content["cases"][0].update(depth=float("inf"))),
    "a row of two": edited(lambda content: content["cases"][0]["expected"][0].pop()),
    "two types": edited(lambda content: content["cases"][0]["type"].pop()),
    "rows that are none": edited(lambda content: content["cases"][0].update(flash_response=None)),
    "an answer that is none": answered("all well", verdict="error"),
    "an answer that lacks its species": edited(lambda content: content["cases"][0]["answer"].pop("species")),
    "an answer that is text": edited(lambda content: content["cases"][0].update(answer="live")),
    "two cases of one name": edited(lambda content: content["cases"].append(content["cases"][0])),
    "no case that is live": edited(
        lambda content: content.update(cases=[c for c in content["cases"] if c["answer"].get("verdict") != "live"])
    ),
    "no case that is an error": edited(
        lambda content: content.update(cases=[c for c in content["cases"] if "error" not in c["answer"]])
    ),
}


@pytest.mark.parametrize("broken", MALFORMED)
def test_a_malformed_file_is_an_error_of_the_bundle(broken: str, bundle: Path, reseal: Any) -> None:
    rewrite(bundle, MALFORMED[broken])
    sealed = load_bundle(reseal(bundle))
    with pytest.raises(BundleMalformed, match=FILE):
        read_decisions(sealed)


def test_a_bundle_without_the_file_verifies_and_says_so(bundle: Path, reseal: Any) -> None:
    (bundle / FILE).unlink()
    found = verify(reseal(bundle), StubDetector())
    assert found.ok and GATE not in {gate.name for gate in found.gates}
    assert any(FILE in note for note in found.notes)


RULES: dict[str, tuple[str, Callable[..., Any]]] = {
    "every row agrees": ("disagreements", lambda predicted, expected, limit: np.zeros(len(predicted), bool)),
    "every row disagrees": ("disagreements", lambda predicted, expected, limit: np.ones(len(predicted), bool)),
    "another cosine limit": (
        "disagreements",
        lambda predicted, expected, limit: golden_disagreements(predicted, expected, limit - 0.05),
    ),
    "no limit is missed": ("failures", lambda quality, limits: []),
    "every plan will do": ("checked_expectation", lambda expected, rows: expected[:6]),
}
golden_disagreements = golden_decisions.disagreements


@pytest.mark.parametrize("rule", RULES)
def test_a_runtime_that_forgets_a_rule_is_caught(rule: str, packed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle(packed.path)
    cases = read_decisions(bundle)
    assert replay_decisions(cases, bundle.manifest).ok
    name, forgetful = RULES[rule]
    monkeypatch.setattr(golden_decisions, name, forgetful)
    if rule == "every plan will do":
        cases = tuple(one for one in cases if "one too" not in one.case.name and one.case.expected)  # would not run
    assert not replay_decisions(cases, bundle.manifest).ok


EXTREMES: dict[str, dict[str, Any]] = {
    "nothing may disagree": {"cosine_limit": 0.5, "max_disagreeing_rows": 0},
    "more rows may disagree than there are": {"cosine_limit": 0.5, "max_disagreeing_rows": 99},
    "everything agrees": {"cosine_limit": -1.0, "max_disagreeing_rows": 2},
    "a right angle agrees": {"cosine_limit": 0.0, "max_disagreeing_rows": 1},
}


@pytest.mark.parametrize("extreme", EXTREMES)
@pytest.mark.parametrize("zero", [False, True])
def test_the_rules_of_any_manifest_give_cases(extreme: str, zero: bool, packed: Any, tmp_path: Path) -> None:
    manifest = manifest_of(packed.path)
    rule = manifest.response_rule.model_copy(update=EXTREMES[extreme])
    limits = QualityLimits(0, 0, 0, 0, 0, 0) if zero else manifest.quality_limits
    changed = manifest.model_copy(update={"response_rule": rule, "quality_limits": limits})
    write_decisions(tmp_path, changed)
    cases = stored_cases(read(tmp_path))
    assert len(cases) > 50 and replay_decisions(cases, changed).ok
    reasons = {code for one in cases if one.kind != "error" for code in one.answer["reasons"]}
    assert reasons >= {*ALL_CODES, LOW}
    if rule.max_disagreeing_rows < 6 and rule.cosine_limit > -1:
        assert MISMATCH in reasons


def test_the_page_states_the_fields_and_constants_of_the_code(packed: Any) -> None:
    page = (Path(__file__).parents[2] / "docs" / "bundle.md").read_text(encoding="utf-8")
    section = page.split("## Golden decisions\n", 1)[1].split("\n## ", 1)[0]
    content = read(packed.path)
    case = content["cases"][0]
    for field in (*content, *case, *case["answer"], content["format"]):
        assert f"`{field}`" in section, field
    assert f"`version` = {content['version']}" in section and '`{"error": true}`' in section
    for constant in (GREY, COLOURED, COSINE_STEP, LEAST_COSINE):
        assert f"{constant:g}".replace("-", "−") in section, constant
