"""LiteRT fp32 → fp16, int8 weights, dynamic and static int8; what an int8 file leaves in float follows from its errors.

EXPORT.md says what breaks: only the operations of a list are quantized, so that everything from the depth logits on
(softmax, expectation, the norm, the linear layers) stays float. Dynamic int8 leaves the linear layers in float too:
with a scale per channel they need a far newer runtime, and hold little.

Which further layers are computed in float is decided on the calibration captures: each layer is quantized alone, and
the ones that cost most accuracy for their arithmetic are given back, one after the other, until the whole file holds
its gates with a margin. Their weights are stored in int8 and widened when the file is opened, which costs nothing where
training has put them on the int8 grid (`training.int8_grid`); else in fp16.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ai_edge_quantizer import qtyping
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.quantizer import Quantizer

from export.converted import CalibrationSet, FloatArray
from export.litert_file import Model, convolution_filters, op_name, read, weighted_layers
from export.litert_quiet import without_chatter
from export.parity import Outputs, ParityError
from export.precision_gates import LIMITS, PrecisionLimits
from export.sensitivity import MARGIN, Trials, used_share, within_margin
from sdk_reference.litert_backend import SIGNATURE, open_runner
from sdk_reference.manifest import INPUT_NAME
from training.int8_grid import LARGEST

Op = qtyping.TFLOperationName
CONVOLUTIONS: Final = (Op.CONV_2D, Op.DEPTHWISE_CONV_2D)
STATIC_OPS: Final = (*CONVOLUTIONS, Op.MAX_POOL_2D, Op.RESIZE_NEAREST_NEIGHBOR, Op.CONCATENATION, Op.PAD)
BITS: Final = 8
GRID_TOLERANCE: Final = 1e-2
"""Of a step: folding and float32 leave less than a thousandth."""

Store = Callable[[Any, str], None]
"""Says to a quantizer how the convolutions that a pattern names store their weights."""


@dataclass(frozen=True)
class Quantized:
    """A quantized file and what it leaves in float."""

    model: bytes
    float_layers: tuple[str, ...]
    """Operations with weights that are computed in float, in the order of execution."""


def fp16(model: bytes, calibration: CalibrationSet) -> Quantized:
    """Store the convolutions' weights in 16 bits; the runtime widens them, or computes in fp16 where it can.

    Weights whose rounding would show in the score stay in 32 bits; without calibration captures, none but the linear
    layers', which hold little.
    """

    def make(float_layers: Iterable[str]) -> bytes:
        quantizer = Quantizer(model)
        _store_in_fp16(quantizer, _all_but(float_layers))
        return _quantized(quantizer, (), None)

    return _search(model, make, calibration.inputs, LIMITS["fp16"])


def int8_weights(model: bytes, calibration: CalibrationSet) -> Quantized:
    """Convolution weights in int8, widened when the file is opened; everything is computed in float."""

    def make(float_layers: Iterable[str]) -> bytes:
        quantizer = Quantizer(model)
        _store_in_int8(quantizer, _all_but(float_layers))
        return _quantized(quantizer, float_layers, None, _store_in_fp16)

    return _search(model, make, calibration.inputs, LIMITS["int8_weights"])


def int8_dynamic(model: bytes, calibration: CalibrationSet) -> Quantized | None:
    """Convolution weights in int8, activations quantized as they come; None where no layer bears it."""
    store = _smallest_store(model)

    def make(float_layers: Iterable[str]) -> bytes:
        quantizer = Quantizer(model)
        for operation in CONVOLUTIONS:
            quantizer.add_dynamic_config(_all_but(float_layers), operation, BITS)
        return _quantized(quantizer, float_layers, None, store)

    return _if_any(model, _search(model, make, calibration.inputs, LIMITS["int8_dynamic"]))


def int8_static(model: bytes, calibration: CalibrationSet) -> Quantized | None:
    """Convolutions and what moves values between them in int8, in ranges measured on the calibration captures; None
    where no layer bears it."""
    ranges = _ranges(model, STATIC_OPS, calibration)
    parsed, store = read(model), _smallest_store(model)

    def make(float_layers: Iterable[str]) -> bytes:
        quantizer = Quantizer(model)
        in_float = _all_but(_with_movers(parsed, float_layers))
        for operation in STATIC_OPS:
            quantizer.add_static_config(in_float, operation, BITS, BITS)
        return _quantized(quantizer, float_layers, ranges, store)

    return _if_any(model, _search(model, make, calibration.inputs, LIMITS["int8_static"]))


def everything_int8(model: bytes, calibration: CalibrationSet) -> bytes:
    """The negative control: every operation that the quantizer knows in int8, the softmax over depth bins included.

    Depending on the network it loads and is wrong, or does not load: then running it raises ModelFailed.
    """
    ranges = _ranges(model, (Op.ALL_SUPPORTED,), calibration)
    quantizer = Quantizer(model)
    quantizer.add_static_config(".*", Op.ALL_SUPPORTED, BITS, BITS)
    for end in (Op.INPUT, Op.OUTPUT):  # the file's input and outputs are float32 in any precision
        quantizer.update_quantization_recipe(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    return _quantized(quantizer, (), ranges)


def run_litert(model: bytes, inputs: Sequence[FloatArray], threads: int = 1) -> list[Outputs]:
    """The raw outputs by name for each input, neither clipped nor checked; raises ModelFailed if it does not load."""
    return list(map(opened_litert(model, threads), inputs))


def opened_litert(model: bytes, threads: int = 1) -> Callable[[FloatArray], Outputs]:
    """A function that gives the raw outputs by name for one input, the same way."""
    runner = open_runner(model, threads)

    def run(model_input: FloatArray) -> Outputs:
        outputs: Outputs = runner(**{INPUT_NAME: np.ascontiguousarray(model_input)})
        return outputs

    return run


def _search(
    model: bytes, make: Callable[[Iterable[str]], bytes], inputs: Sequence[FloatArray], limits: PrecisionLimits
) -> Quantized:
    """Give layers back to float until the file uses up no more than `MARGIN` of any limit.

    First those that cost most for the arithmetic they hold: errors of independent layers add up as squares.
    """
    if not inputs:
        held = multiplications(model)
        return Quantized(make(()), tuple(name for name in weighted_layers(read(model)) if name not in held))
    references = run_litert(model, inputs)
    trials = Trials(inputs, references)

    def cost(float_layers: Iterable[str]) -> float:
        return used_share(limits, references, run_litert(make(float_layers), inputs))

    layers = multiplications(model)
    order: list[str] = []
    given_back: list[str] = []
    while not trials.hold(opened_litert(quantized := make(given_back)), within_margin(limits)):
        if len(given_back) == len(layers):
            raise _nothing_left(cost(given_back))
        order = order or sorted(layers, key=lambda layer: cost(set(layers) - {layer}) ** 2 / layers[layer])
        given_back.append(order.pop())
    in_int8 = set(layers) - set(given_back)
    return Quantized(quantized, tuple(name for name in weighted_layers(read(model)) if name not in in_int8))


def _if_any(model: bytes, quantized: Quantized) -> Quantized | None:
    """The file, or None where it multiplies in float all that it might in int8: it would be int8 in name only."""
    return None if set(multiplications(model)) <= set(quantized.float_layers) else quantized


def multiplications(model: bytes) -> dict[str, int]:
    """Multiplications of every operation that int8 files quantize and that has weights, in the order of execution."""
    parsed = read(model)
    tensors = parsed.subgraphs[0].tensors
    counts = {}
    for operator in parsed.subgraphs[0].operators:
        if (kind := op_name(parsed, operator)) in CONVOLUTIONS:
            output, weight = tensors[operator.outputs[0]], tensors[operator.inputs[1]]
            per_value = np.prod(weight.shape[1:3]) * (1 if kind == Op.DEPTHWISE_CONV_2D else weight.shape[3])
            counts[output.name.decode()] = int(np.prod(output.shape) * per_value)
    return counts


def _with_movers(parsed: Model, float_layers: Iterable[str]) -> set[str]:
    """With every operation that moves values to something in float: in int8 it would round what that reads."""
    graph = parsed.subgraphs[0]
    names = [tensor.name.decode() for tensor in graph.tensors]
    kept, read_in_float = set(float_layers), set(graph.outputs)
    for operator in reversed(graph.operators):
        name, kind = names[operator.outputs[0]], op_name(parsed, operator)
        moves = kind in STATIC_OPS and kind not in CONVOLUTIONS
        if kind not in STATIC_OPS or name in kept or (moves and operator.outputs[0] in read_in_float):
            kept.add(name)
            read_in_float.update(operator.inputs)
    return kept


def _none_but(names: Iterable[str]) -> str:
    return rf"^(?:{'|'.join(re.escape(name) for name in sorted(names))});?$"


def _all_but(names: Iterable[str]) -> str:
    """A pattern for every operation but the named; the quantizer searches it in the output's name and a semicolon."""
    named = "|".join(re.escape(name) for name in sorted(names))
    return rf"^(?!(?:{named});?$)" if named else ".*"


def _ranges(model: bytes, operations: Sequence[Any], calibration: CalibrationSet) -> Any:
    quantizer = Quantizer(model)
    for operation in operations:
        quantizer.add_static_config(".*", operation, BITS, BITS)
    samples = [{INPUT_NAME: np.ascontiguousarray(model_input)} for model_input in calibration.inputs]
    with without_chatter():
        return quantizer.calibrate({SIGNATURE: samples}, num_threads=1)


def _smallest_store(model: bytes) -> Store:
    """How the weights of layers that are computed in float are stored: in int8 where they lie on its grid, or fp16."""
    return _store_in_int8 if all(map(lies_on_int8_grid, convolution_filters(read(model)))) else _store_in_fp16


def lies_on_int8_grid(filters: npt.NDArray[np.float64]) -> bool:
    """Whether every row, one per output channel, is whole numbers up to 127 times one factor."""
    largest = np.abs(filters).max(axis=1, keepdims=True)
    steps = filters / np.where(largest > 0, largest, 1.0) * LARGEST
    return bool((np.abs(steps - np.rint(steps)) < GRID_TOLERANCE).all())


def _quantized(quantizer: Any, float_layers: Iterable[str], ranges: Any, store: Store | None = None) -> bytes:
    """Run the quantizer, with the weights of `float_layers` stored by `store`."""
    if float_layers and store is not None:
        store(quantizer, _none_but(float_layers))
    with without_chatter():
        return bytes(quantizer.quantize(ranges, enable_progress_report=False).quantized_model)


def _store_in_int8(quantizer: Any, pattern: str) -> None:
    for operation in CONVOLUTIONS:
        quantizer.add_weight_only_config(pattern, operation, BITS)


def _store_in_fp16(quantizer: Any, pattern: str) -> None:
    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    config = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
    )
    for operation in CONVOLUTIONS:
        quantizer.update_quantization_recipe(pattern, operation, config, AlgorithmName.FLOAT_CASTING)


def _nothing_left(share: float) -> ParityError:
    return ParityError(
        found=f"a file that uses {share:.2f} of a limit with no layer computed in int8",
        expected=f"at most {MARGIN}",
        remedy="look at the calibration captures: their activations may not be those of the network's training",
    )
