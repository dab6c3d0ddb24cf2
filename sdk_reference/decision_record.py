"""The record of a decision: what a session showed, filmed and decided, in a form that a server can check.

Not in the paper, which ends with the verdict on the phone. The record names what it rests on by hashes (plan, capture,
bundle) and holds no picture unless asked; `sdk_reference.record_signature` signs and checks it.

What a signature proves: whoever holds the key signed exactly this text. What it does not prove: that a camera saw a
face. On a device that an attacker controls, frames can be injected before they are hashed, the key can be copied out
of a file, a whole session can be relayed to another screen, and every time and verdict in here is what that device
says. A key that never leaves secure hardware and an attestation of the app narrow this down to a genuine app on a
genuine device; they do not watch what is held before the camera. `docs/records.md` says what a server must check.

JSON is canonical, so that one record has one text: keys sorted, no whitespace, ASCII, whole numbers below 2⁵³ (what
JavaScript holds exactly), fractions as strings with six decimals, so that no two languages disagree on a digit.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from flash_sequencer.plan import FlashPlan, PlanError, challenge
from flash_sequencer.safety import SafetyReport
from sdk_reference.capture import Capture
from sdk_reference.capture_hash import capture_hash, hash_of_frames
from sdk_reference.checker import CheckResult
from sdk_reference.errors import NonceRefused
from sdk_reference.images import decode_frame, encode_frame
from sdk_reference.manifest import Record, Sha256

FORMAT: Final = "flashproof-decision"
VERSION: Final = 1
MAX_EXACT: Final = 2**53 - 1
TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%S.%fZ"

Whole = Annotated[int, Field(ge=0, le=MAX_EXACT)]
Fraction = Annotated[str, Field(pattern=r"^(0\.\d{6}|1\.000000)$")]
"""0 to 1 with six decimals."""
Half = Annotated[str, Field(pattern=r"^\d{1,4}\.[05]$")]
"""Flashes in a second: two changes make one."""
Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
"""UTC, to the millisecond."""
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Digits = Annotated[str, Field(pattern=r"^(0|[1-9]\d{0,18})$")]
"""A whole number that may exceed 2⁵³."""
Hex = Annotated[str, Field(pattern=r"^([0-9a-f]{2}){16,64}$")]
FileName = Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,200}$")]


class BundleUsed(Record):
    """The model that judged."""

    name: FileName
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    sha256: Sha256
    """Of the manifest, which holds the hash of every file."""
    artifact: FileName
    """Path of the model file within the bundle."""


class Presented(Record):
    """The photosensitivity analysis of the colours that really were on the screen (`flash_sequencer.safety`)."""

    safe: bool
    general_flashes: Half
    """In the worst second, as the next two."""
    red_flashes: Half
    luminance_flashes: Half
    longest_train_ms: Whole


class FrameIncluded(Record):
    """One frame, when the integrator asked for pictures."""

    timestamp_ns: Digits
    png: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$")]
    """8-bit RGB PNG in base64."""


class DecisionRecord(Record):
    """One decision. Raises ValueError (pydantic's ValidationError) for values that contradict each other."""

    format: Literal["flashproof-decision"]
    version: Literal[1]
    nonce: Hex
    profile: Code
    n0: Annotated[int, Field(ge=3, le=8)]
    plan_hash: Sha256
    """Of the plan that follows from nonce, n0 and profile; checked whenever a record is made or read."""
    capture_hash: Sha256 | None
    """`sdk_reference.capture_hash`; None when the session ended before it had a capture."""
    bundle: BundleUsed
    verdict: Literal["live", "spoof", "retry"]
    score: Fraction | None
    threshold: Fraction
    species: Code | None
    reasons: Annotated[tuple[Code, ...], Field(max_length=32)]
    """Codes; empty exactly when live."""
    attempt: Annotated[int, Field(ge=1, le=MAX_EXACT)]
    """Within its session: 1 for the first."""
    started_at: Moment
    """Wall clock of the device when the session began, or at any later time before the attempt did."""
    decided_at: Moment
    durations_ns: Annotated[Mapping[Code, Whole], Field(max_length=32)]
    """Time in each state of the attempt (`sdk_reference.session_states`), on a clock that cannot be set."""
    presented: Presented | None
    """None when nothing was flashed."""
    lag_ns: Whole | None
    """From the screen to the camera's time stamps, as estimated from the frames."""
    compensation: Annotated[tuple[tuple[Fraction, Fraction, Fraction], ...], Field(min_length=3, max_length=8)] | None
    """By rank, what the linear light of red, green and blue was multiplied by to undo the camera's drift; None: the
    frames that were judged, and hashed, are as filmed."""
    frames: Annotated[tuple[FrameIncluded, ...], Field(max_length=8)] | None
    """By rank; None unless asked for."""

    @model_validator(mode="after")
    def consistent(self) -> DecisionRecord:
        if (self.verdict == "live") != (not self.reasons):
            raise ValueError(f"the verdict {self.verdict} with {len(self.reasons)} reasons")
        if self.verdict == "live":
            self._check_live()
        if _utc(self.decided_at) < _utc(self.started_at):
            raise ValueError("a decision before its attempt began")
        self._check_plan()
        if self.compensation is not None and len(self.compensation) != self.n0:
            raise ValueError(f"a compensation of {len(self.compensation)} frames, where the plan has {self.n0}")
        if self.frames is not None:
            self._check_frames(self.frames)
        return self

    def _check_live(self) -> None:
        if self.score is None or self.score < self.threshold:
            raise ValueError(f"a live verdict with score {self.score} and threshold {self.threshold}")
        if None in (self.capture_hash, self.presented, self.lag_ns):
            raise ValueError("a live verdict without capture, presented colours or lag")

    def _check_plan(self) -> None:
        try:
            expected = challenge(self.nonce, self.n0, self.profile).canonical_hash()
        except PlanError as error:
            raise ValueError(f"no plan for this nonce ({error})") from error
        if self.plan_hash != expected:
            raise ValueError(f"the plan {self.plan_hash}, where {expected} follows from the nonce")

    def _check_frames(self, included: tuple[FrameIncluded, ...]) -> None:
        frames = [decode_frame(base64.b64decode(frame.png, validate=True), "frames") for frame in included]
        if hash_of_frames(frames, [int(frame.timestamp_ns) for frame in included], self.plan_hash) != self.capture_hash:
            raise ValueError("frames that do not give the capture's hash")

    def canonical_json(self) -> str:
        """The one text of this record: what is signed."""
        return canonical(self.model_dump(mode="json"))

    @property
    def decided(self) -> datetime:
        """`decided_at` as a time in UTC."""
        return _utc(self.decided_at)


def canonical(content: object) -> str:
    """JSON with sorted keys, no whitespace, ASCII only. `content` holds no floats: they have no one text."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def record_of(
    result: CheckResult,
    plan: FlashPlan,
    *,
    artifact: str,
    attempt: int,
    started_at: datetime,
    decided_at: datetime,
    durations_ns: Mapping[str, int],
    presented: SafetyReport | None,
    lag_ns: int | None,
    factors: npt.NDArray[np.float64] | None,
    include_frames: bool = False,
) -> DecisionRecord:
    """Put the record of one attempt together.

    `artifact` is the path of the model file within the bundle; the times carry an offset from UTC; `durations_ns` names
    the attempt's states (`positioning`, `flashing`, `deciding`, …); `factors` (N0,3) are those of the frames' choice.
    With `include_frames` the pictures are inside.
    Raises NonceRefused for a plan that is no challenge, ValueError for values that contradict each other.
    """
    if plan.nonce is None:
        raise NonceRefused(found="a plan without a nonce", expected="a challenge", remedy="take one from a NonceBook")
    decision, manifest, capture = result.decision, result.manifest, result.capture
    return DecisionRecord(
        format=FORMAT,
        version=VERSION,
        nonce=plan.nonce,
        profile=plan.profile,
        n0=plan.n0,
        plan_hash=plan.canonical_hash(),
        capture_hash=None if capture is None else capture_hash(capture),
        bundle=BundleUsed(name=manifest.name, version=manifest.version, sha256=result.bundle_sha256, artifact=artifact),
        verdict=decision.verdict,
        score=None if decision.score is None else f"{decision.score:.6f}",
        threshold=f"{decision.threshold:.6f}",  # rounding keeps the order: of a live record score ≥ threshold still
        species=decision.species,
        reasons=tuple(reason.code for reason in decision.reasons),
        attempt=attempt,
        started_at=utc_text(started_at),
        decided_at=utc_text(decided_at),
        durations_ns=dict(durations_ns),
        presented=None if presented is None else _presented(presented),
        lag_ns=lag_ns,
        compensation=None if factors is None else tuple(_fractions(row) for row in factors.tolist()),
        frames=_included(capture) if include_frames and capture is not None else None,
    )


def utc_text(moment: datetime) -> str:
    """`2026-01-31T12:00:00.000Z`. Raises ValueError for a time without an offset."""
    if moment.tzinfo is None:
        raise ValueError("found a time without an offset; expected one with; use datetime.now(timezone.utc)")
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _utc(text: str) -> datetime:
    return datetime.strptime(text, TIME_FORMAT).replace(tzinfo=timezone.utc)


def _fractions(row: list[float]) -> tuple[str, str, str]:
    red, green, blue = (f"{value:.6f}" for value in row)
    return red, green, blue


def _presented(report: SafetyReport) -> Presented:
    return Presented(
        safe=report.ok,
        general_flashes=f"{report.general.flashes:.1f}",
        red_flashes=f"{report.red.flashes:.1f}",
        luminance_flashes=f"{report.luminance.flashes:.1f}",
        longest_train_ms=report.longest_train_ms,
    )


def _included(capture: Capture) -> tuple[FrameIncluded, ...]:
    return tuple(
        FrameIncluded(timestamp_ns=str(timestamp), png=base64.b64encode(encode_frame(frame)).decode("ascii"))
        for frame, timestamp in zip(capture.frames, capture.timestamps_ns, strict=True)
    )
