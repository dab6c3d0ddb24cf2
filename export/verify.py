"""Verifies a bundle from the bundle alone: hashes, schema, model structure, every golden stage, odd inputs, repeats.

These are gates 1, 9, 10 and 11 of the table in EXPORT.md for every artifact, and gate 8 as the export reported it.
Whoever receives a bundle can run this without the run, the data or the training code's help. A bundle that cannot be
opened, or whose golden vectors are not as specified, raises; a gate that is missed is reported with all the others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx

from export.formats import open_artifact, structure_gates
from export.golden import GoldenCapture
from export.golden_decisions import FILE as DECISION_CASES
from export.golden_decisions import read_decisions, replay_decisions
from export.golden_reading import read_golden
from export.node_reader import node_gates, why_not
from export.parity import Gate, ParityError, at_most, odd_inputs
from export.replay import (
    Finding,
    measured,
    output_errors,
    prepared,
    replay,
    replay_decision,
    replay_from_frames,
    replay_model,
    unmeasured,
)
from export.report_files import DECISIONS_FILE
from sdk_reference.bundle import Bundle, load_bundle, unpacked
from sdk_reference.checker import Checker
from sdk_reference.decide import Decision, decide
from sdk_reference.errors import FlashproofError, ModelFailed
from sdk_reference.landmarks import LandmarkDetector
from sdk_reference.manifest import Artifact
from sdk_reference.quality import failures, measure_quality
from sdk_reference.response import disagreements, expected_response
from sdk_reference.runtime import Backend

REQUIRED_FILES: Final = ("MODEL_CARD.md", "golden/golden.json")
THREADS_LIMIT: Final = 1e-6
THRESHOLD_ROUNDING: Final = 1e-9
ODD_SEED: Final = 0  # the same noise for every bundle
MAX_LEVEL: Final = 255


@dataclass(frozen=True)
class Verification:
    """What was found about one bundle."""

    bundle: str
    """Name, version and hash."""
    gates: tuple[Gate, ...]
    notes: tuple[str, ...] = ()
    """What was not checked here, and why."""

    @property
    def ok(self) -> bool:
        """Whether every gate is open."""
        return all(gate.ok for gate in self.gates)

    def to_dict(self) -> dict[str, Any]:
        """`{"ok", "bundle", "gates": [{"name", "ok", "value", "limit"}, …], "notes": […]}`, what `--json` prints."""
        gates = [gate.to_dict() for gate in self.gates]
        return {"ok": self.ok, "bundle": self.bundle, "gates": gates, "notes": list(self.notes)}


def verify(path: str | os.PathLike[str], detector: LandmarkDetector) -> Verification:
    """Run every gate on the bundle at `path`, a folder or a zip.

    Raises a BundleError when it cannot be opened or its golden vectors break their format, BackendMissing without
    ONNX Runtime.
    """
    bundle = load_bundle(path)
    goldens = read_golden(bundle)
    gates = list(all_gates(bundle, goldens, detector))
    missing = why_not()
    if missing is None:
        gates += node_gates(Path(path))
    notes = [f"the reader in JavaScript was not run: {missing}"] if missing else []
    if any(artifact.format == "coreml" for artifact in bundle.manifest.artifacts):
        notes.append("one thread against many was not compared for Core ML, which takes no number of threads")
    if DECISION_CASES not in bundle.manifest.files:
        notes.append(f"the rules of the decision were not replayed: an older bundle, without {DECISION_CASES}")
    return Verification(bundle.identity, tuple(gates), tuple(notes))


def require_sound(verification: Verification) -> None:
    """Raise ParityError, naming every missed gate, unless all are open."""
    missed = [gate for gate in verification.gates if not gate.ok]
    if missed:
        described = (f"{gate.name} {gate.value:.3g} ({getattr(gate, 'detail', '')})" for gate in missed)
        raise ParityError(
            found=f"{len(missed)} of {len(verification.gates)} gates missed by the finished bundle: "
            + "; ".join(described),
            expected="every gate open",
            remedy="do not ship this model; the first gate missed names the stage to look at",
        )


def all_gates(bundle: Bundle, goldens: tuple[GoldenCapture, ...], detector: LandmarkDetector) -> Iterator[Gate]:
    """Every gate, cheapest first."""
    missing = [name for name in REQUIRED_FILES if name not in bundle.manifest.files]
    # load_bundle has compared every hash and would have raised; the gate says so where people look for it.
    yield Finding("files other than the manifest says", True, 0.0, 0.0, f"{len(bundle.manifest.files)} files")
    yield Finding("required files missing", not missing, float(len(missing)), 0.0, ", ".join(missing))
    for golden in goldens:
        yield from replay(golden, bundle.manifest, detector)
    if cases := read_decisions(bundle):
        yield replay_decisions(cases, bundle.manifest)
    yield from decision_gates(bundle)
    for artifact in bundle.manifest.artifacts:
        yield from artifact_gates(bundle, artifact, goldens, detector)


def artifact_gates(
    bundle: Bundle, artifact: Artifact, goldens: tuple[GoldenCapture, ...], detector: LandmarkDetector
) -> Iterator[Gate]:
    """The gates of one artifact, run by what `export.formats.open_artifact` finds for it on this machine."""
    with unpacked(bundle, artifact) as path:
        yield from structure(bundle, artifact, path)
        try:
            backend, ran_by = open_artifact(artifact.format, artifact.precision, path)
            again, _ = open_artifact(artifact.format, artifact.precision, path, many_threads())
        except ModelFailed as error:
            yield unmeasured(f"{short(artifact)} runs", 0.0, str(error))
            return
        yield Finding(f"{short(artifact)} runs", True, 0.0, 0.0, ran_by)
        checker = Checker(bundle, detector, backend, artifact=artifact.file)
        for golden in goldens:
            yield from replay_model(golden, artifact, backend)
            yield replay_decision(golden, bundle.manifest, artifact)
            yield from replay_from_frames(golden, checker, artifact)
        yield from odd_gates(bundle, artifact, goldens[0], backend)
        yield from repeat_gates(artifact, goldens[0], backend, again)


def structure(bundle: Bundle, artifact: Artifact, path: Path) -> Iterator[Gate]:
    """Gate 1: names, static shapes, ranks, operations, and the opset that the manifest states."""
    try:
        gates = structure_gates(artifact.format, artifact.precision, path, artifact.inputs[0].shape)
        stated = opset_of(bundle.read(artifact.file)) if artifact.format == "onnx" else None
    except Exception as error:  # protobuf, onnx and flatbuffers raise types of their own for what is no model
        yield unmeasured(f"{short(artifact)}: structure", 0.0, str(error))
        return
    for gate in gates:
        yield Gate(f"{short(artifact)}: {gate.name}", gate.ok, gate.value, gate.limit)
    if artifact.opset is not None and stated is not None:
        yield Gate(f"{short(artifact)}: opset as in the manifest", stated == artifact.opset, stated, artifact.opset)


def opset_of(model: bytes) -> int:
    """The opset of the standard domain; −1 for none."""
    entries = onnx.load_model_from_string(model).opset_import
    return {entry.domain: entry.version for entry in entries}.get("", -1)


def short(artifact: Artifact) -> str:
    """The model file's name without its folder, for the names of gates."""
    return PurePosixPath(artifact.file).name


def odd_gates(bundle: Bundle, artifact: Artifact, golden: GoldenCapture, backend: Backend) -> Iterator[Gate]:
    """Gate 9: what no camera delivers gives finite outputs, and as frames it never gets the verdict live."""
    for name, model_input in odd_inputs(golden.model_input.shape, np.random.default_rng(ODD_SEED)).items():
        yield measured(f"{short(artifact)}: odd input {name}: not finite", partial(ran, backend, model_input), 0.0)
    for name, frames in odd_frames(golden).items():
        gate = f"{short(artifact)}: odd frames {name}: live verdicts"
        try:
            decision = judge(bundle, artifact, golden, frames, backend)
        except FlashproofError as error:
            yield Finding(gate, True, 0.0, 0.0, f"refused: {error}")
            continue
        said = f"{decision.verdict}: {', '.join(reason.code for reason in decision.reasons)}"
        yield Finding(gate, decision.verdict != "live", float(decision.verdict == "live"), 0.0, said)


def ran(backend: Backend, model_input: npt.NDArray[np.float32]) -> float:
    """0 when the model runs; the backend raises for outputs that are not finite or out of range."""
    backend.run(model_input)
    return 0.0


def odd_frames(golden: GoldenCapture) -> Mapping[str, npt.NDArray[np.uint8]]:
    """Aligned frames (N0,3,256,256) uint8 that no flash capture can give, by name."""
    shape = golden.aligned_u8.shape
    noise = np.random.default_rng(ODD_SEED).integers(0, MAX_LEVEL, shape, dtype=np.uint8, endpoint=True)
    return {
        "black": np.zeros(shape, np.uint8),
        "white": np.full(shape, MAX_LEVEL, np.uint8),
        "identical": np.repeat(golden.aligned_u8[:1], shape[0], axis=0),
        "noise": noise,
    }


def judge(
    bundle: Bundle, artifact: Artifact, golden: GoldenCapture, frames: npt.NDArray[np.uint8], backend: Backend
) -> Decision:
    """The verdict on other frames in the golden capture's place, quality limits and response check included."""
    manifest = bundle.manifest
    changed = prepared(golden, manifest.preprocess, frames)
    outputs = backend.run(changed.model_input)
    expected = expected_response(golden.capture.plan)
    return decide(
        outputs,
        failures(measure_quality(changed, golden.capture), manifest.quality_limits),
        disagreements(outputs.flash_response, expected, manifest.response_rule.cosine_limit),
        threshold=artifact.operating_point.threshold,
        max_disagreeing_rows=manifest.response_rule.max_disagreeing_rows,
    )


def repeat_gates(artifact: Artifact, golden: GoldenCapture, backend: Backend, again: Backend) -> Iterator[Gate]:
    """Gate 10: two runs are identical; one thread and many agree, in int8 to the bit.

    `again` is the same artifact opened with many threads. Where weights alone are int8, the sums are still float. Core
    ML takes no number of threads, and how many its evaluator has says nothing about the file: no gate, but a note.
    """

    def largest_shift(other: Backend) -> float:
        return max(output_errors(other.run(golden.model_input), backend.run(golden.model_input)).values())

    yield measured(f"{short(artifact)}: second run", lambda: largest_shift(backend), 0.0)
    if artifact.format == "coreml":
        return
    many = f"{short(artifact)}: {many_threads()} threads against 1"
    limit = 0.0 if artifact.precision == "int8_static" else THREADS_LIMIT
    yield measured(many, lambda: largest_shift(again), limit)


def many_threads() -> int:
    """Two, or as many as there are processors."""
    return max(os.cpu_count() or 1, 2)


def decision_gates(bundle: Bundle) -> Iterator[Gate]:
    """Gate 8 as the export measured it: the report must speak of every artifact at the threshold that it states.

    No gates where the bundle has no such report: then its verdicts were not compared, as its model card says.
    """
    if DECISIONS_FILE not in bundle.manifest.files:
        return
    try:
        report = json.loads(bundle.read(DECISIONS_FILE))
        for artifact in bundle.manifest.artifacts:
            outside = report["artifacts"][artifact.file]["flips_outside"]
            yield at_most(f"{short(artifact)}: verdicts flipped on {report['captures']} captures", outside, 0)
            moved = abs(report["threshold"] - artifact.operating_point.threshold)
            yield at_most(f"{short(artifact)}: threshold other than that of the decisions", moved, THRESHOLD_ROUNDING)
    except (KeyError, TypeError, ValueError) as error:
        yield unmeasured(DECISIONS_FILE, 0.0, f"{type(error).__name__}: {error}")
