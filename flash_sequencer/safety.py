"""Photosensitive safety: counts the flashes in any sequence of full-screen colours. Not in the paper.

Three rules, each on the whole screen (a phone at arm's length fills far more than the area that would be exempt):

- WCAG 2.2, success criterion 2.3.1, general flash: a pair of opposing changes of at least 10 % of the maximum relative
  luminance, the darker image below 0.80; red flash: a pair of opposing transitions to or from a saturated red, where
  R/(R+G+B) ≥ 0.8 in linear light and the chromaticities differ by more than 0.2 in CIE 1976 u′v′.
- Rec. ITU-R BT.1702: a pair of opposing changes of at least 20 cd/m², the darker image below 160 cd/m²; saturated red
  as above. The screen may be set to any brightness, so a change counts when it does at any up to the peak.
- At most three flashes of a kind in any second, and no train of two or more a second that lasts over five seconds.

How we count. In a half-open second that begins with a change of the screen (the worst second always does), the flashes
are half the longest chain of alternately opposite qualifying changes between any two colours shown in it, so a monotone
ramp is one change however many steps it has, and small wiggles neither hide a change nor add one. Half a flash over the
limit is over the limit, which is stricter than the letter: square waves of 3 Hz pass and faster ones fail. The surround
shown before and after counts too: each of `surrounds` is tried in both places, and the worst is reported. Black has no
chromaticity; it is given that of white, so that red against black counts as a red flash: stricter again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from math import dist
from typing import Any

from flash_sequencer.colour import LUMINANCE_WEIGHTS, SRGB8_TO_LINEAR
from flash_sequencer.palette import BLACK, WHITE, Srgb

_DECODED = tuple(float(value) for value in SRGB8_TO_LINEAR)
# Linear sRGB to CIE XYZ, D65 (IEC 61966-2-1)
_RGB_TO_XYZ = ((0.4124, 0.3576, 0.1805), LUMINANCE_WEIGHTS, (0.0193, 0.1192, 0.9505))
_ROUNDING = 1e-9  # so that a change of exactly 10 % is not lost to floating point


@dataclass(frozen=True)
class SafetyLimits:
    """The standards' numbers, and what the screen is assumed to be."""

    flashes_per_second: float = 3
    """Most flashes of one kind in any second (WCAG 2.3.1, BT.1702)."""
    window_ms: int = 1000
    """Length of that second."""
    train_flashes_per_second: float = 2
    """From this rate on, flashing must not last (BT.1702, Ofcom)."""
    train_ms: int = 5000
    """Longest allowed train at that rate."""
    general_change: float = 0.10
    """Relative luminance; smaller changes are no flash (WCAG)."""
    general_darker_below: float = 0.80
    """Relative luminance; a change whose darker end is not below it is no flash (WCAG)."""
    red_share: float = 0.80
    """R/(R+G+B) in linear light from which a colour is a saturated red (WCAG)."""
    red_change: float = 0.20
    """Distance in CIE 1976 u′v′ that a red transition exceeds (WCAG 2.2)."""
    luminance_change_cd_m2: float = 20
    """Smaller changes are no flash (BT.1702)."""
    luminance_darker_below_cd_m2: float = 160
    """A change whose darker end is not below it is no flash (BT.1702)."""
    peak_luminance_cd_m2: float = 600
    """Luminance of white at full brightness; dimmer settings are covered too. 600 is a phone indoors."""


DEFAULT_LIMITS = SafetyLimits()


@dataclass(frozen=True)
class WorstSecond:
    """The second with the most flashes of one kind."""

    kind: str
    """`general`, `red` or `luminance` (BT.1702)."""
    transitions: int
    """Alternately opposite changes in the window; two make one flash."""
    start_ms: int
    """Start of the window, from the start of the sequence."""
    surround: tuple[Srgb, Srgb]
    """Colours before and after the sequence for which this was found."""

    @property
    def flashes(self) -> float:
        """Pairs of opposing changes; a half is a change without its counterpart."""
        return self.transitions / 2


@dataclass(frozen=True)
class SafetyReport:
    """What `analyse` found."""

    general: WorstSecond
    red: WorstSecond
    luminance: WorstSecond
    longest_train_ms: int
    """Longest stretch with two or more flashes of one kind a second; 0 when there is none."""
    limits: SafetyLimits
    reasons: tuple[str, ...] = field(default=())
    """One sentence for each limit that is exceeded."""

    @property
    def ok(self) -> bool:
        """Whether every limit is kept."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `ok`, `reasons`, `general`, `red`, `luminance`, `longest_train_ms`, `limits`."""
        worst = {
            each.kind: asdict(each) | {"flashes": each.flashes} for each in (self.general, self.red, self.luminance)
        }
        return {
            "ok": self.ok,
            "reasons": list(self.reasons),
            **worst,
            "longest_train_ms": self.longest_train_ms,
            "limits": asdict(self.limits),
        }


def linear_rgb(srgb: Srgb) -> tuple[float, float, float]:
    """Linear light, 0 to 1, of an 8-bit sRGB colour."""
    red, green, blue = srgb
    return _DECODED[red], _DECODED[green], _DECODED[blue]


@lru_cache(maxsize=4096)
def luminance_of(srgb: Srgb) -> float:
    """Relative luminance, 0 to 1, of an 8-bit sRGB colour."""
    return sum(weight * value for weight, value in zip(LUMINANCE_WEIGHTS, linear_rgb(srgb), strict=True))


@lru_cache(maxsize=4096)
def is_saturated_red(srgb: Srgb, limits: SafetyLimits = DEFAULT_LIMITS) -> bool:
    """Whether WCAG counts the colour as a saturated red. Black is none."""
    values = linear_rgb(srgb)
    return sum(values) > 0 and values[0] >= limits.red_share * sum(values) - _ROUNDING


@lru_cache(maxsize=4096)
def chromaticity(srgb: Srgb) -> tuple[float, float]:
    """CIE 1976 u′, v′ of an 8-bit sRGB colour; for black, which has none, that of white."""
    rgb = linear_rgb(srgb if any(srgb) else WHITE)
    x, y, z = (sum(weight * value for weight, value in zip(row, rgb, strict=True)) for row in _RGB_TO_XYZ)
    total = x + 15 * y + 3 * z
    return 4 * x / total, 9 * y / total


# A rule tells of two colours whether going from the first to the second is a qualifying change, and in which direction:
# 1 (up, or into red), −1 (down, or out of red) or 0 (no such change).
Rule = Callable[[Srgb, Srgb], int]


def _general_rule(limits: SafetyLimits) -> Rule:
    def rule(first: Srgb, second: Srgb) -> int:
        before, after = luminance_of(first), luminance_of(second)
        if abs(after - before) < limits.general_change - _ROUNDING or min(before, after) >= limits.general_darker_below:
            return 0
        return 1 if after > before else -1

    return rule


def _luminance_rule(limits: SafetyLimits) -> Rule:
    def rule(first: Srgb, second: Srgb) -> int:
        before, after = luminance_of(first), luminance_of(second)
        if before == after:
            return 0
        # The dimmest white at which the change is large enough; there, too, its darker end is darkest.
        white_cd_m2 = limits.luminance_change_cd_m2 / abs(after - before)
        if white_cd_m2 > limits.peak_luminance_cd_m2 + _ROUNDING:
            return 0
        if white_cd_m2 * min(before, after) >= limits.luminance_darker_below_cd_m2:
            return 0
        return 1 if after > before else -1

    return rule


def _red_rule(limits: SafetyLimits) -> Rule:
    def rule(first: Srgb, second: Srgb) -> int:
        # Two saturated reds are never over 0.15 apart in u′v′, so a qualifying change has exactly one red end.
        into = is_saturated_red(second, limits) - is_saturated_red(first, limits)
        return into if dist(chromaticity(first), chromaticity(second)) > limits.red_change else 0

    return rule


def _rules(limits: SafetyLimits) -> dict[str, Rule]:
    return {
        "general": _general_rule(limits),
        "red": _red_rule(limits),
        "luminance": _luminance_rule(limits),
    }


def alternation(colours: Sequence[Srgb], rule: Rule) -> tuple[int, ...]:
    """Longest chain of alternately opposite qualifying changes.

    Returns for each change of the chain the index of the colour that completes it.
    """
    chains: list[dict[int, tuple[int, ...]]] = []  # per colour and direction: the longest chain that ends there
    for index, colour in enumerate(colours):
        ending: dict[int, tuple[int, ...]] = {1: (), -1: ()}
        for earlier, previous in zip(colours, chains, strict=False):
            direction = rule(earlier, colour)
            if direction and len(previous[-direction]) + 1 > len(ending[direction]):
                ending[direction] = (*previous[-direction], index)
        chains.append(ending)
    return max((chain for ending in chains for chain in ending.values()), key=len, default=())


def analyse(
    sequence: Sequence[tuple[Srgb, int]],
    *,
    limits: SafetyLimits = DEFAULT_LIMITS,
    surrounds: Sequence[Srgb] = (BLACK, WHITE),
) -> SafetyReport:
    """Count the flashes of a sequence of (8-bit sRGB colour, duration in ms), full screen.

    `surrounds` are the colours that may be on the screen before and after it; all pairs are tried. Black and white are
    the worst of all greys, so that the default covers any grey user interface.
    Raises ValueError for an empty sequence, a duration that is not a positive integer, or no surround.
    """
    if not sequence or not surrounds:
        raise ValueError("found no colour to analyse; expected at least one step and one surround")
    for _, duration_ms in sequence:
        if type(duration_ms) is not int or duration_ms <= 0:
            raise ValueError(f"found duration {duration_ms!r}; expected a positive whole number of milliseconds")
    pairs = [(before, after) for before in surrounds for after in surrounds]
    worst, train_ms = {}, 0
    for kind, rule in _rules(limits).items():
        seconds = [_worst_second(sequence, pair, kind, rule, limits) for pair in pairs]
        worst[kind] = max(seconds, key=lambda second: second.transitions)
        train_ms = max(train_ms, *(_longest_train(sequence, pair, rule, limits) for pair in pairs))
    reasons = tuple(_reasons(tuple(worst.values()), train_ms, limits))
    return SafetyReport(worst["general"], worst["red"], worst["luminance"], train_ms, limits, reasons)


def _changes(sequence: Sequence[tuple[Srgb, int]], surround: tuple[Srgb, Srgb]) -> tuple[list[Srgb], list[int]]:
    """All colours, surround first and last, and the times in ms at which the screen leaves each for the next."""
    colours, times = [surround[0]], [0]
    for colour, duration_ms in sequence:
        colours.append(colour)
        times.append(times[-1] + duration_ms)
    return [*colours, surround[1]], times


def _worst_second(
    sequence: Sequence[tuple[Srgb, int]], surround: tuple[Srgb, Srgb], kind: str, rule: Rule, limits: SafetyLimits
) -> WorstSecond:
    colours, times = _changes(sequence, surround)

    def seconds() -> Iterator[WorstSecond]:
        end = 0
        for first, start_ms in enumerate(times):
            while end < len(times) and times[end] < start_ms + limits.window_ms:
                end += 1
            visible = colours[
                first : end + 1
            ]  # from the colour before the window's first change to that after its last
            yield WorstSecond(kind, len(alternation(visible, rule)), start_ms, surround)

    return max(seconds(), key=lambda second: second.transitions)


def _longest_train(
    sequence: Sequence[tuple[Srgb, int]], surround: tuple[Srgb, Srgb], rule: Rule, limits: SafetyLimits
) -> int:
    """Longest stretch, in ms from change to change, whose mean rate reaches the limit without a second's pause."""
    colours, times = _changes(sequence, surround)
    changes_ms = [times[index - 1] for index in alternation(colours, rule)]
    longest, group_start = 0, 0
    for last, end_ms in enumerate(changes_ms):
        if last and end_ms - changes_ms[last - 1] >= limits.window_ms:
            group_start = last
        for first in range(group_start, last - 1):  # at least one whole flash
            span_ms = end_ms - changes_ms[first]
            if (last - first) / 2 * 1000 >= limits.train_flashes_per_second * span_ms:
                longest = max(longest, span_ms)
                break
    return longest


def _reasons(worst: tuple[WorstSecond, ...], train_ms: int, limits: SafetyLimits) -> Iterator[str]:
    names = {"general": "general flashes (WCAG 2.3.1)", "red": "red flashes (WCAG 2.3.1)"}
    for second in worst:
        if second.flashes > limits.flashes_per_second:
            name = names.get(second.kind, f"flashes at {limits.luminance_change_cd_m2:g} cd/m² or more (ITU-R BT.1702)")
            window = f"{second.start_ms} to {second.start_ms + limits.window_ms} ms"
            yield f"{second.flashes:g} {name} within {window}; the limit is {limits.flashes_per_second:g} in any second"
    if train_ms > limits.train_ms:
        rate = f"{limits.train_flashes_per_second:g} or more flashes a second"
        yield f"{rate} go on for {train_ms} ms; the limit is {limits.train_ms} ms"
