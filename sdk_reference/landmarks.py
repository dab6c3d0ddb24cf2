"""Facial landmarks: MediaPipe's FaceMesh behind a small interface, and the rules for which face of a frame counts.

The paper aligns by "facial landmarks" without naming a detector. Ours is FaceMesh with its 468-point convention, since
it runs on every phone. A detector is created when it is first needed, lives in the process that created it (MediaPipe's
threads do not survive a fork), and may be passed to spawned workers, where it is created anew.

Coordinates: pixels, x to the right, y down, (0, 0) at the outer corner of the first pixel, so that the centre of that
pixel is (0.5, 0.5) and the far edge of the frame is (width, height).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sdk_reference.errors import (
    BackendMissing,
    FaceCutOff,
    FaceTooSmall,
    FrameFormatUnsupported,
    ModelFailed,
    NoFace,
    SeveralFaces,
)

LANDMARK_CONVENTION = "MediaPipe FaceMesh 468"
N_LANDMARKS = 468
# Outline of the face in the FaceMesh convention, clockwise in the image from the top of the forehead.
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)

MIN_FACE_WIDTH_PX = 64.0  # provisional: below this the model input would be mostly interpolation
OUTSIDE_TOLERANCE = 0.02  # of the face's width: jitter of landmarks at the frame's border
RIVAL_WIDTH_RATIO = 0.4  # a second face narrower than this part of the first is someone in the background
SAME_FACE_OVERLAP = 0.5  # intersection over union: one face found twice

DETECTION_CONFIDENCE = 0.5  # MediaPipe's own default
MAX_FACES = 2  # enough to see that there is more than one

# What MediaPipe's C++ side writes to standard error although nothing is wrong.
CHATTER = re.compile(
    rb"All log messages before absl::InitializeLog|[IW]0000 00:00:|[IW]\d{4} \d\d:\d\d:\d\d\.|"
    rb"INFO: Created TensorFlow Lite|GL version:|Feedback manager requires"
)


@dataclass(frozen=True, eq=False)
class Face:
    """One face in one frame."""

    points: npt.NDArray[np.float32]
    """(468,2) float32: x, y in pixels; FaceMesh order."""
    depth: npt.NDArray[np.float32]
    """(468,) float32: FaceMesh's relative depth in pixels, smaller = nearer to the camera."""

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """`(left, top, right, bottom)` of the face oval in pixels."""
        oval = self.points[list(FACE_OVAL)]
        (left, top), (right, bottom) = oval.min(axis=0), oval.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    @property
    def width(self) -> float:
        """Width of the face oval in pixels."""
        left, _, right, _ = self.bounds
        return right - left


class LandmarkDetector(Protocol):
    """Anything that finds faces in a frame."""

    def detect(self, frame: npt.NDArray[np.uint8]) -> list[Face]:
        """Return the faces in an HWC uint8 RGB frame, in any order; none gives an empty list."""
        ...


class FaceMeshDetector:
    """MediaPipe FaceMesh on single images: no tracking from frame to frame, so that results depend on nothing before.

    Raises BackendMissing when MediaPipe does not load and ModelFailed when a running detector was inherited by a fork.
    """

    def __init__(self, detection_confidence: float = DETECTION_CONFIDENCE) -> None:
        self._confidence = detection_confidence
        self._reset()

    def _reset(self) -> None:
        self._mesh: Any = None
        self._created_in = 0
        self._has_seen_a_face = False
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, float]:
        return {"confidence": self._confidence}

    def __setstate__(self, state: dict[str, float]) -> None:
        self._confidence = state["confidence"]
        self._reset()

    def detect(self, frame: npt.NDArray[np.uint8]) -> list[Face]:
        """Return up to two faces of an HWC uint8 RGB frame."""
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
            raise FrameFormatUnsupported(
                found=f"a frame of shape {frame.shape}, {frame.dtype}",
                expected="(height, width, 3) uint8 RGB",
                remedy="convert the frame",
            )
        with self._lock:
            found = self._run(np.ascontiguousarray(frame))
        height, width = frame.shape[:2]
        return [_face(landmarks, width, height) for landmarks in found]

    def close(self) -> None:
        """Free the detector; a later `detect` creates it anew."""
        with self._lock:
            if self._mesh is not None and self._created_in == os.getpid():
                self._mesh.close()
            self._mesh, self._has_seen_a_face = None, False

    def _run(self, frame: npt.NDArray[np.uint8]) -> list[Any]:
        if self._mesh is not None and self._created_in != os.getpid():
            raise ModelFailed(
                found="a running landmark detector inherited from a parent process",
                expected="a detector per process",
                remedy="start workers by spawn, not by fork",
            )
        if self._has_seen_a_face:
            return self._process(frame)
        with _without_chatter():  # the parts of the graph report themselves when each is first used
            if self._mesh is None:
                self._mesh, self._created_in = _create_mesh(self._confidence), os.getpid()
            found = self._process(frame)
        self._has_seen_a_face = bool(found)
        return found

    def _process(self, frame: npt.NDArray[np.uint8]) -> list[Any]:
        try:
            with warnings.catch_warnings():
                _ignore_protobuf_warning()
                return list(self._mesh.process(frame).multi_face_landmarks or ())
        except (RuntimeError, ValueError) as error:
            raise ModelFailed(
                found=f"MediaPipe failed ({error})", expected="landmarks or none", remedy="report this frame"
            ) from error


def _create_mesh(confidence: float) -> Any:
    os.environ.setdefault("GLOG_minloglevel", "2")  # read by MediaPipe's log when it loads
    try:
        with warnings.catch_warnings():
            _ignore_protobuf_warning()
            from mediapipe.python.solutions.face_mesh import FaceMesh

            return FaceMesh(
                static_image_mode=True,
                max_num_faces=MAX_FACES,
                refine_landmarks=False,
                min_detection_confidence=confidence,
            )
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendMissing(
            found=f"MediaPipe that does not start ({error})",
            expected="mediapipe 0.10.21 with its face models",
            remedy="install flashproof with its dependencies",
        ) from error


def _ignore_protobuf_warning() -> None:
    warnings.filterwarnings("ignore", message=r"SymbolDatabase\.GetPrototype", category=UserWarning)


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Drop MediaPipe's known chatter from standard error; every other line written meanwhile is passed on after.

    The chatter comes from C++ threads, past `sys.stderr`, so the file descriptor itself is led aside for a moment.
    """
    try:
        sys.stderr.flush()
        real = os.dup(2)
    except (OSError, ValueError, AttributeError):  # standard error is closed or missing: nothing to keep clean
        yield
        return
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            aside.seek(0)
            others = b"".join(line for line in aside if not CHATTER.search(line))
            if others:
                os.write(real, others)
            os.close(real)


def _face(landmarks: Any, width: int, height: int) -> Face:
    # The list ends with irises where a caller's build of MediaPipe refines landmarks; the convention has 468.
    values = np.array([(mark.x, mark.y, mark.z) for mark in landmarks.landmark[:N_LANDMARKS]], dtype=np.float32)
    if values.shape != (N_LANDMARKS, 3) or not np.isfinite(values).all():
        raise ModelFailed(
            found=f"landmarks of shape {values.shape}, not all finite",
            expected=f"{N_LANDMARKS} finite points",
            remedy="report this frame",
        )
    # MediaPipe normalises x by the width, y by the height and z by the width.
    return Face(
        points=values[:, :2] * np.array([width, height], dtype=np.float32), depth=values[:, 2] * np.float32(width)
    )


def find_single_face(
    faces: list[Face], frame_shape: tuple[int, ...], *, min_width_px: float = MIN_FACE_WIDTH_PX
) -> Face:
    """Return the one face of a frame of shape `(height, width, …)`.

    One face reported twice counts once; faces much smaller than the largest are bystanders. Raises NoFace,
    SeveralFaces, FaceTooSmall or FaceCutOff.
    """
    if not faces:
        raise NoFace(found="no face", expected="one face", remedy="look into the camera, with light on your face")
    by_width = sorted(faces, key=lambda face: face.width, reverse=True)
    largest = by_width[0]
    rivals = [face for face in by_width[1:] if _is_rival(face, largest)]
    if rivals:
        raise SeveralFaces(
            found=f"{1 + len(rivals)} faces", expected="one face", remedy="make sure nobody else is in the picture"
        )
    if not largest.width >= min_width_px:
        raise FaceTooSmall(
            found=f"a face {largest.width:.0f} pixels wide",
            expected=f"at least {min_width_px:.0f} pixels",
            remedy="come closer to the camera",
        )
    _check_inside(largest, frame_shape)
    return largest


def _is_rival(face: Face, largest: Face) -> bool:
    is_same = _overlap(face.bounds, largest.bounds) > SAME_FACE_OVERLAP
    return not is_same and face.width >= RIVAL_WIDTH_RATIO * largest.width


def _check_inside(face: Face, frame_shape: tuple[int, ...]) -> None:
    height, width = frame_shape[:2]
    left, top, right, bottom = face.bounds
    outside = max(-left, -top, right - width, bottom - height)
    if outside > OUTSIDE_TOLERANCE * face.width:
        raise FaceCutOff(
            found=f"a face that reaches {outside:.0f} pixels beyond the frame",
            expected="the whole face in the frame",
            remedy="move so that your whole face is in the picture",
        )


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    """Intersection over union of two boxes `(left, top, right, bottom)`."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    total = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - shared
    return shared / total if total > 0 else 0.0
