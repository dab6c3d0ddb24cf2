"""What a nonce decides about a challenge, and how many outcomes it has. Not in the paper.

`standard`: which hues appear (a set; their ranks follow the palette's order, so that no two draws look alike on the
screen) and the order in time of all n0 colours: C(6, n0−2) · n0! screens. `gentle`: which hue stands on which step of
the luminance ladder, and whether luminance falls or rises: 6!/(8−n0)! · 2 screens. Luminance that never turns leaves no
more to choose among colours, so it is made up for in time: each step but the last stands for 600 or for 900 ms, drawn
too, times 2^(n0−1). Each outcome is equally likely, because each choice is made without bias; no two of them show the
same sequence, so the count is what an attacker has to guess among.

    n0                 3      4      5      6      7       8
    standard          36    360   2400  10800  30240   40320     11.2 bits for 5
    gentle            48    480   3840  23040  92160  184320     11.9 bits for 5
      colours alone   12     60    240    720   1440    1440      7.9 bits for 5

The times only count where somebody looks at them: a live session, whose frames must follow the screen in time (`lag`).
A capture keeps one frame per colour and no times of change, so who checks a gentle capture alone checks the colours.

Standard draws are those of definition 1. Definition 2 of `gentle`, with its times, came later; a nonce drawn by
definition 1 gives other gentle plans.
"""

from __future__ import annotations

import math

from flash_sequencer.nonce import DrawStream
from flash_sequencer.palette import HUE_COUNT, STANDARD, Profile, Srgb, checked_n0, colours_by_rank

# By profile: the definition's version; a change here changes every challenge of the profile.
CONTEXTS = {"standard": "flashproof-challenge-1", "gentle": "flashproof-challenge-2"}
DIRECTIONS = 2

Screen = tuple[int, Srgb, int]
"""Rank, 8-bit sRGB, duration in ms."""


def challenge_count(n0: int, profile: Profile) -> int:
    """Number of equally likely challenges; entropy is its log2. Raises PlanError when `n0` is not 3 to 8."""
    middles = checked_n0(n0) - 2
    if profile is STANDARD:
        return math.comb(HUE_COUNT, middles) * math.factorial(n0)
    timings = math.prod([len(profile.drawn_steps_ms)] * (n0 - 1))
    return math.perm(HUE_COUNT, middles) * DIRECTIONS * timings


def entropy_bits(n0: int, profile: Profile) -> float:
    """log2 of `challenge_count`."""
    return math.log2(challenge_count(n0, profile))


def drawn_screens(nonce: bytes, n0: int, profile: Profile) -> tuple[Screen, ...]:
    """The challenge of a nonce as (rank, 8-bit sRGB, ms) in time order; the stream's context holds profile and n0."""
    stream = DrawStream(nonce, f"{CONTEXTS[profile.name]}|{profile.name}|{checked_n0(n0)}")
    hues = stream.arrangement(range(HUE_COUNT), n0 - 2)
    if profile is STANDARD:
        colours = colours_by_rank(profile, tuple(sorted(hues)))
        time_order = stream.arrangement(range(n0), n0)
        durations_ms = [profile.step_ms] * n0
    else:
        colours = colours_by_rank(profile, hues)
        falling = stream.below(DIRECTIONS) == 0
        time_order = tuple(range(n0)) if falling else tuple(reversed(range(n0)))
        choices_ms = profile.drawn_steps_ms
        drawn_ms = [choices_ms[stream.below(len(choices_ms))] for _ in range(n0 - 1)]
        durations_ms = [*drawn_ms, profile.step_ms]
    return tuple((rank, colours[rank], ms) for rank, ms in zip(time_order, durations_ms, strict=True))
