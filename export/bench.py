"""`flashproof bench`: size, cost, time and error of every artifact of a bundle, side by side.

The time is that of one capture through a backend of the reference runtime, its checks of the values included. Artifacts
take turns, one run each per round, so that whatever else the machine does falls on all of them, and the ratio to fp32
is the median of the ratios within the rounds. Intervals are those of a median by order statistics: they assume nothing
about how times are spread, only that rounds do not depend on each other. Errors and error rates are not measured here;
they are what the export found and the bundle carries (`reports/parity.json`, `reports/decisions.json`).
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from export.bench_reports import (
    DecisionsRead,
    DecisionsReport,
    ParityRead,
    ParityReport,
    differences,
    read_report,
)
from export.graph_cost import Cost, cost_of_onnx
from export.report_files import DECISIONS_FILE, PARITY_FILE
from sdk_reference.backends import open_backend
from sdk_reference.bundle import Bundle, load_bundle
from sdk_reference.errors import ModelFailed, RuntimeFailure
from sdk_reference.manifest import Artifact
from sdk_reference.runtime import Backend

FloatArray = npt.NDArray[np.float32]
ClockNs = Callable[[], int]

ROUNDS: Final = 60
MIN_ROUNDS: Final = 6
"""Below, not even the fastest and the slowest run enclose the median with 95 % confidence."""

WARM_UP: Final = 3
"""Runs of each artifact before the first that counts: memory is laid out, kernels are chosen."""

CONFIDENCE: Final = 0.95
NS_PER_MS: Final = 1e6
NAMES: Final = {"onnx": "ONNX Runtime", "litert": "LiteRT", "coreml": "Core ML predictor"}
MIL_EVALUATOR: Final = "MIL evaluator"
NO_PHONE: Final = f"{MIL_EVALUATOR}: time says nothing about a phone"


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """All about one artifact; None stands for what is not known."""

    artifact: str
    """Path in the bundle."""
    format: str
    """onnx, litert or coreml."""
    precision: str
    """fp32, fp16, int8_weights, int8_dynamic or int8_static."""
    bytes: int
    """Size of all its files."""
    parameters: int | None
    """Of the model; None without an ONNX fp32 file to count them in."""
    gflop: float | None
    """10⁹ floating-point operations per capture; None likewise."""
    median_ms: float | None
    """Time of one capture; None where nothing ran that says something about a phone."""
    low_ms: float | None
    """Lower end of its 95 % interval."""
    high_ms: float | None
    """Upper end."""
    threads: int
    ran_by: str | None
    """The runtime that was timed; None when none could."""
    reason: str | None
    """Why there is no time; None when there is one."""
    times_as_fast: Estimate | None
    """Against the first fp32 artifact of the same format: 2 takes half the time."""
    against_pytorch: Mapping[str, float] | None
    """Worst difference of a capture that the export found, by what was compared: "score: largest difference"."""
    eer: Estimate | None
    """Equal error rate on the captures of the decision gate, 0..1."""


@dataclass(frozen=True)
class Bench:
    """The table."""

    bundle: str
    """Name, version and hash."""
    rounds: int
    simulated: bool
    """Whether the captures behind the thresholds or the training were simulated: then the rates are, too."""
    rows: tuple[Row, ...]
    """In the order of the manifest."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `flashproof bench --json`."""
        return asdict(self)


def bench(path: Path, threads: int = 1, rounds: int = ROUNDS, clock_ns: ClockNs = time.perf_counter_ns) -> Bench:
    """Measure every artifact of the bundle at `path`, one capture at a time on `threads` threads.

    An artifact that cannot be run has a row with the reason. Raises a BundleError when the bundle cannot be opened or
    its reports cannot be read, ValueError for fewer than 6 rounds.
    """
    if rounds < MIN_ROUNDS:
        raise ValueError(f"found {rounds} rounds; expected at least {MIN_ROUNDS}; fewer give no 95 % interval")
    bundle = load_bundle(path)
    parity = read_report(bundle, PARITY_FILE, ParityReport)
    decisions = read_report(bundle, DECISIONS_FILE, DecisionsReport)
    cost, opened, reasons = cost_of(bundle), {}, {}
    for artifact in bundle.manifest.artifacts:
        try:
            opened[artifact.file] = open_timed(bundle, artifact, threads)
        except RuntimeFailure as error:
            reasons[artifact.file] = str(error)
    times, failed = take_turns(opened, model_input_of(bundle), rounds, clock_ns)
    reasons |= failed
    rows = [
        row_of(bundle, artifact, threads, cost, times, reasons, parity, decisions)
        for artifact in bundle.manifest.artifacts
    ]
    return Bench(bundle.identity, rounds, is_simulated(bundle), tuple(rows))


def is_simulated(bundle: Bundle) -> bool:
    points = [artifact.operating_point for artifact in bundle.manifest.artifacts]
    return bundle.manifest.training.simulated or any(point.simulated for point in points)


def cost_of(bundle: Bundle) -> Cost | None:
    """Counted from the bundle's ONNX fp32 file; None without one."""
    for artifact in bundle.manifest.artifacts:
        if (artifact.format, artifact.precision) == ("onnx", "fp32"):
            try:
                return cost_of_onnx(bundle.read(artifact.file))
            except ModelFailed:
                return None  # a damaged file has its row and its reason all the same
    return None


def open_timed(bundle: Bundle, artifact: Artifact, threads: int) -> Backend:
    """Open an artifact whose time on this machine means something; raises RuntimeFailure for any other."""
    if artifact.format == "coreml" and sys.platform != "darwin":
        raise ModelFailed(
            found=f"Core ML on {sys.platform}", expected="macOS or iOS", remedy="time it in Xcode's performance report"
        )
    return open_backend(bundle, artifact.file, threads)


def model_input_of(bundle: Bundle) -> FloatArray:
    """The first golden capture's model input, or noise for a bundle without: no backend's time depends on it much."""
    shape = bundle.manifest.artifacts[0].inputs[0].shape
    for path in sorted(bundle.manifest.files):
        if path.startswith("golden/") and path.endswith("/model_input.f32"):
            values = np.frombuffer(bundle.read(path), "<f4")
            if values.size == math.prod(shape):
                return np.ascontiguousarray(values.reshape(shape), np.float32)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def take_turns(
    backends: Mapping[str, Backend], model_input: FloatArray, rounds: int, clock_ns: ClockNs
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Run every backend once per round; returns milliseconds by artifact, and why the others failed.

    Each round begins with another artifact, so that none always runs in the wake of the same one.
    """
    failed: dict[str, str] = {}
    times: dict[str, list[float]] = {name: [] for name in backends}
    for turn in range(-WARM_UP, rounds):
        names = list(times)
        first = turn % max(len(names), 1)
        for name in names[first:] + names[:first]:
            try:
                spent_ms = run_once(backends[name], model_input, clock_ns)
            except RuntimeFailure as error:
                failed[name] = str(error)
                del times[name]
                continue
            if turn >= 0:
                times[name].append(spent_ms)
    return times, failed


def run_once(backend: Backend, model_input: FloatArray, clock_ns: ClockNs) -> float:
    """Milliseconds of one run; raises RuntimeFailure."""
    started_ns = clock_ns()
    backend.run(model_input)
    return (clock_ns() - started_ns) / NS_PER_MS


def median_of(values: Sequence[float]) -> Estimate:
    """The median of at least 6 values and its 95 % interval: the narrowest pair of order statistics that reaches it."""
    ordered, count = sorted(values), len(values)
    tail, left_out = 0.0, -1
    while tail + math.comb(count, left_out + 1) / 2**count <= (1 - CONFIDENCE) / 2:
        left_out += 1
        tail += math.comb(count, left_out) / 2**count
    if left_out < 0:
        raise ValueError(f"found {count} values; expected at least {MIN_ROUNDS} for a 95 % interval of the median")
    return Estimate(statistics.median(ordered), ordered[left_out], ordered[count - 1 - left_out])


def row_of(
    bundle: Bundle,
    artifact: Artifact,
    threads: int,
    cost: Cost | None,
    times: Mapping[str, Sequence[float]],
    reasons: Mapping[str, str],
    parity: ParityReport,
    decisions: DecisionsReport,
) -> Row:
    """Put together what is known about one artifact."""
    spent = times.get(artifact.file)
    timed = median_of(spent) if spent else None
    found = parity.artifacts.get(artifact.file, ParityRead())
    eer = decisions.artifacts.get(artifact.file, DecisionsRead()).eer
    by_evaluator = spent is None and (found.ran_by or "").startswith(MIL_EVALUATOR)
    return Row(
        artifact=artifact.file,
        format=artifact.format,
        precision=artifact.precision,
        bytes=sum(entry.bytes for path, entry in bundle.manifest.files.items() if artifact.holds(path)),
        parameters=cost.parameters if cost else None,
        gflop=cost.gflop if cost else None,
        median_ms=timed.value if timed else None,
        low_ms=timed.low if timed else None,
        high_ms=timed.high if timed else None,
        threads=threads,
        ran_by=NAMES[artifact.format] if spent else NO_PHONE if by_evaluator else None,
        reason=None if spent else reasons[artifact.file],
        times_as_fast=ratio_to_fp32(bundle, artifact, times),
        against_pytorch=differences(found),
        eer=Estimate(eer.value, eer.low, eer.high) if eer else None,
    )


def ratio_to_fp32(bundle: Bundle, artifact: Artifact, times: Mapping[str, Sequence[float]]) -> Estimate | None:
    """How many times as fast as the first fp32 artifact of its format; None unless both ran."""
    fp32 = [
        other for other in bundle.manifest.artifacts if (other.format, other.precision) == (artifact.format, "fp32")
    ]
    if not fp32 or fp32[0].file not in times or artifact.file not in times:
        return None
    pairs = zip(times[fp32[0].file], times[artifact.file], strict=True)
    return median_of([slow / max(fast, 1 / NS_PER_MS) for slow, fast in pairs])
