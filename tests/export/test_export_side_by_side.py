"""Formats converted and proved in processes side by side give what one process gives, and fail as it fails."""

from copy import deepcopy

import numpy as np
import pytest

from export.converted import CalibrationSet
from export.formats import FORMATS, NothingToConvert
from export.proof import References
from export.side_by_side import LONGEST_FIRST, convert_and_prove
from training.machine import torch_threads

NO_CALIBRATION = CalibrationSet(0, ())
FP32 = ("fp32",)


@pytest.fixture(scope="module")
def references(run):
    shape = (run.settings.n_frames, 3, run.settings.input_size, run.settings.input_size)
    rng = np.random.default_rng(0)
    return References.of(run.network, [np.clip(rng.normal(0, 0.3, shape), -1, 1).astype(np.float32)], run.threshold)


def told(proofs):
    return [(proof.artifact.path, proof.artifact.files, proof.ran_by, proof.gates) for proof in proofs]


def test_two_processes_give_what_one_gives_in_the_order_of_the_formats(run, references, monkeypatch):
    formats = ("coreml", "onnx")
    monkeypatch.setattr("export.side_by_side.default_workers", lambda: 2)
    beside = convert_and_prove(run.network, NO_CALIBRATION, references, formats, FP32)
    assert [proof.artifact.format for proof in beside] == ["onnx", "coreml"]
    monkeypatch.setattr("export.side_by_side.default_workers", lambda: 1)
    with torch_threads(2):  # of which the one process must make no use, or sums run in another order
        assert told(convert_and_prove(run.network, NO_CALIBRATION, references, formats, FP32)) == told(beside)


def test_every_format_has_its_turn():
    assert sorted(LONGEST_FIRST) == sorted(FORMATS)


def test_a_file_that_does_not_run_keeps_its_gates_closed(run, references):
    broken = deepcopy(run.network)
    broken.classification_head.linear.weight.data.fill_(float("nan"))
    proofs = convert_and_prove(broken, NO_CALIBRATION, references, ("onnx", "coreml"), FP32)
    assert all(any(not gate.ok for gate in proof.gates) for proof in proofs)
    assert all(proof.ran_by.startswith("nothing: ") for proof in proofs)


def test_what_is_not_to_be_had_is_refused_before_anything_is_converted(run, references):
    with pytest.raises(NothingToConvert):
        convert_and_prove(run.network, NO_CALIBRATION, references, ("coreml",), FP32)
