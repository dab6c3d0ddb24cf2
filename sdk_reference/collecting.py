"""Collects labelled recordings for training: films one challenge after the other and keeps each whole or not at all.

What is written is a data set as `docs/recordings.md` describes it: `SUBJECT-SPECIES-001/` and so on, each a recording
with its flash log (`sdk_reference.recording`), beside the consents (`sdk_reference.consent`). Numbers go on from what
is there, nothing is ever overwritten, and a recording counts only after it was read back from the disk: video writers
tell nobody that a disk is full. How a film is made (window, camera, guidance) is the business of a `Filmer`.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from flash_sequencer.palette import checked_n0, profile_named
from flash_sequencer.plan import FlashPlan, PlanError, challenge
from flash_sequencer.player import PresentedStep
from sdk_reference.atomic_files import writing_to
from sdk_reference.camera import CameraFrame
from sdk_reference.consent import read_consents
from sdk_reference.errors import (
    CaptureMalformed,
    FrameCountMismatch,
    FrameUnreadable,
    InvalidInput,
    OutputNotWritable,
    StepWithoutFrame,
    UserFailure,
)
from sdk_reference.labels import SPECIES, Labels
from sdk_reference.recording import (
    Recording,
    RecordingWriter,
    extract_capture,
    is_recording,
    load_recording,
)

SUBJECT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
FAILURES_IN_A_ROW: Final = 3
"""Films that may be unusable before collecting stops and says why."""

ROOM_BYTES: Final = 2**28
"""Free space asked for before each film: four seconds of 640×480 at 60 Hz without any compression."""

ALL: Final = ("subject", "species", "scene", "device")


@dataclass(frozen=True, eq=False)
class Recorded:
    """What a filmer brings back: all frames, and what the screen showed."""

    frames: tuple[CameraFrame, ...]
    """In order of time, of one size."""
    presented: tuple[PresentedStep, ...]
    """The plan's steps as shown, in order of time, on the clock of the frames."""
    exposure_ns: int
    lag_ns: int
    settling_ns: int


class Filmer(Protocol):
    """Shows a plan to whoever is there and films it."""

    def film(self, plan: FlashPlan) -> Recorded:
        """Film one presentation. Raises UserFailure when it cannot be used and a person can mend that."""


@dataclass(frozen=True)
class Order:
    """Who is to be recorded, and how. Raises InvalidInput."""

    labels: Labels
    """With subject and species; the subject becomes part of a file name."""
    profile: str = "standard"
    n0: int = 5

    def __post_init__(self) -> None:
        subject, species, instrument = self.labels.subject, self.labels.species, self.labels.instrument
        if subject is None or not SUBJECT.fullmatch(subject):
            _invalid(f"the subject {subject!r}", "1 to 64 of A–Z a–z 0–9 _ -, a pseudonym", "choose such a pseudonym")
        if species is None:
            _invalid("no species", f"one of {', '.join(SPECIES)}", "say what is being recorded")
        if instrument is not None and (species == "live" or not instrument.startswith(f"{species}_")):
            wanted = "none for a live person" if species == "live" else f"a name that begins with {species}_"
            _invalid(f"the instrument {instrument!r} for {species}", wanted, "correct one of the two")
        try:
            profile_named(self.profile), checked_n0(self.n0)
        except PlanError as error:
            raise InvalidInput(found=str(error), expected="a plan that exists", remedy="choose another") from error

    @property
    def stem(self) -> str:
        """What the names of its recordings begin with."""
        return f"{self.labels.subject}-{self.labels.species}"


def order_for(subject: str, species: str, *, simulated: bool, **labels: Any) -> Order:
    """Make an order of loose values; `labels` are other fields of Labels, and `profile` and `n0`. InvalidInput."""
    plan = {name: labels.pop(name) for name in ("profile", "n0") if name in labels}
    try:
        return Order(Labels(simulated=simulated, subject=subject, species=species, **labels), **plan)
    except CaptureMalformed as error:
        raise InvalidInput(found=error.found, expected=error.expected, remedy="correct the option") from error


def collect(
    folder: Path,
    order: Order,
    filmer: Filmer,
    *,
    count: int,
    new_nonce: Callable[[], bytes],
    on_kept: Callable[[str], None] = lambda name: None,
    on_failed: Callable[[UserFailure | StepWithoutFrame], None] = lambda error: None,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> tuple[str, ...]:
    """Film `count` new recordings into `folder`, each a fresh challenge; returns their names.

    A film that cannot be used is told to `on_failed` and made again; the third in a row is raised. Also raises
    InvalidInput (no consent of a real person), OutputNotWritable and what the filmer raises; what was kept stays.
    """
    _require_ready(folder, order)
    kept: list[str] = []
    failures = 0
    while len(kept) < count:
        _require_room(folder, free_bytes)
        try:
            name = _film_one(folder, order, filmer, challenge(new_nonce(), order.n0, order.profile))
        except (UserFailure, StepWithoutFrame) as error:
            failures += 1
            if failures == FAILURES_IN_A_ROW:
                raise
            on_failed(error)
            continue
        failures = 0
        kept.append(name)
        on_kept(name)
    return tuple(kept)


def _film_one(folder: Path, order: Order, filmer: Filmer, plan: FlashPlan) -> str:
    recorded = filmer.film(plan)
    times = tuple(frame.timestamp_ns for frame in recorded.frames)
    lengths = (recorded.exposure_ns, recorded.lag_ns, recorded.settling_ns)
    chosen = Recording(plan, recorded.presented, times, *lengths, order.labels).matching().frame_index_by_rank
    name = _next_name(folder, order)
    with RecordingWriter(folder / name) as writer:
        for frame in recorded.frames:
            writer.add(frame.image, frame.timestamp_ns)
        exposure_ns, lag_ns, settling_ns = lengths
        writer.finish(
            plan,
            recorded.presented,
            exposure_ns=exposure_ns,
            lag_ns=lag_ns,
            settling_ns=settling_ns,
            labels=order.labels,
        )
    _require_whole(folder / name, [recorded.frames[index] for index in chosen])
    return name


def _require_whole(place: Path, chosen: list[CameraFrame]) -> None:
    """Read the recording back; take it away and raise OutputNotWritable unless it holds what was filmed."""
    try:
        kept = extract_capture(place).frames
        if all(np.array_equal(one, other.image) for one, other in zip(kept, chosen, strict=True)):
            return
        found = "frames that differ from those filmed"
    except (FrameUnreadable, FrameCountMismatch) as error:
        found = error.found
    shutil.rmtree(place, ignore_errors=True)
    raise OutputNotWritable(
        found=f"{place}, read back with {found}",
        expected="the video as it was filmed: is the disk full?",
        remedy="make room and go on with the same command; the recordings before it are whole",
    )


def _next_name(folder: Path, order: Order) -> str:
    """The number after the highest that is there, used or half removed: numbers are never given twice."""
    numbered = re.compile(rf"\.?{re.escape(order.stem)}-(\d{{3,}})", re.IGNORECASE)
    found = [numbered.match(path.name) for path in folder.iterdir()]
    return f"{order.stem}-{max((int(match[1]) for match in found if match), default=0) + 1:03d}"


def _require_ready(folder: Path, order: Order) -> None:
    subject = order.labels.subject
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    consents = read_consents(folder)
    if not order.labels.simulated and subject not in {consent.subject for consent in consents}:
        _invalid(f"no consent of {subject} in {folder}", "one before the first film", "ask for it; see --consent")
    known = {labels.subject for _, labels in _labelled(folder) if labels is not None}
    known |= {consent.subject for consent in consents}
    alike = sorted(name for name in known if name and subject and name != subject and name.lower() == subject.lower())
    if alike:
        _invalid(f"the subject {subject}, when {alike[0]} is there", "one spelling per person", "use the first one")


def _require_room(folder: Path, free_bytes: Callable[[Path], int]) -> None:
    free = free_bytes(folder)
    if free < ROOM_BYTES:
        raise OutputNotWritable(
            found=f"{free / 2**20:.0f} MiB left for {folder}",
            expected=f"{ROOM_BYTES / 2**20:.0f} MiB before a film is begun",
            remedy="make room and go on with the same command; what was recorded is kept",
        )


@dataclass(frozen=True)
class Summary:
    """What a folder of recordings holds."""

    recordings: int
    counts: dict[str, dict[str, int]]
    """By `subject`, `species`, `scene` and `device`: how many recordings of each; `–` is not labelled."""
    live_and_attacks: dict[str, tuple[int, int]]
    """By subject: live recordings, recordings of attacks."""
    consents: tuple[str, ...]
    """Subjects who agreed."""
    damaged: tuple[str, ...]
    """Names of recordings that cannot be read."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "recordings": self.recordings,
            "counts": self.counts,
            "subjects": {
                name: {"live": live, "attacks": attacks} for name, (live, attacks) in self.live_and_attacks.items()
            },
            "consents": list(self.consents),
            "damaged": list(self.damaged),
        }


def summarise(folder: Path) -> Summary:
    """Count what is in `folder`; no frame is decoded. Raises InvalidInput when its consents cannot be read."""
    found = list(_labelled(folder))
    readable = [labels for _, labels in found if labels is not None]
    live: Counter[str] = Counter(str(labels.subject) for labels in readable if labels.is_live)
    attacks: Counter[str] = Counter(str(labels.subject) for labels in readable if not labels.is_live)
    return Summary(
        recordings=len(readable),
        counts={by: dict(sorted(Counter(_said(labels, by) for labels in readable).items())) for by in ALL},
        live_and_attacks={name: (live[name], attacks[name]) for name in sorted({*live, *attacks})},
        consents=tuple(sorted({consent.subject for consent in read_consents(folder)})),
        damaged=tuple(name for name, labels in found if labels is None),
    )


def _said(labels: Labels, by: str) -> str:
    value = getattr(labels, by)
    return "–" if value is None else str(value)


def _labelled(folder: Path) -> Iterator[tuple[str, Labels | None]]:
    """(name, labels) of every recording in `folder`; None for one that cannot be read or is not labelled."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.name.startswith(".") and is_recording(path):
            try:
                yield path.name, load_recording(path).labels
            except InvalidInput:
                yield path.name, None


def _invalid(found: str, expected: str, remedy: str) -> None:
    raise InvalidInput(found=found, expected=expected, remedy=remedy)
