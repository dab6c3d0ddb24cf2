"""Recording: what a camera saw while a flash plan was shown, every frame of it, and the log that says when.

A capture holds one chosen frame per colour; a recording holds the evidence that the choice is made from, so that the
choice can be made again. It is a folder of `recording.json` and the frames (`sdk_reference.video`):

    {"format": "flashproof-recording", "version": 1, "plan": {…}, "plan_hash": "<sha256 hex>", "video": "video.mkv",
     "frame_timestamps_ns": [0, 33333333, …], "exposure_ns": 8000000, "lag_ns": 45000000, "settling_ns": 20000000,
     "presented": [{"rank": 3, "shown_at_ns": 100000000, "ended_at_ns": 600000000}, …], "labels": {…} | null}

`video` names a file or a folder of PNGs that lies beside `recording.json`. There is one timestamp per frame: when its
exposure began, on one clock with the presented steps; `presented` is in time order, which is the plan's. A step's light
reaches the camera `lag_ns` after it was shown and is steady `settling_ns` later (`flash_sequencer.matching`; paper,
section 4, where lag is not spoken of). `docs/recordings.md` is the format for those who write it without our code.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import numpy as np

from flash_sequencer.matching import Matching, MatchingError, match
from flash_sequencer.plan import FlashPlan
from flash_sequencer.player import PresentedStep
from sdk_reference.atomic_files import writing_to
from sdk_reference.capture import MAX_TIMESTAMP_NS, Capture, Labels, read_labels, read_plan
from sdk_reference.container import FolderOrZip, is_flat_name
from sdk_reference.errors import (
    CaptureMalformed,
    CaptureNotFound,
    FrameCountMismatch,
    OutputNotWritable,
    PlanMismatch,
    RecordingMalformed,
    StepWithoutFrame,
)
from sdk_reference.strict_values import exact_object, is_int, short, strict_json
from sdk_reference.video import MAX_VIDEO_FRAMES, Frame, open_sink, read_frames

__all__ = ["Recording", "RecordingWriter", "extract_capture", "is_recording", "load_recording", "save_recording"]

FORMAT = "flashproof-recording"
VERSION = 1
INDEX_NAME = "recording.json"
DEFAULT_VIDEO = "video.mkv"
MAX_INDEX_BYTES = 2**20
MAX_EXPOSURE_NS = 1_000_000_000
MAX_LAG_NS = 1_000_000_000  # either way
MAX_SETTLING_NS = 5_000_000_000  # the longest step a plan may have
INDEX_KEYS = {
    "format",
    "version",
    "plan",
    "plan_hash",
    "video",
    "frame_timestamps_ns",
    "exposure_ns",
    "lag_ns",
    "settling_ns",
    "presented",
    "labels",
}
STEP_KEYS = {"rank", "shown_at_ns", "ended_at_ns"}
REMEDY = "write recordings with sdk_reference.recording or by docs/recordings.md"


@dataclass(frozen=True)
class Recording:
    """The log of one presentation. Raises RecordingMalformed or PlanMismatch when its parts do not belong together."""

    plan: FlashPlan
    presented: tuple[PresentedStep, ...]
    """The steps as they were shown, in time order (`FlashPlayer.presented`)."""
    frame_timestamps_ns: tuple[int, ...]
    """Start of each frame's exposure, rising, on the clock of the presented steps."""
    exposure_ns: int
    lag_ns: int
    """Measured time from showing a colour to its light in the camera; may be negative when clocks differ."""
    settling_ns: int
    """How long after that a step's light still changes."""
    labels: Labels | None = None
    video: str = DEFAULT_VIDEO
    """Name of the video file or of the folder of PNG frames."""

    def __post_init__(self) -> None:
        _check_times(self)
        _check_presented(self.presented, self.plan)
        if not isinstance(self.video, str) or not is_flat_name(self.video) or self.video == INDEX_NAME:
            _malformed(f"video = {short(self.video)}", "a plain name without path parts")

    def matching(self) -> Matching:
        """Choose the frame of each step; raises StepWithoutFrame."""
        try:
            return match(
                self.presented,
                self.frame_timestamps_ns,
                exposure_ns=self.exposure_ns,
                lag_ns=self.lag_ns,
                settling_ns=self.settling_ns,
            )
        except MatchingError as error:
            found, expected, remedy = str(error).split("; ", 2)
            raise StepWithoutFrame(
                found=found.removeprefix("found "), expected=expected.removeprefix("expected "), remedy=remedy
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Return the content of recording.json."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "plan": self.plan.to_dict(),
            "plan_hash": self.plan.canonical_hash(),
            "video": self.video,
            "frame_timestamps_ns": list(self.frame_timestamps_ns),
            "exposure_ns": self.exposure_ns,
            "lag_ns": self.lag_ns,
            "settling_ns": self.settling_ns,
            "presented": [
                {"rank": step.rank, "shown_at_ns": step.shown_at_ns, "ended_at_ns": step.ended_at_ns}
                for step in self.presented
            ],
            "labels": None if self.labels is None else asdict(self.labels),
        }


def is_recording(path: Path) -> bool:
    """Whether `path` is a folder that holds a recording."""
    return (path / INDEX_NAME).is_file()


def load_recording(folder: str | Path) -> Recording:
    """Read the log of the recording in `folder`; no frame is decoded.

    Raises CaptureNotFound, RecordingMalformed or PlanMismatch, and nothing else, whatever the bytes are.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CaptureNotFound(found=f"no folder at {folder}", expected="a recording's folder", remedy="check the path")
    try:
        data = FolderOrZip(folder).read(INDEX_NAME, MAX_INDEX_BYTES)
        if data is None:
            _malformed(f"no {INDEX_NAME}", f"{INDEX_NAME} beside the video")
        return _from_json(strict_json(data, INDEX_NAME))
    except CaptureMalformed as error:
        raise RecordingMalformed(found=error.found, expected=error.expected, remedy=REMEDY) from error


def _from_json(index: object) -> Recording:
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        _malformed(f"{INDEX_NAME} of another format", f'"format": "{FORMAT}"')
    version = index.get("version")
    if not is_int(version, VERSION) or version != VERSION:
        _malformed(f"recording format version {short(version)}", f"version {VERSION}")
    exact_object(index, INDEX_KEYS, INDEX_NAME)
    plan = read_plan(index)
    timestamps = index["frame_timestamps_ns"]
    return Recording(
        plan=plan,
        presented=_presented(index["presented"], plan),
        frame_timestamps_ns=tuple(timestamps) if isinstance(timestamps, list) else timestamps,
        exposure_ns=index["exposure_ns"],
        lag_ns=index["lag_ns"],
        settling_ns=index["settling_ns"],
        labels=read_labels(index["labels"]),
        video=index["video"],
    )


def _presented(raw: object, plan: FlashPlan) -> tuple[PresentedStep, ...]:
    if not isinstance(raw, list) or len(raw) != plan.n0:
        _malformed(f"presented = {short(raw)}", f"a list of {plan.n0} steps")
    entries = [exact_object(entry, STEP_KEYS, f"presented[{place}]") for place, entry in enumerate(raw)]
    if not all(is_int(entry["rank"], plan.n0 - 1) for entry in entries):
        _malformed(f"presented ranks {short([entry['rank'] for entry in entries])}", f"integers below {plan.n0}")
    colours = [step.srgb for step in plan.steps_by_rank]
    return tuple(
        PresentedStep(entry["rank"], colours[entry["rank"]], entry["shown_at_ns"], entry["ended_at_ns"])
        for entry in entries
    )


def extract_capture(folder: str | Path) -> Capture:
    """Turn the recording in `folder` into a capture: one frame per step, chosen by the log.

    Raises what `load_recording` raises, StepWithoutFrame, FrameUnreadable, FrameCountMismatch, FrameFormatUnsupported
    or FrameSizeMismatch.
    """
    folder = Path(folder)
    recording = load_recording(folder)
    chosen = recording.matching().frame_index_by_rank
    frames = read_frames(_video_path(folder, recording.video), len(recording.frame_timestamps_ns), chosen)
    return Capture(
        frames=np.stack(frames),
        timestamps_ns=tuple(recording.frame_timestamps_ns[index] for index in chosen),
        plan=recording.plan,
        labels=recording.labels,
    )


def _video_path(folder: Path, name: str) -> Path:
    path = folder / name
    try:
        leaves = path.resolve().parent != folder.resolve()
    except (OSError, RuntimeError):  # RuntimeError: a link to itself, on Python below 3.13
        leaves = True
    if leaves:
        _malformed(f"{name}, a link that leaves the folder", "a video in the folder itself")
    return path


class RecordingWriter:
    """Writes a recording while it is made: add each frame, then `finish`. The folder appears at once, or not at all."""

    def __init__(self, folder: str | Path, video: str = DEFAULT_VIDEO) -> None:
        """Raises OutputNotWritable; a folder that holds anything already is left alone."""
        self._folder, self._video = Path(folder), video
        self._timestamps_ns: list[int] = []
        with writing_to(self._folder):
            if self._folder.exists() and (not self._folder.is_dir() or any(self._folder.iterdir())):
                raise OutputNotWritable(
                    found=f"{self._folder}, where something is already",
                    expected="a new or empty folder",
                    remedy="choose another name",
                )
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            prefix = f".{self._folder.name}."
            self._unfinished = Path(tempfile.mkdtemp(prefix=prefix, suffix=".partial", dir=self._folder.parent))
        try:
            self._sink = open_sink(self._unfinished / video)
        except BaseException:
            shutil.rmtree(self._unfinished, ignore_errors=True)
            raise

    def __enter__(self) -> RecordingWriter:
        return self

    def add(self, frame: Frame, timestamp_ns: int) -> None:
        """Append a frame, HWC uint8 RGB, whose exposure began at `timestamp_ns`."""
        if len(self._timestamps_ns) == MAX_VIDEO_FRAMES:
            _malformed(f"more than {MAX_VIDEO_FRAMES} frames", "a shorter recording")
        with writing_to(self._folder):
            self._sink.add(frame)
        self._timestamps_ns.append(int(timestamp_ns))

    def finish(
        self,
        plan: FlashPlan,
        presented: Iterable[PresentedStep],
        *,
        exposure_ns: int,
        lag_ns: int,
        settling_ns: int,
        labels: Labels | None = None,
    ) -> Recording:
        """Write the log and put the folder in its place; raises what `Recording` raises."""
        times = tuple(self._timestamps_ns)
        recording = Recording(plan, tuple(presented), times, exposure_ns, lag_ns, settling_ns, labels, self._video)
        text = json.dumps(recording.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        self._sink.close()
        with writing_to(self._folder):
            (self._unfinished / INDEX_NAME).write_text(text, encoding="utf-8")
            self._unfinished.chmod(0o755)  # mkdtemp makes folders that only their owner can open
            self._unfinished.replace(self._folder)
        return recording

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sink.close()
        shutil.rmtree(self._unfinished, ignore_errors=True)


def save_recording(recording: Recording, folder: str | Path, frames: Iterable[Frame]) -> None:
    """Write a recording whose frames are all there already, one per timestamp; raises as `RecordingWriter`."""
    with RecordingWriter(folder, recording.video) as writer:
        written = 0
        for timestamp_ns, frame in zip(recording.frame_timestamps_ns, frames, strict=False):
            writer.add(frame, timestamp_ns)
            written += 1
        if written != len(recording.frame_timestamps_ns):
            raise FrameCountMismatch(
                found=f"{written} frames",
                expected=f"{len(recording.frame_timestamps_ns)}, one per timestamp",
                remedy="give every frame",
            )
        writer.finish(
            recording.plan,
            recording.presented,
            exposure_ns=recording.exposure_ns,
            lag_ns=recording.lag_ns,
            settling_ns=recording.settling_ns,
            labels=recording.labels,
        )


def _check_times(recording: Recording) -> None:
    times = recording.frame_timestamps_ns
    if not isinstance(times, tuple) or not recording.plan.n0 <= len(times) <= MAX_VIDEO_FRAMES:
        _malformed(f"frame_timestamps_ns = {short(times)}", f"{recording.plan.n0} to {MAX_VIDEO_FRAMES} integers")
    if not all(is_int(value, MAX_TIMESTAMP_NS) for value in times) or any(b <= a for a, b in pairwise(times)):
        _malformed(f"frame_timestamps_ns = {short(times)}", "rising nanoseconds, integers from 0 on")
    if not is_int(recording.exposure_ns, MAX_EXPOSURE_NS) or recording.exposure_ns == 0:
        _malformed(f"exposure_ns = {short(recording.exposure_ns)}", f"1 to {MAX_EXPOSURE_NS}")
    if not is_int(recording.settling_ns, MAX_SETTLING_NS):
        _malformed(f"settling_ns = {short(recording.settling_ns)}", f"0 to {MAX_SETTLING_NS}")
    lag_ns = recording.lag_ns
    if not isinstance(lag_ns, int) or isinstance(lag_ns, bool) or abs(lag_ns) > MAX_LAG_NS:
        _malformed(f"lag_ns = {short(lag_ns)}", f"{-MAX_LAG_NS} to {MAX_LAG_NS}")


def _check_presented(presented: tuple[PresentedStep, ...], plan: FlashPlan) -> None:
    shown = [(step.rank, tuple(step.srgb)) for step in presented]
    if shown != [(step.rank, step.srgb) for step in plan.steps]:
        raise PlanMismatch(
            found=f"presented ranks {short([rank for rank, _ in shown])}",
            expected=f"{list(plan.time_order())}, the plan's colours in its order of time",
            remedy="the recording does not answer this plan: record again",
        )
    times = [value for step in presented for value in (step.shown_at_ns, step.ended_at_ns)]
    if not all(is_int(value, MAX_TIMESTAMP_NS) for value in times):
        _malformed(f"presented times {short(times)}", "nanoseconds, integers from 0 on")
    lasting = all(step.shown_at_ns < step.ended_at_ns for step in presented)
    if not lasting or any(after.shown_at_ns < before.ended_at_ns for before, after in pairwise(presented)):
        _malformed(f"presented times {short(times)}", "steps that follow each other")


def _malformed(found: str, expected: str) -> NoReturn:
    raise RecordingMalformed(found=found, expected=expected, remedy=REMEDY)
