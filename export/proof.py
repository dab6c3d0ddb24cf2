"""The gates of one artifact before it is packed: does the file run, and does it say what PyTorch says?

Gates 1 to 6 and 9 of the table in EXPORT.md, for every format and precision alike. Each looks at the worst capture. The
file is run by the runtime that a user has; Core ML off a Mac by our evaluator, and the report says which of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from export.converted import Converted, FloatArray, Precision
from export.coreml_opening import activations_of
from export.formats import open_artifact, structure_gates
from export.mil import MilBackend
from export.onnx_fp16 import largest_activation
from export.parity import Gate, Outputs, at_most, odd_inputs, run_network
from export.precision_gates import LIMITS, PrecisionLimits, activation_gate, limit_gates, precision_gates
from sdk_reference.errors import ModelFailed
from sdk_reference.runtime import Backend, ModelOutputs
from training.network import ATRFAS

ODD_SEED: Final = 0


@dataclass(frozen=True, eq=False)
class References:
    """What PyTorch says, and to what."""

    inputs: tuple[FloatArray, ...]
    outputs: tuple[Outputs, ...]
    odd: tuple[tuple[str, FloatArray, Outputs], ...]
    """Name, input and outputs of what no camera should deliver."""
    threshold: float

    @staticmethod
    def of(network: ATRFAS, inputs: Sequence[FloatArray], threshold: float) -> References:
        """Run PyTorch on all inputs, at least one of (N,3,S,S) float32."""
        if not inputs:
            raise ValueError("found no inputs to compare on; expected at least one capture; pass the golden captures")
        odd = odd_inputs(inputs[0].shape, np.random.default_rng(ODD_SEED))
        return References(
            tuple(inputs),
            tuple(run_network(network, x) for x in inputs),
            tuple((name, x, run_network(network, x)) for name, x in odd.items()),
            threshold,
        )


@dataclass(frozen=True, eq=False)
class Proof:
    """What was found about one artifact."""

    artifact: Converted
    ran_by: str
    gates: tuple[Gate, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values: what ran it, its format and precision, its gates."""
        return {
            "ran_by": self.ran_by,
            "format": self.artifact.format,
            "precision": self.artifact.precision,
            "float_layers": list(self.artifact.float_layers),
            "gates": [gate.to_dict() for gate in self.gates],
        }


def prove(artifact: Converted, folder: Path, references: References) -> Proof:
    """Run all gates on an artifact that was written below `folder`; a gate is closed where the file does not run."""
    path = folder / artifact.path
    gates = structure_gates(artifact.format, artifact.precision, path, references.inputs[0].shape)
    try:
        backend, ran_by = open_artifact(artifact.format, artifact.precision, path)
        found = [as_outputs(backend.run(x)) for x in references.inputs]
        odd = [as_outputs(backend.run(x)) for _, x, _ in references.odd]
    except ModelFailed as error:
        return Proof(artifact, f"nothing: {error}", (*gates, at_most("runs: errors", 1, 0)))
    gates += [at_most("runs: errors", 0, 0), *precision_gates(artifact, references.outputs, found)]
    gates += [*odd_gates(artifact.precision, references, odd), *inner_gates(artifact, path, backend, references)]
    return Proof(artifact, ran_by, tuple(gates))


def odd_gates(precision: Precision, references: References, found: Sequence[Outputs]) -> list[Gate]:
    """Gate 9 for model inputs: the outputs stay with PyTorch's where both are float, and no side of the threshold
    changes. Whether such frames may ever be live is judged on the finished bundle, with everything a phone looks at."""
    flips = 0
    for (_, _, reference), other in zip(references.odd, found, strict=True):
        flips += bool((reference["score"] >= references.threshold) != (other["score"] >= references.threshold))
    gates = [at_most("odd inputs: verdicts that differ", flips, 0)]
    if precision == "fp32":
        odd = [outputs for _, _, outputs in references.odd]
        without_snr = limit_gates(_without_snr(precision), odd, found)
        gates += [Gate(f"odd inputs: {gate.name}", gate.ok, gate.value, gate.limit) for gate in without_snr]
    return gates


def inner_gates(artifact: Converted, path: Path, backend: Backend, references: References) -> list[Gate]:
    """What can be seen inside: the largest activation of the ONNX graph in fp32 and of Core ML programs in fp16.

    `backend` has run the artifact at `path` on all inputs. Where that was Core ML itself, the program is evaluated here
    as well, and held to the same limits.
    """
    if (artifact.format, artifact.precision) == ("onnx", "fp32"):  # the network's own, whatever its format
        return [activation_gate(largest_activation(path.read_bytes(), references.inputs))]
    if artifact.format != "coreml":
        return []
    gates: list[Gate] = []
    if not isinstance(backend, MilBackend):
        backend = MilBackend(path, activations_of(artifact.precision))
        evaluated = precision_gates(artifact, references.outputs, [backend.run_raw(x) for x in references.inputs])
        gates += [Gate(f"evaluated: {gate.name}", gate.ok, gate.value, gate.limit) for gate in evaluated]
    return gates if backend.activations == "fp32" else [*gates, activation_gate(backend.largest_activation)]


def as_outputs(outputs: ModelOutputs) -> dict[str, FloatArray]:
    """What a backend gave under the names and shapes of the model file."""
    return {
        "score": np.array([outputs.score], np.float32),
        "type": outputs.type,
        "depth": outputs.depth[None],
        "flash_response": outputs.flash_response,
    }


def _without_snr(precision: Precision) -> PrecisionLimits:
    """Against an answer of zero no signal-to-noise ratio is defined."""
    return replace(LIMITS[precision], min_snr_db=None)
