"""Before the flash: will its light stand out here? Two slow steps tell, instead of an attempt that comes to nothing.

Not in the paper, whose subjects sat in chosen light. The screen shows the plan's brightest colour, then its darkest.
The frames under both are aligned as a capture's are and give the very quantities that `sdk_reference.quality` will ask
of the capture: screen light over noise, screen light over ambient light, and what is clipped. Each is compared with the
manifest's limit and a margin, since hands move and clouds pass between here and there. Of several frames under each
colour the median of the pairs counts, so that one blink does not decide. It is a forecast: on simulated captures of one
scene, forecast and capture differ by a factor of up to 1.8 in eight cases of ten (motion, flicker of lamps, noise). The
logarithms of their signal-to-noise ratios correlate with 0.87, those of their ratios to the ambient light with 0.93.

The steps are part of what must be safe: with 400 ms or the profile's own step, whichever is longer, they and a plan
after them stay at two flashes in any second (tests/sdk_reference/test_sdk_lighting_check.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import relative_luminance, srgb8_to_linear
from flash_sequencer.palette import Srgb, profile_named
from flash_sequencer.plan import FlashPlan
from sdk_reference.errors import FlashTooWeak, Overexposed
from sdk_reference.landmarks import Face
from sdk_reference.preprocess import PreprocessSettings, align_frames, landmark_affines, registered_affines
from sdk_reference.quality import QualityLimits, clipped_fraction, flash_strength

STEP_MS: Final = 400
MARGIN: Final = 1.1
"""The forecast must exceed the manifest's flash limits by this factor, and stay below that of clipping by it. Of 72
simulated rooms from 20 to 5,000 lux it then let none pass whose capture was refused for its light, and turned away 6 of
33 whose capture was not; with 1.0 it was 1 and 3, with 1.2 0 and 8."""
MAX_PAIRS: Final = 3
"""Frames under each colour that are used, the latest: the camera has then settled. Each pair costs some 30 ms."""


@dataclass(frozen=True, eq=False)
class LitFrame:
    """A frame and the face in it."""

    image: npt.NDArray[np.uint8]
    """(H,W,3) uint8 RGB."""
    face: Face


@dataclass(frozen=True)
class LightForecast:
    """What a capture would measure here, and whether that would do."""

    flash_snr: float
    """As `Quality.flash_snr`, and so on."""
    flash_to_ambient: float
    clipped_fraction: float
    problem: FlashTooWeak | Overexposed | None
    """None when the flash will do."""


def light_steps(plan: FlashPlan, least_ms: int = STEP_MS) -> tuple[tuple[Srgb, int], tuple[Srgb, int]]:
    """The two steps to show before the plan: its brightest and its darkest colour, each with its duration in ms.

    Each stands for a step of the profile, and at least for `least_ms`: a device whose lag is long needs more.

    The order is always the same: one that fitted the plan would tell of the plan before it begins.
    """
    duration_ms = max(least_ms, profile_named(plan.profile).step_ms)
    by_rank = plan.steps_by_rank
    return (by_rank[0].srgb, duration_ms), (by_rank[-1].srgb, duration_ms)


def forecast_light(
    bright: Sequence[LitFrame],
    dark: Sequence[LitFrame],
    limits: QualityLimits,
    settings: PreprocessSettings | None = None,
    *,
    margin: float = MARGIN,
) -> LightForecast:
    """Forecast from the frames under the brightest and under the darkest colour, oldest first, all of one size.

    `limits` and `settings` are the manifest's `quality_limits` and `preprocess`. Raises ValueError when either side has
    no frame, NoFace when landmarks are no face's.
    """
    if not bright or not dark or not margin >= 1:
        raise ValueError(f"found {len(bright)} and {len(dark)} frames, margin {margin}; expected one each, 1 or more")
    count = min(MAX_PAIRS, len(bright), len(dark))
    pairs = zip(bright[-count:], dark[-count:], strict=True)
    measured = np.median([_measure(*pair, settings or PreprocessSettings()) for pair in pairs], axis=0)
    snr, ratio, clipped = (float(value) for value in measured)
    return LightForecast(snr, ratio, clipped, _problem(snr, ratio, clipped, limits, margin))


def _measure(bright: LitFrame, dark: LitFrame, settings: PreprocessSettings) -> tuple[float, float, float]:
    frames = np.stack([bright.image, dark.image])
    affines = registered_affines(frames, landmark_affines([bright.face, dark.face]), settings)
    aligned = align_frames(frames, affines)
    linear = relative_luminance(srgb8_to_linear(np.moveaxis(aligned, 1, -1))).astype(np.float32)
    return (*flash_strength(linear[0], linear[1]), clipped_fraction(aligned[0]))


def _problem(
    snr: float, ratio: float, clipped: float, limits: QualityLimits, margin: float
) -> FlashTooWeak | Overexposed | None:
    """Clipping first: a face that is white already cannot get brighter, and its flash looks weak. NaN is a problem."""
    if not clipped * margin <= limits.max_clipped_fraction:
        return Overexposed(
            found=f"{clipped:.0%} of the face overexposed under the brightest screen",
            expected=f"at most {limits.max_clipped_fraction / margin:.0%}",
            remedy="turn away from the window or lamp, or go where it is darker",
        )
    remedy = "it is too bright here: turn away from the window, come closer, and set the screen to full brightness"
    if not ratio >= margin * limits.min_flash_to_ambient:
        found = f"screen light of {ratio:.3f} times the ambient light"
        return FlashTooWeak(found=found, expected=f"at least {margin * limits.min_flash_to_ambient:.3g}", remedy=remedy)
    if not snr >= margin * limits.min_flash_snr:
        found = f"screen light of {snr:.1f} times the noise"
        return FlashTooWeak(found=found, expected=f"at least {margin * limits.min_flash_snr:.3g}", remedy=remedy)
    return None
