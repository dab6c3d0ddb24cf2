"""What a nonce decides about a challenge, and how many outcomes it has. Not in the paper.

`standard`: which hues appear (a set; their ranks follow the palette's order, so that no two draws look alike on the
screen) and the order in time of all n0 colours: C(6, n0−2) · n0! screens. `gentle`: which hue stands on which step of
the luminance ladder, and whether luminance falls or rises: 6!/(8−n0)! · 2 screens. Each is equally likely, because each
choice is made without bias; no two of them show the same sequence, so the count is what an attacker has to guess among.

    n0          3      4      5      6      7      8
    standard    36    360   2400  10800  30240  40320     11.2 bits for 5
    gentle      12     60    240    720   1440   1440      7.9 bits for 5
"""

from __future__ import annotations

import math

from flash_sequencer.nonce import DrawStream
from flash_sequencer.palette import HUE_COUNT, STANDARD, Profile, Srgb, checked_n0, colours_by_rank

CONTEXT = "flashproof-challenge-1"  # the definition's version; a change here changes every challenge
DIRECTIONS = 2


def challenge_count(n0: int, profile: Profile) -> int:
    """Number of equally likely challenges; entropy is its log2. Raises PlanError when `n0` is not 3 to 8."""
    middles = checked_n0(n0) - 2
    if profile is STANDARD:
        return math.comb(HUE_COUNT, middles) * math.factorial(n0)
    return math.perm(HUE_COUNT, middles) * DIRECTIONS


def entropy_bits(n0: int, profile: Profile) -> float:
    """log2 of `challenge_count`."""
    return math.log2(challenge_count(n0, profile))


def drawn_screens(nonce: bytes, n0: int, profile: Profile) -> tuple[tuple[int, Srgb], ...]:
    """The challenge of a nonce as (rank, 8-bit sRGB) in time order; the context of the stream holds profile and n0."""
    stream = DrawStream(nonce, f"{CONTEXT}|{profile.name}|{checked_n0(n0)}")
    hues = stream.arrangement(range(HUE_COUNT), n0 - 2)
    if profile is STANDARD:
        colours = colours_by_rank(profile, tuple(sorted(hues)))
        time_order = stream.arrangement(range(n0), n0)
    else:
        colours = colours_by_rank(profile, hues)
        falling = stream.below(DIRECTIONS) == 0
        time_order = tuple(range(n0)) if falling else tuple(reversed(range(n0)))
    return tuple((rank, colours[rank]) for rank in time_order)
