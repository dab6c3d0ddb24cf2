"""Runs the program of a Core ML package with torch, on any machine: the proof that Core ML's file is the network.

Core ML itself predicts on Apple systems only. This evaluator shows that the converted graph and its weights compute
what PyTorch computes; with each result rounded as the program declares it, it also shows what half precision costs
and how far the largest value stays below fp16's end. Sums inside one operation are in float32. It says nothing about
the scheduling, fusing or accuracy of the Neural Engine: reports say which of the two ran.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from export.mil_file import Operation, Program, Value, read_package
from export.mil_operations import OPERATIONS
from sdk_reference.errors import ModelFailed
from sdk_reference.manifest import INPUT_NAME, expected_shapes
from sdk_reference.runtime import ModelOutputs, check_input, checked_outputs, first_line, model_failed

FloatArray = npt.NDArray[np.float32]
Activations = Literal["fp32", "fp16"]

LIST_PARAMETERS: Final = ("values",)
"""Parameters that take several values; all others take one."""

UNTYPED: Final = ("scale_factor_height", "scale_factor_width")
"""Parameters whose float type is their own."""


class MilBackend:
    """The evaluator as a model runtime (`sdk_reference.runtime.Backend`)."""

    def __init__(self, package: Path, activations: Activations = "fp32") -> None:
        """Read the .mlpackage folder `package` and check all of it without computing; raises ModelFailed.

        `activations` "fp16" rounds each result as the program declares it, "fp32" rounds none: what is left are the
        weights.
        """
        self.program = read_package(package)
        check_program(self.program)
        self.input_shape = _agreed_input_shape(self.program)
        self.activations: Activations = activations
        self.largest_activation = 0.0
        """Largest magnitude of any operation's result so far, before rounding; weights do not count."""

    def run(self, model_input: FloatArray) -> ModelOutputs:
        """(N, 3, S, S) float32 in −1..1 → outputs; raises ModelFailed."""
        return checked_outputs(self.run_raw(model_input))

    def run_raw(self, model_input: FloatArray) -> dict[str, FloatArray]:
        """The outputs by name, neither clipped nor checked; raises ModelFailed."""
        check_input(model_input, self.input_shape)
        outputs, largest = evaluate(self.program, {INPUT_NAME: model_input}, self.activations)
        self.largest_activation = float(np.fmax(self.largest_activation, largest))
        return outputs


def evaluate(
    program: Program, inputs: Mapping[str, FloatArray], activations: Activations = "fp32"
) -> tuple[dict[str, FloatArray], float]:
    """Run a program that `check_program` accepted on float32 arrays by input name.

    Returns the outputs as float32 arrays by name and the largest magnitude of any result before rounding, infinity for
    one that is not finite. Raises ModelFailed.
    """
    values: dict[str, Any] = dict(program.constants)
    for name, kind in program.inputs.items():
        if inputs[name].shape != kind.shape:
            raise model_failed(f"{name} of shape {inputs[name].shape}", f"{kind.shape}")
        values[name] = torch.from_numpy(np.ascontiguousarray(inputs[name], np.float32))
    largest = 0.0
    with torch.no_grad():
        for operation in program.operations:
            result = _result(operation, values)
            if not operation.kind.startswith("constexpr_"):
                largest = max(largest, _magnitude(result))
            rounded = activations == "fp16" and operation.result.dtype == "fp16"
            values[operation.name] = result.half().float() if rounded else result
    return {name: values[name].contiguous().numpy() for name in program.outputs}, largest


def check_program(program: Program) -> None:
    """Raise ModelFailed unless every operation is known, is given what it takes and gives what the program declares.

    Shapes are worked out without computing or allocating anything (torch's meta device), so that a damaged program can
    neither fail halfway nor ask for more memory than `MAX_ELEMENTS` per operation.
    """
    values: dict[str, Any] = {name: _shape_only(value) for name, value in program.constants.items()}
    values |= {name: torch.empty(kind.shape, device="meta") for name, kind in program.inputs.items()}
    for operation in program.operations:
        result = _result(operation, values)
        if tuple(result.shape) != operation.result.shape or operation.result.dtype not in ("fp16", "fp32"):
            raise model_failed(
                f"operation {operation.kind} {operation.name!r} giving {tuple(result.shape)}",
                f"a float tensor of {operation.result.shape}, but {operation.result} is declared",
            )
        values[operation.name] = result
    _check_precision(program)


def _check_precision(program: Program) -> None:
    """Raise ModelFailed unless each operation computes in one float type, from what it takes to what it gives.

    A result is rounded as it is declared, so that a file which declares more than it computes would look too good.
    """
    dtypes = {**program.constant_dtypes, **{name: kind.dtype for name, kind in program.inputs.items()}}
    for operation in program.operations:
        expected = {dtypes[name] for key, names in operation.arguments.items() if key not in UNTYPED for name in names}
        if operation.kind == "cast":
            expected = {str(program.constants[operation.arguments["dtype"][0]])}
        if not expected & {"fp16", "fp32"} == {operation.result.dtype}:
            raise model_failed(
                f"operation {operation.kind} {operation.name[:80]!r} giving {operation.result.dtype}",
                f"one float type, but it is made of {sorted(expected)}",
            )
        dtypes[operation.name] = operation.result.dtype


def unknown_kinds(program: Program) -> set[str]:
    """Kinds of operation in a program that this evaluator does not know."""
    return {operation.kind for operation in program.operations} - set(OPERATIONS)


def _result(operation: Operation, values: Mapping[str, Any]) -> Tensor:
    """What one operation makes of the values so far; raises ModelFailed that names the operation."""
    function = OPERATIONS.get(operation.kind)
    if function is None:
        raise model_failed(
            f"the unknown operation {operation.kind} {operation.name[:80]!r}", f"one of {', '.join(sorted(OPERATIONS))}"
        )
    try:
        arguments = {name: _argument(name, names, values) for name, names in operation.arguments.items()}
        return function(**arguments)
    except ModelFailed:
        raise
    except Exception as error:  # Python and torch raise many types for arguments that do not fit
        raise model_failed(
            f"operation {operation.kind} {operation.name[:80]!r} with {first_line(error)}",
            "what export/mil_operations.py implements",
        ) from error


def _argument(name: str, names: tuple[str, ...], values: Mapping[str, Any]) -> Any:
    if name in LIST_PARAMETERS:
        return [values[each] for each in names]
    (only,) = names
    return values[only]


def _magnitude(result: Tensor) -> float:
    if not result.numel():
        return 0.0
    smallest, largest = (abs(float(end)) for end in torch.aminmax(result))
    return max(smallest, largest) if np.isfinite(smallest) and np.isfinite(largest) else float("inf")


def _shape_only(value: Value) -> Any:
    return value.to("meta") if isinstance(value, Tensor) else value


def _agreed_input_shape(program: Program) -> tuple[int, ...]:
    """The input's shape; raises ModelFailed unless the tensors are those of the contract, in fp32."""
    found = {name: kind.shape for name, kind in (*program.inputs.items(), *program.outputs.items())}
    shape = program.inputs[INPUT_NAME].shape if INPUT_NAME in program.inputs else ()
    expected = expected_shapes(shape[0], shape[-1]) if shape else {}
    dtypes = {kind.dtype for kind in (*program.inputs.values(), *program.outputs.values())}
    if found != expected or len(program.inputs) != 1 or dtypes != {"fp32"}:
        raise model_failed(f"a program with {found} in {sorted(dtypes)}", f"{INPUT_NAME} → the outputs agreed, in fp32")
    return shape
