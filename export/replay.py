"""Replays golden vectors in Python: each stage from the stored stage before it, then the whole way from the frames.

Not in the paper. Every gate holds one number against a limit; it is open when the number is at most the limit. The
limits here are those of this runtime, which made the vectors. A port is allowed more (`export.golden.TOLERANCES`),
since builds of MediaPipe and OpenCV differ between machines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from export.converted import Precision
from export.golden import DECISION_KEYS, GoldenCapture, decision_record, plane_means, window_of
from export.parity import Gate, at_most, difference
from export.precision_gates import LIMITS, mean_difference
from sdk_reference.align import TEMPLATE, compose, estimate_affine, invert, map_points
from sdk_reference.checker import Checker
from sdk_reference.decide import decide
from sdk_reference.errors import FlashproofError
from sdk_reference.landmarks import LandmarkDetector, find_single_face
from sdk_reference.manifest import OUTPUT_NAMES, Artifact, Manifest
from sdk_reference.preprocess import (
    Preprocessed,
    PreprocessSettings,
    align_frames,
    registered_affines,
    scaled_differences,
)
from sdk_reference.quality import failures, measure_quality
from sdk_reference.response import disagreements, expected_response
from sdk_reference.runtime import Backend, ModelOutputs

LANDMARK_LIMIT_PX: Final = 1.0  # the same network on another processor moves points by hundredths of a pixel
AFFINE_LIMIT_PX: Final = 1e-3  # at the corners of the frame
REGISTRATION_LIMIT_PX: Final = 0.01  # at the corners of the aligned frame
ALIGNED_LIMIT_LEVELS: Final = 1.0  # OpenCV's vector code rounds by processor
DIFFERENTIAL_LIMIT: Final = 1e-6
MODEL_INPUT_LIMIT: Final = 1e-5
QUALITY_LIMIT: Final = 1e-3  # relative
QUALITY_FLOOR: Final = 0.01  # values below are compared absolutely
RESPONSE_LIMIT: Final = 1e-5
SCORE_FROM_FRAMES_LIMIT: Final = 0.01  # what landmarks within their limit may do to the score

FLOAT32_ROUNDING: Final = 1e-6  # relative
UNMEASURED: Final = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Finding(Gate):
    """A gate of the verification, with a word on what its value means."""

    detail: str = ""
    """The value's unit, what differs, or why nothing could be measured."""


def unmeasured(name: str, limit: float, why: str) -> Finding:
    """A closed gate whose value could not be had; JSON has no infinity, so the largest float stands for it."""
    return Finding(name, False, UNMEASURED, limit, why)


def measured(name: str, measure: Callable[[], float], limit: float, detail: str = "") -> Finding:
    """Run one check; an error of the stage closes its gate instead of ending the verification."""
    try:
        value = float(measure())
    except (FlashproofError, ValueError) as error:
        return unmeasured(name, limit, str(error))
    if not math.isfinite(value):
        return unmeasured(name, limit, "not a finite number")
    return Finding(name, value <= limit, value, limit, detail)


def replay(golden: GoldenCapture, manifest: Manifest, detector: LandmarkDetector) -> Iterator[Gate]:
    """Replay the stages of one capture that need no model; pixels, levels and linear light as the gate's name says."""
    settings, name = manifest.preprocess, f"golden {golden.name}"
    yield measured(f"{name} landmarks", lambda: landmark_error(golden, detector), LANDMARK_LIMIT_PX, "pixels")
    yield measured(f"{name} affines", lambda: affine_error(golden), AFFINE_LIMIT_PX, "pixels")
    yield measured(
        f"{name} registration", lambda: registration_error(golden, settings), REGISTRATION_LIMIT_PX, "pixels"
    )
    yield measured(f"{name} aligned", lambda: aligned_error(golden), ALIGNED_LIMIT_LEVELS, "levels of 255")
    yield measured(f"{name} differential", lambda: differential_error(golden, settings), DIFFERENTIAL_LIMIT)
    yield measured(f"{name} model_input", lambda: input_error(golden, settings), MODEL_INPUT_LIMIT)
    yield measured(f"{name} quality", lambda: quality_error(golden, settings), QUALITY_LIMIT, "relative")
    yield measured(f"{name} response", lambda: response_error(golden, manifest), RESPONSE_LIMIT)


def replay_model(golden: GoldenCapture, artifact: Artifact, backend: Backend) -> Iterator[Gate]:
    """Replay the model of one artifact on the stored input; the limits are the artifact's own tolerances."""
    file = PurePosixPath(artifact.file).name
    names = {output: f"golden {golden.name} {output} of {file}" for output in OUTPUT_NAMES}
    try:
        found = backend.run(golden.model_input)
    except FlashproofError as error:
        yield from (unmeasured(name, artifact.tolerances[output], str(error)) for output, name in names.items())
        return
    for output, error_value in artifact_errors(found, golden.outputs, artifact.precision).items():
        yield at_most(names[output], min(error_value, UNMEASURED), artifact.tolerances[output])


def replay_decision(golden: GoldenCapture, manifest: Manifest, artifact: Artifact) -> Gate:
    """Decide anew from the stored outputs, measurements and response; the value counts the fields that differ."""
    name = f"golden {golden.name} decision at the threshold of {PurePosixPath(artifact.file).name}"
    try:
        found = stored_decision(golden, manifest, artifact)
    except FlashproofError as error:
        return unmeasured(name, 0.0, str(error))
    return same_fields(name, found, golden.decision, DECISION_KEYS)


def replay_from_frames(golden: GoldenCapture, checker: Checker, artifact: Artifact) -> Iterator[Gate]:
    """The whole way from the stored frames; verdict, species and reasons are to be the same, the score almost."""
    name = f"golden {golden.name} from frames by {PurePosixPath(artifact.file).name}"
    try:
        found = decision_record(checker.check(golden.capture).decision)
    except FlashproofError as error:
        yield unmeasured(name, 0.0, str(error))
        return
    yield same_fields(name, found, golden.decision, ("verdict", "species", "reasons", "threshold"))
    shift = math.inf if found["score"] is None else abs(found["score"] - golden.outputs.score)
    limit = SCORE_FROM_FRAMES_LIMIT + artifact.tolerances["score"]
    yield measured(f"{name}: score", lambda: shift, limit)


def landmark_error(golden: GoldenCapture, detector: LandmarkDetector) -> float:
    """Largest distance in pixels between found and stored landmarks."""
    frames = golden.capture.frames
    found = np.stack([find_single_face(detector.detect(frame), frame.shape).points for frame in frames])
    return largest(np.linalg.norm(found - golden.landmarks, axis=-1))


def affine_error(golden: GoldenCapture) -> float:
    """Largest distance in template pixels between where both landmark maps take the corners of the frame."""
    height, width = golden.capture.size
    corners = np.array([(0, 0, 1), (width, 0, 1), (0, height, 1), (width, height, 1)], np.float64)
    found = np.stack([estimate_affine(points, TEMPLATE) for points in golden.landmarks])
    return largest(np.linalg.norm((found - golden.landmark_affines) @ corners.T, axis=1))


def registration_error(golden: GoldenCapture, settings: PreprocessSettings) -> float:
    """Largest distance in template pixels between the corners of the aligned frame and where they would lie.

    They are what the stored maps bring there; the maps compared are corrected anew from the stored landmark maps.
    """
    found = registered_affines(golden.capture.frames, golden.landmark_affines, settings)
    side = float(TEMPLATE.size)
    corners = np.array([(0, 0), (side, 0), (0, side), (side, side)], np.float64)
    moved = [
        map_points(corners, compose(one, invert(other))) - corners
        for one, other in zip(found, golden.affines, strict=True)
    ]
    return largest(np.linalg.norm(moved, axis=-1))


def aligned_error(golden: GoldenCapture) -> float:
    """Largest difference in levels of 0..255."""
    found = align_frames(golden.capture.frames, golden.affines)
    return largest(found.astype(np.float64) - golden.aligned_u8)


def differential_error(golden: GoldenCapture, settings: PreprocessSettings) -> float:
    """Largest difference in the window and in the means of whole planes, linear light."""
    found = prepared(golden, settings).differential
    in_window = largest(window_of(found) - golden.differential_window)
    return max(in_window, largest(plane_means(found) - golden.differential_means))


def input_error(golden: GoldenCapture, settings: PreprocessSettings) -> float:
    """Largest difference of the input, or relative difference of the gain."""
    found, gain = scaled_differences(golden.aligned_u8, settings)
    return max(largest(found - golden.model_input), abs(gain / golden.gain - 1))


def quality_error(golden: GoldenCapture, settings: PreprocessSettings) -> float:
    """Largest relative difference of any measurement."""
    found = vars(measure_quality(prepared(golden, settings), golden.capture))
    stored = vars(golden.quality)
    return float(max(abs(found[key] - stored[key]) / max(abs(stored[key]), QUALITY_FLOOR) for key in stored))


def response_error(golden: GoldenCapture, manifest: Manifest) -> float:
    """Largest difference of the expected response, or infinity when other rows disagree."""
    expected = expected_response(golden.capture.plan)
    rows = disagreements(golden.outputs.flash_response, expected, manifest.response_rule.cosine_limit)
    if not np.array_equal(rows, golden.disagreeing):
        raise ValueError(f"rows {np.flatnonzero(rows).tolist()} disagree, not those stored")
    return largest(expected - golden.expected_response)


def output_errors(found: ModelOutputs, stored: ModelOutputs) -> dict[str, float]:
    """Largest difference of each output, as `export.parity.difference` measures it."""
    pairs = {name: (np.float32(getattr(stored, name)), np.float32(getattr(found, name))) for name in OUTPUT_NAMES}
    return {name: difference(np.atleast_1d(one), np.atleast_1d(other)) for name, (one, other) in pairs.items()}


def artifact_errors(found: ModelOutputs, stored: ModelOutputs, precision: Precision) -> dict[str, float]:
    """The same as the artifact's tolerances count it: in int8 the depth by its mean difference."""
    errors = output_errors(found, stored)
    if LIMITS[precision].depth_by_mean:
        errors["depth"] = mean_difference(stored.depth, found.depth)
    return errors


def stored_decision(golden: GoldenCapture, manifest: Manifest, artifact: Artifact) -> dict[str, Any]:
    """The decision that the manifest's rules reach on the stored outputs."""
    decision = decide(
        golden.outputs,
        failures(golden.quality, manifest.quality_limits),
        golden.disagreeing,
        threshold=artifact.operating_point.threshold,
        max_disagreeing_rows=manifest.response_rule.max_disagreeing_rows,
    )
    return decision_record(decision)


def prepared(
    golden: GoldenCapture, settings: PreprocessSettings, aligned_u8: npt.NDArray[np.uint8] | None = None
) -> Preprocessed:
    """The stored stages as the runtime's own type; `aligned_u8` (N0,3,256,256) puts other frames in their place."""
    frames = golden.aligned_u8 if aligned_u8 is None else aligned_u8
    model_input, gain = scaled_differences(frames, settings)
    return Preprocessed(golden.faces, golden.affines, frames, model_input, gain, settings)


def same_fields(name: str, found: Mapping[str, Any], stored: Mapping[str, Any], keys: tuple[str, ...]) -> Finding:
    """A gate that counts which of `keys` differ and says how."""
    differing = [f"{key} {found[key]!r}, stored {stored[key]!r}" for key in keys if not same(found[key], stored[key])]
    return Finding(name, not differing, float(len(differing)), 0.0, "; ".join(differing))


def same(found: Any, stored: Any) -> bool:
    """Equal, or both numbers and equal but for rounding to float32."""
    if isinstance(found, float) and isinstance(stored, float):
        return math.isclose(found, stored, rel_tol=FLOAT32_ROUNDING)
    return bool(found == stored)


def largest(difference: npt.NDArray[Any]) -> float:
    """Largest absolute value; NaN when any is NaN."""
    return float(np.abs(difference).max())
