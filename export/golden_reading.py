"""Reads golden vectors out of a bundle and trusts none of them: shapes, types, finiteness, agreement of JSON and raw.

The bundle's hashes say that a file is the one that was packed, not that it is what it should be; here the latter is
checked, so that a damaged export is an error of the bundle and not a traceback.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from export.golden import (
    DECISION_KEYS,
    FOLDER,
    FORMAT,
    INDEX,
    LITTLE_ENDIAN_FLOAT32,
    VERSION,
    WINDOW_SIZE,
    FloatArray,
    GoldenCapture,
    expected_output_shapes,
)
from sdk_reference import images
from sdk_reference.bundle import Bundle
from sdk_reference.capture import Capture, load_capture
from sdk_reference.errors import BundleMalformed, FlashproofError, InvalidInput
from sdk_reference.landmarks import N_LANDMARKS
from sdk_reference.quality import Quality
from sdk_reference.runtime import ModelOutputs

T = TypeVar("T")


def read_golden(bundle: Bundle) -> tuple[GoldenCapture, ...]:
    """Read every golden capture of a bundle, in the order of the index.

    Raises BundleMalformed for what is not as docs/bundle.md specifies it and BundleFileMissing for what is not there.
    """
    return tuple(read_capture(bundle, name) for name in parse(bundle, INDEX, capture_names))


def capture_names(index: Mapping[str, Any]) -> list[str]:
    """Names of the captures in the index; ValueError for another format or none at all."""
    if (index["format"], index["version"]) != (FORMAT, VERSION):
        raise ValueError(f"{index['format']!r} version {index['version']!r}; expected {FORMAT} version {VERSION}")
    names = [str(record["name"]) for record in index["captures"]]
    if not names:
        raise ValueError("no capture; expected at least one")
    return names


def read_capture(bundle: Bundle, name: str) -> GoldenCapture:
    """Read the golden capture `name`."""
    manifest, base = bundle.manifest, f"{FOLDER}/{name}"
    n0, rows = manifest.n0, len(manifest.differential_rows)
    side, aligned_side = manifest.preprocess.input_size, manifest.preprocess.aligned_size
    quality = {field.name for field in fields(Quality)}

    def array(file: str, shape: tuple[int, ...]) -> FloatArray:
        return from_raw(bundle.read(f"{base}/{file}"), shape, f"{base}/{file}")

    def values(file: str, read: Callable[[Any], T]) -> T:
        return parse(bundle, f"{base}/{file}", read)

    outputs = {key: array(f"output_{key}.f32", shape) for key, shape in expected_output_shapes(rows, side).items()}
    return GoldenCapture(
        name=name,
        capture=read_frames(bundle, base),
        landmarks=values("landmarks.json", lambda v: shaped(v["points"], np.float32, (n0, N_LANDMARKS, 2))),
        landmark_affines=values("affines.json", lambda v: shaped(v["from_landmarks"], np.float64, (n0, 2, 3))),
        affines=values("affines.json", lambda v: shaped(v["affines"], np.float64, (n0, 2, 3))),
        aligned_u8=read_aligned(bundle, base, n0, aligned_side),
        differential_window=array("differential_window.f32", (rows, 3, WINDOW_SIZE, WINDOW_SIZE)),
        differential_means=array("differential_means.f32", (2, rows, 3)),
        model_input=array("model_input.f32", (rows, 3, side, side)),
        gain=values("model_input.json", lambda v: finite(v["gain"])),
        quality=values("quality.json", lambda v: Quality(**{key: finite(v[key]) for key in quality})),
        outputs=as_outputs(outputs, values("outputs.json", lambda v: v), base),
        expected_response=values("response.json", lambda v: shaped(v["expected"], np.float32, (rows, 3))),
        disagreeing=values("response.json", lambda v: shaped(v["disagreeing"], np.bool_, (rows,))),
        decision=values("decision.json", lambda v: {key: v[key] for key in DECISION_KEYS}),
    )


def as_outputs(arrays: Mapping[str, FloatArray], readable: Mapping[str, Any], base: str) -> ModelOutputs:
    """Outputs by name as the runtime's type; raises BundleMalformed when `outputs.json` says something else."""
    for name, stated in readable.items():
        if name not in arrays or not np.array_equal(np.asarray(stated, np.float32), arrays[name]):
            raise malformed(f"{base}/outputs.json", f"another {name} than in output_{name}.f32")
    return ModelOutputs(float(arrays["score"][0]), arrays["type"], arrays["depth"][0], arrays["flash_response"])


def read_frames(bundle: Bundle, base: str) -> Capture:
    """Read the capture stored below `base`, by way of a temporary folder, since captures are read from disk."""
    prefix = f"{base}/capture/"
    with tempfile.TemporaryDirectory() as folder:
        for path in bundle.manifest.files:
            if path.startswith(prefix):
                (Path(folder) / PurePosixPath(path).name).write_bytes(bundle.read(path))
        try:
            return load_capture(folder)
        except FlashproofError as error:
            raise malformed(prefix, str(error)) from error


def read_aligned(bundle: Bundle, base: str, n0: int, side: int) -> npt.NDArray[np.uint8]:
    """Read the aligned frames stored below `base`, (N0,3,side,side) uint8."""
    planes = []
    for rank in range(n0):
        path = f"{base}/aligned_{rank}.png"
        try:
            frame = images.decode_frame(bundle.read(path), path)
        except InvalidInput as error:
            raise malformed(path, str(error)) from error
        if frame.shape != (side, side, 3):
            raise malformed(path, f"of {frame.shape[1]}×{frame.shape[0]} pixels")
        planes.append(frame.transpose(2, 0, 1))
    return np.ascontiguousarray(np.stack(planes))


def parse(bundle: Bundle, path: str, read: Callable[[Any], T]) -> T:
    """Parse the JSON object at `path` and hand it to `read`; whatever is wrong with it becomes BundleMalformed."""
    try:
        value = json.loads(bundle.read(path).decode())
        if not isinstance(value, dict):
            raise TypeError("not a JSON object")
        return read(value)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise malformed(path, f"unreadable ({type(error).__name__}: {str(error)[:200]})") from error


def shaped(values: Any, dtype: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Nested lists as an array; ValueError for another shape or values that are not finite."""
    array = np.asarray(values, dtype=dtype)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"shape {array.shape} or values that are not finite; expected finite {shape}")
    return array


def finite(value: Any) -> float:
    """`value` as float; ValueError unless it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)


def from_raw(data: bytes, shape: tuple[int, ...], path: str) -> FloatArray:
    """The inverse of `raw`; raises BundleMalformed for another length or values that are not finite."""
    if len(data) != math.prod(shape) * LITTLE_ENDIAN_FLOAT32.itemsize:
        raise malformed(path, f"{len(data)} bytes, which is not float32 {shape}")
    array = np.frombuffer(data, LITTLE_ENDIAN_FLOAT32).reshape(shape).astype(np.float32)
    if not np.isfinite(array).all():
        raise malformed(path, "values that are not finite")
    return array


def malformed(path: str, what: str) -> BundleMalformed:
    return BundleMalformed(
        found=f"golden file {path}: {what}",
        expected="golden vectors as docs/bundle.md describes them",
        remedy="export the bundle again",
    )
