"""The two profiles: which colours a plan may show, for how long, and how often that can flash at worst.

The paper asks for N0 colours of ordered intensity; real frames published for its method show white, red, green, blue,
black. Here only the first and the last rank are bound to intensity: strictly brightest, strictly darkest. The order of
the middle ranks is a convention (red, green, blue, cyan, magenta, yellow, although green is brighter than red), because
D subtracts only brightest − middle and middle − darkest and so needs no order among the middles.
"""

from __future__ import annotations

from dataclasses import dataclass

from flash_sequencer.errors import PlanError

Srgb = tuple[int, int, int]

MIN_N0 = 3  # brightest, one middle, darkest
MAX_N0 = 8  # brightest, all six hues, darkest
MAX_MIDDLES = MAX_N0 - 2

WHITE: Srgb = (255, 255, 255)
BLACK: Srgb = (0, 0, 0)

# Fully saturated and 60 degrees apart, as far as six hues can be. Their order is the convention of the middle ranks.
SATURATED_HUES: tuple[Srgb, ...] = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (0, 255, 255),
    (255, 0, 255),
    (255, 255, 0),
)

# The same six hues on a ladder of six luminances (rows: 0.36, 0.31, 0.265, 0.225, 0.19, 0.16; every hue within 2 % of
# its row), the strong channels three times as bright as the weak ones in linear light. So red has R/(R+G+B) = 0.6,
# below WCAG's 0.8 for a saturated red, and any choice of one hue per row falls monotonically. Literal integers, so that
# a phone need not repeat our rounding.
GENTLE_LADDER: tuple[tuple[Srgb, ...], ...] = (
    ((226, 138, 138), (107, 178, 107), (152, 152, 249), (104, 173, 173), (216, 132, 216), (165, 165, 99)),
    ((211, 128, 128), (100, 166, 100), (142, 142, 233), (97, 162, 162), (202, 123, 202), (155, 155, 93)),
    ((197, 119, 119), (93, 155, 93), (132, 132, 217), (90, 151, 151), (189, 114, 189), (144, 144, 86)),
    ((183, 111, 111), (86, 144, 86), (123, 123, 202), (83, 140, 140), (175, 106, 175), (133, 133, 79)),
    ((170, 102, 102), (79, 133, 79), (113, 113, 187), (77, 130, 130), (162, 98, 162), (123, 123, 73)),
    ((157, 94, 94), (73, 123, 73), (104, 104, 173), (71, 120, 120), (150, 90, 150), (114, 114, 67)),
)
HUE_COUNT = len(SATURATED_HUES)


@dataclass(frozen=True)
class Profile:
    """What every plan of one profile has in common."""

    name: str
    """`standard` or `gentle`."""
    brightest: Srgb
    """sRGB, 0 to 255, of rank 0."""
    darkest: Srgb
    """sRGB, 0 to 255, of rank n0−1."""
    step_ms: int
    """Duration of each step of a default plan, and of every step of a challenge whose duration is not drawn."""
    drawn_steps_ms: tuple[int, ...]
    """Durations that a challenge draws from for each step but the last."""
    minimum_step_ms: int
    """Shortest step that any plan of this profile may have."""
    monotone: bool
    """Whether luminance may only fall, or only rise, from the first step to the last."""
    allows_saturated_red: bool
    """Whether a colour with R/(R+G+B) of 0.8 or more in linear light may be shown."""


# 300 ms: a half-open second then holds at most four changes of the screen (at 0, 300, 600 and 900 ms), the change from
# and to the surround included, thus at most two flashes whatever the colours and their order; the limit is three.
STANDARD = Profile("standard", WHITE, BLACK, 300, (300,), 100, monotone=False, allows_saturated_red=True)
# Greys instead of white and black (one 14 times as bright as the other), and time for the eye to follow.
# Two durations 300 ms apart cannot be mistaken for each other even at 10 frames a second.
GENTLE = Profile(
    "gentle", (224, 224, 224), (64, 64, 64), 600, (600, 900), 500, monotone=True, allows_saturated_red=False
)
PROFILES = {profile.name: profile for profile in (STANDARD, GENTLE)}


def profile_named(name: object) -> Profile:
    """Return the profile called `name`; PlanError for any other name."""
    if not isinstance(name, str) or name not in PROFILES:
        raise PlanError(f"found profile {name!r}; expected one of {', '.join(PROFILES)}; choose one of these")
    return PROFILES[name]


def checked_n0(n0: object) -> int:
    """Return `n0` when it is an integer from 3 to 8; else PlanError."""
    if type(n0) is not int or not MIN_N0 <= n0 <= MAX_N0:
        raise PlanError(f"found n0={n0!r}; expected an integer from {MIN_N0} to {MAX_N0}; 5 is the paper's choice")
    return n0


def middle_colours(profile: Profile, hues: tuple[int, ...]) -> tuple[Srgb, ...]:
    """Colours of the middle ranks for `hues`, indices into SATURATED_HUES, in the order of rank."""
    if profile is STANDARD:
        return tuple(SATURATED_HUES[hue] for hue in hues)
    # Rows spread evenly over the ladder: (2k+1)·6 // 2m for the k-th of m middle ranks.
    rows = [(2 * k + 1) * MAX_MIDDLES // (2 * len(hues)) for k in range(len(hues))]
    return tuple(GENTLE_LADDER[row][hue] for row, hue in zip(rows, hues, strict=True))


def colours_by_rank(profile: Profile, hues: tuple[int, ...]) -> tuple[Srgb, ...]:
    """All colours of a plan in the order of rank: brightest, middles, darkest."""
    return (profile.brightest, *middle_colours(profile, hues), profile.darkest)
