"""The `paper` preset comes out of the converters as it went in: at its real widths as ONNX, narrow in every format."""

import numpy as np
import pytest
from tiny_network import TINY_PAPER, awakened

from export.converted import CalibrationSet
from export.formats import FORMATS, convert
from export.onnx_formats import FP32_PATH, convert_fp32
from export.parity import run_network, run_onnx
from export.precision_gates import LIMITS, limit_gates
from export.proof import References, prove
from sdk_reference.bundle import MAX_FILE_BYTES
from sdk_reference.runtime import open_session
from training.network import PAPER


def input_of(settings):
    shape = (settings.n_frames, 3, settings.input_size, settings.input_size)
    return np.clip(np.random.default_rng(0).normal(0, 0.3, shape), -1, 1).astype(np.float32)


def test_it_is_converted_within_the_gates_of_fp32_and_fits_into_a_bundle():
    network, model_input = awakened(PAPER, seed=0), input_of(PAPER)
    converted = convert_fp32(network)
    assert 4 * sum(p.numel() for p in network.parameters()) < converted.bytes * 1.01 < MAX_FILE_BYTES
    found = run_onnx(open_session(converted.files[FP32_PATH], threads=1), model_input)
    gates = limit_gates(LIMITS["fp32"], [run_network(network, model_input)], [found])
    assert [gate for gate in gates if not gate.ok] == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_narrow_network_of_its_form_passes_every_gate_of_fp32_and_fp16(name, tmp_path):
    network = awakened(TINY_PAPER, seed=0)
    references = References.of(network, [input_of(TINY_PAPER)], threshold=0.01)
    artifacts = convert(name, network, CalibrationSet(0, ()), ("fp32", "fp16"))
    assert [artifact.precision for artifact in artifacts] == ["fp32", "fp16"]
    for artifact in artifacts:
        artifact.write(tmp_path)
        assert [gate for gate in prove(artifact, tmp_path, references).gates if not gate.ok] == []
