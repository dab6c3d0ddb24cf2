"""What a conversion gives, whatever its format: files for the bundle, and what the manifest must say about them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Format = Literal["onnx", "litert", "coreml"]
Precision = Literal["fp32", "fp16", "int8_weights", "int8_dynamic", "int8_static"]
PRECISIONS: Final = cast("tuple[Precision, ...]", get_args(Precision))
MADE: Final[Mapping[Format, tuple[Precision, ...]]] = {
    "onnx": ("fp32", "fp16", "int8_static"),
    "litert": PRECISIONS,
    "coreml": ("fp32", "fp16", "int8_weights"),
}
"""What each format is converted to."""


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """Captures whose activations set the ranges of a statically quantized file: of the training split, by seed."""

    seed: int
    inputs: Sequence[FloatArray]
    """Model inputs, (N,3,S,S) float32 in −1..1 each."""

    @cached_property
    def sha256(self) -> str:
        """Of the inputs, float32 little-endian, one after the other."""
        digest = hashlib.sha256()
        for model_input in self.inputs:
            digest.update(np.ascontiguousarray(model_input, "<f4").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Converted:
    """One artifact before it is proved and packed."""

    path: str
    """In the bundle: models/….onnx, models/….tflite, or the folder models/….mlpackage."""
    format: Format
    precision: Precision
    files: Mapping[str, bytes]
    """Content by path in the bundle; several for Core ML, whose package is a folder."""
    runs_on: str
    """The oldest runtime or system that runs it."""
    opset: int | None = None
    """ONNX only."""
    float_layers: tuple[str, ...] = ()
    """Operations with weights that a quantized file computes in float."""
    calibration: CalibrationSet | None = None
    """Of int8_static."""

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return sum(len(content) for content in self.files.values())

    def write(self, folder: Path) -> Path:
        """Write its files below `folder`; returns the path of the artifact there."""
        for path, content in self.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return folder / self.path
