"""A record says what a session did, has one text, and cannot be made from values that contradict each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_records import DECIDED, NONCE, PLAN, made_up_record
from stub_capture import StubDetector, stub_capture
from stub_model import MODEL_FILE, pack_stub_bundle

from flash_sequencer.plan import default_plan
from sdk_reference.bundle import load_bundle
from sdk_reference.capture_hash import capture_hash
from sdk_reference.checker import Checker, CheckResult
from sdk_reference.decision_record import DecisionRecord, record_of, utc_text
from sdk_reference.errors import FaceLeft, NonceRefused


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Checker:
    return Checker(load_bundle(pack_stub_bundle(tmp_path_factory.mktemp("stub"))), StubDetector())


def recorded(result: CheckResult, **changes: Any) -> DecisionRecord:
    arguments: dict[str, Any] = {
        "artifact": MODEL_FILE,
        "attempt": 2,
        "started_at": DECIDED - timedelta(seconds=5),
        "decided_at": DECIDED,
        "durations_ns": {"flashing": 2_051_000_000},
        "presented": PLAN.safety,
        "lag_ns": 45_000_000,
        "factors": None,
    }
    return record_of(result, changes.pop("plan", PLAN), **{**arguments, **changes})


def test_a_live_check_becomes_a_record_of_what_it_rests_on(checker: Checker) -> None:
    result = checker.check(stub_capture(PLAN))
    record = recorded(result)
    assert (record.verdict, record.reasons, record.nonce, record.n0) == ("live", (), NONCE, 5)
    assert record.plan_hash == PLAN.canonical_hash()
    assert record.capture_hash == capture_hash(stub_capture(PLAN))
    assert (record.bundle.sha256, record.bundle.artifact) == (result.bundle_sha256, MODEL_FILE)
    assert float(record.score or "nan") == pytest.approx(result.decision.score, abs=5e-7)
    assert record.presented is not None and record.presented.safe
    assert (record.attempt, record.lag_ns, record.decided) == (2, 45_000_000, DECIDED)


def test_what_undid_the_cameras_drift_is_in_the_record(checker: Checker) -> None:
    factors = np.linspace(0.4, 1.0, 15).reshape(5, 3)
    record = recorded(checker.check(stub_capture(PLAN)), factors=factors)
    assert record.compensation is not None
    np.testing.assert_allclose(np.array(record.compensation, np.float64), factors, atol=5e-7)
    assert DecisionRecord.model_validate_json(record.canonical_json()) == record
    assert recorded(checker.check(stub_capture(PLAN))).compensation is None


def test_no_picture_is_inside_unless_asked(checker: Checker) -> None:
    result = checker.check(stub_capture(PLAN))
    assert recorded(result).frames is None
    assert len(recorded(result).canonical_json()) < 2_000
    included = recorded(result, include_frames=True).frames
    assert included is not None and len(included) == 5


def test_a_session_without_a_capture_is_recorded_with_its_reason(checker: Checker) -> None:
    failure = FaceLeft(found="no face", expected="one", remedy="stay")
    record = recorded(checker.refused(failure), presented=None, lag_ns=None, include_frames=True)
    assert (record.verdict, record.reasons, record.score, record.capture_hash) == ("retry", ("face_left",), None, None)
    assert record.frames is None


def test_a_plan_without_a_nonce_makes_no_record(checker: Checker) -> None:
    with pytest.raises(NonceRefused, match="without a nonce"):
        recorded(checker.check(stub_capture(default_plan())), plan=default_plan())


def floats(value: object) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from floats(part)


def test_the_text_is_canonical() -> None:
    text = made_up_record().canonical_json()
    content = json.loads(text)
    assert text == json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert text.isascii()
    assert list(floats(content)) == []
    assert DecisionRecord.model_validate_json(text) == made_up_record()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reasons": ("moved",)}, "live with 1 reasons"),
        ({"verdict": "spoof"}, "spoof with 0 reasons"),
        ({"score": "0.499999"}, "live verdict with score"),
        ({"score": None}, "live verdict with score"),
        ({"capture_hash": None}, "without capture"),
        ({"presented": None}, "without capture"),
        ({"lag_ns": None}, "without capture"),
        ({"plan_hash": "0" * 64}, "follows from the nonce"),
        ({"nonce": "f" * 32}, "follows from the nonce"),
        ({"profile": "gentle"}, "follows from the nonce"),
        ({"profile": "blinding"}, "no plan for this nonce"),
        ({"n0": 4}, "follows from the nonce"),
        ({"started_at": "2026-01-31T12:00:05.251Z"}, "before its attempt"),
        ({"decided_at": "2026-02-31T12:00:00.000Z"}, "day is out of range"),
        ({"decided_at": "2026-01-31T12:00:05Z"}, "match pattern"),
        ({"score": "1.000001"}, "match pattern"),
        ({"score": 0.9}, "valid string"),
        ({"attempt": 0}, "greater than or equal to 1"),
        ({"attempt": True}, "valid integer"),
        ({"lag_ns": 2**53}, "less than or equal"),
        ({"compensation": (("1.000000",) * 3,) * 4}, "compensation of 4 frames"),
        ({"compensation": (("1.000001",) * 3,) * 5}, "match pattern"),
        ({"durations_ns": {"flashing": -1}}, "greater than or equal"),
        ({"reasons": ("Moved!",), "verdict": "retry"}, "match pattern"),
        ({"version": 2}, "Input should be 1"),
        ({"comment": "hello"}, "Extra inputs"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made_up_record(**changes)


def test_frames_of_another_capture_are_refused(checker: Checker) -> None:
    included = recorded(checker.check(stub_capture(PLAN)), include_frames=True)
    brighter = checker.check(stub_capture(PLAN, ambient=0.08))
    other = recorded(brighter, include_frames=True)
    with pytest.raises(ValueError, match="capture's hash"):
        made_up_record(capture_hash=included.capture_hash, frames=other.frames)
    assert made_up_record(capture_hash=other.capture_hash, frames=other.frames).frames == other.frames


def test_times_are_utc_to_the_millisecond() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    assert utc_text(datetime(2026, 1, 31, 17, 30, 0, 1999, tzinfo=east)) == "2026-01-31T12:00:00.001Z"
    with pytest.raises(ValueError, match="offset"):
        utc_text(DECIDED.replace(tzinfo=None))


def test_a_score_is_never_rounded_across_its_threshold(checker: Checker, tmp_path: Path) -> None:
    """Rounding keeps order, so that a live decision stays one in the record."""
    result = checker.check(stub_capture(PLAN))
    close = replace(result.decision, score=0.5000004, threshold=0.50000039)
    assert recorded(replace(result, decision=close)).verdict == "live"
