"""Gate 1 for LiteRT: the file loads, runs, and has the agreed form; each deviation is counted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np

from export.converted import Precision
from export.deploy import MAX_RANK
from export.litert_file import FLOAT16, FLOAT32, INT8, Model, op_name, read
from export.parity import Gate, at_least, at_most
from sdk_reference.errors import ModelFailed
from sdk_reference.litert_backend import SIGNATURE, LitertBackend
from sdk_reference.manifest import expected_shapes

NARROW: Final[Mapping[Precision, frozenset[int]]] = {"fp32": frozenset(), "fp16": frozenset({FLOAT16})}
"""Types that tensors may have beside float32; in int8 files INT8, and FLOAT16 for the weights of layers in float."""
IN_INT8: Final = frozenset({INT8, FLOAT16})
NO_RANK: Final = 99


def litert_structure_gates(model: bytes, input_shape: tuple[int, ...], precision: Precision = "fp32") -> list[Gate]:
    """Runs, one signature with the agreed float32 tensors, static, rank ≤ 4, built-in operations, narrow where it says.

    Each gate counts violations and allows none, but for the rank and the number of narrow tensors.
    """
    parsed = read(model)
    tensors = [tensor for graph in parsed.subgraphs for tensor in graph.tensors]
    frames, _, size, _ = input_shape
    expected = {name: (shape, FLOAT32) for name, shape in expected_shapes(frames, size).items()}
    narrow = NARROW.get(precision, IN_INT8)
    asked = {INT8} if INT8 in narrow else narrow
    return [
        at_most("runs that fail", _failed_runs(model, input_shape), 0),
        at_most("graphs other than one", abs(len(parsed.subgraphs) - 1), 0),
        at_most("signatures other than agreed", len({SIGNATURE} ^ _signature_names(parsed)), 0),
        at_most("inputs and outputs other than agreed", len(set(_named(parsed).items()) ^ set(expected.items())), 0),
        at_most("tensors of dynamic shape", sum(map(_is_dynamic, tensors)), 0),
        at_most("largest rank", max((len(_shape(tensor)) for tensor in tensors), default=NO_RANK), MAX_RANK),
        at_most("operations outside the built-in set", _outside(parsed), 0),
        at_most("tensors of 8 or 16 bits other than agreed", _narrow(tensors, IN_INT8 - narrow), 0),
        at_least("tensors of the agreed narrow type", _narrow(tensors, asked), 1 if asked else 0),
    ]


def _failed_runs(model: bytes, input_shape: tuple[int, ...]) -> int:
    try:
        LitertBackend(model).run(np.zeros(input_shape, np.float32))
    except ModelFailed:
        return 1
    return 0


def _signature_names(model: Model) -> set[str]:
    return {signature.signatureKey.decode() for signature in model.signatureDefs or ()}


def _named(model: Model) -> dict[str, tuple[tuple[int, ...], int]]:
    """Shape and type of the first signature's tensors, by name."""
    graph = model.subgraphs[0]
    entries = [entry for s in (model.signatureDefs or ())[:1] for entry in (*s.inputs, *s.outputs)]
    tensors = {entry.name.decode(): graph.tensors[entry.tensorIndex] for entry in entries}
    return {name: (_shape(tensor), tensor.type) for name, tensor in tensors.items()}


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(int(side) for side in tensor.shape) if tensor.shape is not None else ()


def _is_dynamic(tensor: Any) -> bool:
    signature = tensor.shapeSignature
    return any(side < 1 for side in _shape(tensor)) or (signature is not None and any(s < 0 for s in signature))


def _outside(model: Model) -> int:
    """Operations that only a custom or a Flex (TensorFlow) build of the runtime knows."""
    codes = [code for code in model.operatorCodes if code.customCode is not None]
    return len(codes) + sum(
        op_name(model, operator) in ("CUSTOM", "UNKNOWN") for graph in model.subgraphs for operator in graph.operators
    )


def _narrow(tensors: list[Any], types: Collection[int]) -> int:
    return sum(tensor.type in types for tensor in tensors)
