"""FlashPlan: what the screen shows, in what order and for how long; the default plan and challenges (paper, section 4).

The paper shows N0 = 5 colours in one fixed order. Here the order *by rank* (0 = brightest) is what D expects, while the
order *in time* and the middle colours can be drawn from a nonce, which makes the plan a challenge. No plan that flashes
more than the photosensitivity limits allow can be constructed.

Canonical hash: SHA-256 of the UTF-8 text of the JSON object with the keys `format`, `version`, `profile`, `nonce`,
`steps` (each step `rank`, `srgb`, `duration_ms`; steps in time order), keys sorted, no whitespace, whole numbers only.
Luminance and entropy are left out of it: they follow from the rest, and no two languages print floats alike.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from flash_sequencer.draw import drawn_screens, entropy_bits
from flash_sequencer.errors import PlanError, UnsafePlanError
from flash_sequencer.nonce import normalised_nonce
from flash_sequencer.palette import MAX_N0, MIN_N0, Profile, Srgb, checked_n0, colours_by_rank, profile_named
from flash_sequencer.safety import SafetyReport, analyse, is_saturated_red, linear_rgb, luminance_of
from flash_sequencer.strict_json import check_derived, checked_object, parsed_json

__all__ = ["FlashPlan", "FlashStep", "PlanError", "UnsafePlanError", "challenge", "default_plan"]

PLAN_FORMAT = "flashproof-plan"
PLAN_VERSION = 1
PLAN_KEYS = frozenset({"format", "version", "profile", "nonce", "steps", "entropy_bits"})
STEP_KEYS = frozenset({"rank", "srgb", "duration_ms", "luminance"})
MAX_STEP_MS = 5000
DERIVED_DECIMALS = 6  # of luminance and entropy in JSON
DERIVED_TOLERANCE = 1e-5


@dataclass(frozen=True)
class FlashStep:
    """One colour that fills the screen."""

    rank: int
    """0 is the brightest colour of the plan, n0−1 the darkest; the ranks between are a convention."""
    srgb: Srgb
    """8-bit sRGB, 0 to 255."""
    duration_ms: int

    def __post_init__(self) -> None:
        if type(self.rank) is not int or not 0 <= self.rank < MAX_N0:
            raise PlanError(f"found rank {self.rank!r}; expected an integer from 0 to {MAX_N0 - 1}; correct the step")
        if type(self.srgb) is not tuple or len(self.srgb) != 3 or not all(map(_is_byte, self.srgb)):
            raise PlanError(f"found colour {self.srgb!r}; expected three integers from 0 to 255; correct the step")
        if type(self.duration_ms) is not int or not 1 <= self.duration_ms <= MAX_STEP_MS:
            found = f"found duration {self.duration_ms!r}"
            raise PlanError(f"{found}; expected whole milliseconds from 1 to {MAX_STEP_MS}; correct the step")

    @property
    def linear(self) -> tuple[float, float, float]:
        """Linear light, 0 to 1."""
        return linear_rgb(self.srgb)

    @property
    def luminance(self) -> float:
        """Relative luminance, 0 to 1."""
        return luminance_of(self.srgb)


@dataclass(frozen=True)
class FlashPlan:
    """Steps in time order. Raises PlanError when a rule is broken, UnsafePlanError when the plan would be unsafe."""

    steps: tuple[FlashStep, ...]
    """3 to 8 steps in time order; ranks are a permutation of 0 to n0−1."""
    profile: str = "standard"
    nonce: str | None = None
    """Lower-case hex of 16 to 64 bytes, when the plan is the challenge of that nonce; else None."""
    entropy_bits: float = 0.0
    """log2 of the number of equally likely plans this one was drawn from; 0 without a nonce."""

    def __post_init__(self) -> None:
        _check_ranks(self.steps)
        _check_profile(self.steps, profile_named(self.profile))
        self._check_origin(profile_named(self.profile))
        if not self.safety.ok:
            raise UnsafePlanError("; ".join(self.safety.reasons) + "; use longer steps or less contrast")

    def _check_origin(self, profile: Profile) -> None:
        if self.nonce is not None and self.nonce != normalised_nonce(self.nonce):
            raise PlanError("found a nonce with capital letters; expected lower-case hex; convert it")
        if self.nonce is not None and self.steps != _challenge_steps(self.nonce, self.n0, profile):
            raise PlanError("found steps that do not follow from the nonce; expected challenge(nonce); drop the nonce")
        expected = 0.0 if self.nonce is None else entropy_bits(self.n0, profile)
        check_derived(self.entropy_bits, expected, "entropy_bits", DERIVED_TOLERANCE)

    @property
    def n0(self) -> int:
        """Number of colours."""
        return len(self.steps)

    @property
    def steps_by_rank(self) -> tuple[FlashStep, ...]:
        """The steps, brightest first."""
        return tuple(sorted(self.steps, key=lambda step: step.rank))

    def colours_linear(self) -> npt.NDArray[np.float64]:
        """Linear RGB of the colours by rank: (n0, 3) float64 in 0..1."""
        return np.array([step.linear for step in self.steps_by_rank], dtype=np.float64)

    def time_order(self) -> tuple[int, ...]:
        """Ranks in the order in which they are shown."""
        return tuple(step.rank for step in self.steps)

    @property
    def duration_ms(self) -> int:
        """Length of the whole plan."""
        return sum(step.duration_ms for step in self.steps)

    @cached_property
    def safety(self) -> SafetyReport:
        """The photosensitivity analysis, shown on a black or a white screen, whichever is worse."""
        return _analysed(tuple((step.srgb, step.duration_ms) for step in self.steps))

    def canonical_json(self) -> str:
        """The text that is hashed: sorted keys, no whitespace, whole numbers and ASCII only."""
        steps = [{"rank": s.rank, "srgb": list(s.srgb), "duration_ms": s.duration_ms} for s in self.steps]
        content = {"format": PLAN_FORMAT, "version": PLAN_VERSION, "profile": self.profile, "nonce": self.nonce}
        return json.dumps(content | {"steps": steps}, sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    def canonical_hash(self) -> str:
        """SHA-256 of `canonical_json()` in UTF-8, 64 lower-case hex digits."""
        return hashlib.sha256(self.canonical_json().encode("utf-8")).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the canonical content, and the derived `luminance` of each step and `entropy_bits`."""
        content: dict[str, Any] = json.loads(self.canonical_json())
        for entry, step in zip(content["steps"], self.steps, strict=True):
            entry["luminance"] = round(step.luminance, DERIVED_DECIMALS)
        return content | {"entropy_bits": round(self.entropy_bits, DERIVED_DECIMALS)}

    @classmethod
    def from_dict(cls, content: object) -> FlashPlan:
        """Rebuild a plan from `to_dict()`; derived values are checked. Raises PlanError for anything else."""
        fields = checked_object(content, PLAN_KEYS, "plan")
        if fields["format"] != PLAN_FORMAT or type(fields["version"]) is not int or fields["version"] != PLAN_VERSION:
            found = f"format {fields['format']!r} version {fields['version']!r}"
            raise PlanError(f"found {found}; expected {PLAN_FORMAT!r} version {PLAN_VERSION}; use a fitting release")
        if not isinstance(fields["steps"], list):
            raise PlanError("found no list under 'steps'; expected steps in time order; correct the plan")
        steps = tuple(_step_from_dict(entry) for entry in fields["steps"])
        nonce, profile = fields["nonce"], profile_named(fields["profile"])
        exact_bits = 0.0 if nonce is None else entropy_bits(len(steps), profile)
        check_derived(fields["entropy_bits"], exact_bits, "entropy_bits", DERIVED_TOLERANCE)
        return cls(steps, profile.name, nonce, exact_bits)

    def to_json(self) -> str:
        """`to_dict()` as indented JSON."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> FlashPlan:
        """Rebuild a plan from JSON text; PlanError when it is no JSON, too long, repeats a key or is no valid plan."""
        return cls.from_dict(parsed_json(text))


@lru_cache(maxsize=4096)
def _analysed(sequence: tuple[tuple[Srgb, int], ...]) -> SafetyReport:
    # A data set of 12,660 captures holds a few thousand different plans, and reading one was mostly this.
    return analyse(sequence)


def default_plan(n0: int = 5, profile: str = "standard") -> FlashPlan:
    """The fixed plan, time order = rank order: white, red, green, blue, black for `n0` = 5.

    Other `n0` keep brightest and darkest and take the first n0−2 of red, green, blue, cyan, magenta, yellow: the three
    primaries first, so that 5 is the published plan. `gentle` takes the same hues, desaturated, brightest first.
    Raises PlanError when `n0` is not 3 to 8 or the profile is unknown.
    """
    chosen = profile_named(profile)
    colours = colours_by_rank(chosen, tuple(range(checked_n0(n0) - 2)))
    steps = tuple(FlashStep(rank, srgb, chosen.step_ms) for rank, srgb in enumerate(colours))
    return FlashPlan(steps, chosen.name)


def challenge(nonce: bytes | str, n0: int = 5, profile: str = "standard") -> FlashPlan:
    """The plan that belongs to a nonce (16 to 64 bytes, or their hex): middle colours and time order are drawn from it.

    For `gentle`, whose luminance never turns, how long each step stands is drawn, too. The same nonce, `n0` and profile
    give the same plan everywhere (see `nonce` and `draw` for the exact definition). `entropy_bits` is log2 of the
    number of equally likely screen sequences: 11.23 bits (1 in 2,400) for 5 standard colours, 11.91 (1 in 3,840) for 5
    gentle ones, of which a check without times sees 7.91. That is little: give each attempt a fresh nonce, and limit
    the attempts.
    Raises PlanError for a nonce, `n0` or profile that is not as described.
    """
    chosen, digits = profile_named(profile), normalised_nonce(nonce)
    steps = _challenge_steps(digits, n0, chosen)
    return FlashPlan(steps, chosen.name, digits, entropy_bits(n0, chosen))


def _challenge_steps(nonce: str, n0: int, profile: Profile) -> tuple[FlashStep, ...]:
    return tuple(FlashStep(*screen) for screen in drawn_screens(bytes.fromhex(nonce), n0, profile))


def _step_from_dict(content: object) -> FlashStep:
    fields = checked_object(content, STEP_KEYS, "step")
    srgb = tuple(fields["srgb"]) if isinstance(fields["srgb"], list) else fields["srgb"]
    step = FlashStep(fields["rank"], srgb, fields["duration_ms"])
    check_derived(fields["luminance"], step.luminance, "luminance", DERIVED_TOLERANCE)
    return step


def _is_byte(value: object) -> bool:
    return type(value) is int and 0 <= value <= 255


def _check_ranks(steps: object) -> None:
    """Types, number of steps, ranks a permutation, first and last rank strictly extreme in luminance."""
    if type(steps) is not tuple or not all(isinstance(step, FlashStep) for step in steps):
        raise PlanError("found steps that are no tuple of FlashStep; expected one in time order; convert them")
    if not MIN_N0 <= len(steps) <= MAX_N0:
        raise PlanError(f"found {len(steps)} steps; expected {MIN_N0} to {MAX_N0}; 5 is the paper's choice")
    by_rank = sorted(steps, key=lambda step: step.rank)
    if [step.rank for step in by_rank] != list(range(len(steps))):
        raise PlanError(f"found ranks {[step.rank for step in steps]}; expected each of 0 to {len(steps) - 1} once")
    first, *middles, last = (step.luminance for step in by_rank)
    if first <= max(middles) or last >= min(middles):
        raise PlanError("found a middle colour as bright as rank 0 or as dark as the last rank; reorder the ranks")


def _check_profile(steps: tuple[FlashStep, ...], profile: Profile) -> None:
    """The profile's promises: shortest step; for `gentle` also no saturated red, and luminance that never turns."""
    shortest_ms = min(step.duration_ms for step in steps)
    if shortest_ms < profile.minimum_step_ms:
        expected = f"expected at least {profile.minimum_step_ms} ms in profile {profile.name}"
        raise PlanError(f"found a step of {shortest_ms} ms; {expected}; lengthen it")
    if not profile.allows_saturated_red and any(is_saturated_red(step.srgb) for step in steps):
        raise PlanError(f"found a saturated red; expected none in profile {profile.name}; mix in green and blue")
    rises = [after.luminance - before.luminance for before, after in pairwise(steps)]
    if profile.monotone and not (all(rise > 0 for rise in rises) or all(rise < 0 for rise in rises)):
        raise PlanError(
            f"found luminance that turns; expected one direction in profile {profile.name}; reorder the steps"
        )
