"""The gates a converted file must pass: it computes what PyTorch computes, on every capture and on odd inputs.

This is gate 2 and part of gate 9 of the table in EXPORT.md, for fp32. Each gate looks at the worst capture, never at a
mean. A missed gate raises; nothing is printed and passed over.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from sdk_reference.errors import RuntimeFailure
from sdk_reference.manifest import INPUT_NAME, OUTPUT_NAMES
from sdk_reference.runtime import open_session
from training.network import ATRFAS

FloatArray = npt.NDArray[np.float32]
Outputs = Mapping[str, FloatArray]

MAX_DIFFERENCE: Final = 1e-5
"""Largest difference of any output value; for values above 1 (only the flash response has them) relative to them."""
MIN_SNR_DB: Final = 110.0
"""Smallest signal-to-noise ratio of any output of any capture."""
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


def check_parity(
    model: bytes, network: ATRFAS, inputs: Sequence[FloatArray], rng: np.random.Generator
) -> tuple[Gate, ...]:
    """Compare an ONNX file, run by ONNX Runtime, with the training network; raises ParityError.

    `inputs` holds at least one capture's model input, N×3×S×S float32 in −1..1; `rng` draws the odd inputs' noise.
    """
    return require(parity_gates(model, network, inputs, rng), "ONNX fp32 against PyTorch")


def parity_gates(model: bytes, network: ATRFAS, inputs: Sequence[FloatArray], rng: np.random.Generator) -> list[Gate]:
    """The gates of `check_parity`, held or missed."""
    if not len(inputs):
        raise ValueError("found no inputs to compare on; expected at least one capture; pass the golden captures")
    session = open_session(model, threads=1)
    pairs = [(run_network(network, x), run_onnx(session, x)) for x in inputs]
    gates = [gate for name in OUTPUT_NAMES for gate in _tensor_gates(name, pairs)]
    for name, x in odd_inputs(inputs[0].shape, rng).items():
        gates += _odd_gates(name, run_network(network, x), run_onnx(session, x))
    return gates


def run_network(network: ATRFAS, model_input: FloatArray) -> dict[str, FloatArray]:
    """The training network's answer to one capture under the names and shapes of a model file.

    The network must be in evaluation mode, in float32, on the CPU.
    """
    if network.training:
        raise ValueError("found a network in training mode; expected evaluation mode; call network.eval()")
    with torch.no_grad():
        out = network(torch.from_numpy(np.ascontiguousarray(model_input)).unsqueeze(0))
    tensors = (out.score, out.type[0], out.depth, out.flash_response[0])
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


def _tensor_gates(name: str, pairs: Sequence[tuple[Outputs, Outputs]]) -> tuple[Gate, Gate]:
    largest = max(difference(reference[name], found[name]) for reference, found in pairs)
    smallest = min(snr_db(_signal(name, reference), _signal(name, found)) for reference, found in pairs)
    return (
        at_most(f"{name}: largest difference", largest, MAX_DIFFERENCE),
        at_least(f"{name}: smallest signal to noise, dB", smallest, MIN_SNR_DB),
    )


def _signal(name: str, outputs: Outputs) -> FloatArray:
    """What the noise is set against: for the score both classes, as a sure spoof's score is hardly a signal."""
    values = outputs[name]
    return np.concatenate([values, 1 - values]) if name == "score" else values


def _odd_gates(kind: str, reference: Outputs, found: Outputs) -> list[Gate]:
    """Differences only: against an answer of zero no signal-to-noise ratio is defined."""
    return [
        at_most(
            f"{kind}, {name}: largest difference",
            difference(reference[name], found[name]),
            MAX_DIFFERENCE,
        )
        for name in OUTPUT_NAMES
    ]


def _distance(gate: Gate) -> float:
    """How far a missed gate is out, comparable between gates: decades beyond the limit, for dB tenths of them."""
    if gate.limit == MIN_SNR_DB:
        return (gate.limit - gate.value) / 20
    return float(np.log10(gate.value / gate.limit)) if gate.value > 0 and gate.limit > 0 else float("inf")
