"""A .tflite file as an object: read, named as the network names its layers, given true versions, written anew.

Not in the paper. The converter names every tensor after a chain of Python classes (66 KB of text in the mobile model);
here an operation with weights is called as its layer in the network, which is found by comparing the weights. The
quantizer leaves every operation's version as it was for float and puts weights behind the end of the flatbuffer, where
old runtimes do not look; writing anew repairs both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from torch import nn

from export.parity import ParityError

Model = Any
"""`schema.ModelT`; its package has no type information."""

OP_NAMES: Final = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
FLOAT32, FLOAT16, INT8 = schema.TensorType.FLOAT32, schema.TensorType.FLOAT16, schema.TensorType.INT8
CONVOLUTIONS: Final = ("CONV_2D", "DEPTHWISE_CONV_2D")
WITH_WEIGHTS: Final = (*CONVOLUTIONS, "FULLY_CONNECTED")
ALIGNMENT: Final = 16
"""Of weights in the file, in bytes, as the schema asks for: kernels read them where they lie."""
SAME_DIRECTION: Final = 1 - 1e-4
"""Cosine from which two filters count as one; folded normalisation scales them, and nothing turns them."""
MIN_RUNTIME: Final = b"min_runtime_version"
"""Metadata that the converter writes: the oldest TensorFlow Lite that knows the float operations' versions."""

VERSIONS: Final[Mapping[tuple[str, str], tuple[int, str]]] = {
    ("CONV_2D", "int8"): (3, "1.14.0"),
    ("DEPTHWISE_CONV_2D", "int8"): (3, "1.14.0"),
    ("MAX_POOL_2D", "int8"): (2, "1.14.0"),
    ("RESIZE_NEAREST_NEIGHBOR", "int8"): (2, "1.14.0"),
    ("CONCATENATION", "int8"): (2, "1.14.0"),
    ("PAD", "int8"): (2, "1.14.0"),
    ("QUANTIZE", "int8"): (1, "1.14.0"),
    ("DEQUANTIZE", "int8"): (2, "1.14.0"),
    ("DEQUANTIZE", "float16"): (3, "1.15.0"),
    ("CONV_2D", "int8 weights"): (5, "2.4.0"),
    ("DEPTHWISE_CONV_2D", "int8 weights"): (6, "2.3.0"),
}
"""By operation and kind: the version that means it with a scale per channel, and the first TensorFlow Lite that has it.

The second is from TensorFlow's runtime_version.cc. The first, op_version.cc's rule, is from memory and still to be
checked there. Only what `export.litert_quantize` makes.
"""


def read(content: bytes) -> Model:
    """Parse a file; its weights come along wherever they lie."""
    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def write(model: Model) -> bytes:
    """Serialise a model with all weights inside the flatbuffer, aligned."""
    model.buffers = [_AlignedBuffer(buffer.data) for buffer in model.buffers]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def op_name(model: Model, operator: Any) -> str:
    """The operation's name in the schema, e.g. CONV_2D."""
    code = model.operatorCodes[operator.opcodeIndex]
    return OP_NAMES.get(max(code.builtinCode, code.deprecatedBuiltinCode), "UNKNOWN")


def weighted_layers(model: Model) -> list[str]:
    """Names of the operations with weights, in the order of execution, for a file that `rename` went through."""
    graph = model.subgraphs[0]
    operators = [operator for operator in graph.operators if op_name(model, operator) in WITH_WEIGHTS]
    return [graph.tensors[operator.outputs[0]].name.decode() for operator in operators]


def convolution_filters(model: Model) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the filters of every convolution of an fp32 file, one row per output channel."""
    for operator in model.subgraphs[0].operators:
        if (kind := op_name(model, operator)) in CONVOLUTIONS:
            yield _file_filters(model, operator, kind)


def rename(model: Model, network: nn.Module) -> None:
    """Name input and outputs as the contract does, operations with weights as the network, and number the rest."""
    graph = model.subgraphs[0]
    layers = {name: _filters(module) for name, module in network.named_modules() if _has_weights(module)}
    names = {entry.tensorIndex: entry.name.decode() for entry in _signature_entries(model)}
    for number, operator in enumerate(graph.operators):
        kind = op_name(model, operator)
        label = f"{kind.lower()}_{number}"
        if kind in WITH_WEIGHTS:
            label = _take_layer(layers, _file_filters(model, operator, kind), label)
            names |= {operator.inputs[i]: f"{label}.{part}" for i, part in ((1, "weight"), (2, "bias"))}
        for place, output in enumerate(operator.outputs):
            names.setdefault(output, f"{label}:{place}" if place else label)
    for index, tensor in enumerate(graph.tensors):
        tensor.name = names.get(index, f"constant_{index}").encode()


def restate_versions(model: Model) -> str:
    """Give quantized operations the version that means them; returns the oldest TensorFlow Lite that has all of them.

    For float operations the converter's own figure is taken. Raises ParityError for a quantized one not in `VERSIONS`.
    """
    oldest = [_converters_minimum(model)]
    for operator in model.subgraphs[0].operators:
        kind = _kind(model, operator)
        if kind != "float":
            version, runtime = _version(op_name(model, operator), kind)
            code = model.operatorCodes[operator.opcodeIndex]
            code.version = max(code.version, version)
            oldest.append(runtime)
    newest = max(oldest, key=lambda text: tuple(int(part) for part in text.split(".")))
    _minimum_buffer(model).data = newest.encode().ljust(ALIGNMENT, b"\0")
    return newest


class _AlignedBuffer:
    """Stands for `schema.BufferT`, whose own writer ignores the alignment that the schema asks for."""

    def __init__(self, data: Any) -> None:
        self.data = None if data is None else bytes(data)
        self.offset = self.size = 0

    def Pack(self, builder: Any) -> int:
        vector = None
        if self.data is not None:
            builder.StartVector(1, len(self.data), ALIGNMENT)
            builder.head -= len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = self.data
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return int(schema.BufferEnd(builder))


def _signature_entries(model: Model) -> list[Any]:
    (signature,) = model.signatureDefs
    return [*signature.inputs, *signature.outputs]


def _has_weights(module: nn.Module) -> bool:
    return isinstance(module, (nn.Conv2d, nn.Linear))


def _filters(module: Any) -> npt.NDArray[np.float64]:
    """One row per output channel, in LiteRT's order: rows, columns, inputs."""
    weight = module.weight.detach().double().numpy()
    return weight.transpose(0, 2, 3, 1).reshape(len(weight), -1) if weight.ndim == 4 else weight


def _file_filters(model: Model, operator: Any, kind: str) -> npt.NDArray[np.float64]:
    tensor = model.subgraphs[0].tensors[operator.inputs[1]]
    data = np.frombuffer(bytes(model.buffers[tensor.buffer].data), "<f4").astype(np.float64).reshape(tensor.shape)
    if kind == "DEPTHWISE_CONV_2D":  # 1, rows, columns, outputs
        return data.reshape(-1, data.shape[-1]).T
    return data.reshape(len(data), -1)


def _take_layer(layers: dict[str, npt.NDArray[np.float64]], filters: npt.NDArray[np.float64], otherwise: str) -> str:
    """The first layer with these filters, which is then gone; `otherwise` when there is none."""
    found = next((name for name, known in layers.items() if _same_filters(known, filters)), otherwise)
    layers.pop(found, None)
    return found


def _same_filters(known: npt.NDArray[np.float64], filters: npt.NDArray[np.float64]) -> bool:
    if known.shape != filters.shape:
        return False
    product = np.abs((known * filters).sum(axis=1))
    lengths = np.linalg.norm(known, axis=1) * np.linalg.norm(filters, axis=1)
    return bool((product >= SAME_DIRECTION * lengths).all() and lengths.any())


def _kind(model: Model, operator: Any) -> str:
    """What its inputs are: float, int8, int8 weights with float activations, or float16."""
    tensors = model.subgraphs[0].tensors
    types = [tensors[index].type for index in operator.inputs if index >= 0]
    if INT8 in types:
        return "int8" if types[0] == INT8 else "int8 weights"
    if FLOAT16 in types:
        return "float16"
    return "int8" if op_name(model, operator) == "QUANTIZE" else "float"


def _version(name: str, kind: str) -> tuple[int, str]:
    if (name, kind) not in VERSIONS:
        raise ParityError(
            found=f"a {name} in {kind}, whose version is not known here",
            expected=f"one of {sorted(VERSIONS)}",
            remedy="add it to export.litert_file.VERSIONS, or leave it in float",
        )
    return VERSIONS[name, kind]


def _minimum_buffer(model: Model) -> Any:
    entry = next(entry for entry in model.metadata if entry.name == MIN_RUNTIME)
    return model.buffers[entry.buffer]


def _converters_minimum(model: Model) -> str:
    return bytes(_minimum_buffer(model).data).rstrip(b"\0").decode()
