"""The accuracy gates of every precision as one table: what a converted file may differ from PyTorch by, in any format.

These are gates 2 to 6 of the table in EXPORT.md, which names limits for score and depth; those for the type and the
flash response are ours. Each gate looks at the worst capture, never at a mean over captures. In int8 the depth is
judged by the mean over its pixels: a rounding step moves single pixels at an edge, and nothing decides by one pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from export.converted import Converted, FloatArray, Precision
from export.parity import NO_MATCH, Gate, Outputs, at_least, at_most, difference, snr_db
from sdk_reference.manifest import OUTPUT_NAMES


@dataclass(frozen=True)
class PrecisionLimits:
    """Largest accepted difference of each output in the worst capture; all outputs but the last are 0..1."""

    score: float
    depth: float
    depth_by_mean: bool
    """Whether `depth` limits the mean over the pixels of one map, or its largest pixel."""
    type: float
    """Twice the score's where EXPORT.md says nothing, the ratio that it gives for static int8."""
    flash_response: float
    """Relative to the largest value where that is above 1. The check looks at directions only: a row of length 1 that
    is off by 0.04 keeps a cosine of 0.999 with itself."""
    min_snr_db: float | None
    """Smallest signal-to-noise ratio of any output; None: not looked at."""


MAX_ACTIVATION: Final = 6_550.0
"""A tenth of the largest fp16 number."""

INT8_FLOAT_ACTIVATIONS: Final = PrecisionLimits(5e-3, 2e-3, True, 1e-2, 2e-2, None)
LIMITS: Final[Mapping[Precision, PrecisionLimits]] = {
    "fp32": PrecisionLimits(1e-5, 1e-5, False, 1e-5, 1e-5, 110.0),
    "fp16": PrecisionLimits(1e-3, 5e-3, False, 2e-3, 5e-3, 60.0),
    "int8_weights": INT8_FLOAT_ACTIVATIONS,
    "int8_dynamic": INT8_FLOAT_ACTIVATIONS,
    "int8_static": PrecisionLimits(1e-2, 4e-3, True, 2e-2, 4e-2, None),
}


def precision_gates(converted: Converted, references: Sequence[Outputs], found: Sequence[Outputs]) -> list[Gate]:
    """The gates of an artifact's precision, held or missed.

    `references` and `found` hold PyTorch's and the artifact's outputs by name, for the same captures in the
    same order; `export.parity.run_network` and `export.proof.as_outputs` give that form.
    """
    return limit_gates(LIMITS[converted.precision], references, found)


def activation_gate(largest: float) -> Gate:
    """The part of gate 4 that looks inside: no value between operations may come near fp16's end."""
    return at_most("largest activation", largest, MAX_ACTIVATION)


def limit_gates(limits: PrecisionLimits, references: Sequence[Outputs], found: Sequence[Outputs]) -> list[Gate]:
    """The gates of `precision_gates` for limits of one's own."""
    if not references or len(references) != len(found):
        raise ValueError(
            f"found outputs of {len(references)} captures from PyTorch and of {len(found)} from the artifact; "
            "expected one each for at least one capture; pass both lists of the same captures"
        )
    return [gate for name in OUTPUT_NAMES for gate in _output_gates(name, limits, references, found)]


def mean_difference(reference: FloatArray, found: FloatArray) -> float:
    """The mean absolute difference of all values; NO_MATCH where `difference` says so."""
    if difference(reference, found) == NO_MATCH:
        return NO_MATCH
    return float(np.abs(reference.astype(np.float64) - found).mean())


def signal(name: str, values: FloatArray) -> FloatArray:
    """What the noise is set against: for the score both classes, as a sure spoof's score is hardly a signal."""
    return np.concatenate([values, 1 - values]) if name == "score" else values


def _output_gates(
    name: str, limits: PrecisionLimits, references: Sequence[Outputs], found: Sequence[Outputs]
) -> list[Gate]:
    pairs = [(reference[name], other[name]) for reference, other in zip(references, found, strict=True)]
    by_mean = name == "depth" and limits.depth_by_mean
    measure: Callable[[FloatArray, FloatArray], float] = mean_difference if by_mean else difference
    worst = max(measure(reference, other) for reference, other in pairs)
    gates = [at_most(f"{name}: {'mean' if by_mean else 'largest'} difference", worst, getattr(limits, name))]
    if limits.min_snr_db is not None:
        smallest = min(snr_db(signal(name, reference), signal(name, other)) for reference, other in pairs)
        gates.append(at_least(f"{name}: smallest signal to noise, dB", smallest, limits.min_snr_db))
    return gates
