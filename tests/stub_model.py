"""A model of a few kilobytes with the tensors of the real one, and a bundle around it, for instant runtime tests.

It has no weights to speak of: the score is a logistic function of the mean absolute difference, the flash response is
the mean colour of each difference (a real measurement, so that the response check can agree or disagree), and type and
depth are constants.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sdk_reference.bundle import hash_files, write_manifest
from sdk_reference.differential import differential_rows
from sdk_reference.manifest import (
    SCHEMA_VERSION,
    SPECIES_ORDER,
    Alignment,
    Artifact,
    ErrorRate,
    FlashColours,
    Manifest,
    OperatingPoint,
    ResponseRule,
    Tensor,
    Training,
    expected_shapes,
    runtime_alignment,
)
from sdk_reference.preprocess import PreprocessSettings
from sdk_reference.quality import QualityLimits

OPSET = 18
MODEL_FILE = "models/stub.onnx"
# rows: R, G, B; columns: R−G, G−B, B−R
COLOUR_DIFFERENCES = np.array([[1, 0, -1], [-1, 1, 0], [0, -1, 1]], np.float32)
COLOURS_BY_N0 = {
    3: ((255, 255, 255), (255, 0, 0), (0, 0, 0)),
    4: ((255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 0)),
    5: ((255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)),
}


def stub_model(
    n0: int = 5,
    input_size: int = 128,
    *,
    slope: float = 0.0,
    offset: float = 4.0,
    type_logits: tuple[float, float, float] = (0.0, 1.0, 0.0),
    response_sign: float = 1.0,
    poison: Mapping[str, float] | None = None,
) -> bytes:
    """Return ONNX bytes: score = sigmoid(slope · mean|x| + offset); `poison` adds a constant (e.g. NaN) to outputs."""
    shapes = expected_shapes(len(differential_rows(n0)), input_size)
    ramp = np.broadcast_to(np.linspace(0, 1, shapes["depth"][1], dtype=np.float32)[:, None], shapes["depth"])
    constants = {
        "all_axes": np.array([0, 1, 2, 3], np.int64),
        "pixel_axes": np.array([2, 3], np.int64),
        "score_shape": np.array([1], np.int64),
        "slope": np.array(slope, np.float32),
        "offset": np.array(offset, np.float32),
        "type_constant": softmax(np.array(type_logits, np.float32)),
        "depth_constant": np.ascontiguousarray(ramp),
        "response_matrix": response_sign * COLOUR_DIFFERENCES,
        **{f"poison_{name}": np.array((poison or {}).get(name, 0.0), np.float32) for name in shapes},
    }
    nodes = [
        helper.make_node("Abs", ["differential"], ["absolute"]),
        helper.make_node("ReduceMean", ["absolute", "all_axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
        helper.make_node("Reshape", ["probability", "score_shape"], ["clean_score"]),
        helper.make_node("Identity", ["type_constant"], ["clean_type"]),
        helper.make_node("Identity", ["depth_constant"], ["clean_depth"]),
        helper.make_node("ReduceMean", ["differential", "pixel_axes"], ["mean_colour"], keepdims=0),
        helper.make_node("MatMul", ["mean_colour", "response_matrix"], ["clean_flash_response"]),
    ]
    outputs = [name for name in shapes if name != "differential"]
    nodes += [helper.make_node("Add", [f"clean_{name}", f"poison_{name}"], [name]) for name in outputs]
    graph = helper.make_graph(
        nodes,
        "stub",
        [helper.make_tensor_value_info("differential", TensorProto.FLOAT, shapes["differential"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max())
    return (exponentials / exponentials.sum()).astype(np.float32)


def stub_artifact(n0: int, input_size: int, threshold: float) -> Artifact:
    shapes = expected_shapes(len(differential_rows(n0)), input_size)
    tensors = {
        name: Tensor(
            name=name,
            shape=shape,
            dtype="float32",
            layout="NCHW" if name == "differential" else "as named",
            range=(-1.0, 1.0) if name in ("differential", "flash_response") else (0.0, 1.0),
        )
        for name, shape in shapes.items()
    }
    point = OperatingPoint(
        threshold=threshold,
        chosen_by="hand, for tests",
        split="validation",
        simulated=True,
        captures=2,
        rates={"far": ErrorRate(value=0.0, low=0.0, high=0.84)},
    )
    return Artifact(
        file=MODEL_FILE,
        format="onnx",
        precision="fp32",
        opset=OPSET,
        runs_on="ONNX Runtime 1.16",
        float_layers=(),
        calibration=None,
        inputs=(tensors.pop("differential"),),
        outputs=tuple(tensors.values()),
        tolerances={name: 1e-5 for name in tensors},
        operating_point=point,
    )


def pack_stub_bundle(
    folder: Path,
    n0: int = 5,
    *,
    threshold: float = 0.5,
    limits: QualityLimits | None = None,
    alignment: Alignment | None = None,
    changes: Mapping[str, Any] | None = None,
    **model_options: Any,
) -> Path:
    """Write a bundle around `stub_model(n0, **model_options)`; `changes` replaces manifest fields."""
    settings = PreprocessSettings()
    contents = {MODEL_FILE: stub_model(n0, settings.input_size, **model_options), "MODEL_CARD.md": b"# A stub\n"}
    for path, data in contents.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    fields: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "name": "stub",
        "version": "0.0.1",
        "created": "2026-01-01T00:00:00Z",
        "licence": "Apache-2.0",
        "n0": n0,
        "flash": FlashColours(profile="standard", colours_srgb=COLOURS_BY_N0[n0], palette="any"),
        "differential_rows": differential_rows(n0),
        "alignment": alignment or runtime_alignment(),
        "colour_order": "RGB",
        "preprocess": settings,
        "depth_bins": 256,
        "species_order": SPECIES_ORDER,
        "quality_limits": limits or QualityLimits(),
        "response_rule": ResponseRule(cosine_limit=0.5, max_disagreeing_rows=2),
        "artifacts": (stub_artifact(n0, settings.input_size, threshold),),
        "training": Training(
            run="stub", seed=0, preset="stub", data_sha256="0" * 64, captures=1, subjects=1, simulated=True
        ),
        "files": hash_files(folder),
    }
    write_manifest(folder, Manifest(**(fields | dict(changes or {}))))
    return folder


Outcome = Literal["live", "spoof"]


def bundle_that_says(outcome: Outcome, folder: Path, **options: Any) -> Path:
    """A stub bundle whose score is 0.98 (live) or 0.02 (spoof) whatever it is shown."""
    return pack_stub_bundle(folder, offset=4.0 if outcome == "live" else -4.0, **options)
