"""Safety on trial: many random plans, and many presentations with late and dropped display frames. Not in the paper.

    python -m flash_sequencer.safety_trial [--plans 10000] [--sequences 1000] [--seed 1]

Plans are challenges of random nonces, of both profiles and 3 to 8 colours; each is held against the limits as it was
planned. A sequence is such a plan played to a made-up display that stalls, drops frames and is late by up to 1.5 s; it
is held against them as it was *presented*. The exit status is 0 when all are safe, else 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from flash_sequencer.palette import MAX_N0, MIN_N0, PROFILES, Srgb
from flash_sequencer.plan import FlashPlan, challenge
from flash_sequencer.player import DARK_SURROUND, NS_PER_MS, FlashPlayer
from flash_sequencer.presentation import Presentation
from flash_sequencer.safety import SafetyReport, analyse

__all__ = ["TrialRow", "present", "trial"]

NONCE_BYTES = 16
BEFORE_NS = AFTER_NS = 500 * NS_PER_MS  # of the surround, around the plan
LONGEST_DELAY_MS = 1500.0
SMOOTH_DELAY_MS = 8.0
STALLS = 0.05  # share of refreshes that are stalled by up to the longest delay
REFRESH_HZ = (24.0, 30.0, 59.94, 60.0, 90.0, 120.0, 144.0)


@dataclass(frozen=True)
class TrialRow:
    """What became of the plans or the sequences of one profile."""

    what: str
    """`planned` or `presented`."""
    profile: str
    tried: int
    unsafe: int
    most_general: float
    """Flashes in the worst second of all; the limit is 3."""
    most_red: float
    most_luminance: float
    longest_train_ms: int
    shortest_step_ms: float
    """Shortest time that any step stood."""


def present(
    plan: FlashPlan,
    gaps_ms: Sequence[float],
    lateness_ms: Sequence[float],
    refresh_hz: float,
    *,
    stop_after_ms: int | None = None,
) -> tuple[FlashPlayer, Presentation, int]:
    """Play `plan` on a display that refreshes at `refresh_hz`, and return player, log and the end of the log in ns.

    `gaps_ms` (repeated as needed) go by between two looks of the display loop at the clock, `lateness_ms` between the
    look and the refresh that shows the colour. `stop_after_ms` aborts that long after the start.
    """
    now_ns, period_ns = 0, round(1e9 / refresh_hz)
    gaps, lateness = cycle(gaps_ms), cycle(lateness_ms)
    presentation = Presentation()
    presentation.record(DARK_SURROUND, now_ns)
    player = FlashPlayer(plan, lambda: now_ns)
    now_ns = BEFORE_NS
    player.start()
    while not player.finished(now_ns):
        index = player.step_at(now_ns)
        due_ns = now_ns + round(next(lateness) * NS_PER_MS)
        now_ns = -(-due_ns // period_ns) * period_ns  # the next refresh
        if index is not None:
            presentation.record(plan.steps[index].srgb, now_ns)
            player.report_shown(index, now_ns)
        if stop_after_ms is not None and now_ns >= BEFORE_NS + stop_after_ms * NS_PER_MS:
            player.stop()
        now_ns += 1 + round(next(gaps) * NS_PER_MS)
    presentation.record(DARK_SURROUND, -(-now_ns // period_ns) * period_ns)
    return player, presentation, now_ns + AFTER_NS


def trial(plans: int, sequences: int, seed: int) -> list[TrialRow]:
    """Try `plans` plans and `sequences` presentations of each profile; a row for each."""
    rng = np.random.default_rng(seed)
    rows = []
    for profile in PROFILES:
        planned = (_drawn(rng, profile) for _ in range(plans))
        rows.append(_row("planned", profile, ([(s.srgb, s.duration_ms) for s in plan.steps] for plan in planned)))
        rows.append(_row("presented", profile, (_presented(rng, profile) for _ in range(sequences))))
    return rows


def _drawn(rng: np.random.Generator, profile: str) -> FlashPlan:
    return challenge(rng.bytes(NONCE_BYTES), int(rng.integers(MIN_N0, MAX_N0 + 1)), profile)


def _presented(rng: np.random.Generator, profile: str) -> list[tuple[Srgb, int]]:
    stalls = rng.random((2, 64)) < STALLS
    delays_ms = rng.uniform(0, np.where(stalls, LONGEST_DELAY_MS, SMOOTH_DELAY_MS))
    plan, refresh_hz = _drawn(rng, profile), float(rng.choice(REFRESH_HZ))
    _, presentation, ended_ns = present(plan, delays_ms[0].tolist(), delays_ms[1].tolist(), refresh_hz)
    return presentation.sequence(ended_ns)


def _row(what: str, profile: str, sequences: Iterable[list[tuple[Srgb, int]]]) -> TrialRow:
    reports: list[SafetyReport] = []
    shortest_ms = float("inf")
    for sequence in sequences:
        reports.append(analyse(sequence))
        steps_ms = [duration_ms for colour, duration_ms in sequence if colour != DARK_SURROUND]
        shortest_ms = min(shortest_ms, *steps_ms)
    return TrialRow(
        what,
        profile,
        tried=len(reports),
        unsafe=sum(not report.ok for report in reports),
        most_general=max((report.general.flashes for report in reports), default=0.0),
        most_red=max((report.red.flashes for report in reports), default=0.0),
        most_luminance=max((report.luminance.flashes for report in reports), default=0.0),
        longest_train_ms=max((report.longest_train_ms for report in reports), default=0),
        shortest_step_ms=shortest_ms,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trial and print its table."""
    parser = argparse.ArgumentParser(description="Hold random plans and presentations against the flash limits.")
    parser.add_argument("--plans", type=int, default=10_000, help="random plans of each profile")
    parser.add_argument("--sequences", type=int, default=1_000, help="presented sequences of each profile")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    rows = trial(options.plans, options.sequences, options.seed)
    print("what       profile    tried  unsafe  general    red  luminance  train_ms  shortest_ms")
    for r in rows:
        counts = f"{r.what:<10} {r.profile:<9} {r.tried:>6} {r.unsafe:>7}"
        worst = f"{r.most_general:>8g} {r.most_red:>6g} {r.most_luminance:>10g}"
        print(f"{counts} {worst} {r.longest_train_ms:>9} {r.shortest_step_ms:>12g}")
    return 1 if any(row.unsafe for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
