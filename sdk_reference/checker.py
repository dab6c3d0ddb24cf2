"""One capture through the whole phone side: landmarks, alignment, D, quality, model, flash response, verdict.

This is the order of the paper's figure 2 with our gates around it. Stages that failed leave None behind, so that a
report can still show whatever there was. The model runs on captures that miss a quality limit, too: their score is
shown for the curious, their verdict is `retry` all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdk_reference.backends import open_backend
from sdk_reference.bundle import Bundle
from sdk_reference.bundle_watch import require_unchanged
from sdk_reference.capture import Capture
from sdk_reference.decide import Decision, decide, retry
from sdk_reference.errors import N0Mismatch, UserFailure
from sdk_reference.landmarks import Face, LandmarkDetector
from sdk_reference.manifest import SPECIES_ORDER, Manifest
from sdk_reference.preprocess import Preprocessed, preprocess
from sdk_reference.quality import Quality, failures, measure_quality
from sdk_reference.response import (
    checked_expectation,
    cosines,
    disagreements,
    expected_response,
    measured_response,
)
from sdk_reference.runtime import Backend, ModelOutputs

FloatArray = npt.NDArray[np.float32]
NANOSECONDS_PER_MS: Final = 1e6


@dataclass(frozen=True, eq=False)
class Responses:
    """The flash response, one row per difference, columns R−G, G−B, B−R; all (N, 3) float32 but the last two, (N,)."""

    expected: FloatArray
    """What the colours of the plan call for."""

    predicted: FloatArray
    """What the model's response head saw; the verdict rests on this one."""

    measured: FloatArray
    """The mean colour of each difference on the face, without any model."""

    cosines: FloatArray
    """Between expected and predicted; NaN where the plan expects no colour difference."""

    disagreeing: npt.NDArray[np.bool_]
    """Rows that count against the capture."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, rounded to 4 decimals."""
        rows = {"expected": self.expected, "predicted": self.predicted, "measured": self.measured}
        return {
            **{name: np.round(values.astype(np.float64), 4).tolist() for name, values in rows.items()},
            "disagreeing_rows": np.flatnonzero(self.disagreeing).tolist(),
        }


@dataclass(frozen=True, eq=False)
class CheckResult:
    """The decision on one capture and everything that led to it."""

    decision: Decision
    capture: Capture | None
    """None when the photographs of a pair did not even make a capture."""

    manifest: Manifest
    bundle_sha256: str
    preprocessed: Preprocessed | None = None
    quality: Quality | None = None
    outputs: ModelOutputs | None = None
    responses: Responses | None = None

    @property
    def is_right(self) -> bool | None:
        """Whether the verdict fits the capture's label; None without a label, and for `retry`, which judges nobody."""
        labels = self.capture.labels if self.capture else None
        if labels is None or labels.is_live is None or self.decision.verdict == "retry":
            return None
        return labels.is_live == (self.decision.verdict == "live")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that `flashproof check --json` prints; every key is always there, null if not known.

        Beyond the decision: `bundle_sha256`, `trained_on_simulation` and `capture_simulated` (booleans),
        `type_probabilities` by species, `quality` by measurement, and `flash_response` with `expected`, `predicted` and
        `measured` rows and `disagreeing_rows`.
        """
        labels = self.capture.labels if self.capture else None
        types = None if self.outputs is None else [round(float(value), 6) for value in self.outputs.type]
        return {
            **self.decision.to_dict(),
            "bundle_sha256": self.bundle_sha256,
            "trained_on_simulation": self.manifest.training.simulated,
            "capture_simulated": None if labels is None else labels.simulated,
            "type_probabilities": None if types is None else dict(zip(SPECIES_ORDER, types, strict=True)),
            "quality": None if self.quality is None else asdict(self.quality),
            "flash_response": None if self.responses is None else self.responses.to_dict(),
        }


@dataclass
class Stopwatch:
    """Adds up the milliseconds spent in named stages."""

    clock_ns: Callable[[], int]
    spent_ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start_ns = self.clock_ns()
        try:
            yield
        finally:
            spent = (self.clock_ns() - start_ns) / NANOSECONDS_PER_MS
            self.spent_ms[name] = self.spent_ms.get(name, 0.0) + spent


@dataclass(frozen=True)
class TimedDetector:
    """A detector whose time counts as a stage of its own."""

    detector: LandmarkDetector
    stopwatch: Stopwatch

    def detect(self, frame: npt.NDArray[np.uint8]) -> list[Face]:
        with self.stopwatch.stage("landmarks"):
            return self.detector.detect(frame)


class Checker:
    """Judges captures with one bundle; loads the model once."""

    def __init__(
        self,
        bundle: Bundle,
        detector: LandmarkDetector,
        backend: Backend | None = None,
        *,
        artifact: str | None = None,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Use `backend` if given, else open the bundle's model at path `artifact` (its first for None).

        Raises BackendMissing, ModelFailed.
        """
        self.bundle = bundle
        self._manifest = bundle.manifest
        self._artifact = self._manifest.artifact(artifact)
        self.threshold = self._artifact.operating_point.threshold
        self._detector = detector
        self._backend = backend or open_backend(bundle, artifact)
        self._clock_ns = clock_ns

    def check(self, capture: Capture) -> CheckResult:
        """Judge one capture; what a person can mend becomes a `retry` decision.

        Raises N0Mismatch, PlanMismatch for a plan without colours, RuntimeFailure, and BundleError when the bundle on
        disk is no longer the one that decides.
        """
        self._require_n0(capture)
        watch = Stopwatch(self._clock_ns)
        try:
            preprocessed = self._preprocess(capture, watch)
        except UserFailure as failure:
            return self.refused(failure, capture, watch.spent_ms)
        with watch.stage("quality"):
            quality = measure_quality(preprocessed, capture)
            failed_limits = failures(quality, self._manifest.quality_limits)
        with watch.stage("model"):
            outputs = self._backend.run(preprocessed.model_input)
        with watch.stage("flash response"):
            responses = self._compare_responses(capture, preprocessed, outputs)
        with watch.stage("bundle"):
            require_unchanged(self.bundle, self._artifact)
        decision = decide(
            outputs,
            failed_limits,
            responses.disagreeing,
            threshold=self.threshold,
            max_disagreeing_rows=self._manifest.response_rule.max_disagreeing_rows,
            timings_ms=watch.spent_ms,
            bundle=self.bundle.identity,
        )
        return CheckResult(
            decision, capture, self._manifest, self.bundle.sha256, preprocessed, quality, outputs, responses
        )

    def refused(
        self, failure: UserFailure, capture: Capture | None = None, timings_ms: Mapping[str, float] | None = None
    ) -> CheckResult:
        """The result for a person or place that gave the model nothing to judge."""
        decision = retry(failure, threshold=self.threshold, timings_ms=timings_ms, bundle=self.bundle.identity)
        return CheckResult(decision, capture, self._manifest, self.bundle.sha256)

    def _require_n0(self, capture: Capture) -> None:
        if capture.n0 != self._manifest.n0:
            raise N0Mismatch(
                found=f"a capture of {capture.n0} frames",
                expected=f"{self._manifest.n0}, the number that {self.bundle.name} was trained for",
                remedy=f"record with a plan of {self._manifest.n0} colours or use another bundle",
            )

    def _preprocess(self, capture: Capture, watch: Stopwatch) -> Preprocessed:
        name = "alignment and differences"
        try:
            with watch.stage(name):
                return preprocess(capture, TimedDetector(self._detector, watch), self._manifest.preprocess)
        finally:  # the stages must add up to the whole
            watch.spent_ms[name] -= watch.spent_ms.get("landmarks", 0.0)

    def _compare_responses(self, capture: Capture, preprocessed: Preprocessed, outputs: ModelOutputs) -> Responses:
        expected = checked_expectation(expected_response(capture.plan), len(self._manifest.differential_rows))
        limit = self._manifest.response_rule.cosine_limit
        return Responses(
            expected=expected,
            predicted=outputs.flash_response,
            measured=measured_response(preprocessed),
            cosines=cosines(outputs.flash_response, expected),
            disagreeing=disagreements(outputs.flash_response, expected, limit),
        )
