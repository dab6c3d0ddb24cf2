"""PyTorch → LiteRT (.tflite) through litert-torch, in fp32, fp16, int8 weights, dynamic int8 and static int8.

EXPORT.md says what breaks. One signature names the tensors as the contract does. What a file runs on follows from its
operations' versions, which `export.litert_file` states truly: it is the oldest TensorFlow Lite that has all of them.
Only the installed LiteRT was run;
that LiteRT 1.0 does is assumed. Equal weights give equal bytes, and no path of the machine is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from export.converted import CalibrationSet, Converted, Precision
from export.deploy import DeployNetwork
from export.litert_file import read, rename, restate_versions, write
from export.litert_quantize import Quantized, fp16, int8_dynamic, int8_static, int8_weights
from export.litert_quiet import without_chatter
from export.litert_structure import litert_structure_gates
from export.parity import require
from sdk_reference.manifest import INPUT_NAME, OUTPUT_NAMES
from training.network import ATRFAS

PATHS: Final[Mapping[Precision, str]] = {
    "fp32": "models/atr-fas.fp32.tflite",
    "fp16": "models/atr-fas.fp16.tflite",
    "int8_weights": "models/atr-fas.int8-weights.tflite",
    "int8_dynamic": "models/atr-fas.int8-dynamic.tflite",
    "int8_static": "models/atr-fas.int8.tflite",
}
MAKERS: Final[Mapping[Precision, Callable[[bytes, CalibrationSet], Quantized | None]]] = {
    "fp32": lambda model, _: Quantized(model, ()),
    "fp16": fp16,
    "int8_weights": int8_weights,
    "int8_dynamic": int8_dynamic,
    "int8_static": int8_static,
}


def convert_litert(
    network: ATRFAS, calibration: CalibrationSet, precisions: Sequence[Precision] = tuple(PATHS)
) -> list[Converted]:
    """Convert a trained network to one file per precision, but for those in which nothing can be computed in int8.

    Raises ParityError when a file's structure is not as agreed.
    int8 files hold their accuracy gates on the calibration captures, or ParityError is raised; compare every file with
    PyTorch on other captures before it goes anywhere.
    """
    model = export_litert(network)
    shape = DeployNetwork(network).input_shape
    converted = (_converted(model, precision, calibration, shape) for precision in precisions)
    return [file for file in converted if file is not None]


def export_litert(network: ATRFAS) -> bytes:
    """Convert a trained network to an fp32 .tflite file with named tensors, whose structure is not checked here."""
    with without_chatter():
        import litert_torch

        deploy = DeployNetwork(network).eval()
        example = {INPUT_NAME: torch.zeros(deploy.input_shape)}
        converted: Any = litert_torch.convert(_Named(deploy).eval(), sample_kwargs=example)
        model = read(converted.model_content())
    rename(model, deploy.network)
    return write(model)


class _Named(nn.Module):
    """The deploy network with its outputs by name, which the signature then has."""

    def __init__(self, deploy: DeployNetwork) -> None:
        super().__init__()
        self.deploy = deploy

    def forward(self, differential: Tensor) -> dict[str, Tensor]:
        return dict(zip(OUTPUT_NAMES, self.deploy(differential), strict=True))


def _converted(
    model: bytes, precision: Precision, calibration: CalibrationSet, input_shape: tuple[int, ...]
) -> Converted | None:
    quantized = MAKERS[precision](model, calibration)
    if quantized is None:
        return None
    parsed = read(quantized.model)
    runtime = restate_versions(parsed)
    content = write(parsed)
    require(litert_structure_gates(content, input_shape, precision), f"the LiteRT file in {precision}")
    path = PATHS[precision]
    return Converted(
        path=path,
        format="litert",
        precision=precision,
        files={path: content},
        runs_on=f"TensorFlow Lite {runtime} or LiteRT 1.0, by the versions of its operations",
        float_layers=quantized.float_layers,
        calibration=calibration if precision == "int8_static" else None,
    )
