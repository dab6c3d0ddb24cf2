"""What light the screen gave, worked out from the steps as presented: means over exposures, and a slow meter's view.

The paper needs none of it: its frames are lit by one colour each. Real exposures straddle changes, and automatic
exposure answers the flash after a while. Times are seconds from the first step, light is linear and 0 to 1 per channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import relative_luminance
from flash_sequencer.palette import Srgb
from flash_sequencer.player import PresentedStep
from flash_sequencer.safety import linear_rgb

FloatArray = npt.NDArray[np.float64]
NS_PER_S = 1_000_000_000
FAR_S = 1000.0  # the surround, long before and long after


class ScreenLight:
    """The light of `presented` steps (in time order), of `surround` (8-bit sRGB) before, after and between them."""

    def __init__(self, presented: Sequence[PresentedStep], surround: Srgb) -> None:
        self.origin_ns = presented[0].shown_at_ns
        self._spans_s = self.seconds([(step.shown_at_ns, step.ended_at_ns) for step in presented])
        starts = [(-FAR_S, surround), (0.0, presented[0].srgb)]
        for (before, step), (span, after_span) in zip(
            pairwise(presented), pairwise(self._spans_s.tolist()), strict=True
        ):
            starts += [(span[1], surround)] * (before.ended_at_ns < step.shown_at_ns)
            starts.append((after_span[0], step.srgb))
        starts.append((float(self._spans_s[-1, 1]), surround))
        self._times_s = np.array([at_s for at_s, _ in starts])
        self._colours = np.array([linear_rgb(colour) for _, colour in starts])
        lasting_s = np.diff([*self._times_s, FAR_S])
        self._sums = np.vstack([np.zeros(3), np.cumsum(self._colours * lasting_s[:, None], axis=0)])

    def seconds(self, times_ns: npt.ArrayLike) -> FloatArray:
        """Times in ns (any shape) as seconds from the first step."""
        return (np.asarray(times_ns, dtype=np.int64) - self.origin_ns) / NS_PER_S

    def mean(self, starts_s: FloatArray, exposure_s: float) -> FloatArray:
        """Mean linear RGB, (…,3), over exposures of `exposure_s` that begin at `starts_s` (…)."""
        edges = np.append(self._times_s, FAR_S)
        means: FloatArray = np.stack(
            [
                (np.interp(starts_s + exposure_s, edges, sums) - np.interp(starts_s, edges, sums)) / exposure_s
                for sums in self._sums.T
            ],
            axis=-1,
        )
        return means

    def shares(self, starts_s: FloatArray, exposure_s: float) -> FloatArray:
        """Share (…,S), 0 to 1, of each exposure that lay in each step."""
        begins, ends = self._spans_s.T
        later, earlier = np.minimum(starts_s[..., None] + exposure_s, ends), np.maximum(starts_s[..., None], begins)
        shares: FloatArray = np.maximum(later - earlier, 0.0) / exposure_s
        return shares

    def metered(self, at_s: FloatArray, memory_s: float) -> FloatArray:
        """Luminance (…) as a meter sees it at `at_s` that forgets exponentially within `memory_s`."""
        luminance = relative_luminance(self._colours)
        levels = [float(luminance[0])]  # at each change of the screen; it stood at the surround for long before
        for seen, lasting_s in zip(luminance[:-1], np.diff(self._times_s), strict=True):
            levels.append(float(seen + (levels[-1] - seen) * np.exp(-lasting_s / memory_s)))
        index = np.maximum(np.searchsorted(self._times_s, at_s, side="right") - 1, 0)
        faded = np.exp(-(at_s - self._times_s[index]) / memory_s)
        metered: FloatArray = luminance[index] + (np.array(levels)[index] - luminance[index]) * faded
        return metered
