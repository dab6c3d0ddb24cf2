"""The whole phone side on a painted disk: stages in order, doubts as retry, wrong captures as errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stub_capture import StubDetector, lit_frames, stub_capture, stub_face
from stub_model import pack_stub_bundle

from flash_sequencer.plan import FlashPlan, FlashStep, challenge, default_plan
from sdk_reference.bundle import Bundle, load_bundle
from sdk_reference.capture import Capture, Labels
from sdk_reference.checker import Checker
from sdk_reference.errors import CameraLost, ModelFailed, N0Mismatch, PlanMismatch
from sdk_reference.quality import QualityLimits
from sdk_reference.runtime import ModelOutputs


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(pack_stub_bundle(tmp_path_factory.mktemp("stub")))


def spoofing(tmp_path: Path, **options: Any) -> Bundle:
    return load_bundle(pack_stub_bundle(tmp_path / "spoof", offset=-4.0, **options))


@pytest.mark.parametrize("plan", [default_plan(5), challenge("00" * 16, 5), challenge("a7" * 16, 5)])
def test_a_good_capture_is_live_with_every_stage_kept(bundle: Bundle, plan: Any) -> None:
    result = Checker(bundle, StubDetector()).check(stub_capture(plan))
    assert result.decision.verdict == "live"
    assert result.decision.reasons == ()
    assert result.decision.score == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-6)
    assert result.decision.bundle == bundle.identity
    assert None not in (result.preprocessed, result.quality, result.outputs, result.responses)


def test_a_low_score_is_a_spoof_of_the_likeliest_kind(tmp_path: Path) -> None:
    decision = Checker(spoofing(tmp_path), StubDetector()).check(stub_capture()).decision
    assert (decision.verdict, decision.species) == ("spoof", "replay")
    assert [reason.code for reason in decision.reasons] == ["score_below_threshold"]


def test_frames_that_answer_another_challenge_are_a_spoof(bundle: Bundle) -> None:
    shown = default_plan(5)
    swapped = shown.colours_linear()[[0, 2, 3, 1, 4]]  # red, green and blue in each other's place
    result = Checker(bundle, StubDetector()).check(stub_capture(shown, frames=lit_frames(swapped)))
    assert result.decision.verdict == "spoof"
    assert [reason.code for reason in result.decision.reasons] == ["response_mismatch"]
    assert result.responses is not None
    assert result.responses.disagreeing.all()


@pytest.mark.parametrize(
    ("faces", "code"),
    [
        ([], "no_face"),
        ([stub_face((-60, 0), 0.4), stub_face((60, 0), 0.4)], "several_faces"),
        ([stub_face((90, 0))], "face_cut_off"),
        ([stub_face(scale=0.2)], "face_too_small"),
    ],
)
def test_a_frame_without_one_usable_face_is_a_retry_without_score(bundle: Bundle, faces: Any, code: str) -> None:
    result = Checker(bundle, StubDetector(faces)).check(stub_capture())
    assert (result.decision.verdict, result.decision.score) == ("retry", None)
    assert [reason.code for reason in result.decision.reasons] == [code]
    assert (result.preprocessed, result.outputs) == (None, None)
    assert set(result.decision.timings_ms) == {"landmarks", "alignment and differences"}


@pytest.mark.parametrize("bad_call", range(5))
def test_one_bad_frame_of_five_is_enough(bundle: Bundle, bad_call: int) -> None:
    calls = [[stub_face()] if call != bad_call else [] for call in range(5)]
    assert Checker(bundle, StubDetector(per_call=calls)).check(stub_capture()).decision.verdict == "retry"


@pytest.mark.parametrize(
    ("capture", "code"),
    [
        (stub_capture(ambient=0.9, strength=0.01), "flash_too_weak"),
        (stub_capture(strength=0.0), "flash_too_weak"),
        (stub_capture(ambient=1.0, strength=8.0), "overexposed"),
    ],
    ids=["bright room", "screen off", "too close"],
)
def test_a_capture_that_misses_a_limit_is_a_retry_that_still_shows_its_score(
    bundle: Bundle, capture: Capture, code: str
) -> None:
    result = Checker(bundle, StubDetector()).check(capture)
    assert result.decision.verdict == "retry"
    assert code in [reason.code for reason in result.decision.reasons]
    assert result.decision.score is not None


def test_limits_come_from_the_manifest(tmp_path: Path) -> None:
    strict = load_bundle(pack_stub_bundle(tmp_path / "strict", limits=QualityLimits(min_face_width_px=200.0)))
    decision = Checker(strict, StubDetector()).check(stub_capture()).decision
    assert [reason.code for reason in decision.reasons] == ["face_too_small"]


def test_a_moving_face_is_a_retry(bundle: Bundle) -> None:
    calls = [[stub_face((0.0, 12.0 * call - 24))] for call in range(5)]
    decision = Checker(bundle, StubDetector(per_call=calls)).check(stub_capture()).decision
    assert (decision.verdict, decision.reasons[0].code) == ("retry", "moved")


@pytest.mark.parametrize("n0", [3, 4, 6])
def test_a_capture_of_another_length_is_an_error(bundle: Bundle, n0: int) -> None:
    with pytest.raises(N0Mismatch, match=f"{n0} frames"):
        Checker(bundle, StubDetector()).check(stub_capture(default_plan(n0)))


def test_a_capture_whose_plan_has_no_colours_is_an_error(bundle: Bundle) -> None:
    """Every face answers such a plan: that none of its rows disagrees says nothing."""
    steps = tuple(FlashStep(rank, (level,) * 3, 300) for rank, level in enumerate((255, 190, 170, 150, 0)))
    with pytest.raises(PlanMismatch, match="brightness only"):
        Checker(bundle, StubDetector()).check(stub_capture(FlashPlan(steps)))


@pytest.mark.parametrize("n0", [3, 4])
def test_bundles_of_other_lengths_work(tmp_path: Path, n0: int) -> None:
    bundle = load_bundle(pack_stub_bundle(tmp_path / "stub", n0))
    assert Checker(bundle, StubDetector()).check(stub_capture(default_plan(n0))).decision.verdict == "live"


def test_a_model_that_gives_nonsense_is_an_error_never_live(tmp_path: Path) -> None:
    broken = load_bundle(pack_stub_bundle(tmp_path / "broken", poison={"depth": float("nan")}))
    with pytest.raises(ModelFailed):
        Checker(broken, StubDetector()).check(stub_capture())


def test_a_backend_that_lets_nonsense_through_is_caught_as_well(bundle: Bundle) -> None:
    class Careless:
        def run(self, model_input: np.ndarray) -> ModelOutputs:
            return ModelOutputs(float("nan"), np.ones(3, np.float32), np.ones((32, 32), np.float32), np.ones((6, 3)))

    with pytest.raises(ModelFailed):
        Checker(bundle, StubDetector(), Careless()).check(stub_capture())


def test_errors_of_the_detector_are_passed_on(bundle: Bundle) -> None:
    class Unplugged:
        def detect(self, frame: np.ndarray) -> list[Any]:
            raise CameraLost(found="nothing", expected="frames", remedy="plug it in")

    with pytest.raises(CameraLost):
        Checker(bundle, Unplugged()).check(stub_capture())


def test_timings_are_those_of_the_clock_passed_in_and_add_up(bundle: Bundle) -> None:
    now = iter(range(0, 10**9, 1_000_000))  # each look at the clock takes a millisecond
    result = Checker(bundle, StubDetector(), clock_ns=lambda: next(now)).check(stub_capture())
    assert result.decision.timings_ms == {
        "landmarks": 5.0,  # five frames of one tick
        "alignment and differences": 6.0,  # eleven ticks in all less five
        "quality": 1.0,
        "model": 1.0,
        "flash response": 1.0,
        "bundle": 1.0,
    }


@pytest.mark.parametrize(
    ("species", "offset", "is_right"),
    [("live", 4.0, True), ("print", 4.0, False), ("mask", -4.0, True), ("live", -4.0, False), (None, 4.0, None)],
)
def test_a_labelled_capture_tells_whether_the_verdict_is_right(
    tmp_path: Path, species: str | None, offset: float, is_right: bool | None
) -> None:
    bundle = load_bundle(pack_stub_bundle(tmp_path / "stub", offset=offset))
    labels = Labels(simulated=True, species=species)
    assert Checker(bundle, StubDetector()).check(stub_capture(labels=labels)).is_right is is_right


def test_a_retry_is_neither_right_nor_wrong(bundle: Bundle) -> None:
    labels = Labels(simulated=True, species="live")
    assert Checker(bundle, StubDetector([])).check(stub_capture(labels=labels)).is_right is None


def test_json_has_the_same_keys_whether_or_not_the_model_was_reached(bundle: Bundle) -> None:
    reached = Checker(bundle, StubDetector()).check(stub_capture()).to_dict()
    refused = Checker(bundle, StubDetector([])).check(stub_capture()).to_dict()
    assert set(reached) == set(refused)
    assert {"verdict", "score", "threshold", "species", "reasons", "timings_ms", "bundle"} <= set(reached)
