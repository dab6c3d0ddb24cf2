"""Core ML's own predictor, on Apple systems, behind the interface of all model runtimes.

A bundle may be a zip, but Core ML opens folders: the package is written to a temporary folder while it is loaded. Core
ML compiles a copy of its own, so the folder may go afterwards.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sdk_reference.bundle import Bundle, unpacked
from sdk_reference.errors import BackendMissing
from sdk_reference.manifest import INPUT_NAME, OUTPUT_NAMES, Artifact, expected_shapes
from sdk_reference.runtime import FloatArray, ModelOutputs, check_input, checked_outputs, first_line, model_failed

ComputeUnits = Literal["ALL", "CPU_AND_GPU", "CPU_AND_NE", "CPU_ONLY"]


class CoreMLBackend:
    """Core ML on macOS; elsewhere making one raises BackendMissing."""

    def __init__(self, package: Path, compute_units: ComputeUnits = "ALL") -> None:
        """Compile and load the .mlpackage folder `package`; `compute_units` is what Core ML may choose from.

        Raises BackendMissing off macOS or without coremltools, ModelFailed for a model that does not load or has other
        tensors.
        """
        coremltools = load_coremltools()
        try:
            self._model = coremltools.models.MLModel(
                str(package), compute_units=getattr(coremltools.ComputeUnit, compute_units)
            )
            description = self._model.get_spec().description
        except Exception as error:  # whatever Core ML reports comes as a RuntimeError or worse
            raise model_failed(
                f"a package that Core ML does not load ({first_line(error)})", "an ML Program"
            ) from error
        self.input_shape = check_description(description)

    def run(self, model_input: FloatArray) -> ModelOutputs:
        """(N, 3, S, S) float32 in −1..1 → outputs; raises ModelFailed."""
        return checked_outputs(self.run_raw(model_input))

    def run_raw(self, model_input: FloatArray) -> dict[str, FloatArray]:
        """The outputs by name, neither clipped nor checked; raises ModelFailed."""
        check_input(model_input, self.input_shape)
        try:
            values = self._model.predict({INPUT_NAME: np.ascontiguousarray(model_input)})
            return {name: np.asarray(values[name], np.float32) for name in OUTPUT_NAMES}
        except Exception as error:
            raise model_failed(f"Core ML's error {first_line(error)!r}", "a run without error") from error


def load_coremltools() -> Any:
    """The module coremltools on macOS; raises BackendMissing elsewhere or where it is not installed."""
    if sys.platform != "darwin":
        raise BackendMissing(
            found=f"the system {sys.platform}",
            expected="macOS: Core ML runs on Apple systems only",
            remedy="choose an ONNX or LiteRT model; `flashproof check --artifact` evaluates the program instead",
        )
    logging.getLogger("coremltools").setLevel(logging.ERROR)  # its remarks on versions that it has not tried
    try:
        import coremltools
    except ImportError as error:
        raise BackendMissing(
            found=f"coremltools that does not load ({first_line(error)})",
            expected="the coremltools package",
            remedy="install it with: pip install coremltools",
        ) from error
    return coremltools


def check_description(description: Any) -> tuple[int, ...]:
    """Compare a model's description (a protobuf) with the contract; returns the input's shape; raises ModelFailed."""
    tensors = (*description.input, *description.output)
    found = {tensor.name: tuple(tensor.type.multiArrayType.shape) for tensor in tensors}
    shape = found.get(INPUT_NAME, ())
    expected = expected_shapes(shape[0], shape[-1]) if shape else {}
    if found != expected:
        raise model_failed(f"a package with the tensors {found}", f"{INPUT_NAME} → {OUTPUT_NAMES} as agreed")
    return shape


def open_coreml_artifact(bundle: Bundle, artifact: Artifact, compute_units: ComputeUnits = "ALL") -> CoreMLBackend:
    """Open a Core ML artifact of a bundle, folder or zip, with Core ML; raises BackendMissing or ModelFailed."""
    load_coremltools()  # before anything is written
    with unpacked(bundle, artifact) as package:
        return CoreMLBackend(package, compute_units)
