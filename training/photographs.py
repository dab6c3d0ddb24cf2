"""Photographs of relit captures that serve several draws each, and where they wait for the next one.

To photograph a scene anew takes a processor twice as long as a step of `mobile` takes it per capture. So a photograph
may serve several draws of its capture (`AugmentSettings.photograph_serves`): the first as it is, the next ones mirrored
or not and shifted by whole pixels, which leaves detail and noise as they are ("data echoing", Choi et al. 2019; the
paper states no augmentation). What waits on disk follows from the seed: a file that is lost or damaged is made again,
and a training that is taken up again draws the same.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from sdk_reference.atomic_files import write_atomically
from sdk_reference.errors import OutputNotWritable
from training.augment import AugmentSettings, place_depth
from training.relight import Relit

SHIFT_SHARE = 0.5
"""Of the crop's own largest shift, which a photograph has been given already."""


class PhotographStore:
    """A folder with the latest photograph of each capture, some megabyte each; processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, position: int, generation: int, make: Callable[[], Relit]) -> Relit:
        """Return photograph `generation` of a capture; what is not there is made and kept in the last one's place."""
        path = self._path(position, generation)
        kept = _read(path)
        if kept is not None:
            return kept
        made = make()
        with suppress(OSError):
            self._path(position, generation - 1).unlink(missing_ok=True)  # first: its room may be what is wanted
        try:
            write_atomically(path, _archive(made))
        except OutputNotWritable as error:  # a full disk slows a training down; it must not end it
            warnings.warn(f"photographs are not kept and made again each time ({error})", stacklevel=2)
        return made

    def _path(self, position: int, generation: int) -> Path:
        return self.folder / f"{position:06}-{generation}.npz"


def _read(path: Path) -> Relit | None:
    """A photograph, or None where there is none, or none that is whole: the archive's checksums tell."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return Relit(arrays["aligned"], arrays["depth"], arrays["response"])
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile):
        return None


def _archive(photograph: Relit) -> bytes:
    content = io.BytesIO()
    np.savez(content, aligned=photograph.aligned, depth=photograph.depth, response=photograph.response)
    return content.getvalue()


def show_again(photograph: Relit, settings: AugmentSettings, rng: np.random.Generator) -> Relit:
    """Return the photograph mirrored or not and shifted by whole pixels, its edge repeated outwards."""
    side = photograph.aligned.shape[-1]
    reach = int(settings.shift_px * SHIFT_SHARE)
    down, right = (int(shift) for shift in rng.integers(-reach, reach, 2, endpoint=True))
    mirrored = bool(rng.random() < settings.flip_share)
    rows, columns = (np.clip(np.arange(side) - shift, 0, side - 1) for shift in (down, right))
    if mirrored:
        columns = side - 1 - columns
    crop = np.array([[-1.0, 0.0, side - 1.0 + right] if mirrored else [1.0, 0.0, right], [0.0, 1.0, down]])
    moved = photograph.aligned.take(rows, axis=2).take(columns, axis=3)
    return Relit(moved, place_depth(photograph.depth, crop, side), photograph.response)
