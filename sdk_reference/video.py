"""The frames of a recording: a video file or a folder of PNG frames, read and written one frame at a time.

    frames/000000.png …     8-bit RGB, one file per frame, numbered from 0 without a gap
    video.mkv               any codec that OpenCV's FFmpeg decodes, in Matroska, WebM, AVI, MP4 or QuickTime

Which moment a frame shows is said by its number alone, so a video that holds more or fewer frames than were counted
when it was recorded is refused: nobody could tell which one is missing. What a video file is, its first bytes say, not
its name: FFmpeg would also open lists of other files and addresses, and those must never be followed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from sdk_reference import images
from sdk_reference.errors import (
    FrameCountMismatch,
    FrameFormatUnsupported,
    FrameSizeMismatch,
    FrameUnreadable,
    OutputNotWritable,
)

Frame = npt.NDArray[np.uint8]

MAX_VIDEO_FRAMES = 7200  # two minutes at 60 frames per second
MAX_VIDEO_BYTES = 8 * 2**30
MAX_VIDEO_PIXELS = MAX_VIDEO_FRAMES * 1920 * 1080  # all frames together
LOSSLESS_CODEC, LOSSLESS_SUFFIX = "FFV1", ".mkv"
NOMINAL_RATE_HZ = 30.0  # what players assume; times are in the flash log
CONTAINERS = (  # (place, bytes that stand there)
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska, WebM
    (8, b"AVI "),
    *((4, kind) for kind in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),  # MP4, QuickTime
)
REMEDY = "record or copy it again, or take it out of the data set"


def read_frames(video: Path, count: int, wanted: Sequence[int]) -> list[Frame]:
    """Return the frames of these numbers, HWC uint8 RGB, in the order of `wanted`; only they are held in memory.

    `count` is how many frames the video must have. Raises FrameUnreadable, FrameCountMismatch, FrameFormatUnsupported
    or FrameSizeMismatch.
    """
    read = _read_folder if video.is_dir() else _read_video
    found = read(video, count, frozenset(wanted))
    sizes = sorted({frame.shape[1::-1] for frame in found.values()})
    if len(sizes) > 1:
        raise FrameSizeMismatch(
            found=f"frames of {' and '.join(f'{width}×{height}' for width, height in sizes)} pixels in {video.name}",
            expected="frames of one size",
            remedy=REMEDY,
        )
    return [found[number] for number in wanted]


def frame_name(number: int) -> str:
    """Return the file name of a frame in a folder of frames."""
    return f"{number:06d}.png"


def _read_folder(folder: Path, count: int, wanted: frozenset[int]) -> dict[int, Frame]:
    try:
        names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        if names != {frame_name(number) for number in range(count)}:
            raise _miscounted(folder, len(names), count, f", numbered {frame_name(0)} and so on")
        return {number: _read_png(folder, frame_name(number)) for number in wanted}
    except OSError as error:
        raise _unreadable(f"{folder.name}: {error.strerror or error}") from error


def _read_png(folder: Path, name: str) -> Frame:
    path = folder / name
    if path.resolve().parent != folder.resolve():
        raise _unreadable(f"{name}, a link that leaves the folder")
    if path.stat().st_size > images.MAX_IMAGE_BYTES:
        raise _unreadable(f"{name} of {path.stat().st_size} bytes")
    return images.decode_frame(path.read_bytes(), name)


def _read_video(path: Path, count: int, wanted: frozenset[int]) -> dict[int, Frame]:
    _require_container(path)
    # One thread: preparation already runs one process per processor.
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    try:
        if not capture.isOpened():
            raise _unreadable(f"{path.name}, which OpenCV cannot decode")
        _require_size(path.name, capture, count)
        return _stream(path.name, capture, count, wanted)
    except cv2.error as error:
        raise _unreadable(f"{path.name}, which OpenCV cannot decode") from error
    finally:
        capture.release()


def _require_container(path: Path) -> None:
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            head = handle.read(16)
    except OSError as error:
        raise _unreadable(f"no readable video {path.name} ({error.strerror or error})") from error
    if size > MAX_VIDEO_BYTES or not any(head[place:].startswith(mark) for place, mark in CONTAINERS):
        raise FrameFormatUnsupported(
            found=f"{path.name}, {size} bytes that begin {head.hex(' ')[:23]}",
            expected=f"Matroska, WebM, AVI, MP4 or QuickTime of at most {MAX_VIDEO_BYTES} bytes, or a folder of PNGs",
            remedy="convert the video without loss",
        )


def _require_size(name: str, capture: cv2.VideoCapture, count: int) -> None:
    width, height = (int(capture.get(which)) for which in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    sides_fit = all(images.MIN_SIDE <= side <= images.MAX_SIDE for side in (width, height))
    if not sides_fit or width * height * count > MAX_VIDEO_PIXELS:
        raise FrameFormatUnsupported(
            found=f"{count} frames of {width}×{height} pixels in {name}",
            expected=f"sides of {images.MIN_SIDE} to {images.MAX_SIDE}, at most {MAX_VIDEO_PIXELS} pixels in all",
            remedy="scale or cut the video",
        )


def _stream(name: str, capture: cv2.VideoCapture, count: int, wanted: frozenset[int]) -> dict[int, Frame]:
    found: dict[int, Frame] = {}
    number = 0
    while capture.grab():
        if number in wanted:
            found[number] = _retrieve(name, capture, number)
        number += 1
        if number > count:
            raise _miscounted(Path(name), f"more than {count}", count)
    if number < count:
        raise _miscounted(Path(name), number, count)
    return found


def _retrieve(name: str, capture: cv2.VideoCapture, number: int) -> Frame:
    decoded, pixels = capture.retrieve()
    if not decoded or pixels is None or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise _unreadable(f"frame {number} of {name}, which does not decode to 8-bit RGB")
    return np.ascontiguousarray(pixels[..., ::-1], dtype=np.uint8)


class FrameSink(Protocol):
    """Where frames are written, one after the other."""

    def add(self, frame: Frame) -> None:
        """Append an HWC uint8 RGB frame."""

    def close(self) -> None:
        """Finish the file."""


def open_sink(video: Path) -> FrameSink:
    """Return a writer of lossless frames: a Matroska file of FFV1 for a `.mkv`, PNGs for a name without a suffix."""
    if video.suffix == LOSSLESS_SUFFIX:
        return _VideoSink(video)
    if video.suffix:
        raise FrameFormatUnsupported(
            found=f"the video name {video.name}",
            expected=f"a name that ends in {LOSSLESS_SUFFIX}, or one without a suffix for a folder of PNGs",
            remedy="choose such a name",
        )
    video.mkdir()
    return _FolderSink(video)


class _FolderSink:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def add(self, frame: Frame) -> None:
        (self._folder / frame_name(self._count)).write_bytes(images.encode_frame(frame))
        self._count += 1

    def close(self) -> None:
        pass


class _VideoSink:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: cv2.VideoWriter | None = None
        self._shape: tuple[int, ...] = ()

    def add(self, frame: Frame) -> None:
        if self._writer is None:
            self._shape = frame.shape
            codec = cv2.VideoWriter.fourcc(*LOSSLESS_CODEC)
            self._writer = cv2.VideoWriter(
                str(self._path), cv2.CAP_FFMPEG, codec, NOMINAL_RATE_HZ, (frame.shape[1], frame.shape[0])
            )
        if not self._writer.isOpened():
            raise OutputNotWritable(
                found=f"an OpenCV that cannot write {self._path.name}",
                expected=f"FFmpeg with {LOSSLESS_CODEC}",
                remedy="record into a folder of PNG frames",
            )
        if frame.shape != self._shape:  # OpenCV would drop it without a word
            raise FrameSizeMismatch(
                found=f"a frame of shape {frame.shape}", expected=str(self._shape), remedy="keep the camera's size"
            )
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def close(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(cv2.error):
                self._writer.release()


def _miscounted(video: Path, found: int | str, count: int, how: str = "") -> FrameCountMismatch:
    return FrameCountMismatch(
        found=f"{found} frames in {video.name}",
        expected=f"{count}, one per camera timestamp{how}",
        remedy=REMEDY,
    )


def _unreadable(found: str) -> FrameUnreadable:
    return FrameUnreadable(found=found, expected="a whole video or folder of frames", remedy=REMEDY)
