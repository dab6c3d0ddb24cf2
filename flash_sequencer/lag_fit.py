"""The least squares behind `lag`: many lags at once, and what free colours would explain. Not in the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import relative_luminance
from flash_sequencer.screen_light import ScreenLight

FloatArray = npt.NDArray[np.float64]

RIDGE = 0.003  # per frame, on the drift terms: a tenth less of a drift of the usual size
TINY_RIDGE = 1e-9  # per frame, on all terms: a step without any frame has a column of zeros
SIGMAS = 5.0
PLAN_TERMS = 2  # room and gain
DRIFT_TERMS = 4
USUAL_LEVEL = 0.3  # of the metered luminance, taken off so that its terms are about zero


class Candidate(NamedTuple):
    """One hypothesis and what it leaves unexplained."""

    lag_s: float
    exposure_s: float
    memory_s: float
    """Of the meter of the automatic exposure."""
    residual: float
    """Penalised sum of squares, over all frames and channels."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The frames, and what they may have seen."""

    light: ScreenLight
    starts_s: FloatArray
    """(F,) starts of exposure."""
    values: FloatArray
    """(F,3) mean linear RGB."""
    longest_exposure_s: float

    @property
    def total(self) -> float:
        """Sum of squares about the mean."""
        return float(((self.values - self.values.mean(axis=0)) ** 2).sum())

    def terms(self, lags_s: FloatArray, exposure_s: float, memory_s: float, starts_s: FloatArray) -> FloatArray:
        """(…,F,3,6): for lags (…) what the mean of each frame and channel is a combination of."""
        seen_s = starts_s - lags_s[..., None]
        light, metered = self.light.mean(seen_s, exposure_s), self.light.metered(seen_s, memory_s)
        middle_s, half_s = self.starts_s.mean(), np.ptp(self.starts_s) / 2
        return combined(light, metered - USUAL_LEVEL, np.clip((starts_s - middle_s) / half_s, -1, 1))


def combined(light: FloatArray, metered: FloatArray, time: FloatArray) -> FloatArray:
    """(…,F,3,6) terms of light (…,F,3), metered luminance (…,F) and time (F)."""
    terms = np.empty((*light.shape, PLAN_TERMS + DRIFT_TERMS))
    terms[..., 0], terms[..., 1] = 1.0, light
    terms[..., 2], terms[..., 4] = metered[..., None], time[:, None]
    terms[..., 3], terms[..., 5] = metered[..., None] * light, time[:, None] * light
    return terms


@dataclass(frozen=True, eq=False)
class Scan:
    """The least residual for each lag, over exposures and memories."""

    lags_s: FloatArray
    residuals: FloatArray
    best: Candidate
    freedom: int
    """Degrees of freedom that are left, counted for one channel: what disturbs a face disturbs all three alike."""

    def acceptable(self, sigmas: float = SIGMAS) -> tuple[float, float]:
        """First and last lag, without a gap around the best, that is within `sigmas` standard deviations of it."""
        limit = self.best.residual * (1 + sigmas**2 / self.freedom)
        fits = self.residuals <= limit
        place = int(np.argmin(self.residuals))
        below, above = np.flatnonzero(~fits[:place]), np.flatnonzero(~fits[place:])
        first = int(below[-1]) + 1 if len(below) else 0
        last = place + int(above[0]) - 1 if len(above) else len(fits) - 1
        return float(self.lags_s[first]), float(self.lags_s[last])

    def runner_up(self, separate_s: float) -> Candidate | None:
        """The best local minimum that is at least `separate_s` away from the acceptable lags."""
        low_s, high_s = self.acceptable()
        padded = np.pad(self.residuals, 1, constant_values=np.inf)
        minimal = (self.residuals <= padded[:-2]) & (self.residuals <= padded[2:])
        others = minimal & ((self.lags_s < low_s - separate_s) | (self.lags_s > high_s + separate_s))
        if not others.any():
            return None
        place = int(np.argmin(np.where(others, self.residuals, np.inf)))
        return self.best._replace(lag_s=float(self.lags_s[place]), residual=float(self.residuals[place]))


class Judgement(NamedTuple):
    """How the plan's colours compare to free ones; see `lag.LagEstimate`."""

    free_explained: float
    agreement: float
    hue_agreement: float
    signal_to_noise: float
    least_gain: float
    """Of the three channels; below 0 the face darkens where the screen lights up."""


def scanned(
    candidates: Candidates, lags_s: FloatArray, exposures: Sequence[float], memories_s: Sequence[float]
) -> Scan:
    """Fit the plan's colours at every lag, exposure (share of the longest) and memory of the meter."""
    tried = [(candidates.longest_exposure_s * share, memory_s) for share in exposures for memory_s in memories_s]
    residuals = np.stack(
        [
            residual_of(candidates.terms(lags_s, exposure_s, memory_s, candidates.starts_s), candidates.values)
            for exposure_s, memory_s in tried
        ]
    )
    which, place = np.unravel_index(int(np.argmin(residuals)), residuals.shape)
    best = Candidate(float(lags_s[place]), *tried[int(which)], float(residuals[which, place]))
    freedom = max(len(candidates.values) - PLAN_TERMS - DRIFT_TERMS, 1)
    return Scan(lags_s, residuals.min(axis=0), best, freedom)


def residual_of(terms: FloatArray, values: FloatArray) -> FloatArray:
    """Penalised sum of squares (…) of fitting `values` (F,3) by `terms` (…,F,3,K), of which the last are drift."""
    middle = values.mean(axis=0)  # the room absorbs it; without it the sums below lose no digits
    normal, right = _equations(terms, values - middle)
    explained = _quadratic_form(normal, right[..., 0]).sum(axis=-1)
    residual: FloatArray = np.maximum(((values - middle) ** 2).sum() - explained, 0.0)
    return residual


def _quadratic_form(normal: FloatArray, right: FloatArray) -> FloatArray:
    """rᵀ A⁻¹ r (…) of positive definite A (…,K,K) and r (…,K), by elimination: many small ones at once."""
    left = np.ascontiguousarray(np.moveaxis(normal, (-2, -1), (0, 1)))
    rest = np.ascontiguousarray(np.moveaxis(right, -1, 0))
    form = np.zeros(rest.shape[1:])
    for place in range(len(rest)):
        form += rest[place] ** 2 / left[place, place]
        factors = left[place + 1 :, place] / left[place, place]
        left[place + 1 :, place + 1 :] -= factors[:, None] * left[place, place + 1 :]
        rest[place + 1 :] -= factors * rest[place]
    return form


def fitted(terms: FloatArray, values: FloatArray) -> FloatArray:
    """Ridge regression: coefficients (…,3,K) of `terms` (…,F,3,K) for `values` (F,3)."""
    normal, right = _equations(terms, values)
    coefficients: FloatArray = np.linalg.solve(normal, right)[..., 0]
    return coefficients


def _equations(terms: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Normal equations: (…,3,K,K) and (…,3,K,1)."""
    frames, count = len(values), terms.shape[-1]
    by_channel = np.swapaxes(terms, -3, -2)  # (…,3,F,K)
    ridge = np.full(count, TINY_RIDGE * frames)
    ridge[count - DRIFT_TERMS :] = RIDGE * frames
    transposed = np.swapaxes(by_channel, -1, -2)
    return transposed @ by_channel + np.diag(ridge), transposed @ values.T[:, :, None]


def judged(candidates: Candidates, best: Candidate) -> Judgement:
    """Compare the plan's colours with free ones and with greys, at one lag."""
    values, frames = candidates.values, len(candidates.values)
    plan = candidates.terms(np.asarray(best.lag_s), best.exposure_s, best.memory_s, candidates.starts_s)
    shares = candidates.light.shares(candidates.starts_s - best.lag_s, best.exposure_s)
    steps = np.broadcast_to(shares[:, None, :], (frames, 3, shares.shape[-1]))
    free = np.concatenate([plan[..., :1], steps, plan[..., 1:]], axis=-1)
    grey = plan.copy()
    luminance = relative_luminance(plan[..., 1])[:, None]
    for place, factor in ((1, 1.0), (3, plan[..., 2]), (5, plan[..., 4])):
        grey[..., place] = luminance * factor
    by_plan, by_free, by_grey = (float(residual_of(terms, values)) for terms in (plan, free, grey))
    spare = max(3 * (frames - shares.shape[-1] - PLAN_TERMS), 1)
    noise = by_free / spare
    chance = 3 * (shares.shape[-1] - 1) * noise  # what free colours explain of noise
    answer, hue_answer = candidates.total - by_free - chance, by_grey - by_free - chance
    missed = max(by_plan - by_free - chance, 0.0)
    return Judgement(
        free_explained=1 - by_free / candidates.total,
        agreement=1 - missed / answer if answer > 0 else 0.0,
        hue_agreement=1 - missed / hue_answer if hue_answer > 0 else 0.0,
        signal_to_noise=float(np.sqrt(max(answer, 0.0) / values.size / max(noise, 1e-18))),
        least_gain=float(fitted(plan, values)[:, 1].min()),
    )
