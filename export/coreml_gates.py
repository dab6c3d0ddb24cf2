"""Gate 1 of EXPORT.md for Core ML: what a package is made of.

What is not known to the evaluator counts as a fault of the file: nothing could be proved about such a file here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from torch import Tensor

from export.deploy import MAX_RANK
from export.mil import check_program, unknown_kinds
from export.mil_file import Program, TensorType, read_package
from export.parity import Gate, at_most, require
from sdk_reference.errors import ModelFailed
from sdk_reference.manifest import expected_shapes

SPECIFICATION_VERSION: Final = 7
"""Of Core ML's file format: what iOS 16 and macOS 13 introduced; older systems refuse it, newer ones take it."""


def require_structure(package: Path, input_shape: tuple[int, ...]) -> tuple[Gate, ...]:
    """The gates of `coreml_structure_gates`; raises ParityError unless all of them hold."""
    return require(coreml_structure_gates(package, input_shape), f"the Core ML package {package.name}")


def coreml_structure_gates(package: Path, input_shape: tuple[int, ...]) -> list[Gate]:
    """Gate 1 for the .mlpackage folder `package`; the input must be of `input_shape`, (N, 3, S, S).

    Dynamic shapes, weights outside the file and several functions make a program that cannot be read. Each gate counts
    violations and allows none, but for the version and the rank, whose figures are given.
    """
    try:
        program = read_package(package)
    except ModelFailed:
        return [at_most("programs that cannot be read", 1, 0)]
    version = program.specification_version
    found = {*program.inputs.items(), *program.outputs.items()}
    expected = {(name, TensorType("fp32", shape)) for name, shape in _agreed(input_shape).items()}
    return [
        at_most("programs that cannot be read", 0, 0),
        at_most("operations that the evaluator does not know", len(unknown_kinds(program)), 0),
        at_most("programs with an operation that does not fit", not _fits(program), 0),
        Gate("specification version", version == SPECIFICATION_VERSION, float(version), SPECIFICATION_VERSION),
        at_most("inputs and outputs other than agreed", len(found ^ expected), 0),
        at_most("largest rank", _largest_rank(program), MAX_RANK),
    ]


def _agreed(input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    frames, _, size, _ = input_shape
    return expected_shapes(frames, size)


def _fits(program: Program) -> bool:
    try:
        check_program(program)
    except ModelFailed:
        return False
    return True


def _largest_rank(program: Program) -> int:
    kinds = (*program.inputs.values(), *(operation.result for operation in program.operations))
    constants = (value.dim() for value in program.constants.values() if isinstance(value, Tensor))
    return max(*(len(kind.shape) for kind in kinds), *constants, 0)
