"""The model that ships: sound as a bundle, equal to its PyTorch weights, small, honest about what it is.

What it decides on people is not tested here: that is measured by `flashproof evaluate` and written in the model card.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from export import gates_page
from export.formats import open_artifact
from export.golden_reading import read_golden
from export.parity import run_network
from export.precision_gates import LIMITS, limit_gates
from export.proof import as_outputs
from export.verify import verify
from flashproof.app import run
from sdk_reference.bundle import SHIPPED_BUNDLE, Bundle, load_bundle, unpacked
from sdk_reference.landmarks import FaceMeshDetector
from training.checkpoint import Run, load_run
from training.first_weights import load_first_weights

REPOSITORY = Path(__file__).resolve().parent.parent
SHIPPED_RUN = REPOSITORY / "training" / "runs" / "mobile"
FIRST_WEIGHTS = REPOSITORY / "training" / "runs" / "pretrained"
REAL_FLASH = REPOSITORY.parent / "shared" / "real_flash"
MAX_WEIGHT_BYTES = 10_000_000
MAX_SHIPPED_BYTES = 21_000_000  # of which 9.4 MB are the inputs of two golden captures, 256 pixels wide
MAX_MOBILE_PARAMETERS = 300_000
FEWEST_TRAINING_CAPTURES = 3_000
CHECK_KEYS = {"verdict", "score", "threshold", "species", "reasons", "timings_ms", "bundle"}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(SHIPPED_BUNDLE)


@pytest.fixture(scope="module")
def weights() -> Run:
    return load_run(SHIPPED_RUN)


def test_every_gate_of_verify_is_open() -> None:
    verification = verify(SHIPPED_BUNDLE, FaceMeshDetector())
    assert [gate.name for gate in verification.gates if not gate.ok] == []
    assert verification.ok and len(verification.gates) > 20


def test_every_artifact_agrees_with_pytorch_within_its_tolerances(bundle: Bundle, weights: Run) -> None:
    rng = np.random.default_rng(7)
    shape = read_golden(bundle)[0].model_input.shape
    noise = [np.clip(rng.normal(0.0, scale, shape), -1, 1).astype(np.float32) for scale in (0.05, 0.2, 0.6)]
    inputs = [golden.model_input for golden in read_golden(bundle)] + noise
    references = [run_network(weights.network, x) for x in inputs]
    for artifact in bundle.manifest.artifacts:
        assert artifact.precision != "fp32" or set(artifact.tolerances.values()) == {1e-5}
        with unpacked(bundle, artifact) as path:
            backend, _ = open_artifact(artifact.format, artifact.precision, path)
            found = [as_outputs(backend.run(x)) for x in inputs]
        real = len(inputs) if artifact.precision == "fp32" else len(read_golden(bundle))  # noise is no capture
        gates = limit_gates(LIMITS[artifact.precision], references[:real], found[:real])
        assert [gate for gate in gates if not gate.ok] == [], artifact.file


def test_the_card_names_every_artifact_and_no_other(bundle: Bundle) -> None:
    card = bundle.read("MODEL_CARD.md").decode()
    assert set(re.findall(r"`(models/[^`]+)`", card)) == {artifact.file for artifact in bundle.manifest.artifacts}


def test_the_pages_show_the_figures_of_the_shipped_bundle(bundle: Bundle) -> None:
    conversion = (REPOSITORY / "docs" / "conversion.md").read_text(encoding="utf-8")
    assert gates_page.BLOCK.around(gates_page.table(bundle)) in conversion
    formats = (REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8")
    assert bundle.identity in formats
    for artifact in bundle.manifest.artifacts:
        assert f"| {artifact.file.rpartition('/')[2]} | {artifact.format} | {artifact.precision} |" in formats


def test_the_bundle_was_made_from_these_weights(bundle: Bundle, weights: Run) -> None:
    training = bundle.manifest.training
    assert training.data_sha256 == weights.record["data"]["sha256"]
    assert bundle.manifest.artifact().operating_point.threshold == weights.record["operating_point"]["threshold"]


def test_the_model_is_small_and_trained_on_enough(bundle: Bundle, weights: Run) -> None:
    folders = (SHIPPED_BUNDLE, SHIPPED_RUN, FIRST_WEIGHTS)
    shipped = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    weighty = [path for path in shipped if SHIPPED_BUNDLE / "models" in path.parents or path.suffix == ".safetensors"]
    assert sum(path.stat().st_size for path in weighty) <= MAX_WEIGHT_BYTES
    assert sum(path.stat().st_size for path in shipped) <= MAX_SHIPPED_BYTES
    assert weights.record["parameters"] <= MAX_MOBILE_PARAMETERS
    assert bundle.manifest.training.captures >= FEWEST_TRAINING_CAPTURES


def test_the_weights_that_the_training_began_with_come_along(weights: Run) -> None:
    first = load_first_weights(FIRST_WEIGHTS)
    assert first.sha256 == weights.record["training"]["started_from"] == weights.record["begun_with"]["sha256"]
    assert (first.settings, first.preprocess) == (weights.settings, weights.preprocess)
    assert first.trained_on["people"] == weights.record["begun_with"]["people"]


def test_the_model_card_calls_simulated_rates_simulated(bundle: Bundle) -> None:
    card = bundle.read("MODEL_CARD.md").decode()
    assert bundle.manifest.training.simulated
    rows = [line for line in card.splitlines() if re.match(r"\| .*\d%", line)]
    assert len(rows) >= 8
    assert all("SIMULATED" in row for row in rows)
    assert "never tested on" in card and "Neither certified" in card


@pytest.mark.parametrize("pair", ["specdiff_1_live", "specdiff_1_spoof"])
def test_real_photographs_get_a_verdict_with_scores_and_reasons(pair: str, capsys: pytest.CaptureFixture[str]) -> None:
    photographs = [REAL_FLASH / pair / name for name in ("background.jpg", "flash.jpg")]
    if not all(path.is_file() for path in photographs):
        pytest.skip("the real photographs are kept outside the repository and are not here")
    status = run(["check", "--pair", *map(str, photographs), "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) >= CHECK_KEYS
    assert status == {"live": 0, "spoof": 1, "retry": 2}[answer["verdict"]]
    assert answer["verdict"] == "live" or answer["reasons"]
    if answer["score"] is not None:
        assert 0 <= answer["score"] <= 1 and answer["threshold"] > 0


def test_the_demo_judges_one_session_of_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--seed", "3", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["simulated"] is True
    assert [session["kind"] for session in answer["sessions"]] == ["live", "print", "replay", "mask"]
    assert all(session["verdict"] in ("live", "spoof", "retry") for session in answer["sessions"])
