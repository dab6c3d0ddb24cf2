"""PyTorch → ONNX, fp32, opset 18, in one self-contained file.

EXPORT.md says what breaks: a request for opset 17 silently gives 18, so the opset is read back; weights go into the
file itself. The exporter writes the stack trace of every operation into the graph, with the paths of the machine it
ran on; those notes are removed, so that equal weights give equal bytes wherever the export runs.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import onnx
import torch

from export.deploy import MAX_RANK, DeployNetwork
from export.parity import Gate, at_most, require
from sdk_reference.manifest import INPUT_NAME, OUTPUT_NAMES, expected_shapes
from training.network import ATRFAS

OPSET: Final = 18


def export_onnx(network: ATRFAS) -> bytes:
    """Convert a trained network to the bytes of an ONNX file; raises ParityError when its structure is not as agreed.

    The result is checked for its form only: `export.proof` compares it with PyTorch before it goes anywhere.
    """
    deploy = DeployNetwork(network).eval()
    with _without_chatter():
        program = torch.onnx.export(
            deploy,
            (torch.zeros(deploy.input_shape),),
            input_names=[INPUT_NAME],
            output_names=list(OUTPUT_NAMES),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None  # None comes only from the older exporter
    model = _without_notes(program.model_proto)
    require(structure_gates(model, deploy.input_shape), "the exported ONNX file")
    return bytes(model.SerializeToString(deterministic=True))


def structure_gates(model: onnx.ModelProto | bytes, input_shape: tuple[int, ...]) -> list[Gate]:
    """Gate 1 for ONNX: valid, opset 18 of the standard domain alone, agreed names and shapes, static, rank ≤ 4.

    Each gate counts violations and allows none, but for the opset and the rank, whose figures are given.
    """
    proto = onnx.load_model_from_string(model) if isinstance(model, bytes) else model
    shapes = _shapes(_inferred(proto))
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    used = {node.domain for node in proto.graph.node}
    named = {value.name for value in proto.graph.input} | {n for node in proto.graph.node for n in node.output if n}
    frames, _, size, _ = input_shape
    expected = expected_shapes(frames, size)
    found = {value.name: shapes.get(value.name) for value in (*proto.graph.input, *proto.graph.output)}
    return [
        at_most("onnx.checker: errors", _checker_errors(proto), 0),
        Gate("opset", opsets.get("") == OPSET, float(opsets.get("", -1)), OPSET),
        at_most("operations outside the standard set", len((used | set(opsets)) - {""}), 0),
        at_most("tensors outside the file", sum(t.data_location == t.EXTERNAL for t in proto.graph.initializer), 0),
        at_most("inputs and outputs other than agreed", len(set(found.items()) ^ set(expected.items())), 0),
        at_most("tensors of unknown or dynamic shape", sum(shapes.get(n) is None for n in named), 0),
        at_most("largest rank", max(len(shape) for shape in shapes.values() if shape is not None), MAX_RANK),
    ]


def _inferred(source: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose inner shapes are worked out anew: those in the file are only what the exporter believed."""
    model = onnx.ModelProto()
    model.CopyFrom(source)
    model.graph.ClearField("value_info")
    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return model  # the checker's gate reports the error, and that of unknown shapes its consequence


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...] | None]:
    """Every named tensor's shape; None where a dimension is unknown or dynamic."""
    graph = model.graph
    shapes: dict[str, tuple[int, ...] | None] = {t.name: tuple(t.dims) for t in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        static = tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim)
        shapes[value.name] = tuple(d.dim_value for d in tensor.shape.dim) if static else None
    return shapes


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Silence the exporter's remarks on its own internals (torchvision is absent, …): the gates judge."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _checker_errors(model: onnx.ModelProto) -> int:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return 1
    return 0


def _without_notes(source: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without stack traces and other remarks of the exporter; the graph itself is untouched."""
    model = onnx.ModelProto()
    model.CopyFrom(source)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model
