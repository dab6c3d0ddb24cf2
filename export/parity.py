"""What it takes to compare a converted file with PyTorch: a gate, a difference, a signal-to-noise ratio, odd inputs.

A gate holds one figure against one limit. A missed gate raises; nothing is printed and passed over.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from sdk_reference.errors import RuntimeFailure
from sdk_reference.manifest import INPUT_NAME, OUTPUT_NAMES
from training.network import ATRFAS

FloatArray = npt.NDArray[np.float32]
Outputs = Mapping[str, FloatArray]

NO_NOISE_DB: Final = 300.0
"""Stands for an exact match; JSON has no infinity."""

NO_MATCH: Final = sys.float_info.max
"""The difference of values that cannot be compared; JSON has no infinity."""


class ParityError(RuntimeFailure):
    """A converted file does not pass a gate."""

    code = "parity_missed"


@dataclass(frozen=True)
class Gate:
    """One check with the figure it came to."""

    name: str
    ok: bool
    value: float
    limit: float

    def to_dict(self) -> dict[str, Any]:
        """`{"name", "ok", "value", "limit"}`, the form `flashproof verify --json` prints."""
        return asdict(self)


def at_most(name: str, value: float, limit: float) -> Gate:
    """A gate that holds when `value` ≤ `limit`; NaN never passes."""
    return Gate(name, bool(value <= limit), float(value), float(limit))


def at_least(name: str, value: float, limit: float) -> Gate:
    """A gate that holds when `value` ≥ `limit`; NaN never passes."""
    return Gate(name, bool(value >= limit), float(value), float(limit))


def require(gates: Iterable[Gate], what: str) -> tuple[Gate, ...]:
    """Return the gates; raise ParityError, naming the one that is furthest out, unless all of them hold."""
    kept = tuple(gates)
    missed = [gate for gate in kept if not gate.ok]
    if missed:
        worst = max(missed, key=_distance)
        raise ParityError(
            found=f"{what}: {worst.name} {worst.value:.3g}, and {len(missed)} of {len(kept)} gates missed",
            expected=f"{worst.limit:.3g}",
            remedy="do not ship this file; compare the exported graph with export.deploy layer by layer",
        )
    return kept


def run_network(network: ATRFAS, model_input: FloatArray) -> dict[str, FloatArray]:
    """The training network's answer to one capture under the names and shapes of a model file.

    The network must be in evaluation mode, in float32, on the CPU.
    """
    if network.training:
        raise ValueError("found a network in training mode; expected evaluation mode; call network.eval()")
    with torch.no_grad():
        out = network(torch.from_numpy(np.ascontiguousarray(model_input)).unsqueeze(0))
    tensors = (out.score, out.type[0], network.widened(out.depth), out.flash_response[0])
    return {name: tensor.numpy() for name, tensor in zip(OUTPUT_NAMES, tensors, strict=True)}


def run_onnx(session: Any, model_input: FloatArray) -> dict[str, FloatArray]:
    """The raw outputs of an `onnxruntime.InferenceSession`, neither clipped nor checked."""
    values = session.run(list(OUTPUT_NAMES), {INPUT_NAME: np.ascontiguousarray(model_input)})
    return dict(zip(OUTPUT_NAMES, values, strict=True))


def odd_inputs(shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, FloatArray]:
    """Inputs no camera should deliver, N×3×S×S float32 in −1..1, by name."""
    frame = rng.uniform(-1, 1, (1, *shape[1:])).astype(np.float32)
    return {
        "all zero": np.zeros(shape, np.float32),
        "saturated high": np.ones(shape, np.float32),
        "saturated low": np.full(shape, -1, np.float32),
        "identical frames": np.ascontiguousarray(np.broadcast_to(frame, shape)),
        "noise": rng.uniform(-1, 1, shape).astype(np.float32),
    }


def difference(reference: FloatArray, found: FloatArray) -> float:
    """The largest difference of any value, divided by the reference's largest value where that is above 1.

    NO_MATCH for another shape or a value that is not finite on either side.
    """
    if reference.shape != found.shape or not (np.isfinite(reference).all() and np.isfinite(found).all()):
        return NO_MATCH
    scale = max(1.0, float(np.abs(reference).max()))
    return float(np.abs(reference.astype(np.float64) - found).max()) / scale


def snr_db(reference: FloatArray, found: FloatArray) -> float:
    """10·log10(Σ reference² / Σ (reference − found)²), within ±NO_NOISE_DB; the lower end where undefined."""
    if difference(reference, found) == NO_MATCH:
        return -NO_NOISE_DB
    noise = float(np.square(reference.astype(np.float64) - found).sum())
    signal = float(np.square(reference.astype(np.float64)).sum())
    if noise == 0:
        return NO_NOISE_DB
    return float(np.clip(10 * np.log10(signal / noise), -NO_NOISE_DB, NO_NOISE_DB)) if signal else -NO_NOISE_DB


def _distance(gate: Gate) -> float:
    """How far a missed gate is out, comparable between gates: decades beyond the limit, for dB tenths of them."""
    if gate.value < gate.limit:
        return (gate.limit - gate.value) / 20
    return float(np.log10(gate.value / gate.limit)) if gate.value > 0 and gate.limit > 0 else float("inf")
