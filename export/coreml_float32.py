"""Which operations of a Core ML program stay float32 while the others become fp16, found from how the outputs hang.

The same parts as in ONNX's fp16 file (export/onnx_fp16.py), and for the same reason: with every result rounded, score
and flash response missed gate 4. Conversion fuses and renames what the modules were, so the parts are told by the graph
alone: the flash response is made by the stem and its own head, and the bins are where the softmax nearest above the
depth is taken. Here, where every result is rounded, what follows the softmaxes of the attention and of the type must
stay float32 as well: a weight of the sum over frames hangs on differences of values up to 8.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from sdk_reference.manifest import OUTPUT_NAMES

Node = Any
"""A `coremltools.converters.mil.Operation`."""

SOFTMAX: Final = "softmax"
WEIGHT: Final = "weight"
"""The parameter of convolutions and linear operations that holds what was trained."""
SUFFIX: Final = "_cast_fp16"
"""What coremltools adds to the names of operations that it turns into fp16."""


class Float32Choice:
    """Selects what to compute in fp16, for `coremltools.transform.FP16ComputePrecision`.

    The pass rewrites the program while it asks, so that the choice is made once, when it asks for the first time.
    """

    def __init__(self, also: Collection[str] = ()) -> None:
        """`also` names operations, as the fp16 program calls them, to be float32 besides those of the graph's form."""
        self._also = {name.removesuffix(SUFFIX) for name in also}
        self._float32: frozenset[Node] | None = None

    def __call__(self, operation: Node) -> bool:
        """Whether the operation is to be fp16."""
        if self._float32 is None:
            block = operation.enclosing_block
            named = {each for each in block.operations if each.name in self._also}
            self._float32 = _with_what_follows(block, float32_operations(block) | named)
        return operation not in self._float32


def float32_operations(block: Any) -> frozenset[Node]:
    """The operations of a MIL block with the network's outputs, in the contract's order, that stay float32."""
    outputs: Mapping[str, Node] = {name: var.op for name, var in zip(OUTPUT_NAMES, block.outputs, strict=True)}
    response, bins = _reached([outputs["flash_response"]], _inputs), _reached([outputs["depth"]], _inputs, SOFTMAX)
    return frozenset(response | _reached(bins, _followers) | _from_softmaxes(block))


def _with_what_follows(block: Any, float32: frozenset[Node]) -> frozenset[Node]:
    """These, and operations without weights all of whose sources are float32, such as a convolution's ReLU."""
    chosen = set(float32)
    for operation in block.operations:
        sources = set(_inputs(operation))
        if sources and sources <= chosen and WEIGHT not in operation.inputs:
            chosen.add(operation)
    return frozenset(chosen)


def _from_softmaxes(block: Any) -> set[Node]:
    """Every softmax and what follows it, expectations and weighted sums, up to the next weights, these included."""
    without_weights: set[Node] = set()
    weighted: set[Node] = set()
    for operation in block.operations:
        follows = bool(without_weights.intersection(_inputs(operation)))
        if follows and WEIGHT in operation.inputs:
            weighted.add(operation)
        elif follows or operation.op_type == SOFTMAX:
            without_weights.add(operation)
    return without_weights | weighted


def _reached(start: Iterable[Node], onward: Callable[[Node], Iterator[Node]], last: str | None = None) -> set[Node]:
    """All that is reached from `start` by steps of `onward`, which are not taken from operations of the kind `last`."""
    found: set[Node] = set()
    waiting = list(start)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [] if node.op_type == last else onward(node)
    return found


def _inputs(operation: Node) -> Iterator[Node]:
    """What makes the values that an operation takes, constants left out."""
    for bound in operation.inputs.values():
        for value in bound if isinstance(bound, list | tuple) else [bound]:
            if value.op is not None and value.op.op_type != "const":
                yield value.op


def _followers(operation: Node) -> Iterator[Node]:
    """What takes the values that an operation makes."""
    for value in operation.outputs:
        yield from value.child_ops
