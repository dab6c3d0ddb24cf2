"""Runs a .tflite file with LiteRT on the CPU, under the same contract as ONNX Runtime.

The file must have one signature whose tensors are named as in the manifest. LiteRT verifies a file's structure before
it builds anything from it; this file looks at its size and mark first. Neither can tell changed weights from true
ones: that is what the sha256 in the bundle's manifest is for, so open models through `open_backend`.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from sdk_reference.errors import BackendMissing
from sdk_reference.manifest import INPUT_NAME, OUTPUT_NAMES, Artifact
from sdk_reference.runtime import FloatArray, ModelOutputs, check_input, checked_outputs, first_line, model_failed
from sdk_reference.silence import led_nowhere

SIGNATURE: Final = "serving_default"
"""The signature's name that litert-torch gives."""

FILE_MARK: Final = b"TFL3"
"""Bytes 4 to 8 of every .tflite file."""

MIN_FILE_BYTES: Final = 64
"""Less cannot hold the root table of a model."""

STDERR: Final = 2
_stderr_lock = threading.Lock()


class LitertBackend:
    """LiteRT on the CPU."""

    def __init__(self, model: bytes, threads: int = 1, artifact: Artifact | None = None) -> None:
        """Load `model`, the bytes of a .tflite file; with `artifact`, hold it to the tensors stated there.

        Raises BackendMissing without ai-edge-litert, ModelFailed for a model that does not load or has other tensors.
        """
        self._runner = open_runner(model, threads)
        self._lock = threading.Lock()  # an interpreter holds one run's tensors
        self.input_shape = check_signature(self._runner, artifact)

    def run(self, model_input: FloatArray) -> ModelOutputs:
        """(N, 3, S, S) float32 in −1..1 → outputs; raises ModelFailed."""
        check_input(model_input, self.input_shape)
        try:
            with self._lock:
                values = self._runner(**{INPUT_NAME: np.ascontiguousarray(model_input)})
        except Exception as error:  # LiteRT raises RuntimeError, ValueError and others
            raise model_failed(f"LiteRT's error {first_line(error)!r}", "a run without error") from error
        return checked_outputs(values)


def open_runner(model: bytes, threads: int) -> Any:
    """Make the runner of the model's only signature: called with arrays by name, it returns arrays by name."""
    interpreter_class = _interpreter_class()
    if len(model) < MIN_FILE_BYTES or model[4:8] != FILE_MARK:
        raise model_failed(f"{len(model)} bytes without the mark of a LiteRT model", "a .tflite file")
    try:
        with _without_remarks():
            interpreter = interpreter_class(model_content=bytes(model), num_threads=threads)
            signatures = interpreter.get_signature_list()
            if set(signatures) != {SIGNATURE}:
                raise ValueError(f"signatures {sorted(signatures)}")
            interpreter.allocate_tensors()
            return interpreter.get_signature_runner(SIGNATURE)
    except Exception as error:  # LiteRT raises RuntimeError, ValueError and others
        found = f"a model that does not load ({first_line(error)})"
        raise model_failed(found, f"a LiteRT model with the signature {SIGNATURE}") from error


def check_signature(runner: Any, artifact: Artifact | None) -> tuple[int, ...]:
    """Compare the signature's tensors with the contract and the artifact; returns the input's shape."""
    inputs, outputs = ({name: _form(d) for name, d in details.items()} for details in _details(runner))
    if set(inputs) != {INPUT_NAME} or set(outputs) != set(OUTPUT_NAMES):
        raise model_failed(f"a model with {sorted(inputs)} → {sorted(outputs)}", f"{INPUT_NAME} → {OUTPUT_NAMES}")
    for name, (shape, dtype) in (inputs | outputs).items():
        if dtype != "float32":
            raise model_failed(f"{name} of {dtype} {shape} in the model", "float32")
    for tensor in (*artifact.inputs, *artifact.outputs) if artifact else ():
        shape, _ = (inputs | outputs)[tensor.name]
        if shape != tuple(tensor.shape):
            raise model_failed(f"{tensor.name} of {shape} in the model", f"{tensor.shape} as the manifest says")
    return inputs[INPUT_NAME][0]


def _interpreter_class() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise BackendMissing(
            found=f"LiteRT that does not load ({first_line(error)})",
            expected="the ai-edge-litert package",
            remedy="install it with: pip install 'flashproof[litert]'",
        ) from error
    return Interpreter


def _details(runner: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        return runner.get_input_details(), runner.get_output_details()
    except Exception as error:  # LiteRT raises RuntimeError, ValueError and others
        raise model_failed(f"tensors that LiteRT cannot describe ({first_line(error)})", "readable tensors") from error


def _form(details: dict[str, Any]) -> tuple[tuple[int, ...], str]:
    return tuple(int(side) for side in details["shape"]), np.dtype(details["dtype"]).name


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Lead the process's error stream nowhere while a model loads: LiteRT's C++ writes remarks there.

    It has no switch for them. What goes wrong reaches us as an exception.
    """
    with _stderr_lock, warnings.catch_warnings(), led_nowhere(STDERR):
        warnings.simplefilter("ignore")
        yield
