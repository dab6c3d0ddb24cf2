"""Collecting keeps whole labelled recordings, goes on from what is there, loses nothing and records nobody unasked."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from itertools import count as counting
from pathlib import Path
from typing import Any

import pytest
from stub_filmer import StubFilmer

from sdk_reference import collecting
from sdk_reference.collecting import ROOM_BYTES, Order, collect, order_for, summarise
from sdk_reference.consent import ENGLISH, GERMAN, TEXT, read_consents, require_consent
from sdk_reference.errors import InvalidInput, Moved, OutputNotWritable, StepWithoutFrame
from sdk_reference.labels import Labels
from sdk_reference.recording import RecordingWriter, extract_capture, load_recording

NOON = datetime(2026, 5, 4, 12, 0, 0, tzinfo=timezone.utc)
MOVED = Moved(found="a face that moved", expected="a still one", remedy="hold still")


def ann(species: str = "live", **labels: Any) -> Order:
    return order_for("ann", species, simulated=False, **labels)


def agreed(folder: Path, subject: str = "ann") -> Path:
    require_consent(folder, subject, lambda: NOON, signed_form=True, ask=lambda text: "")
    return folder


def nonces() -> Callable[[], bytes]:
    numbers: Iterator[int] = counting(1)
    return lambda: hashlib.sha256(bytes([next(numbers)])).digest()[:16]


def make(folder: Path, order: Order | None = None, filmer: StubFilmer | None = None, **options: Any) -> tuple[str, ...]:
    keywords = {"count": 1, "new_nonce": nonces(), **options}
    return collect(folder, order or ann(), filmer or StubFilmer(), **keywords)


def test_what_was_filmed_lies_there_labelled_each_with_its_own_challenge(tmp_path: Path) -> None:
    filmer = StubFilmer()
    order = ann(scene="office", device="laptop", ambient_lux=120.0)
    assert make(agreed(tmp_path), order, filmer, count=2) == ("ann-live-001", "ann-live-002")
    recordings = [load_recording(tmp_path / name) for name in ("ann-live-001", "ann-live-002")]
    assert [recording.plan for recording in recordings] == filmer.plans
    assert filmer.plans[0].nonce != filmer.plans[1].nonce
    assert recordings[0].labels == Labels(False, "ann", "live", scene="office", device="laptop", ambient_lux=120.0)
    assert extract_capture(tmp_path / "ann-live-001").n0 == 5


def test_numbers_go_on_and_nothing_is_overwritten(tmp_path: Path) -> None:
    make(agreed(tmp_path), count=2)
    before = (tmp_path / "ann-live-002" / "recording.json").read_bytes()
    (tmp_path / ".ann-live-007.x.partial").mkdir()  # of a run that was killed
    assert make(tmp_path) == ("ann-live-008",)
    assert make(tmp_path, ann("print"), StubFilmer("print")) == ("ann-print-001",)
    assert (tmp_path / "ann-live-002" / "recording.json").read_bytes() == before


def test_a_film_that_cannot_be_used_is_made_again_and_the_third_in_a_row_is_told(tmp_path: Path) -> None:
    failed: list[str] = []
    filmer = StubFilmer(trouble=[MOVED, MOVED, None, MOVED])
    names = make(agreed(tmp_path), None, filmer, count=2, on_failed=lambda error: failed.append(error.code))
    assert (names, failed) == (("ann-live-001", "ann-live-002"), ["moved"] * 3)
    with pytest.raises(Moved):
        make(tmp_path, None, StubFilmer(trouble=[None, MOVED, MOVED, MOVED]), count=2)
    assert sorted(path.name for path in tmp_path.glob("ann-*")) == [f"ann-live-{n:03d}" for n in (1, 2, 3)]


def test_a_film_without_a_frame_for_some_step_is_not_kept(tmp_path: Path) -> None:
    class Slow(StubFilmer):
        def film(self, plan: Any) -> Any:
            return replace(super().film(plan), exposure_ns=900_000_000)

    with pytest.raises(StepWithoutFrame):
        make(agreed(tmp_path), None, Slow())
    assert summarise(tmp_path).recordings == 0


def test_an_interruption_leaves_only_whole_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(agreed(tmp_path))
    add = RecordingWriter.add

    def interrupted(self: RecordingWriter, frame: Any, timestamp_ns: int) -> None:
        if timestamp_ns > 500_000_000:
            raise KeyboardInterrupt
        add(self, frame, timestamp_ns)

    monkeypatch.setattr(RecordingWriter, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if "ann" in path.name] == ["ann-live-001"]


def test_a_disk_that_fills_up_unnoticed_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV's writer says nothing when it cannot write."""
    make(agreed(tmp_path))
    finish = RecordingWriter.finish

    def cut(self: RecordingWriter, *args: Any, **keywords: Any) -> Any:
        recording = finish(self, *args, **keywords)
        video = self._folder / recording.video
        video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
        return recording

    monkeypatch.setattr(RecordingWriter, "finish", cut)
    with pytest.raises(OutputNotWritable, match="is the disk full"):
        make(tmp_path)
    assert [path.name for path in tmp_path.glob("ann-*")] == ["ann-live-001"]


def test_a_disk_without_room_stops_before_the_film_and_keeps_what_is_there(tmp_path: Path) -> None:
    rooms = iter([ROOM_BYTES, ROOM_BYTES - 1])
    filmer = StubFilmer()
    with pytest.raises(OutputNotWritable, match="left for"):
        make(agreed(tmp_path), None, filmer, count=5, free_bytes=lambda folder: next(rooms))
    assert len(filmer.plans) == 1 and summarise(tmp_path).recordings == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_an_error(tmp_path: Path) -> None:
    agreed(tmp_path).chmod(0o500)
    with pytest.raises(OutputNotWritable):
        make(tmp_path)


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputNotWritable):
        make(tmp_path / "file", order_for("ann", "live", simulated=True))


@pytest.mark.parametrize(
    "subject", ["../ann", "a/b", "a\\b", "..", ".ann", "", "ann smith", "ann\n", "ä", "a" * 65, "C:"]
)
def test_a_subject_that_is_no_plain_pseudonym_is_refused(subject: str) -> None:
    with pytest.raises(InvalidInput):
        order_for(subject, "live", simulated=False)


@pytest.mark.parametrize(
    ("species", "extra"),
    [
        ("sculpture", {}),
        ("live", {"instrument": "print_gray"}),
        ("print", {"instrument": "replay_phone"}),
        ("print", {"profile": "wild"}),
        ("print", {"n0": 99}),
        ("print", {"ambient_lux": float("nan")}),
    ],
)
def test_labels_and_plans_that_cannot_be_are_refused(species: str, extra: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        order_for("ann", species, simulated=False, **extra)


def test_one_person_has_one_spelling(tmp_path: Path) -> None:
    make(agreed(tmp_path))
    with pytest.raises(InvalidInput, match="one spelling"):
        make(agreed(tmp_path, "Ann"), order_for("Ann", "live", simulated=False))


def test_nobody_is_filmed_without_consent(tmp_path: Path) -> None:
    filmer = StubFilmer()
    with pytest.raises(InvalidInput, match="consent"):
        make(tmp_path, None, filmer)
    make(agreed(tmp_path, "ben"), order_for("sim-1", "live", simulated=True), filmer)  # nobody real
    with pytest.raises(InvalidInput, match="consent"):
        make(tmp_path, None, filmer)
    assert len(filmer.plans) == 1


@pytest.mark.parametrize("answer", ["yes", " JA "])
def test_consent_is_kept_with_its_text_hash_and_time_and_asked_for_once(tmp_path: Path, answer: str) -> None:
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        return answer

    for _ in range(2):
        consent = require_consent(tmp_path, "ann", lambda: NOON, signed_form=False, ask=ask)
    assert asked == [TEXT] and ENGLISH in TEXT and GERMAN in TEXT
    assert (consent.given, consent.at) == ("here", "2026-05-04T12:00:00+00:00")
    kept = (tmp_path / f"consent-{consent.text_version}.txt").read_bytes()
    assert hashlib.sha256(kept).hexdigest() == consent.text_sha256
    assert read_consents(tmp_path) == (consent,)


def test_consent_to_an_older_text_is_asked_for_again_and_stays(tmp_path: Path) -> None:
    agreed(tmp_path)
    path = tmp_path / "consent.json"
    old = json.loads(path.read_text())
    old["consents"][0] |= {"text_sha256": "0" * 64, "text_version": 0}
    path.write_text(json.dumps(old))
    agreed(tmp_path)
    assert [consent.text_version for consent in read_consents(tmp_path)] == [0, 1]


@pytest.mark.parametrize("answer", ["", "no", "yess", "nein", "y"])
def test_without_a_clear_yes_nothing_is_kept(tmp_path: Path, answer: str) -> None:
    with pytest.raises(InvalidInput, match="no consent of ann"):
        require_consent(tmp_path, "ann", lambda: NOON, signed_form=False, ask=lambda text: answer)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": "x"}', '{"format": "flashproof-consent", "version": 1, "consents": [{}]}']
)
def test_damaged_consents_stop_everything(tmp_path: Path, text: str) -> None:
    (tmp_path / "consent.json").write_text(text)
    with pytest.raises(InvalidInput, match="proof that people agreed"):
        agreed(tmp_path)
    assert (tmp_path / "consent.json").read_text() == text


def test_the_summary_counts_by_person_species_scene_and_device(tmp_path: Path) -> None:
    make(agreed(tmp_path), ann(scene="office"), count=2)
    make(tmp_path, ann("print", device="laptop"), StubFilmer("print"))
    make(tmp_path)
    (tmp_path / "ann-live-001" / "recording.json").write_text("{")
    (tmp_path / "notes.txt").write_text("x")
    summary = summarise(tmp_path)
    assert (summary.recordings, summary.damaged, summary.consents) == (3, ("ann-live-001",), ("ann",))
    assert summary.counts == {
        "subject": {"ann": 3},
        "species": {"live": 2, "print": 1},
        "scene": {"office": 1, "–": 2},
        "device": {"laptop": 1, "–": 2},
    }
    assert summary.live_and_attacks == {"ann": (2, 1)}
    assert summarise(tmp_path / "nothing").recordings == 0
    assert collecting.ALL == tuple(summary.counts)
