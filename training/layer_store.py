"""The light of rendered scenes, aligned once and kept beside a prepared data set, for `training.relight`.

    prepared-<key>/layers.npy     (K, 7, 256, 256) float16: the room's light (RGB), the screen's (one per primary), and
                                  how much of each pixel the person or the artefact covers
                   layers.jsonl   one line per row: row, scale of the room's light, phone, screen, sharpness

The layers of every training capture are aligned by the landmarks found in its first frame, which no motion has moved
yet. The paper states no augmentation.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdk_reference.align import TEMPLATE, Affine, resample, scale_of
from sdk_reference.atomic_files import write_atomically
from simulator.light import ScreenLight
from simulator.phone import Phone
from simulator.stage import Stage
from training.errors import DatasetInvalid
from training.store import open_array, reserve_array

LAYERS_FILE, LAYERS_INDEX = "layers.npy", "layers.jsonl"
PLANES = 7
LARGEST_STORED = 30_000.0  # half floats end at 65,504


@dataclass(frozen=True, eq=False)
class AlignedLayers:
    """A scene's light in the alignment template."""

    ambient: npt.NDArray[np.float32]
    """(256,256,3), cd/m² under the room's light."""
    screen: npt.NDArray[np.float32]
    """(256,256,3): radiance per unit radiance of the screen's primaries."""
    covered: npt.NDArray[np.float32]
    """(256,256), 0..1: how much of the pixel is the person or the artefact; the rest is background."""
    phone: Phone
    """With the sensor's pixels per pixel of the template for its scale."""
    light: ScreenLight


@dataclass(frozen=True, eq=False)
class StoredLayers:
    """The same as it is stored, for whoever works on whole batches (`training.batch_relight`)."""

    planes: npt.NDArray[np.float16]
    """(7,256,256): room, screen, covered; read-only, not yet in memory."""
    ambient_scale: float
    """What the room's light is to be multiplied by."""
    phone: Phone
    light: ScreenLight

    def opened(self) -> AlignedLayers:
        """The layers in memory, colours last."""
        planes = np.asarray(self.planes, np.float32).transpose(1, 2, 0)
        return AlignedLayers(
            ambient=np.ascontiguousarray(planes[..., :3]) * np.float32(self.ambient_scale),
            screen=np.ascontiguousarray(planes[..., 3:6]),
            covered=np.ascontiguousarray(planes[..., 6]),
            phone=self.phone,
            light=self.light,
        )


@dataclass(frozen=True)
class LayersRecord:
    """One line of the index."""

    row: int
    ambient_scale: float
    """What the stored room light was divided by."""
    phone: dict[str, Any]
    screen: dict[str, Any]
    sensor_px: float
    """Pixels of the sensor per pixel of the template, in one direction."""


def write_layers(place: Path, row: int, stage: Stage, affine: Affine) -> LayersRecord:
    """Align the layers of a scene into `row` of layers.npy; returns its line for the index.

    `affine` (2,3) maps pixels of the capture's first frame in time to the template.
    """
    planes, scale = aligned_planes(stage, affine)
    open_array(place / LAYERS_FILE, writable=True)[row] = planes
    sensor_px = stage.phone.sensor_scale / scale_of(affine)
    return LayersRecord(row, scale, asdict(stage.phone), asdict(stage.lighting.screen), sensor_px)


def aligned_planes(stage: Stage, affine: Affine) -> tuple[npt.NDArray[np.float16], float]:
    """Return the planes (7,256,256) that `StoredLayers` has of a scene, and what its room's light was divided by.

    `affine` (2,3) maps pixels of a frame to the template.
    """
    to_template, layers = of_layers(stage, affine), stage.layers
    ambient, screen = (resample(image, to_template, TEMPLATE.size) for image in (layers.ambient, layers.screen))
    scale = max(float(ambient.max()) / LARGEST_STORED, 1e-6)
    covered = resample(layers.covered.astype(np.float32), to_template, TEMPLATE.size)
    planes = np.concatenate([ambient / np.float32(scale), screen, covered[..., None]], axis=-1).transpose(2, 0, 1)
    return planes.astype(np.float16), scale


def of_layers(stage: Stage, affine: Affine) -> Affine:
    """Return the map of pixels of the scene's layers, which are finer than the frame's, whose map is `affine`."""
    mapped = affine.copy()
    mapped[:, :2] *= stage.size / stage.view.size
    return mapped


def as_read(stage: Stage, affine: Affine) -> StoredLayers:
    """Return what `LayerStore.stored` gives of a scene that `write_layers` was given."""
    planes, scale = aligned_planes(stage, affine)
    sensor_px = stage.phone.sensor_scale / scale_of(affine)
    return StoredLayers(planes, scale, _at_template(stage.phone, sensor_px), stage.lighting.screen)


def begin_layers(place: Path, count: int, rows: Sequence[int]) -> None:
    """Make room for the layers of `count` captures, or keep those of `rows`, which are done, and forget the others.

    Raises `DatasetInvalid` when there is an index without the layers that it speaks of.
    """
    if (place / LAYERS_INDEX).is_file() and not (place / LAYERS_FILE).is_file():
        raise _damaged(f"{place / LAYERS_INDEX} without {LAYERS_FILE}", place)
    if not (place / LAYERS_FILE).is_file():
        reserve_array(place / LAYERS_FILE, (count, PLANES, TEMPLATE.size, TEMPLATE.size), np.dtype(np.float16))
    done = set(rows)
    content = b"".join(_line(record) for record in read_layers_index(place) if record.row in done)
    if not (place / LAYERS_INDEX).is_file() or (place / LAYERS_INDEX).read_bytes() != content:
        write_atomically(place / LAYERS_INDEX, content)


def add_layers_line(place: Path, record: LayersRecord) -> None:
    """Append one capture to the index."""
    with (place / LAYERS_INDEX).open("ab") as index:
        index.write(_line(record))


def read_layers_index(place: Path) -> list[LayersRecord]:
    """Return the whole lines of the index, none where there is no index; raises `DatasetInvalid` for a damaged one."""
    path = place / LAYERS_INDEX
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    try:
        return [_parse(line) for line in lines]
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise _damaged(f"{path} with a damaged line ({error})", place) from error


def _parse(line: bytes) -> LayersRecord:
    record = LayersRecord(**json.loads(line))
    if type(record.row) is not int or record.row < 0:
        raise ValueError(f"row {record.row!r}")
    if not (0 < record.ambient_scale < math.inf and 0 < record.sensor_px < math.inf):
        raise ValueError(f"scales {record.ambient_scale!r}, {record.sensor_px!r}")
    Phone(**_frozen(record.phone))
    ScreenLight(**_frozen(record.screen))
    return record


def _damaged(found: str, place: Path) -> DatasetInvalid:
    return DatasetInvalid(
        found=found,
        expected=f"{LAYERS_FILE}, and {LAYERS_INDEX} with one JSON object per line",
        remedy=f"delete {place} to have it made again",
    )


def _line(record: LayersRecord) -> bytes:
    return (json.dumps(asdict(record), allow_nan=False) + "\n").encode()


class LayerStore:
    """Read access to the aligned layers of a prepared data set; may be sent to a worker, and may be empty."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._by_row = {record.row: record for record in read_layers_index(place)}

    def __len__(self) -> int:
        return len(self._by_row)

    def __contains__(self, row: int) -> bool:
        return row in self._by_row

    def layers(self, row: int) -> AlignedLayers:
        """Return the layers of a row that is there."""
        return self.stored(row).opened()

    def stored(self, row: int) -> StoredLayers:
        """Return the layers of a row that is there, as they lie in the file."""
        record = self._by_row[row]
        phone = Phone(**_frozen(record.phone))
        return StoredLayers(
            planes=open_array(self.place / LAYERS_FILE)[row],
            ambient_scale=record.ambient_scale,
            phone=_at_template(phone, record.sensor_px),
            light=ScreenLight(**_frozen(record.screen)),
        )


def _at_template(phone: Phone, sensor_px: float) -> Phone:
    """The phone as it photographs the template, so many pixels of its sensor to each of the template's."""
    return replace(phone, sensor_scale=max(sensor_px, 1.0))


def _frozen(values: dict[str, Any]) -> dict[str, Any]:
    """A frozen dataclass's fields from their JSON form: lists become tuples again, however deep."""
    return {name: _tuples(value) for name, value in values.items()}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
