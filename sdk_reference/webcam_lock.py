"""Switches a webcam's automatic exposure and white balance off and on again, and finds out whether that worked.

Section 4 of the paper compares frames of one exposure. OpenCV's values for "manual" differ by backend, a `set` that
returns true may have done nothing, and some cameras jump to an old manual exposure when automatic ends. So a lock
counts only when it reads back as set and the picture stays as bright and as coloured as it was; else it is undone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import srgb8_to_linear

if TYPE_CHECKING:
    from sdk_reference.webcam import VideoSource

ReadFrame = Callable[[], npt.NDArray[np.uint8]]
AUTO_EXPOSURE: Final = 21  # cv2.CAP_PROP_AUTO_EXPOSURE
AUTO_BALANCE: Final = 44  # cv2.CAP_PROP_AUTO_WB
EXPOSURE_MODES: Final = {"V4L2": ((1.0, 3.0),)}
"""(manual, automatic) by backend: V4L2 takes the driver's menu."""

OTHER_EXPOSURE_MODES: Final = ((0.25, 0.75), (0.0, 1.0))
"""DirectShow and the old convention; Media Foundation and AVFoundation."""

BALANCE_MODES: Final = ((0.0, 1.0),)
FRAMES_TO_SETTLE: Final = 5
MAX_CHANGE: Final = 0.15
"""Of the mean linear light of a channel, by the lock itself."""

STRIDE: Final = 8
DARKNESS: Final = 0.002  # linear; added so that noise in the dark is no change


@dataclass(frozen=True)
class Locks:
    """What could be held."""

    exposure: bool
    balance: bool


def try_locks(source: VideoSource, read: ReadFrame) -> tuple[Locks, Callable[[], None]]:
    """Try both locks; returns what holds and a call that sets everything back as it was. Takes up to 20 frames."""
    modes = EXPOSURE_MODES.get(source.getBackendName(), OTHER_EXPOSURE_MODES)
    undo_exposure = _try_lock(source, read, AUTO_EXPOSURE, modes)
    undo_balance = _try_lock(source, read, AUTO_BALANCE, BALANCE_MODES)

    def restore() -> None:
        for undo in (undo_balance, undo_exposure):
            if undo is not None:
                undo()

    return Locks(undo_exposure is not None, undo_balance is not None), restore


def _try_lock(
    source: VideoSource, read: ReadFrame, prop: int, modes: tuple[tuple[float, float], ...]
) -> Callable[[], None] | None:
    """Lock one property; returns how to undo it, None when it does not hold."""
    before = _mean_light(read())
    for manual, automatic in modes:
        original = source.get(prop)
        undo = _setter(source, prop, original if original in (manual, automatic) else automatic)
        # Both ways: a property that the backend does not have reads 0 whatever was set, and 0 may mean manual.
        if _holds(source, prop, automatic) and _holds(source, prop, manual) and _is_unchanged(before, read):
            return undo
        undo()
    return None


def _holds(source: VideoSource, prop: int, value: float) -> bool:
    return source.set(prop, value) and bool(np.isclose(source.get(prop), value))


def _setter(source: VideoSource, prop: int, value: float) -> Callable[[], None]:
    def undo() -> None:
        source.set(prop, value)

    return undo


def _is_unchanged(before: npt.NDArray[np.float64], read: ReadFrame) -> bool:
    for _ in range(FRAMES_TO_SETTLE - 1):
        read()
    after = _mean_light(read())
    return bool((np.abs(after - before) <= MAX_CHANGE * before + DARKNESS).all())


def _mean_light(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """(3,) mean linear RGB."""
    light = srgb8_to_linear(np.ascontiguousarray(image[::STRIDE, ::STRIDE]))
    return np.asarray(light.mean(axis=(0, 1)), dtype=np.float64)
