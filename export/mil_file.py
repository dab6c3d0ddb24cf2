"""Reads the MIL program of a Core ML package: operations, constants and weights, on any machine.

Core ML's own compiler runs on Apple systems only, and coremltools' loader builds each operation anew, infers its
values and reads weights in C++ at whatever offset the file states. Here the program is read as it stands, every size is
checked against the file before anything is made of it, and what is not understood is an error. The two formats are
Apple's: the protobuf of coremltools (mlmodel/format/MIL.proto) and the blob file beside it, whose entries begin at
multiples of 64 bytes with a sentinel, type, size and offset.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from export.coreml_quiet import quiet
from sdk_reference.errors import ModelFailed
from sdk_reference.runtime import first_line, model_failed

MANIFEST_FILE: Final = "Manifest.json"
MODEL_ITEM: Final = "com.apple.CoreML/model.mlmodel"
WEIGHTS_ITEM: Final = "com.apple.CoreML/weights"
MODEL_FILE: Final = f"Data/{MODEL_ITEM}"
WEIGHTS_FILE: Final = f"Data/{WEIGHTS_ITEM}/weight.bin"
WEIGHTS_NAME: Final = "@model_path/weights/weight.bin"
"""How a program names its weights file."""

ENTRY_FUNCTION: Final = "main"
MAX_ELEMENTS: Final = 2**26
"""Largest tensor that a program may declare; the paper's preset stays below 2²³."""

BLOB_HEADER: Final = struct.Struct("<IIQQ")  # sentinel, type, bytes, offset of the data
BLOB_SENTINEL: Final = 0xDEADBEEF
BLOB_ALIGNMENT: Final = 64
BLOB_TYPES: Final = {1: "fp16", 2: "fp32", 3: "uint8", 4: "int8"}

TENSOR_TYPES: Final = {1: "bool", 2: "string", 10: "fp16", 11: "fp32", 21: "int8", 23: "int32", 31: "uint8"}
"""MIL.proto's DataType; the others do not occur in our programs."""

ARRAY_TYPES: Final = {"fp16": 65552, "fp32": 65568}
"""FeatureTypes.proto's ArrayDataType: 0x10000 for floats and the number of bits."""

NUMPY_TYPES: Final = {"fp16": "<f2", "fp32": "<f4", "int8": "|i1", "uint8": "|u1", "int32": "<i4"}
IMMEDIATE: Final = {"floats": "fp32", "ints": "int32", "bools": "bool", "strings": "string"}

Value = Tensor | tuple[int, ...] | int | float | str
"""A constant: float and 8-bit tensors as float32 `Tensor`; integers and truth values as numbers or tuples of them."""


@dataclass(frozen=True)
class TensorType:
    """What a program declares of a value."""

    dtype: str
    """fp16, fp32, int8, uint8, int32, bool or string."""

    shape: tuple[int, ...]
    """Static: a dynamic dimension is refused."""


@dataclass(frozen=True)
class Operation:
    """One step of a program: it makes one value from named ones."""

    kind: str
    """MIL's name of the operation, e.g. "conv"."""

    name: str
    """Of its result."""

    arguments: Mapping[str, tuple[str, ...]]
    """Names of values by parameter; several for lists such as those that `concat` joins."""

    result: TensorType


@dataclass(frozen=True, eq=False)
class Program:
    """The function `main` of an ML Program."""

    specification_version: int
    """7 is what iOS 16 introduced."""

    inputs: Mapping[str, TensorType]
    outputs: Mapping[str, TensorType]
    """In the order of the file."""

    constants: Mapping[str, Value]
    operations: tuple[Operation, ...]
    constant_dtypes: Mapping[str, str]
    """What the file declares of each constant."""


def read_package(package: Path) -> Program:
    """Read the .mlpackage folder `package`; raises ModelFailed for what is missing, damaged or not understood."""
    _check_manifest(_bytes_of(package, MANIFEST_FILE))
    model = _bytes_of(package, MODEL_FILE)
    weights = _bytes_of(package, WEIGHTS_FILE) if (package / WEIGHTS_FILE).exists() else b""
    try:
        return _Reader(weights).program(parse_model(model))
    except ModelFailed:
        raise
    except Exception as error:  # a damaged protobuf may hold anything
        raise model_failed(f"a Core ML program that cannot be read ({first_line(error)})", "an ML Program") from error


def parse_model(model: bytes) -> Any:
    """The protobuf `CoreML.Specification.Model` in the bytes of a .mlmodel file; raises ModelFailed."""
    with quiet():
        from coremltools.proto import Model_pb2
    spec = Model_pb2.Model()
    try:
        spec.ParseFromString(model)
    except Exception as error:  # protobuf's DecodeError is another class in each of its backends
        raise model_failed(f"a .mlmodel that cannot be parsed ({first_line(error)})", "a Core ML protobuf") from error
    return spec


def _bytes_of(package: Path, path: str) -> bytes:
    try:
        return (package / path).read_bytes()
    except OSError as error:
        raise model_failed(
            f"no readable {path} in {package.name} ({error.strerror})", "a complete .mlpackage folder"
        ) from error


def _check_manifest(content: bytes) -> None:
    """The package's own list must name the one model that is read; Core ML looks nowhere else."""
    try:
        manifest = json.loads(content)
        item = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise model_failed(f"a {MANIFEST_FILE} that names no model ({first_line(error)})", MODEL_ITEM) from error
    if item != MODEL_ITEM:
        raise model_failed(f"a {MANIFEST_FILE} that names {str(item)[:100]!r}", MODEL_ITEM)


class _Reader:
    """Turns the protobuf into a `Program`; raises ValueError for what it does not understand."""

    def __init__(self, weights: bytes) -> None:
        self._weights = weights
        self._constants: dict[str, Value] = {}
        self._dtypes: dict[str, str] = {}
        self._known: set[str] = set()

    def program(self, spec: Any) -> Program:
        _require(spec.WhichOneof("Type") == "mlProgram", "a model that is no ML Program")
        _require(list(spec.mlProgram.functions) == [ENTRY_FUNCTION], f"functions other than {ENTRY_FUNCTION!r}")
        function = spec.mlProgram.functions[ENTRY_FUNCTION]
        _require(function.opset in function.block_specializations, f"no block for the opset {function.opset!r}")
        block = function.block_specializations[function.opset]
        inputs = {entry.name: _tensor_type(entry.type) for entry in function.inputs}
        self._known.update(inputs)
        made = [self._operation(step) for step in block.operations if not self._is_constant(step)]
        operations = tuple(made)
        results = {operation.name: operation.result for operation in operations}
        outputs = {name: results[name] for name in block.outputs}
        _check_description(spec.description, inputs, outputs)
        return Program(spec.specificationVersion, inputs, outputs, self._constants, operations, self._dtypes)

    def _is_constant(self, step: Any) -> bool:
        """Whether the step is a `const`, which is then kept."""
        if step.type != "const":
            return False
        _require(not step.inputs and set(step.attributes) <= {"name", "val"}, "a const with inputs or other attributes")
        self._define(_only(step.outputs).name)
        self._keep(step.outputs[0].name, step.attributes["val"])
        return True

    def _operation(self, step: Any) -> Operation:
        _require(not step.blocks, f"control flow in {step.type!r}")
        output = _only(step.outputs)
        arguments = {name: self._bound(bound.arguments) for name, bound in step.inputs.items()}
        for name, value in step.attributes.items():  # constexpr operations hold their weights here
            if name != "name":
                _require(step.type.startswith("constexpr_"), f"an attribute {name!r} of {step.type!r}")
                arguments[name] = (self._literal(value),)
        self._define(output.name)
        return Operation(step.type, output.name, arguments, _tensor_type(output.type))

    def _bound(self, bindings: Sequence[Any]) -> tuple[str, ...]:
        """Names of the values bound to one parameter; all of them made by an earlier step."""
        names = tuple(b.name if b.WhichOneof("binding") == "name" else self._literal(b.value) for b in bindings)
        for name in names:
            _require(name in self._known, f"the value {name!r} before any step makes it")
        return names

    def _literal(self, value: Any) -> str:
        """Keep a value that has no name of its own; returns the name it is given."""
        name = f"literal {len(self._known)}"
        self._define(name)
        self._keep(name, value)
        return name

    def _keep(self, name: str, value: Any) -> None:
        self._constants[name], self._dtypes[name] = self._value(value), _tensor_type(value.type).dtype

    def _define(self, name: str) -> None:
        _require(name not in self._known, f"two values named {name!r}")
        self._known.add(name)

    def _value(self, value: Any) -> Value:
        kind = _tensor_type(value.type)
        if value.WhichOneof("value") == "blobFileValue":
            return _as_tensor(self._blob(value.blobFileValue, kind), kind)
        content = value.immediateValue.tensor
        field = content.WhichOneof("value")
        if field == "bytes":
            return _as_value(np.frombuffer(content.bytes.values, NUMPY_TYPES[kind.dtype]), kind)
        _require(IMMEDIATE.get(field) == kind.dtype, f"{field} for a value of {kind.dtype}")
        return _as_value(np.asarray(getattr(content, field).values), kind)

    def _blob(self, place: Any, kind: TensorType) -> np.ndarray:
        """One array of the weights file: every number in its header is checked against the file and the program."""
        _require(place.fileName == WEIGHTS_NAME, f"weights in {place.fileName!r}")
        header_end = place.offset + BLOB_HEADER.size
        _require(place.offset % BLOB_ALIGNMENT == 0 and header_end <= len(self._weights), "weights outside the file")
        sentinel, code, size, start = BLOB_HEADER.unpack_from(self._weights, place.offset)
        _require(sentinel == BLOB_SENTINEL and BLOB_TYPES.get(code) == kind.dtype, "no weights of that type there")
        expected = math.prod(kind.shape) * np.dtype(NUMPY_TYPES[kind.dtype]).itemsize
        _require(size == expected and start + size <= len(self._weights), f"{size} bytes for {kind}")
        return np.frombuffer(self._weights, NUMPY_TYPES[kind.dtype], math.prod(kind.shape), start)


def _tensor_type(value_type: Any) -> TensorType:
    _require(value_type.WhichOneof("type") == "tensorType", "a value that is no tensor")
    tensor = value_type.tensorType
    _require(tensor.dataType in TENSOR_TYPES, f"the data type {tensor.dataType}")
    _require(all(d.WhichOneof("dimension") == "constant" for d in tensor.dimensions), "a dynamic dimension")
    shape = tuple(int(d.constant.size) for d in tensor.dimensions)
    _require(tensor.rank == len(shape) and 0 not in shape, f"a tensor of rank {tensor.rank} and shape {shape}")
    _require(math.prod(shape) <= MAX_ELEMENTS, f"a tensor of shape {shape}")
    return TensorType(TENSOR_TYPES[tensor.dataType], shape)


def _as_value(content: np.ndarray, kind: TensorType) -> Value:
    _require(content.size == math.prod(kind.shape), f"{content.size} elements for {kind}")
    if kind.shape and kind.dtype not in ("int32", "bool"):
        return _as_tensor(content, kind)
    _require(len(kind.shape) <= 1, f"integers of shape {kind.shape}")
    plain = content.tolist()
    return tuple(plain) if kind.shape else plain[0]


def _as_tensor(content: np.ndarray, kind: TensorType) -> Tensor:
    _require(kind.dtype in NUMPY_TYPES, f"a tensor of {kind.dtype}")
    return torch.from_numpy(content.astype(np.float32).reshape(kind.shape))


def _check_description(description: Any, inputs: Mapping[str, TensorType], outputs: Mapping[str, TensorType]) -> None:
    """What the file tells Core ML of its tensors must be what the program has."""
    for told, found in ((description.input, inputs), (description.output, outputs)):
        arrays = {entry.name: entry.type.multiArrayType for entry in told}
        stated = {name: (array.dataType, tuple(array.shape)) for name, array in arrays.items()}
        actual = {name: (ARRAY_TYPES.get(kind.dtype), kind.shape) for name, kind in found.items()}
        _require(stated == actual, f"a description of {stated} for {actual}")


def _only(outputs: Sequence[Any]) -> Any:
    _require(len(outputs) == 1, f"an operation with {len(outputs)} results")
    return outputs[0]


def _require(holds: bool, found: str) -> None:
    if not holds:
        raise ValueError(found)
