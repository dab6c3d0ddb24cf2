"""The lag estimate on trial: made-up sequences whose true lag is known, and frames that answer something else.

    python -m flash_sequencer.lag_trial [--sequences 1000] [--seed 1]

A made-up sequence is a random challenge played to a display that is late now and then; a camera of 15 to 60 frames a
second and exposures of 1/120 to 1/15 s, whose rows are exposed one after another, whose frames jitter, get lost, or
come twice; a face that moves, in a room of up to ten times the light of the screen; automatic exposure that follows the
flash; noise. `made_up` draws it; the table says how often the lag was found, how far off it was, and how often frames
that answer another plan, or nothing, were believed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flash_sequencer.colour import relative_luminance
from flash_sequencer.errors import MatchingError
from flash_sequencer.lag import LagEstimate, estimate_lag
from flash_sequencer.lag_fit import FloatArray
from flash_sequencer.matching import match
from flash_sequencer.palette import PROFILES
from flash_sequencer.plan import challenge
from flash_sequencer.player import NS_PER_MS, PresentedStep
from flash_sequencer.presentation import Presentation
from flash_sequencer.safety import linear_rgb
from flash_sequencer.safety_trial import present

__all__ = ["LagRow", "MadeUp", "estimated", "made_up", "trial"]

NONCE_BYTES = 16
GRID_MS = 1
SETTLING_NS = 40 * NS_PER_MS


@dataclass(frozen=True, eq=False)
class MadeUp:
    """A filmed sequence that never was."""

    presented: tuple[PresentedStep, ...]
    timestamps_ns: tuple[int, ...]
    means: FloatArray
    """(F,3) mean linear RGB of the face."""
    exposure_ns: int
    """What the camera says: an upper bound."""
    true_exposure_ns: int
    lag_ns: int
    """From the command to the middle of the rows' light, half risen."""
    gains: FloatArray
    """(F,) what automatic exposure did."""


def made_up(rng: np.random.Generator, profile: str = "standard", n0: int = 5) -> MadeUp:
    """Draw a sequence."""
    plan = challenge(rng.bytes(NONCE_BYTES), n0, profile)
    lateness_ms = rng.uniform(0, np.where(rng.random(64) < 0.1, 50, 6))
    player, presentation, ended_ns = present(plan, [1.0], lateness_ms.tolist(), float(rng.choice([60.0, 144.0])))
    rate_hz, lag_ms, roll_ms, rise_ms = rng.uniform(15, 60), rng.uniform(20, 250), rng.uniform(0, 12), rng.uniform(0, 8)
    exposure_ms = min(np.exp(rng.uniform(np.log(1000 / 120), np.log(1000 / 15))), 1000 / rate_hz)
    told_ms = exposure_ms if rng.random() < 0.5 else 1000 / rate_hz  # else the camera does not tell
    light = _risen(_screen(presentation, ended_ns), rise_ms)
    starts_ms = _frame_times(rng, ended_ns / NS_PER_MS, rate_hz)
    seen = _exposed(light, starts_ms - lag_ms + roll_ms / 2, exposure_ms, roll_ms)
    means, gains = _filmed(rng, seen, starts_ms)
    twice = np.flatnonzero(rng.random(len(starts_ms)) < 0.03)  # the picture before it again, at its own time
    means[twice[twice > 0]] = means[twice[twice > 0] - 1]
    stamps = tuple(int(start_ms * NS_PER_MS) for start_ms in starts_ms)
    lag_ns = round((lag_ms - roll_ms / 2 + rise_ms) * NS_PER_MS)
    exposures_ns = (round(told_ms * NS_PER_MS), round(exposure_ms * NS_PER_MS))
    return MadeUp(player.presented(), stamps, means, *exposures_ns, lag_ns, gains)


def estimated(sequence: MadeUp) -> LagEstimate:
    """What the estimate makes of a sequence."""
    return estimate_lag(sequence.presented, sequence.timestamps_ns, sequence.means, exposure_ns=sequence.exposure_ns)


def answering_another(own: MadeUp, other: MadeUp) -> MadeUp:
    """The frames of `other`, from their own first step on, offered as an answer to the plan of `own`."""
    shift_ns = own.presented[0].shown_at_ns - other.presented[0].shown_at_ns
    stamps = tuple(stamp + shift_ns for stamp in other.timestamps_ns)
    return replace(other, presented=own.presented, timestamps_ns=stamps)


def answering_nothing(rng: np.random.Generator, sequence: MadeUp) -> MadeUp:
    """The same camera and face, and no screen."""
    means, gains = _filmed(rng, np.zeros_like(sequence.means), np.array(sequence.timestamps_ns) / NS_PER_MS)
    return replace(sequence, means=means, gains=gains)


def _screen(presentation: Presentation, ended_ns: int) -> FloatArray:
    """(T,3) linear light of the screen in every millisecond."""
    times_ns = range(0, ended_ns, GRID_MS * NS_PER_MS)
    return np.array([linear_rgb(presentation.colour_at(at_ns)) for at_ns in times_ns])


def _risen(light: FloatArray, rise_ms: float) -> FloatArray:
    """Pixels that turn exponentially."""
    risen, keep = light.copy(), np.exp(-GRID_MS / max(rise_ms, 1e-3))
    for at in range(1, len(light)):
        risen[at] = light[at] + (risen[at - 1] - light[at]) * keep
    return risen


def _frame_times(rng: np.random.Generator, until_ms: float, rate_hz: float) -> FloatArray:
    period_ms = 1000 / rate_hz
    times = np.arange(rng.uniform(0, period_ms), until_ms + 400, period_ms)
    times = times + rng.uniform(-0.1, 0.1, len(times)) * period_ms * rng.integers(0, 2)
    return np.asarray(times[rng.random(len(times)) > 0.05])


def _exposed(light: FloatArray, begin_ms: FloatArray, exposure_ms: float, roll_ms: float) -> FloatArray:
    """(F,3) mean over exposure and over the rows, whose middle one begins at `begin_ms`."""
    offsets = np.linspace(-roll_ms / 2, roll_ms / 2, 9)[:, None] + (np.arange(48) + 0.5) / 48 * exposure_ms
    moments = begin_ms[:, None] + offsets.ravel()
    return np.asarray(light[np.clip(moments / GRID_MS, 0, len(light) - 1).astype(int)].mean(axis=1))


def _filmed(rng: np.random.Generator, seen: FloatArray, starts_ms: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(F,3) means of a moving face in a room, through automatic exposure and noise; (F,) the gain of that exposure."""
    skin = np.array([1.0, 0.7, 0.55]) * rng.uniform(0.7, 1.3, 3)
    room = skin * rng.uniform(0.8, 1.2, 3) * np.exp(rng.uniform(np.log(0.3), np.log(10)))
    sway = 1 + rng.uniform(0, 0.02) * np.sin(2 * np.pi * starts_ms / rng.uniform(800, 4000) + rng.uniform(0, 6))
    scene = room * sway[:, None] ** rng.uniform(-1, 1) + skin * seen * sway[:, None] ** 2
    strength = rng.uniform(0, 0.8) * rng.integers(0, 2)
    gains = _metered_gains(relative_luminance(scene), starts_ms, strength, rng.uniform(60, 600))
    gains = gains * np.exp(rng.uniform(-0.1, 0.1) * (starts_ms - starts_ms[0]) / 2000)
    scale = 0.5 / scene.max()
    means = scene * gains[:, None] * scale
    noise = scale * np.exp(rng.uniform(np.log(0.001), np.log(0.02)))  # of the face's answer to white
    return means + rng.normal(0, noise, means.shape), gains


def _metered_gains(luminance: FloatArray, starts_ms: FloatArray, strength: float, memory_ms: float) -> FloatArray:
    """Automatic exposure: takes away `strength` of a change of luminance (in logarithms), late by `memory_ms`."""
    metered, first = np.log(luminance[0]), np.log(luminance[0])
    gains = [1.0]
    for at in range(1, len(luminance)):
        keep = np.exp(-(starts_ms[at] - starts_ms[at - 1]) / memory_ms)
        metered = np.log(luminance[at - 1]) + (metered - np.log(luminance[at - 1])) * keep
        gains.append(float(np.exp(-strength * (metered - first))))
    return np.array(gains)


@dataclass(frozen=True)
class LagRow:
    """What became of the sequences of one profile; times in ms."""

    profile: str
    tried: int
    found: int
    """How many estimates are plausible."""
    error_median: float
    error_p90: float
    error_p99: float
    covered: float
    """Share of them whose error is within the stated uncertainty."""
    wrong_frames: int
    """Frames that the matching chose although their exposure saw more than their step."""
    other_believed: int
    """Of as many that answer another plan."""
    none_believed: int
    """Of as many that answer no screen."""


def trial(sequences: int, seed: int, profile: str) -> LagRow:
    """Estimate the lag of `sequences` made-up ones, and of as many that answer another plan and none."""
    rng = np.random.default_rng(seed)
    own = [made_up(rng, profile) for _ in range(sequences)]
    found = [(each, estimate) for each in own if (estimate := estimated(each)).plausible]
    errors_ms = np.array([abs(estimate.lag_ns - each.lag_ns) / NS_PER_MS for each, estimate in found])
    stated_ms = np.array([estimate.uncertainty_ns / NS_PER_MS for _, estimate in found])
    others = [answering_another(each, own[at - 1]) for at, each in enumerate(own) if _differ(each, own[at - 1])]
    return LagRow(
        profile,
        len(own),
        len(found),
        error_median=float(np.percentile(errors_ms, 50)),
        error_p90=float(np.percentile(errors_ms, 90)),
        error_p99=float(np.percentile(errors_ms, 99)),
        covered=float((errors_ms <= stated_ms).mean()),
        wrong_frames=sum(_wrong_frames(each, estimate) for each, estimate in found),
        other_believed=sum(estimated(other).plausible for other in others),
        none_believed=sum(estimated(answering_nothing(rng, each)).plausible for each in own),
    )


def _differ(one: MadeUp, other: MadeUp) -> bool:
    return [step.srgb for step in one.presented] != [step.srgb for step in other.presented]


def _wrong_frames(sequence: MadeUp, estimate: LagEstimate) -> int:
    """How many chosen frames were exposed outside their step, by the truth; a step without a frame chooses none."""
    try:
        chosen = match(
            sequence.presented,
            sequence.timestamps_ns,
            exposure_ns=sequence.exposure_ns,
            lag_ns=estimate.lag_ns,
            settling_ns=SETTLING_NS,
            uncertainty_ns=estimate.uncertainty_ns,
        )
    except MatchingError:
        return 0
    wrong = 0
    for step in sequence.presented:
        seen_ns = sequence.timestamps_ns[chosen.frame_index_by_rank[step.rank]] - sequence.lag_ns
        wrong += not step.shown_at_ns <= seen_ns <= step.ended_at_ns - sequence.true_exposure_ns
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trial and print its table; the status is 1 when a frame was assigned to a wrong step."""
    parser = argparse.ArgumentParser(description="Estimate the lag of made-up sequences whose lag is known.")
    parser.add_argument("--sequences", type=int, default=1000, help="of each profile")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    rows = [trial(options.sequences, options.seed, profile) for profile in PROFILES]
    print("profile    tried  found  median   p90   p99 ms  covered  wrong frames  another believed  none believed")
    for r in rows:
        errors = f"{r.error_median:7.1f} {r.error_p90:5.1f} {r.error_p99:5.1f}   "
        believed = f"{r.wrong_frames:13} {r.other_believed:17} {r.none_believed:14}"
        print(f"{r.profile:<9} {r.tried:6} {r.found:6} {errors} {r.covered:8.1%} {believed}")
    return 1 if any(row.wrong_frames for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
