"""Evaluation: rates against a count by hand, refused captures apart, runs and bundles alike, simulated called so."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from stub_model import pack_stub_bundle
from tiny_captures import KnowingDetector, subjects_of, tiny_capture, write_tiny_dataset
from tiny_network import TINY, awakened

from flash_sequencer.plan import default_plan
from sdk_reference.capture import save_capture
from sdk_reference.errors import BundleError, N0Mismatch
from sdk_reference.quality import QualityLimits
from training import figures
from training.checkpoint import load_run
from training.errors import ClassMissing, DatasetInvalid, RunInvalid, SettingOutOfRange
from training.evaluate import EvaluationResult, evaluate, operating_point, table
from training.evaluated_model import head_features, pooled
from training.evaluation_report import write_report
from training.machine import Machine
from training.network import LIVE, PRESETS
from training.scoring import Scored
from training.settings import RECIPES
from training.shard_writing import shard_dataset
from training.train import train

QUIET = Machine(quiet=True, accelerator="cpu")
FACELESS_PERSON = subjects_of("test", 4)[-1]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_tiny_dataset(folder, [*subjects_of("train", 3), *subjects_of("val", 3), *subjects_of("test", 3)])
    save_capture(tiny_capture(50, FACELESS_PERSON, "mask", faceless=True), folder / "captures" / "faceless.zip")
    return folder


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "tiny-run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(PRESETS, "mobile", TINY)
        settings = replace(RECIPES["mobile"], epochs=1, batch_size=4)
        train(out, [dataset], settings, QUIET, detector_factory=KnowingDetector)
    return out


def evaluated(model: Path, data: Path, **options: Any) -> EvaluationResult:
    return evaluate(model, [data], machine=QUIET, detector_factory=KnowingDetector, **options)


def test_a_run_is_judged_at_its_own_threshold_with_every_rate_in_range(run: Path, dataset: Path) -> None:
    result = evaluated(run, dataset).to_dict()
    assert result["threshold"] == json.loads((run / "run.json").read_text())["operating_point"]["threshold"]
    assert set(result) >= {"eer", "hter", "threshold", "apcer", "apcer_max", "bpcer", "refused", "counts", "simulated"}
    rates = [result["eer"], result["hter"], result["apcer_max"], result["bpcer"], *result["apcer"].values()]
    for rate in rates:
        assert set(rate) == {"value", "low", "high"}
        assert 0 <= rate["low"] <= rate["value"] <= rate["high"] <= 1
    assert result["simulated"] is True and result["split"] == "test"
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_counts_cover_every_capture_of_the_split_once(run: Path, dataset: Path) -> None:
    for split, expected in (("train", 6), ("val", 6), ("test", 7), ("all", 19)):
        result = evaluated(run, dataset, split=split).to_dict()
        assert sum(result["counts"].values()) + sum(result["refused"].values()) == expected
    assert result["refused"] == {"mask": 1} and result["refused_reasons"] == {"no_face": 1}


def test_rates_are_those_counted_by_hand(run: Path, dataset: Path) -> None:
    result = evaluated(run, dataset, split="all")
    scored, threshold = result.scored, result.rates.threshold
    wrong = Counter(n for n, s in zip(scored.species, scored.scores, strict=True) if (s >= threshold) != (n == "live"))
    totals = Counter(scored.species)
    assert result.rates.bpcer.value == wrong["live"] / totals["live"]
    assert {n: r.value for n, r in result.rates.apcer.items()} == {
        n: wrong[n] / totals[n] for n in ("print", "replay", "mask")
    }


@pytest.mark.parametrize(("offset", "apcer", "bpcer"), [(4.0, 1.0, 0.0), (-4.0, 0.0, 1.0)])
def test_a_bundle_is_judged_by_its_own_model_and_threshold(
    dataset: Path, tmp_path: Path, offset: float, apcer: float, bpcer: float
) -> None:
    """The stub calls everything live, or everything an attack."""
    bundle = pack_stub_bundle(tmp_path / "bundle", offset=offset, threshold=0.5)
    result = evaluated(bundle, dataset).to_dict()
    assert result["model"]["kind"] == "bundle"
    assert (result["apcer_max"]["value"], result["bpcer"]["value"], result["threshold"]) == (apcer, bpcer, 0.5)
    assert (result["hter"]["value"], result["eer"]["value"]) == (0.5, 0.5)


def test_the_flash_response_check_refuses_what_answers_in_wrong_colours(dataset: Path, tmp_path: Path) -> None:
    bundle = pack_stub_bundle(tmp_path / "bundle", offset=4.0, threshold=0.5, response_sign=-1.0)
    result = evaluated(bundle, dataset).to_dict()
    assert (result["apcer_max"]["value"], result["bpcer"]["value"]) == (1.0, 0.0)
    checked = result["with_response_check"]
    assert (checked["apcer_max"]["value"], checked["bpcer"]["value"]) == (0.0, 1.0)


def test_when_the_gates_refuse_everything_there_is_no_rate_but_every_verdict(dataset: Path, tmp_path: Path) -> None:
    """As with a screen that shows nothing: nobody is called live, and the report is written all the same."""
    bundle = pack_stub_bundle(tmp_path / "bundle", offset=4.0, limits=QualityLimits(min_flash_to_ambient=1e6))
    result = evaluated(bundle, dataset)
    values = result.to_dict()
    assert values["counts"] == {} and values["refused"] == {"live": 3, "mask": 2, "print": 1, "replay": 1}
    assert values["eer"] is values["apcer_max"] is values["with_response_check"] is None and values["apcer"] == {}
    assert values["without_gates"]["apcer_max"]["value"] == 1.0  # the stub calls everything live
    assert all(found["retry"]["value"] == found["not_live"]["value"] == 1.0 for found in values["verdicts"].values())
    page = write_report(result, tmp_path / "report").read_text()
    assert "no error rate can be computed" in page and "captures that the gates refuse included" not in page


def test_a_split_without_a_class_is_an_error_that_refusals_do_not_hide(run: Path, tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path, subjects_of("test", 2), species=("print", "mask"))
    with pytest.raises(ClassMissing, match="no live"):
        evaluated(run, tmp_path)


def test_the_verdicts_are_those_of_the_phone(dataset: Path, tmp_path: Path) -> None:
    """A score that accepts everything, and a response that contradicts every plan: nothing is called live."""
    bundle = pack_stub_bundle(tmp_path / "bundle", offset=4.0, threshold=0.5, response_sign=-1.0)
    verdicts = evaluated(bundle, dataset).to_dict()["verdicts"]
    assert verdicts["live"]["spoof"]["events"] == verdicts["live"]["reasons"]["response_mismatch"] == 3
    assert verdicts["mask"]["retry"]["events"] == verdicts["mask"]["reasons"]["no_face"] == 1


def test_what_was_trained_on_comes_from_the_runs_record_and_from_the_data_for_a_bundle(
    run: Path, dataset: Path, tmp_path: Path
) -> None:
    recorded = json.loads((run / "run.json").read_text())["data"]["splits"]
    assert recorded["train"]["devices"] == recorded["test"]["scenes"] == ["unknown"]
    stated = evaluated(run, dataset).to_dict()["protocol"]
    assert stated["source"] == "the run's record" and stated["certain"] is True
    assert (stated["devices"]["unseen"], stated["devices"]["shared"]) == ([], ["unknown"])
    assert stated["subjects"] == {"evaluated": 4, "overlap": 0}
    bundled = evaluated(pack_stub_bundle(tmp_path / "bundle"), dataset, split="all").to_dict()["protocol"]
    assert bundled["certain"] is False and bundled["subjects"]["overlap"] is None


def test_the_screen_is_known_to_have_been_off_in_a_folder_and_in_its_shards(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path / "dark", [*subjects_of("train", 1), *subjects_of("test", 1)])
    bundle = pack_stub_bundle(tmp_path / "bundle")
    for off in (True, False):
        record = {"format": "flashproof-dataset", "version": 2, "simulated": True, "settings": {"screen_off": off}}
        (folder / "dataset.json").write_text(json.dumps(record))
        shards = tmp_path / f"shards-{off}"
        shard_dataset(folder, shards, quiet=True, detector_factory=KnowingDetector)
        assert [evaluated(bundle, place, split="all").screen_off for place in (folder, shards)] == [off, off]


def test_features_are_what_the_head_made_of_the_networks_own_map() -> None:
    """An evaluation has the maps in the contract's size, whose values the network with a finer joint stem repeats."""
    network, seen = awakened(TINY, 0), []
    own = torch.rand((2, 4, 4), generator=torch.Generator().manual_seed(0))
    hook = network.classification_head.linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        network.classification_head(own.unsqueeze(1))
    hook.remove()
    widened = network.widened(own).numpy()
    assert widened.shape == (2, 8, 8)
    np.testing.assert_allclose(head_features(network, widened), seen[0].numpy(), atol=1e-6)


def test_captures_of_another_number_of_frames_are_refused(run: Path, tmp_path: Path) -> None:
    save_capture(tiny_capture(0, "a", "live", plan=default_plan(4)), tmp_path / "four.zip")
    with pytest.raises(N0Mismatch, match="captures of 4 frames"):
        evaluated(run, tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_neither_run_nor_bundle_is_an_error(dataset: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError):
        evaluated(tmp_path / name, dataset)


def test_an_unfinished_run_is_an_error_that_says_so(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(RunInvalid, match="unfinished"):
        evaluated(tmp_path, dataset)


def test_an_unknown_split_is_refused(run: Path, dataset: Path) -> None:
    with pytest.raises(SettingOutOfRange, match="training"):
        evaluated(run, dataset, split="training")


def test_no_data_is_an_error(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid):
        evaluated(run, tmp_path)


def test_every_rate_on_simulated_data_says_simulated(run: Path, dataset: Path) -> None:
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(table(evaluated(run, dataset)))
    lines = [line for line in console.export_text().splitlines() if "%" in line and "rate" not in line]
    assert len(lines) == 8
    assert all("simulated" in line for line in lines)


def test_the_threshold_is_where_the_error_rates_are_equal() -> None:
    scores = np.array([0.9, 0.8, 0.3, 0.7, 0.2, 0.1])
    species = ("live", "live", "live", "print", "print", "mask")
    scored = Scored((), species, scores, np.zeros(6, np.int64))
    point = operating_point(scored, simulated=False)
    assert 0.3 < point["threshold"] <= 0.7  # accepts 0.7 or above: one live refused, one print accepted
    assert point["rates"]["far"]["value"] == point["rates"]["frr"]["value"] == pytest.approx(1 / 3)
    assert point["rates"]["apcer_print"]["value"] == 0.5 and point["rates"]["apcer_mask"]["value"] == 0.0
    assert point["simulated"] is False and point["captures"] == 6


@pytest.mark.parametrize("scores", [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
def test_a_threshold_is_always_one_that_a_manifest_accepts(scores: list[float]) -> None:
    scored = Scored((), ("live", "live", "print", "mask"), np.array(scores), np.zeros(4, np.int64))
    assert 0 < operating_point(scored, simulated=True)["threshold"] <= 1


def test_rates_below_a_threshold_are_counted_strictly() -> None:
    scores, thresholds = np.array([0.2, 0.5, 0.5, 0.9]), np.array([0.0, 0.5, 0.6, 1.0])
    np.testing.assert_allclose(figures.rate_below(scores, thresholds), [0.0, 0.25, 0.75, 1.0])


def test_head_features_are_what_the_last_layer_turns_into_the_score(run: Path, dataset: Path) -> None:
    result = evaluated(run, dataset)
    network = load_run(run).network
    depth = np.stack([output.depth for output in result.scored.outputs])
    features = torch.from_numpy(head_features(network, depth))
    with torch.inference_mode():
        scores = torch.softmax(network.classification_head.linear(features), dim=1)[:, LIVE]
    np.testing.assert_allclose(scores.numpy(), result.scored.scores, atol=1e-5)
    np.testing.assert_allclose(result.model.features(depth), features.numpy())


def test_depth_maps_without_a_network_are_averaged() -> None:
    depth = np.arange(2 * 16 * 16, dtype=np.float32).reshape(2, 16, 16)
    expected = depth.reshape(2, 8, 2, 8, 2).mean(axis=(2, 4)).reshape(2, 64)
    np.testing.assert_allclose(pooled(depth), expected)
