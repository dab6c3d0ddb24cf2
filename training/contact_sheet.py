"""Contact sheets: many captures on one JPEG, each a row of frames under a line of text (not in the paper).

All pictures here are HWC uint8 RGB until they are encoded. Light that was computed with (differences) is shown at a
fixed brightness on the face, so that rows can be compared whatever their exposure.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import linear_to_srgb, relative_luminance
from sdk_reference.atomic_files import write_atomically
from training.look_pair import AlignedPair

THUMB = 160  # side of one picture of a strip, pixels
PANEL_SIDE = 256
JPEG_QUALITY = 92
LINE_HEIGHT, BASELINE, FONT_SCALE = 20, 14, 0.45
FONT = cv2.FONT_HERSHEY_SIMPLEX
INK, PAPER, MISSING = (235, 235, 235), 24, 60
SHOWN_DIFFERENCE = 0.25  # linear light of the face's mean in a difference
SHOWN_RATIO = 3.0  # times the face's mean: the end of the colour scale

Picture = npt.NDArray[np.uint8]
STRIP_COLUMNS = ("white", "red", "green", "blue", "black", "difference", "depth")
PANEL_COLUMNS = ("dark, exposure of lit", "lit", "difference", "difference over dark (0 to 3 times face)")


def strip(frames: npt.NDArray[np.uint8], pair: AlignedPair | None, depth_mm: npt.NDArray[np.uint16]) -> Picture:
    """Return one row: (N0,H,W,3) frames by rank, the aligned difference (grey when no face was found), depth."""
    missing = np.full((THUMB, THUMB, 3), MISSING, np.uint8)
    difference = missing if pair is None else thumb(shown_difference(pair))
    return np.hstack([*(thumb(frame) for frame in frames), difference, thumb(shown_depth(depth_mm))])


def panel(pair: AlignedPair) -> Picture:
    """Return one row of four aligned pictures: dark, lit, difference, and difference over dark in false colour."""
    return np.hstack([shown_light(pair.dark), shown_light(pair.lit), shown_difference(pair), shown_ratio(pair)])


def shown_light(linear: npt.NDArray[np.float32]) -> Picture:
    """Encode linear light in 0..1 as sRGB bytes."""
    return np.rint(linear_to_srgb(np.clip(linear, 0, 1)) * 255).astype(np.uint8)


def shown_difference(pair: AlignedPair) -> Picture:
    """Return what the screen added, scaled to one brightness; what became darker is black."""
    mean = float(relative_luminance(pair.difference)[pair.face].mean())
    return shown_light(pair.difference * np.float32(SHOWN_DIFFERENCE / max(mean, 1e-4)))


def shown_ratio(pair: AlignedPair) -> Picture:
    """Return what the screen added over what was there, in false colour: blue 0, red three times the face's mean."""
    dark, added = relative_luminance(pair.dark), relative_luminance(pair.difference)
    face = pair.face
    ratio = cv2.GaussianBlur(added, (0, 0), 1.0) / np.maximum(cv2.GaussianBlur(dark, (0, 0), 1.0), 1e-3)
    mean = float(added[face].mean() / max(dark[face].mean(), 1e-3))
    level = np.clip(ratio / (SHOWN_RATIO * max(mean, 1e-3)), 0, 1) * 255
    return _false_colour(level.astype(np.uint8))


def shown_depth(depth_mm: npt.NDArray[np.uint16]) -> Picture:
    """Return (H,W) millimetres in false colour, near red and far blue within the face's 15 cm; nothing is black."""
    there = depth_mm > 0
    if not there.any():
        return np.zeros((*depth_mm.shape, 3), np.uint8)
    nearest = float(np.percentile(depth_mm[there], 1))
    level = 255 * (1 - np.clip((depth_mm - nearest) / 150.0, 0, 1))
    return np.where(there[..., None], _false_colour(level.astype(np.uint8)), 0).astype(np.uint8)


def _false_colour(level: npt.NDArray[np.uint8]) -> Picture:
    return np.ascontiguousarray(cv2.applyColorMap(level, cv2.COLORMAP_TURBO)[..., ::-1], dtype=np.uint8)


def thumb(picture: Picture) -> Picture:
    """Shrink or enlarge to THUMB pixels square."""
    shrinks = picture.shape[0] >= THUMB
    size = (THUMB, THUMB)
    resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)


def sheet(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Picture]]) -> Picture:
    """Return a sheet: a title, the names of the columns, then per row a line of text and its picture.

    All rows have the same width, shared by the columns evenly.
    """
    width = rows[0][1].shape[1]
    parts = [text_line(width, [title]), text_line(width, columns)]
    for label, picture in rows:
        parts += [text_line(width, [label]), picture]
    return np.vstack(parts)


def text_line(width: int, texts: Sequence[str]) -> Picture:
    """Return a line of light text on dark, (20, width, 3); several texts share the width evenly."""
    line = np.full((LINE_HEIGHT, width, 3), PAPER, np.uint8)
    for place, text in enumerate(texts):
        room = width // len(texts)
        (length, _), _ = cv2.getTextSize(text, FONT, FONT_SCALE, 1)
        scale = FONT_SCALE * min(1.0, (room - 8) / max(length, 1))  # long lines get smaller letters
        cv2.putText(line, text, (place * room + 4, BASELINE), FONT, scale, INK, 1, cv2.LINE_AA)
    return line


def encoded(picture: Picture) -> bytes:
    """Return a picture as JPEG."""
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done, "OpenCV encodes every uint8 array"
    return bytes(data.tobytes())


def decoded(data: bytes) -> Picture:
    """Return the picture of a JPEG that `encoded` made."""
    return np.ascontiguousarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])


def write_sheet(path: Path, title: str, columns: Sequence[str], rows: Sequence[tuple[str, bytes]]) -> None:
    """Write rows (text, JPEG) as one JPEG."""
    pictures = [(label, decoded(data)) for label, data in rows]
    write_atomically(path, encoded(sheet(title, columns, pictures)))
