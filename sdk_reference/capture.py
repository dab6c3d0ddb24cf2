"""Capture: the photographs of one flash challenge, with the plan they answer, in memory and on disk.

On disk a capture is a folder, or the same files in one zip: `capture.json`, one lossless 8-bit RGB PNG per frame and
optionally a 16-bit PNG of depth in millimetres.

    {"format": "flashproof-capture", "version": 1, "plan": {…}, "plan_hash": "<sha256 hex>",
     "frames": [{"rank": 0, "file": "frame_0.png", "timestamp_ns": 0, "srgb_shown": [255, 255, 255]}, …],
     "depth": {"file": "depth.png", "unit": "mm"} | null, "labels": {…} | null}

Frames are in rank order (rank 0 = brightest screen). The order in time is the challenge: timestamps must rise in the
plan's time order. Whatever breaks the format is refused with its own error of `sdk_reference.errors`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flash_sequencer.plan import FlashPlan, PlanError
from sdk_reference import images
from sdk_reference.container import FolderOrZip, write_folder, write_zip
from sdk_reference.errors import (
    FrameCountMismatch,
    FrameFormatUnsupported,
    FrameSizeMismatch,
    FrameUnreadable,
    PlanMismatch,
)
from sdk_reference.labels import SPECIES, Labels
from sdk_reference.strict_values import exact_object, is_int, malformed, short, strict_json

__all__ = ["SPECIES", "Capture", "Labels", "load_capture", "save_capture"]

FORMAT = "flashproof-capture"
VERSION = 1
INDEX_NAME = "capture.json"
DEPTH_NAME = "depth.png"
DEPTH_UNIT = "mm"

MIN_SIDE, MAX_SIDE = images.MIN_SIDE, images.MAX_SIDE  # pixels, 64..8192
MIN_FRAMES, MAX_FRAMES = 3, 8
MAX_TOTAL_PIXELS = MAX_FRAMES * 4096 * 3072  # eight photographs of 12 megapixels
MAX_INDEX_BYTES = 2**20
MAX_TIMESTAMP_NS = 2**63 - 1
INDEX_KEYS = {"format", "version", "plan", "plan_hash", "frames", "depth", "labels"}
FRAME_KEYS = {"rank", "file", "timestamp_ns", "srgb_shown"}
DEPTH_KEYS = {"file", "unit"}


@dataclass(frozen=True, eq=False)
class Capture:
    """The frames of one challenge. Raises an InvalidInput error when its parts do not belong together."""

    frames: npt.NDArray[np.uint8]
    """(N0,H,W,3) uint8, RGB, sRGB-coded, in rank order."""
    timestamps_ns: tuple[int, ...]
    """Camera time of each frame, by rank."""
    plan: FlashPlan
    labels: Labels | None = None
    depth_mm: npt.NDArray[np.uint16] | None = None
    """(H,W) uint16 distance along the optical axis in millimetres in the frame of rank 0; 0 = nothing there."""

    def __post_init__(self) -> None:
        _check_frames(self.frames, self.plan)
        _check_timestamps(self.timestamps_ns, self.plan)
        if self.depth_mm is not None:
            _check_depth(self.depth_mm, self.frames.shape[1:3])

    @property
    def n0(self) -> int:
        """Number of frames."""
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        """`(height, width)` of the frames in pixels."""
        return self.frames.shape[1], self.frames.shape[2]


def save_capture(capture: Capture, path: str | Path) -> None:
    """Write a capture as a zip when `path` ends in `.zip`, else as a new folder; atomic and deterministic.

    Raises OutputNotWritable; a folder that holds anything already is left alone.
    """
    path = Path(path)
    files = {f"frame_{rank}.png": images.encode_frame(frame) for rank, frame in enumerate(capture.frames)}
    if capture.depth_mm is not None:
        files[DEPTH_NAME] = images.encode_depth(capture.depth_mm)
    index = json.dumps(_index(capture), indent=1, ensure_ascii=False, allow_nan=False).encode()
    write = write_zip if path.suffix.lower() == ".zip" else write_folder
    write(path, {INDEX_NAME: index, **files})


def _index(capture: Capture) -> dict[str, object]:
    frames = [
        {
            "rank": step.rank,
            "file": f"frame_{step.rank}.png",
            "timestamp_ns": int(timestamp),
            "srgb_shown": [int(value) for value in step.srgb],
        }
        for step, timestamp in zip(capture.plan.steps_by_rank, capture.timestamps_ns, strict=True)
    ]
    return {
        "format": FORMAT,
        "version": VERSION,
        "plan": capture.plan.to_dict(),
        "plan_hash": capture.plan.canonical_hash(),
        "frames": frames,
        "depth": None if capture.depth_mm is None else {"file": DEPTH_NAME, "unit": DEPTH_UNIT},
        "labels": None if capture.labels is None else asdict(capture.labels),
    }


def load_capture(path: str | Path) -> Capture:
    """Read the capture at `path`, a folder or a zip.

    Raises CaptureNotFound, CaptureMalformed, PlanMismatch, FrameCountMismatch, FrameUnreadable,
    FrameFormatUnsupported or FrameSizeMismatch, and nothing else, whatever the bytes are.
    """
    container = FolderOrZip(Path(path))
    index = _read_index(container)
    plan = read_plan(index)
    entries = _frame_entries(index, plan)
    labels = read_labels(index["labels"])
    depth_file = _depth_file(index["depth"])
    _refuse_strangers(container, {str(entry["file"]) for entry in entries}, depth_file)
    frames = _read_frames(container, entries)
    return Capture(
        frames=frames,
        timestamps_ns=tuple(entry["timestamp_ns"] for entry in entries),
        plan=plan,
        labels=labels,
        depth_mm=None
        if depth_file is None
        else images.decode_depth(_read_image_file(container, depth_file), depth_file),
    )


def _read_index(container: FolderOrZip) -> dict[str, Any]:
    data = container.read(INDEX_NAME, MAX_INDEX_BYTES)
    if data is None:
        malformed(f"no {INDEX_NAME}", f"{INDEX_NAME} beside the frames")
    index = strict_json(data, INDEX_NAME)
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        malformed(f"{INDEX_NAME} of another format", f'"format": "{FORMAT}"')
    version = index.get("version")
    if not is_int(version, VERSION) or version != VERSION:
        malformed(f"capture format version {short(version)}", f"version {VERSION}")
    return exact_object(index, INDEX_KEYS, INDEX_NAME)


def read_plan(index: Mapping[str, Any]) -> FlashPlan:
    """Return the plan under `plan`, checked against `plan_hash`; raises CaptureMalformed or PlanMismatch."""
    try:
        plan = FlashPlan.from_dict(index["plan"])
    except PlanError as error:
        malformed(f"a plan that cannot be used ({short(error)})", "a flash plan", error)
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:  # hostile JSON of any shape
        malformed(f"a damaged plan ({short(error)})", "a flash plan", error)
    if plan.canonical_hash() != index["plan_hash"]:
        raise PlanMismatch(
            found=f"plan_hash {short(index['plan_hash'])}",
            expected=f"{plan.canonical_hash()}, the hash of the plan inside",
            remedy="the plan was changed after the capture: record again",
        )
    return plan


def _frame_entries(index: Mapping[str, Any], plan: FlashPlan) -> list[dict[str, Any]]:
    raw = index["frames"]
    if not isinstance(raw, list):
        malformed(f"frames = {short(raw)}", "a list of frames")
    if len(raw) != plan.n0:
        raise FrameCountMismatch(
            found=f"{len(raw)} frames", expected=f"{plan.n0}, one per colour of the plan", remedy="record again"
        )
    entries = [exact_object(entry, FRAME_KEYS, f"frames[{rank}]") for rank, entry in enumerate(raw)]
    for rank, entry in enumerate(entries):
        _check_entry(entry, rank, plan)
    if len({entry["file"] for entry in entries}) != len(entries):
        malformed("one file named for two frames", "a file per frame")
    return entries


def _check_entry(entry: Mapping[str, Any], rank: int, plan: FlashPlan) -> None:
    if not is_int(entry["rank"], MAX_FRAMES) or entry["rank"] != rank:
        malformed(f"rank {short(entry['rank'])} at place {rank}", "frames listed by rank: 0, 1, 2, …")
    if not isinstance(entry["file"], str):
        malformed(f"file = {short(entry['file'])}", "a file name")
    if not is_int(entry["timestamp_ns"], MAX_TIMESTAMP_NS):
        malformed(f"timestamp_ns = {short(entry['timestamp_ns'])}", "nanoseconds, an integer from 0 on")
    shown, planned = entry["srgb_shown"], list(plan.steps_by_rank[rank].srgb)
    if not isinstance(shown, list) or not all(is_int(value, 255) for value in shown) or shown != planned:
        raise PlanMismatch(
            found=f"srgb_shown = {short(shown)} for rank {rank}",
            expected=f"{planned}, as the plan says",
            remedy="show the colours of the plan and record again",
        )


def read_labels(raw: object) -> Labels | None:
    """Return labels from JSON values; raises CaptureMalformed."""
    if raw is None:
        return None
    known = {field.name for field in fields(Labels)}
    if not isinstance(raw, dict) or not set(raw) <= known or "simulated" not in raw:
        malformed(f"labels = {short(raw)}", f"null, or simulated and any of {', '.join(sorted(known))}")
    return Labels(**raw)


def _depth_file(raw: object) -> str | None:
    if raw is None:
        return None
    entry = exact_object(raw, DEPTH_KEYS, "depth")
    if entry["unit"] != DEPTH_UNIT or not isinstance(entry["file"], str):
        malformed(f"depth = {short(raw)}", f'a file name and "unit": "{DEPTH_UNIT}"')
    return str(entry["file"])


def _refuse_strangers(container: FolderOrZip, frame_files: set[str], depth_file: str | None) -> None:
    expected = {INDEX_NAME, *frame_files} | ({depth_file} if depth_file else set())
    strangers = (container.zip_names or frozenset()) - expected
    if strangers:
        malformed(f"zip members that {INDEX_NAME} does not name: {short(sorted(strangers))}", "no other members")


def _read_frames(container: FolderOrZip, entries: list[dict[str, Any]]) -> npt.NDArray[np.uint8]:
    encoded = {entry["file"]: _read_image_file(container, entry["file"]) for entry in entries}
    headers = [images.read_png_header(data, name) for name, data in encoded.items()]
    sizes = [(header.width, header.height) for header in headers]
    if len(set(sizes)) > 1:  # all headers are compared before any pixel is decoded
        raise FrameSizeMismatch(
            found=f"frames of {' and '.join(f'{width}×{height}' for width, height in sorted(set(sizes)))} pixels",
            expected="frames of one size",
            remedy="record all frames with one camera setting",
        )
    _check_total_pixels(len(sizes), *sizes[0])
    return np.stack([images.decode_frame(data, name) for name, data in encoded.items()])


def _read_image_file(container: FolderOrZip, name: str) -> bytes:
    data = container.read(name, images.MAX_IMAGE_BYTES)
    if data is None:
        raise FrameUnreadable(
            found=f"no file {name}", expected=f"every file that {INDEX_NAME} names", remedy="copy the capture again"
        )
    return data


def _check_frames(frames: object, plan: FlashPlan) -> None:
    if not isinstance(frames, np.ndarray) or frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise FrameFormatUnsupported(
            found=f"frames of shape {getattr(frames, 'shape', None)}, {getattr(frames, 'dtype', None)}",
            expected="(N0, height, width, 3) uint8 RGB",
            remedy="convert the frames to 8-bit RGB of one size",
        )
    count, height, width = frames.shape[:3]
    if count != plan.n0 or not MIN_FRAMES <= count <= MAX_FRAMES:
        raise FrameCountMismatch(
            found=f"{count} frames", expected=f"{plan.n0}, one per colour of the plan", remedy="record again"
        )
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        raise FrameFormatUnsupported(
            found=f"frames of {width}×{height} pixels",
            expected=f"sides of {MIN_SIDE} to {MAX_SIDE} pixels",
            remedy="scale the frames",
        )
    _check_total_pixels(count, width, height)


def _check_total_pixels(count: int, width: int, height: int) -> None:
    if count * width * height > MAX_TOTAL_PIXELS:
        raise FrameFormatUnsupported(
            found=f"{count} frames of {width}×{height} pixels",
            expected=f"at most {MAX_TOTAL_PIXELS} pixels in all",
            remedy="scale the frames",
        )


def _check_timestamps(timestamps_ns: object, plan: FlashPlan) -> None:
    if not isinstance(timestamps_ns, tuple) or len(timestamps_ns) != plan.n0:
        malformed(f"timestamps_ns = {short(timestamps_ns)}", f"a tuple of {plan.n0} integers")
    if not all(is_int(value, MAX_TIMESTAMP_NS) for value in timestamps_ns):
        malformed(f"timestamps_ns = {short(timestamps_ns)}", "nanoseconds, integers from 0 on")
    in_time = [timestamps_ns[rank] for rank in plan.time_order()]
    if any(later <= earlier for earlier, later in pairwise(in_time)):
        raise PlanMismatch(
            found=f"timestamps {short(timestamps_ns)} by rank",
            expected=f"rising times in the plan's order of ranks {plan.time_order()}",
            remedy="the frames do not answer this challenge: record again",
        )


def _check_depth(depth_mm: object, size: tuple[int, ...]) -> None:
    if not isinstance(depth_mm, np.ndarray) or depth_mm.ndim != 2 or depth_mm.dtype != np.uint16:
        raise FrameFormatUnsupported(
            found=f"depth of shape {getattr(depth_mm, 'shape', None)}, {getattr(depth_mm, 'dtype', None)}",
            expected="(height, width) uint16 millimetres",
            remedy="convert the depth map",
        )
    if depth_mm.shape != size:
        raise FrameSizeMismatch(
            found=f"depth of {depth_mm.shape[1]}×{depth_mm.shape[0]} pixels",
            expected=f"{size[1]}×{size[0]}, as the frames",
            remedy="render or scale depth to the frame of rank 0",
        )
