"""What runs a model file, ONNX Runtime to begin with, and vouches for what comes out.

The interface is one method, so that tests and other runtimes can stand in. Nothing that is not a finite number in its
range leaves this file: a runtime that went wrong must look like an error, never like a decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from sdk_reference.errors import BackendMissing, ModelFailed
from sdk_reference.manifest import INPUT_NAME, OUTPUT_NAMES, Artifact

FloatArray = npt.NDArray[np.float32]

RANGE_TOLERANCE: Final = 1e-5
"""Rounding may carry a float32 softmax or expectation this far out of its range; it is then set to the bound."""

SUM_TOLERANCE: Final = 1e-3
"""How far the type probabilities may be from adding up to 1."""

SILENT: Final = 4
"""onnxruntime's severity "fatal": what goes wrong reaches us as an exception, not as text on the terminal."""


@dataclass(frozen=True, eq=False)
class ModelOutputs:
    """What the model says about one capture."""

    score: float
    """Probability of live, 0..1."""

    type: FloatArray
    """(3,) float32, probabilities of print, replay and mask; uniform is the training target of a live face."""

    depth: FloatArray
    """(S/4, S/4) float32 in 0..1, nearest = 1; a flat attack is trained to 0.5 everywhere."""

    flash_response: FloatArray
    """(N, 3) float32: per difference the colour differences (R−G, G−B, B−R) that the model saw on the face."""


class Backend(Protocol):
    """Anything that runs the model."""

    def run(self, model_input: FloatArray) -> ModelOutputs:
        """(N, 3, S, S) float32 in −1..1 → outputs; raises ModelFailed."""


class OnnxBackend:
    """ONNX Runtime on the CPU."""

    def __init__(self, model: bytes, threads: int = 1, artifact: Artifact | None = None) -> None:
        """Load `model`, the bytes of an ONNX file; with `artifact`, hold it to the tensors stated there.

        Raises BackendMissing without onnxruntime, ModelFailed for a model that does not load or has other tensors.
        """
        self._session = open_session(model, threads)
        self.input_shape = check_model(self._session, artifact)

    def run(self, model_input: FloatArray) -> ModelOutputs:
        """(N, 3, S, S) float32 in −1..1 → outputs; raises ModelFailed."""
        check_input(model_input, self.input_shape)
        try:
            values = self._session.run(list(OUTPUT_NAMES), {INPUT_NAME: np.ascontiguousarray(model_input)})
        except Exception as error:  # onnxruntime raises a dozen unrelated types
            raise model_failed(f"onnxruntime's error {first_line(error)!r}", "a run without error") from error
        return checked_outputs(dict(zip(OUTPUT_NAMES, values, strict=True)))


def open_session(model: bytes, threads: int) -> Any:
    """Make an `onnxruntime.InferenceSession` with `threads` threads inside each operation."""
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendMissing(
            found=f"onnxruntime that does not load ({first_line(error)})",
            expected="the onnxruntime package",
            remedy="install it with: pip install onnxruntime",
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = SILENT
    # Without it x86 saturates in int8 products where ARM does not: the reference must show what a phone computes.
    options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen unrelated types
        raise model_failed(f"a model that does not load ({first_line(error)})", "an ONNX model") from error


def check_model(session: Any, artifact: Artifact | None) -> tuple[int, ...]:
    """Compare the session's tensors with the artifact's; returns the input's shape."""
    found = {tensor.name: (tuple(tensor.shape), tensor.type) for tensor in session.get_inputs()}
    found_outputs = {tensor.name: (tuple(tensor.shape), tensor.type) for tensor in session.get_outputs()}
    if set(found) != {INPUT_NAME} or not set(OUTPUT_NAMES) <= set(found_outputs):
        raise model_failed(f"a model with {sorted(found)} → {sorted(found_outputs)}", f"{INPUT_NAME} → {OUTPUT_NAMES}")
    for tensor in (*artifact.inputs, *artifact.outputs) if artifact else ():
        stated = (tuple(tensor.shape), "tensor(float)")
        actual = (found | found_outputs)[tensor.name]
        if actual != stated:
            raise model_failed(f"{tensor.name} of {actual} in the model", f"{stated} as the manifest says")
    return found[INPUT_NAME][0]


def check_input(model_input: FloatArray, shape: tuple[int, ...]) -> None:
    """Raise ModelFailed for an input of another shape or type, or with a value that is not in −1..1."""
    if model_input.shape != shape or model_input.dtype != np.float32:
        raise model_failed(f"an input of {model_input.dtype} {model_input.shape}", f"float32 {shape}")
    if not in_range(model_input, -1, 1):
        raise model_failed("an input with values that are not finite or not in -1 to 1", "finite values in -1 to 1")


def checked_outputs(values: Mapping[str, npt.NDArray[Any]]) -> ModelOutputs:
    """Turn raw outputs by name into ModelOutputs; raises ModelFailed unless all are finite and in range."""
    for name in OUTPUT_NAMES:
        low, high = (-np.inf, np.inf) if name == "flash_response" else (0.0, 1.0)
        if not in_range(values[name], low, high):
            raise model_failed(f"{name} that is not finite or out of range", f"finite values in {low} to {high}")
    total = float(values["type"].sum())
    if abs(total - 1) > SUM_TOLERANCE:
        raise model_failed(f"type probabilities that add up to {total:.4f}", "1")
    return ModelOutputs(
        score=float(np.clip(values["score"].reshape(()), 0, 1)),
        type=as_float32(np.clip(values["type"].reshape(-1), 0, 1)),
        depth=as_float32(np.clip(values["depth"].reshape(values["depth"].shape[-2:]), 0, 1)),
        flash_response=as_float32(values["flash_response"]),
    )


def in_range(values: npt.NDArray[Any], low: float, high: float) -> bool:
    """Whether every value is finite and in `low`..`high`, but for rounding."""
    inside = (values >= low - RANGE_TOLERANCE) & (values <= high + RANGE_TOLERANCE)
    return bool(np.isfinite(values).all() and inside.all())


def as_float32(values: npt.NDArray[Any]) -> FloatArray:
    return cast("FloatArray", values.astype(np.float32, copy=False))


def first_line(error: Exception) -> str:
    """The first line of an exception's text, cut to what fits a message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def model_failed(found: str, expected: str) -> ModelFailed:
    return ModelFailed(found=found, expected=expected, remedy="check the bundle with `flashproof verify`")
