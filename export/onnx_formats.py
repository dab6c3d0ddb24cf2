"""The ONNX artifacts of one network: fp32, fp16 and static int8 with a float tail, equal in form.

All three are opset 18 with weights inside, and are marked with the oldest file version that has what they use: the
exporter marks its files so new that ONNX Runtime before 1.18 refuses them, though it could compute them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

import onnx

from export.converted import MADE, CalibrationSet, Converted, Precision
from export.deploy import DeployNetwork
from export.onnx import OPSET, export_onnx, structure_gates
from export.onnx_fp16 import export_fp16
from export.onnx_int8 import everything_int8, export_int8
from export.parity import require
from training.network import ATRFAS

FP32_PATH: Final = "models/atr-fas.fp32.onnx"
IR_VERSION: Final = 8
"""Of ONNX 1.13, whose opset is 18; later ones add only 4-bit, float8 and names that no file here uses."""

RUNS_ON: Final = "ONNX Runtime 1.15"
"""The oldest that we ran all three files on. 1.14 has opset 18 as well, but no build for our Python."""


def convert_onnx(
    network: ATRFAS, calibration: CalibrationSet, precisions: Collection[Precision] = MADE["onnx"]
) -> list[Converted]:
    """fp32, and where asked for fp16, and int8_static if anything can be int8 in it.

    Raises ParityError for a file whose form is not as agreed.

    That they compute what PyTorch does is for `export.precision_gates` to say.
    """
    artifacts = [convert_fp32(network)]
    model = artifacts[0].files[FP32_PATH]
    if "fp16" in precisions:
        artifacts.append(_sealed(network, export_fp16(model, RUNS_ON, calibration)))
    if "int8_static" in precisions:
        int8 = export_int8(network, model, RUNS_ON, calibration)
        artifacts += [] if int8 is None else [_sealed(network, int8)]
    return artifacts


def convert_fp32(network: ATRFAS) -> Converted:
    """fp32 alone."""
    files = {FP32_PATH: export_onnx(network)}
    return _sealed(network, Converted(FP32_PATH, "onnx", "fp32", files, RUNS_ON, opset=OPSET))


def convert_control(network: ATRFAS, fp32: Converted, calibration: CalibrationSet) -> Converted:
    """The negative control of gate 7, `fp32` with everything int8; it must fail the gates that int8_static passes."""
    return _sealed(network, everything_int8(fp32.files[FP32_PATH], RUNS_ON, calibration))


def _sealed(network: ATRFAS, converted: Converted) -> Converted:
    """The artifact in the agreed form, which is checked: its quantizer's notes and unused domains are removed."""
    model = onnx.load_model_from_string(converted.files[converted.path])
    model.ir_version = IR_VERSION
    used = {node.domain for node in model.graph.node}
    opsets = [entry for entry in model.opset_import if entry.domain in used]
    model.ClearField("opset_import")
    model.opset_import.extend(opsets)
    model.ClearField("metadata_props")
    model.graph.ClearField("value_info")  # shapes and types that a rewriter believed; readers work them out
    require(structure_gates(model, DeployNetwork(network).input_shape), f"{converted.path} as converted")
    return replace(converted, files={converted.path: bytes(model.SerializeToString(deterministic=True))})
