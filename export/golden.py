"""Golden vectors: what goes into and comes out of every stage from photograph to verdict, in files any language reads.

Not in the paper; docs/bundle.md specifies the layout. Images are PNG, arrays raw little-endian float32 in C order, the
rest JSON; `golden/golden.json` names every file with shape, layout, range and tolerance. Each stage is to be replayed
from the *stored* result of the stage before it, so that a difference names the stage that caused it. The outputs come
from PyTorch, not from the exported file, so that replaying them proves the conversion, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdk_reference import images
from sdk_reference.capture import Capture, save_capture
from sdk_reference.checker import CheckResult
from sdk_reference.decide import Decision
from sdk_reference.errors import InvalidInput
from sdk_reference.landmarks import LANDMARK_CONVENTION, N_LANDMARKS, Face
from sdk_reference.manifest import OUTPUT_NAMES, expected_shapes
from sdk_reference.preprocess import landmark_affines
from sdk_reference.quality import Quality
from sdk_reference.runtime import ModelOutputs

FORMAT: Final = "flashproof-golden"
VERSION: Final = 1
FOLDER: Final = "golden"
INDEX: Final = f"{FOLDER}/golden.json"

# The differences at full size are 4.7 MB per capture; a window in the middle of the face and the means of all planes
# show every row, channel and sign at a hundredth of that.
WINDOW_START, WINDOW_SIZE = 112, 32

LITTLE_ENDIAN_FLOAT32 = np.dtype("<f4")
FLOAT32_DIGITS = 9  # significant decimal digits that bring a float32 back to the bit

# What a port must keep when it replays a stage from the stored stage before it. `max_abs` is the largest difference of
# any value, `mean_abs` the mean of all differences.
TOLERANCES: Final[Mapping[str, Mapping[str, float]]] = {
    "frames": {"max_abs": 0.0},
    "landmarks": {"max_abs": 2.0},
    "affines": {"from_landmarks_px": 1e-3, "corrected_px": 0.05},
    "aligned": {"max_abs": 2.0, "mean_abs": 0.1},
    "differential": {"max_abs": 1e-6},
    "model_input": {"max_abs": 1e-5},
    "quality": {"relative": 1e-2},
    "response": {"max_abs": 1e-5},
    "decision": {"score": 1e-5},
}
# Stage → layout of its arrays, and the range of its values where they have one.
STAGES: Final[Mapping[str, tuple[str, tuple[float, float] | None]]] = {
    "frames": ("rank, row, column, RGB; 8-bit sRGB", (0, 255)),
    "landmarks": ("rank, landmark, (x, y) in pixels of the frame", None),
    "affines": ("rank, (x, y) of the template, coefficients of (x, y, 1) of the frame", None),
    "aligned": ("rank, row, column, RGB; 8-bit sRGB", (0, 255)),
    "differential": (
        f"window: difference, RGB, row, column, from row and column {WINDOW_START} on; "
        "means: (mean, mean absolute value) of whole planes, difference, RGB; linear light, without gain",
        (-1, 1),
    ),
    "model_input": ("difference, RGB, row, column", (-1, 1)),
    "quality": ("numbers by name", None),
    "outputs": ("the model's own, by name", None),
    "response": ("difference, (R−G, G−B, B−R)", (-2, 2)),
    "decision": ("values by name", None),
}

DECISION_KEYS: Final = ("verdict", "score", "threshold", "species", "reasons")

FloatArray = npt.NDArray[np.float32]


class GoldenUnusable(InvalidInput):
    """A capture that shall become golden does not get as far as a score."""

    code = "golden_unusable"


@dataclass(frozen=True, eq=False)
class GoldenCapture:
    """One capture with the stored result of every stage; N0 frames, N differences, input side S."""

    name: str
    capture: Capture
    landmarks: FloatArray
    """(N0,468,2) float32, pixels of the frame."""
    landmark_affines: npt.NDArray[np.float64]
    """(N0,2,3) float64, frame pixels → template pixels, by the landmarks alone."""
    affines: npt.NDArray[np.float64]
    """(N0,2,3) float64: the same corrected by what the frames show, by which they are aligned."""
    aligned_u8: npt.NDArray[np.uint8]
    """(N0,3,256,256) uint8 RGB."""
    differential_window: FloatArray
    """(N,3,32,32) float32: rows and columns 112 to 143 of the differences in linear light, without gain."""
    differential_means: FloatArray
    """(2,N,3) float32: mean, and mean of the absolute value, of each whole 256×256 plane."""
    model_input: FloatArray
    """(N,3,S,S) float32 in −1..1."""
    gain: float
    quality: Quality
    outputs: ModelOutputs
    expected_response: FloatArray
    """(N,3) float32, from the plan's colours."""
    disagreeing: npt.NDArray[np.bool_]
    """(N,) bool: rows whose predicted response contradicts the plan."""
    decision: Mapping[str, Any]
    """As `decision_record` gives it."""

    @property
    def faces(self) -> tuple[Face, ...]:
        """The stored landmarks as faces; their depth, which no later stage uses, is zero."""
        flat = np.zeros(N_LANDMARKS, np.float32)
        return tuple(Face(points=points, depth=flat) for points in self.landmarks)


def golden_of(name: str, result: CheckResult) -> GoldenCapture:
    """Return every stage of a checked capture; raises GoldenUnusable when it did not get as far as a score."""
    capture, prepared, quality = result.capture, result.preprocessed, result.quality
    outputs, responses = result.outputs, result.responses
    if capture is None or prepared is None or quality is None or outputs is None or responses is None:
        raise GoldenUnusable(
            found=f"the capture {name}, refused as {', '.join(reason.code for reason in result.decision.reasons)}",
            expected="a capture with one whole face in every frame",
            remedy="choose another capture for --golden",
        )
    return GoldenCapture(
        name=name,
        capture=capture,
        landmarks=np.stack([face.points for face in prepared.faces]),
        landmark_affines=landmark_affines(prepared.faces),
        affines=prepared.affines,
        aligned_u8=prepared.aligned_u8,
        differential_window=window_of(prepared.differential),
        differential_means=plane_means(prepared.differential),
        model_input=prepared.model_input,
        gain=prepared.gain,
        quality=quality,
        outputs=outputs,
        expected_response=responses.expected,
        disagreeing=responses.disagreeing,
        decision=decision_record(result.decision),
    )


def window_of(differential: FloatArray) -> FloatArray:
    """(N,3,256,256) → the stored window (N,3,32,32)."""
    inside = slice(WINDOW_START, WINDOW_START + WINDOW_SIZE)
    return np.ascontiguousarray(differential[:, :, inside, inside])


def plane_means(differential: FloatArray) -> FloatArray:
    """(N,3,256,256) → (2,N,3): mean, and mean of the absolute value, of each plane."""
    means = [values.mean(axis=(2, 3), dtype=np.float64) for values in (differential, np.abs(differential))]
    stacked: FloatArray = np.stack(means).astype(np.float32)
    return stacked


def decision_record(decision: Decision) -> dict[str, Any]:
    """The part of a decision that every run repeats: no timings, no texts."""
    return {
        "verdict": decision.verdict,
        "score": decision.score,
        "threshold": decision.threshold,
        "species": decision.species,
        "reasons": [reason.code for reason in decision.reasons],
    }


def write_golden(root: Path, goldens: Mapping[str, GoldenCapture], output_tolerances: Mapping[str, float]) -> None:
    """Write `golden/` below `root`, the folder that becomes a bundle."""
    records = []
    for name, golden in goldens.items():
        save_capture(replace(golden.capture, depth_mm=None), root / FOLDER / name / "capture")
        for path, data in stage_files(golden).items():
            (root / FOLDER / name / path).write_bytes(data)
        records.append({"name": name, "stages": stage_records(golden, output_tolerances)})
    index = {"format": FORMAT, "version": VERSION, "float32": "raw, little-endian, C order", "captures": records}
    (root / INDEX).write_bytes(json_bytes(index))


def stage_files(golden: GoldenCapture) -> dict[str, bytes]:
    """File name → contents of every stage but the frames."""
    values = golden.outputs
    plain = {
        "score": np.array([values.score], np.float32),
        "type": values.type,
        "flash_response": values.flash_response,
    }
    return {
        "landmarks.json": json_bytes({"convention": LANDMARK_CONVENTION, "points": numbers(golden.landmarks)}),
        "affines.json": json_bytes(
            {"from_landmarks": golden.landmark_affines.tolist(), "affines": golden.affines.tolist()}
        ),
        **{f"aligned_{k}.png": images.encode_frame(f.transpose(1, 2, 0)) for k, f in enumerate(golden.aligned_u8)},
        "differential_window.f32": raw(golden.differential_window),
        "differential_means.f32": raw(golden.differential_means),
        "model_input.f32": raw(golden.model_input),
        "model_input.json": json_bytes({"gain": golden.gain}),
        "quality.json": json_bytes(asdict(golden.quality)),
        **{f"output_{name}.f32": raw(array) for name, array in (plain | {"depth": values.depth[None]}).items()},
        "outputs.json": json_bytes({name: numbers(array) for name, array in plain.items()}),
        "response.json": json_bytes(
            {"expected": numbers(golden.expected_response), "disagreeing": golden.disagreeing.tolist()}
        ),
        "decision.json": json_bytes(golden.decision),
    }


def stage_records(golden: GoldenCapture, output_tolerances: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """What `golden.json` says about each stage of one capture; file names are relative to `golden/<capture>/`."""
    rows = len(golden.model_input)
    shapes: dict[str, Any] = {
        "frames": golden.capture.frames.shape,
        "landmarks": golden.landmarks.shape,
        "affines": golden.affines.shape,
        "aligned": (len(golden.aligned_u8), *golden.aligned_u8.shape[2:], 3),
        "differential": {"window": golden.differential_window.shape, "means": golden.differential_means.shape},
        "model_input": golden.model_input.shape,
        "outputs": expected_output_shapes(rows, golden.model_input.shape[-1]),
        "response": golden.expected_response.shape,
    }
    tolerances = {**TOLERANCES, "outputs": {name: output_tolerances[name] for name in OUTPUT_NAMES}}
    return {
        stage: {
            "files": stage_file_names(stage, len(golden.landmarks)),
            "shape": shapes.get(stage),
            "layout": layout,
            "range": limits,
            "tolerance": tolerances[stage],
        }
        for stage, (layout, limits) in STAGES.items()
    }


def stage_file_names(stage: str, n0: int) -> list[str]:
    """The files of a stage below `golden/<capture>/`."""
    special = {
        "frames": ["capture/capture.json", *(f"capture/frame_{rank}.png" for rank in range(n0))],
        "aligned": [f"aligned_{rank}.png" for rank in range(n0)],
        "differential": ["differential_window.f32", "differential_means.f32"],
        "model_input": ["model_input.f32", "model_input.json"],
        "outputs": [*(f"output_{name}.f32" for name in OUTPUT_NAMES), "outputs.json"],
    }
    return special.get(stage, [f"{stage}.json"])


def expected_output_shapes(rows: int, input_size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the model's outputs by name."""
    return {name: shape for name, shape in expected_shapes(rows, input_size).items() if name in OUTPUT_NAMES}


def raw(array: npt.NDArray[Any]) -> bytes:
    """Little-endian float32 bytes in C order."""
    return np.ascontiguousarray(array, dtype=LITTLE_ENDIAN_FLOAT32).tobytes()


def numbers(array: npt.NDArray[Any]) -> Any:
    """Nested lists of decimal numbers that are short and bring every float32 back to the bit."""
    if array.ndim:
        return [numbers(part) for part in array]
    return float(f"{float(array):.{FLOAT32_DIGITS}g}")


def json_bytes(value: Any) -> bytes:
    """JSON with sorted keys in UTF-8; NaN and infinity, which are not JSON, raise ValueError."""
    return (json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
