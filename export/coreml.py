"""PyTorch → Core ML: ML Programs for iOS 16 in fp32, fp16 and with 8-bit weights, as .mlpackage folders.

coremltools takes an exported program only after decomposition. What it writes differs from run to run in the date and
in the random identifiers of the package; both are replaced, so that equal weights give equal bytes wherever the export
runs. Predicting needs an Apple system: `export.mil` evaluates the result here, and `export.coreml_gates` judges it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from export.converted import CalibrationSet, Converted, Precision
from export.coreml_float32 import Float32Choice
from export.coreml_gates import require_structure
from export.coreml_quiet import load_coremltools, quiet
from export.coreml_search import Judge, fewest_kept, layers_of, program_of
from export.deploy import DeployNetwork
from export.mil_file import MANIFEST_FILE, MODEL_FILE, MODEL_ITEM, WEIGHTS_FILE, WEIGHTS_ITEM, Program, parse_model
from sdk_reference.manifest import INPUT_NAME, OUTPUT_NAMES
from training.network import ATRFAS

PATHS: Final[Mapping[Precision, str]] = {
    "fp32": "models/atr-fas.fp32.mlpackage",
    "fp16": "models/atr-fas.fp16.mlpackage",
    "int8_weights": "models/atr-fas.int8.mlpackage",
}
NO_CALIBRATION: Final = CalibrationSet(0, ())
RUNS_ON: Final = "iOS 16, macOS 13"
"""What the deployment target `coremltools.target.iOS16` stands for."""

MIN_QUANTIZED_ELEMENTS: Final = 2048
"""Weights smaller than this stay float: their scales and zero points would take what 8 bits save."""

PRODUCER: Final = "com.apple.CoreML"
VERSION_NOTES: Final = tuple(f"com.github.apple.coremltools.{note}" for note in ("version", "source", "source_dialect"))
"""What coremltools notes of itself that is the same on every run."""

DESCRIPTION: Final = (
    "Flashproof: tells a live face from a photograph, a screen or a mask by how it answers the light of the screen. "
    "The input is made from aligned frames as the bundle's manifest says; the threshold is there, too."
)
TENSORS: Final = {
    INPUT_NAME: "Differences of the aligned frames by the manifest's differential_rows, N×3×S×S, -1 to 1",
    "score": "Probability of live, 0 to 1",
    "type": "Probabilities of print, replay and mask",
    "depth": "Depth map, 1×S/4×S/4, 0 to 1, nearest = 1",
    "flash_response": "Per difference the colour differences (R-G, G-B, B-R) seen on the face, N×3",
}


def convert_coreml(network: ATRFAS, calibration: CalibrationSet = NO_CALIBRATION) -> list[Converted]:
    """Convert a trained network to packages in fp32, fp16 and int8_weights.

    Which operations stay float32 in fp16, and which weights stay float in int8_weights, is searched until the gates
    hold with a margin on the calibration captures; without any, the graph's form alone decides. Raises ParityError when
    the structure of a package is not as agreed. Other captures are yet to be proved.
    """
    deploy = DeployNetwork(network).eval()
    judge = Judge(network, calibration.inputs)
    exported = _exported(deploy)
    full = _packed("fp32", _program(exported, deploy, None), deploy)

    def half_with(float32: Sequence[str]) -> Converted:
        return _packed("fp16", _program(exported, deploy, Float32Choice(float32)), deploy)

    half = fewest_kept(half_with, full, judge)
    model = _program(exported, deploy, Float32Choice(half.kept))

    def small_with(keep_float: Sequence[str]) -> Converted:
        return _packed("int8_weights", _with_8_bit_weights(model, keep_float), deploy)

    return [full, half.converted, fewest_kept(small_with, half.converted, judge).converted]


def _exported(deploy: DeployNetwork) -> Any:
    """The network as a `torch.export.ExportedProgram`, in the form that coremltools takes."""
    load_coremltools()
    with quiet():
        return torch.export.export(deploy, (torch.zeros(deploy.input_shape),)).run_decompositions({})


def _program(exported: Any, deploy: DeployNetwork, choice: Float32Choice | None) -> Any:
    """A `coremltools.models.MLModel` in fp32, or in fp16 but for the choice; inputs and outputs are float32."""
    ct = load_coremltools()
    with quiet():
        return ct.convert(
            exported,
            inputs=[ct.TensorType(name=INPUT_NAME, shape=deploy.input_shape, dtype=np.float32)],
            outputs=[ct.TensorType(name=name, dtype=np.float32) for name in OUTPUT_NAMES],
            minimum_deployment_target=ct.target.iOS16,
            compute_precision=ct.transform.FP16ComputePrecision(choice) if choice else ct.precision.FLOAT32,
            skip_model_load=True,
        )


def _with_8_bit_weights(model: Any, keep_float: Sequence[str]) -> Any:
    """Symmetric 8-bit weights, one scale per output channel; activations stay as they are.

    The position embedding is no weight of a layer: in 8 bits it alone cost more than gate 5 gives to all.
    """
    optimize = load_coremltools().optimize.coreml
    settings = optimize.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=MIN_QUANTIZED_ELEMENTS
    )
    config = optimize.OptimizationConfig(
        op_type_configs={"conv": settings, "linear": settings}, op_name_configs=dict.fromkeys(keep_float)
    )
    with quiet():
        return optimize.linear_quantize_weights(model, config)


def _packed(precision: Precision, model: Any, deploy: DeployNetwork) -> Converted:
    path = PATHS[precision]
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / Path(path).name
        with quiet():
            model.save(str(package))
        content = (package / MODEL_FILE).read_bytes()
        weights = (package / WEIGHTS_FILE).read_bytes()
    files = {f"{path}/{name}": data for name, data in package_files(_without_date(content), weights).items()}
    converted = Converted(path, "coreml", precision, files, RUNS_ON)
    with tempfile.TemporaryDirectory() as folder:
        require_structure(converted.write(Path(folder)), deploy.input_shape)
    return replace(converted, float_layers=float_layers(program_of(converted), precision))


def float_layers(program: Program, precision: Precision) -> tuple[str, ...]:
    """Names of the operations with weights that a precision below fp32 leaves in float.

    In fp16 those computed in float32, in int8_weights those whose weights are not stored in 8 bits.
    """
    if precision == "fp32":
        return ()
    layers = layers_of(program)
    if precision == "fp16":
        return tuple(layer.name for layer in layers if layer.result.dtype == "fp32")
    return tuple(layer.name for layer in layers if layer.arguments["weight"][0] in program.constants)


def package_files(model: bytes, weights: bytes) -> dict[str, bytes]:
    """The files of an .mlpackage by path inside it; the identifiers of its manifest follow from the contents."""
    entries = {
        _identifier(MODEL_ITEM, model): _entry("model.mlmodel", "CoreML Model Specification", MODEL_ITEM),
        _identifier(WEIGHTS_ITEM, weights): _entry("weights", "CoreML Model Weights", WEIGHTS_ITEM),
    }
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": _identifier(MODEL_ITEM, model),
    }
    text = json.dumps(manifest, indent=4, sort_keys=True) + "\n"
    return {MANIFEST_FILE: text.encode(), MODEL_FILE: model, WEIGHTS_FILE: weights}


def _entry(name: str, description: str, path: str) -> Mapping[str, str]:
    return {"author": PRODUCER, "description": description, "name": name, "path": path}


def _identifier(path: str, content: bytes) -> str:
    digest = hashlib.sha256(path.encode() + b"\0" + content).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def _without_date(content: bytes) -> bytes:
    """The .mlmodel with our notes on it and without the day of conversion, its maps in sorted order."""
    spec = parse_model(content)
    notes = spec.description.metadata
    versions = {name: notes.userDefined[name] for name in VERSION_NOTES if name in notes.userDefined}
    notes.Clear()
    notes.author, notes.license, notes.shortDescription = "Flashproof", "Apache-2.0", DESCRIPTION
    notes.userDefined.update(versions)
    for tensor in (*spec.description.input, *spec.description.output):
        tensor.shortDescription = TENSORS[tensor.name]
    return bytes(spec.SerializeToString(deterministic=True))
