"""`flashproof check` end to end: every bad input has its own exit status and code, none is live, none a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from stub_capture import StubDetector, lit_frames, stub_capture, stub_face
from stub_model import MODEL_FILE, pack_stub_bundle

from flash_sequencer.plan import challenge, default_plan
from flashproof.app import EXIT_USAGE, run
from flashproof.commands import check as check_module
from sdk_reference.capture import save_capture
from sdk_reference.landmarks import FaceMeshDetector
from sdk_reference.manifest import SCHEMA_VERSION

NONCE = "0123456789abcdef0123456789abcdef"
KEYS = {"verdict", "score", "threshold", "species", "reasons", "timings_ms", "bundle"}


@pytest.fixture(scope="module")
def live_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_stub_bundle(tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="module")
def good_capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captures") / "good"
    save_capture(stub_capture(challenge(NONCE)), folder)
    return folder


@dataclass
class Detectors:
    """What the command will see; a test changes it."""

    detector: Any


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> Detectors:
    current = Detectors(StubDetector())
    monkeypatch.setattr(check_module, "new_detector", lambda: current.detector)
    return current


@dataclass
class Outcome:
    status: int
    out: str
    err: str


Check = Callable[..., Outcome]


@pytest.fixture()
def check(capsys: pytest.CaptureFixture[str]) -> Check:
    def call(*arguments: object) -> Outcome:
        status = run(["check", *map(str, arguments)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Outcome(status, captured.out, captured.err)

    return call


def check_both_ways(check: Check, arguments: Sequence[object], status: int, code: str) -> None:
    """For machines and for people: the status, the code or its explanation, and never the word live as a verdict."""
    machine = check(*arguments, "--json")
    answer = json.loads(machine.out)
    assert machine.status == status
    if status >= 3:
        assert set(answer) == {"error"}
        assert answer["error"]["code"] == code
        assert answer["error"]["message"]
    else:
        assert answer["verdict"] != "live"
        assert code in [reason["code"] for reason in answer["reasons"]]
    person = check(*arguments)
    assert person.status == status
    assert "LIVE" not in person.out
    assert person.out if status < 3 else person.err.startswith("flashproof: found ")


def test_a_live_capture_as_folder_and_as_zip(
    check: Check, live_bundle: Path, good_capture: Path, tmp_path: Path
) -> None:
    save_capture(stub_capture(challenge(NONCE)), tmp_path / "good.zip")
    for path in (good_capture, tmp_path / "good.zip"):
        outcome = check(path, "--bundle", live_bundle, "--json")
        answer = json.loads(outcome.out)
        assert (outcome.status, outcome.err) == (0, "")
        assert set(answer) >= KEYS
        assert (answer["verdict"], answer["reasons"], answer["species"]) == ("live", [], None)
        assert answer["flash_response"]["disagreeing_rows"] == []


def test_a_spoof_ends_with_1_and_names_its_kind(check: Check, good_capture: Path, tmp_path: Path) -> None:
    bundle = pack_stub_bundle(tmp_path / "spoof", offset=-4.0)
    check_both_ways(check, [good_capture, "--bundle", bundle], 1, "score_below_threshold")
    shown = check(good_capture, "--bundle", bundle).out
    assert "SPOOF" in shown
    assert "replay" in shown
    assert "What to do" in shown


def test_people_are_told_the_verdict_and_that_nothing_is_proven(
    check: Check, live_bundle: Path, good_capture: Path
) -> None:
    shown = check(good_capture, "--bundle", live_bundle).out
    assert "LIVE" in shown
    assert "0.982" in shown
    assert "not proven" in shown


def test_the_report_is_written(check: Check, live_bundle: Path, good_capture: Path, tmp_path: Path) -> None:
    report = tmp_path / "new" / "report.html"
    assert check(good_capture, "--bundle", live_bundle, "--report", report, "--json").status == 0
    assert report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


# -- people and places: retry ----------


@pytest.mark.parametrize(
    ("faces", "code"),
    [
        ([], "no_face"),
        ([stub_face((-60, 0), 0.4), stub_face((60, 0), 0.4)], "several_faces"),
        ([stub_face((0, 90))], "face_cut_off"),
        ([stub_face(scale=0.2)], "face_too_small"),
    ],
)
def test_a_bad_face_is_a_retry(
    faces: Any, code: str, check: Check, seen: Detectors, live_bundle: Path, good_capture: Path
) -> None:
    seen.detector = StubDetector(faces)
    check_both_ways(check, [good_capture, "--bundle", live_bundle], 2, code)


def test_a_flash_that_cannot_be_seen_is_a_retry(check: Check, live_bundle: Path, tmp_path: Path) -> None:
    save_capture(stub_capture(ambient=0.9, strength=0.01), tmp_path / "bright")
    check_both_ways(check, [tmp_path / "bright", "--bundle", live_bundle], 2, "flash_too_weak")


def test_frames_of_another_challenge_are_a_spoof(check: Check, live_bundle: Path, tmp_path: Path) -> None:
    plan = default_plan(5)
    other = lit_frames(plan.colours_linear()[[0, 2, 3, 1, 4]])
    save_capture(stub_capture(plan, frames=other), tmp_path / "other")
    check_both_ways(check, [tmp_path / "other", "--bundle", live_bundle], 1, "response_mismatch")


def test_the_real_detector_finds_no_face_in_a_disk(
    check: Check, seen: Detectors, live_bundle: Path, good_capture: Path
) -> None:
    seen.detector = FaceMeshDetector()
    outcome = check(good_capture, "--bundle", live_bundle, "--json")
    assert outcome.status == 2
    assert [reason["code"] for reason in json.loads(outcome.out)["reasons"]] == ["no_face"]
    assert outcome.err == ""


# -- captures that are not captures: 3 ----------


def rewrite(image: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    pixels = cv2.imread(str(image), cv2.IMREAD_UNCHANGED)
    assert cv2.imwrite(str(image), change(pixels))


def edit_index(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "capture.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    change(index)
    path.write_text(json.dumps(index), encoding="utf-8")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def add_alpha(pixels: np.ndarray) -> np.ndarray:
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


BAD_CAPTURES: dict[str, tuple[Callable[[Path], object], str]] = {
    "one frame smaller": (lambda f: rewrite(f / "frame_1.png", lambda p: p[:200]), "frame_size_mismatch"),
    "one frame grey": (lambda f: rewrite(f / "frame_1.png", lambda p: p[..., 0]), "frame_format_unsupported"),
    "16 bits": (lambda f: rewrite(f / "frame_1.png", lambda p: p.astype(np.uint16) * 257), "frame_format_unsupported"),
    "alpha": (lambda f: rewrite(f / "frame_1.png", add_alpha), "frame_format_unsupported"),
    "truncated frame": (lambda f: cut(f / "frame_4.png"), "frame_unreadable"),
    "missing frame": (lambda f: (f / "frame_0.png").unlink(), "frame_unreadable"),
    "frame count": (lambda f: edit_index(f, lambda i: i["frames"].pop()), "frame_count_mismatch"),
    "plan hash": (lambda f: edit_index(f, lambda i: i.update(plan_hash="0" * 64)), "plan_mismatch"),
    "colour shown": (
        lambda f: edit_index(f, lambda i: i["frames"][1].update(srgb_shown=[1, 2, 3])),
        "plan_mismatch",
    ),
    "another plan": (
        lambda f: edit_index(f, lambda i: i.update(plan=default_plan(5).to_dict())),
        "plan_mismatch",
    ),
    "no index": (lambda f: (f / "capture.json").unlink(), "capture_malformed"),
    "index is not JSON": (lambda f: (f / "capture.json").write_text("hello"), "capture_malformed"),
    "unknown version": (lambda f: edit_index(f, lambda i: i.update(version=2)), "capture_malformed"),
    "nothing there": (shutil.rmtree, "capture_not_found"),
}


@pytest.mark.parametrize("name", BAD_CAPTURES)
def test_a_bad_capture_is_an_error(
    name: str, check: Check, live_bundle: Path, good_capture: Path, tmp_path: Path
) -> None:
    damage, code = BAD_CAPTURES[name]
    folder = Path(shutil.copytree(good_capture, tmp_path / "capture"))
    damage(folder)
    check_both_ways(check, [folder, "--bundle", live_bundle], 3, code)


def test_a_truncated_zip_is_an_error(check: Check, live_bundle: Path, tmp_path: Path) -> None:
    save_capture(stub_capture(), tmp_path / "capture.zip")
    cut(tmp_path / "capture.zip")
    check_both_ways(check, [tmp_path / "capture.zip", "--bundle", live_bundle], 3, "capture_malformed")


@pytest.mark.parametrize("n0", [4, 6])
def test_a_capture_that_is_not_for_this_bundle_is_an_error(
    n0: int, check: Check, live_bundle: Path, tmp_path: Path
) -> None:
    save_capture(stub_capture(default_plan(n0)), tmp_path / "capture")
    check_both_ways(check, [tmp_path / "capture", "--bundle", live_bundle], 3, "n0_mismatch")


def test_a_report_that_cannot_be_written_is_an_error(
    check: Check, live_bundle: Path, good_capture: Path, tmp_path: Path
) -> None:
    arguments = [good_capture, "--bundle", live_bundle, "--report", tmp_path]
    check_both_ways(check, arguments, 3, "output_not_writable")


# -- bundles: 4, models: 5 ----------


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def set_schema_version(folder: Path, version: int) -> None:
    path = folder / "manifest.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f'"schema_version": {SCHEMA_VERSION}', f'"schema_version": {version}'))


BAD_BUNDLES: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed byte": (lambda f: flip_a_bit(f / MODEL_FILE), "bundle_hash_mismatch"),
    "missing file": (lambda f: (f / MODEL_FILE).unlink(), "bundle_file_missing"),
    "unlisted file": (lambda f: (f / "extra.txt").write_text("x"), "bundle_malformed"),
    "older schema": (lambda f: set_schema_version(f, SCHEMA_VERSION - 1), "bundle_schema_unsupported"),
    "newer schema": (lambda f: set_schema_version(f, SCHEMA_VERSION + 1), "bundle_schema_unsupported"),
    "broken manifest": (lambda f: (f / "manifest.json").write_text("{"), "bundle_malformed"),
    "nothing there": (shutil.rmtree, "bundle_not_found"),
}


@pytest.mark.parametrize("name", BAD_BUNDLES)
def test_a_bad_bundle_is_an_error(
    name: str, check: Check, live_bundle: Path, good_capture: Path, tmp_path: Path
) -> None:
    damage, code = BAD_BUNDLES[name]
    folder = Path(shutil.copytree(live_bundle, tmp_path / "bundle"))
    damage(folder)
    check_both_ways(check, [good_capture, "--bundle", folder], 4, code)


@pytest.mark.parametrize("output", ["score", "type", "depth", "flash_response"])
def test_a_model_that_gives_nonsense_is_an_error(output: str, check: Check, good_capture: Path, tmp_path: Path) -> None:
    bundle = pack_stub_bundle(tmp_path / "broken", poison={output: float("nan")})
    check_both_ways(check, [good_capture, "--bundle", bundle], 5, "model_failed")


# -- pairs ----------


@pytest.fixture()
def pair(tmp_path: Path) -> tuple[Path, Path]:
    dark, lit = lit_frames(np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    paths = (tmp_path / "background.png", tmp_path / "flash.png")
    for path, image in zip(paths, (dark, lit), strict=True):
        assert cv2.imwrite(str(path), image[..., ::-1])
    return paths


@pytest.mark.parametrize("nonce", [None, NONCE])
def test_a_pair_is_judged_by_the_default_plan_or_a_challenge(
    nonce: str | None, check: Check, live_bundle: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    extra = [] if nonce is None else ["--nonce", nonce]
    report = tmp_path / "report.html"
    outcome = check("--pair", *pair, "--bundle", live_bundle, "--json", "--report", report, *extra)
    assert (outcome.status, json.loads(outcome.out)["verdict"]) == (0, "live")
    assert (NONCE in report.read_text(encoding="utf-8")) == (nonce is not None)


BAD_PAIRS: dict[str, tuple[Callable[[Path], object], str]] = {
    "grey": (lambda p: rewrite(p, lambda pixels: pixels[..., 0]), "frame_format_unsupported"),
    "16 bits": (lambda p: rewrite(p, lambda pixels: pixels.astype(np.uint16) * 257), "frame_format_unsupported"),
    "truncated": (cut, "frame_unreadable"),
    "empty": (lambda p: p.write_bytes(b""), "frame_format_unsupported"),
    "not an image": (lambda p: p.write_text("hello"), "frame_format_unsupported"),
    "nothing there": (Path.unlink, "capture_not_found"),
}


@pytest.mark.parametrize("name", BAD_PAIRS)
@pytest.mark.parametrize("place", [0, 1])
def test_a_bad_photograph_is_an_error(
    name: str, place: int, check: Check, live_bundle: Path, pair: tuple[Path, Path]
) -> None:
    damage, code = BAD_PAIRS[name]
    damage(pair[place])
    check_both_ways(check, ["--pair", *pair, "--bundle", live_bundle], 3, code)


def test_photographs_without_a_face_are_a_retry_with_a_report(
    check: Check, seen: Detectors, live_bundle: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    seen.detector = StubDetector([])
    report = tmp_path / "report.html"
    check_both_ways(check, ["--pair", *pair, "--bundle", live_bundle, "--report", report], 2, "no_face")
    assert "no_face" in report.read_text(encoding="utf-8")


@pytest.mark.parametrize("nonce", ["xyz", "00", "0" * 31])
def test_a_bad_nonce_is_an_error(nonce: str, check: Check, live_bundle: Path, pair: tuple[Path, Path]) -> None:
    check_both_ways(check, ["--pair", *pair, "--bundle", live_bundle, "--nonce", nonce], 3, "invalid_plan")


# -- command lines that make no sense: 64 ----------


@pytest.mark.parametrize(
    "arguments",
    [[], ["capture", "--pair", "a", "b"], ["--pair", "a"], ["capture", "--nonce", NONCE], ["capture", "--no-such"]],
    ids=["nothing", "both", "half a pair", "nonce without pair", "unknown option"],
)
def test_a_command_line_that_makes_no_sense_is_a_usage_error(arguments: list[str], check: Check) -> None:
    outcome = check(*arguments)
    assert outcome.status == EXIT_USAGE
    assert outcome.out == ""
    assert outcome.err
