"""Plans and challenges: what they hold, what they refuse, that every draw is safe and equally likely."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flash_sequencer.draw import drawn_screens
from flash_sequencer.nonce import DrawStream
from flash_sequencer.palette import PROFILES, SATURATED_HUES, colours_by_rank
from flash_sequencer.plan import FlashPlan, FlashStep, PlanError, UnsafePlanError, challenge, default_plan
from flash_sequencer.safety import analyse, is_saturated_red

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
NONCE = bytes(range(16))
SIZES = range(3, 9)


def nonce_number(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_the_default_plan_of_five_is_the_published_one() -> None:
    plan = default_plan()
    assert [step.srgb for step in plan.steps_by_rank] == [WHITE, RED, GREEN, BLUE, BLACK]
    assert plan.time_order() == (0, 1, 2, 3, 4)
    assert (plan.n0, plan.duration_ms, plan.nonce, plan.entropy_bits) == (5, 1500, None, 0.0)
    np.testing.assert_array_equal(plan.colours_linear(), [[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    assert plan.colours_linear().dtype == np.float64


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("n0", SIZES)
def test_every_size_and_profile_has_a_default_and_a_challenge(n0: int, profile: str) -> None:
    for plan in (default_plan(n0, profile), challenge(NONCE, n0, profile)):
        luminances = [step.luminance for step in plan.steps_by_rank]
        assert plan.n0 == n0
        assert luminances[0] > max(luminances[1:])
        assert luminances[-1] < min(luminances[:-1])
        assert len({step.srgb for step in plan.steps}) == n0
        assert plan.safety.ok


@pytest.mark.parametrize("n0", [2, 9, 0, -1, 5.0, "5", None, True])
def test_other_sizes_are_refused(n0: Any) -> None:
    with pytest.raises(PlanError, match="expected an integer from 3 to 8"):
        default_plan(n0)
    with pytest.raises(PlanError, match="expected an integer from 3 to 8"):
        challenge(NONCE, n0)


def test_unknown_profiles_are_refused() -> None:
    with pytest.raises(PlanError, match="standard, gentle"):
        default_plan(5, "rave")


# --- safety of every order


@pytest.mark.parametrize(("n0", "hue_sets"), [(3, 6), (4, 15), (5, 20), (6, 1)])
def test_every_order_of_a_standard_plan_is_safe(n0: int, hue_sets: int) -> None:
    """All n0! orders in time, for every set of hues that a challenge may draw (for 6 colours, the default set)."""
    chosen_hues = list(itertools.combinations(range(6), n0 - 2))[:hue_sets]
    colour_sets = [colours_by_rank(PROFILES["standard"], hues) for hues in chosen_hues]
    for order in itertools.chain.from_iterable(map(itertools.permutations, colour_sets)):
        report = analyse([(colour, PROFILES["standard"].step_ms) for colour in order])
        assert report.ok
        assert max(report.general.flashes, report.red.flashes, report.luminance.flashes) <= 2


@pytest.mark.parametrize("n0", [5, 6, 7, 8])
def test_challenges_of_many_nonces_are_safe(n0: int) -> None:
    for number in range(100):
        report = challenge(nonce_number(number), n0).safety
        assert max(report.general.flashes, report.red.flashes, report.luminance.flashes) <= 2
        assert report.longest_train_ms == 0


def test_no_colours_whatever_flash_over_the_limit_at_the_standard_duration() -> None:
    """The bound does not depend on the palette: alternating black and white (or red) is the worst there is."""
    for first, second in [(BLACK, WHITE), (RED, WHITE), (RED, BLACK)]:
        report = analyse([((first, second)[index % 2], PROFILES["standard"].step_ms) for index in range(30)])
        assert report.ok
        assert max(report.general.flashes, report.red.flashes) == 2


def fast_steps(duration_ms: int) -> tuple[FlashStep, ...]:
    colours = {0: WHITE, 1: BLUE, 2: GREEN, 3: (0, 0, 180), 4: (0, 200, 0), 5: (0, 0, 150), 6: (0, 180, 0), 7: BLACK}
    return tuple(FlashStep(rank, colours[rank], duration_ms) for rank in (0, 1, 2, 3, 4, 5, 6, 7))


def test_an_unsafe_plan_cannot_be_constructed() -> None:
    with pytest.raises(
        UnsafePlanError, match=r"\d(\.5)? general flashes .* within \d+ to \d+ ms; the limit is 3"
    ) as caught:
        FlashPlan(fast_steps(100))
    assert "BT.1702" in str(caught.value)
    assert FlashPlan(fast_steps(300)).safety.ok  # the same colours, slower


# --- challenge


def test_a_challenge_depends_on_nonce_size_and_profile_only() -> None:
    assert challenge(NONCE) == challenge(NONCE) == challenge(NONCE.hex()) == challenge(NONCE.hex().upper())
    plans = [challenge(NONCE), challenge(NONCE[:-1] + b"\xff"), challenge(NONCE, 6), challenge(NONCE, 5, "gentle")]
    assert len({plan.canonical_hash() for plan in plans}) == len(plans)


def expected_time_order(nonce: bytes, n0: int) -> tuple[list[tuple[int, int, int]], list[int]]:
    """The documented definition, written out anew: stream, rejection, swaps."""
    blocks = b"".join(
        hashlib.sha256(f"flashproof-challenge-1|standard|{n0}".encode() + b"\0" + nonce + bytes([0, 0, 0, i])).digest()
        for i in range(8)
    )
    values = list(blocks)

    def below(limit: int) -> int:
        while (value := values.pop(0)) >= 256 - 256 % limit:
            pass
        return value % limit

    def shuffled(pool: list[int], count: int) -> list[int]:
        for i in range(count):
            j = i + below(len(pool) - i)
            pool[i], pool[j] = pool[j], pool[i]
        return pool[:count]

    hues = sorted(shuffled(list(range(6)), n0 - 2))
    return [WHITE, *(SATURATED_HUES[hue] for hue in hues), BLACK], shuffled(list(range(n0)), n0)


@pytest.mark.parametrize("n0", SIZES)
@pytest.mark.parametrize("number", range(8))
def test_a_challenge_follows_the_documented_definition(n0: int, number: int) -> None:
    plan = challenge(nonce_number(number), n0)
    colours, order = expected_time_order(nonce_number(number), n0)
    assert [step.srgb for step in plan.steps_by_rank] == colours
    assert list(plan.time_order()) == order


def expected_gentle(nonce: bytes, n0: int) -> list[tuple[tuple[int, int, int], int]]:
    """The documented definition 2, written out anew: hues of the ladder's rows, direction, durations."""
    context = f"flashproof-challenge-2|gentle|{n0}".encode()
    values = [
        value for i in range(8) for value in hashlib.sha256(context + b"\0" + nonce + bytes([0, 0, 0, i])).digest()
    ]

    def below(limit: int) -> int:
        while (value := values.pop(0)) >= 256 - 256 % limit:
            pass
        return value % limit

    pool = list(range(6))
    for i in range(n0 - 2):
        j = i + below(6 - i)
        pool[i], pool[j] = pool[j], pool[i]
    colours = list(colours_by_rank(PROFILES["gentle"], tuple(pool[: n0 - 2])))
    if below(2) == 1:
        colours.reverse()
    return list(zip(colours, [*((600, 900)[below(2)] for _ in range(n0 - 1)), 600], strict=True))


@pytest.mark.parametrize("n0", SIZES)
@pytest.mark.parametrize("number", range(8))
def test_a_gentle_challenge_follows_the_documented_definition(n0: int, number: int) -> None:
    plan = challenge(nonce_number(number), n0, "gentle")
    assert [(step.srgb, step.duration_ms) for step in plan.steps] == expected_gentle(nonce_number(number), n0)


ALL_SCREENS = {
    "standard": {3: 36, 4: 360, 5: 2400, 6: 10800, 7: 30240, 8: 40320},
    "gentle": {3: 12 * 4, 4: 60 * 8, 5: 240 * 16, 6: 720 * 32, 7: 1440 * 64, 8: 1440 * 128},
}


@pytest.mark.parametrize(("profile", "n0"), [(profile, n0) for profile in ALL_SCREENS for n0 in SIZES])
def test_entropy_is_the_logarithm_of_the_number_of_plans(profile: str, n0: int) -> None:
    assert challenge(NONCE, n0, profile).entropy_bits == math.log2(ALL_SCREENS[profile][n0])


@pytest.mark.parametrize(("profile", "n0", "count"), [("standard", 3, 36), ("gentle", 3, 48), ("gentle", 4, 480)])
def test_all_screens_occur_equally_often(profile: str, n0: int, count: int) -> None:
    """A chi-squared test on the sequence of colours on the screen and their times, over a fixed set of nonces."""
    draws = 60 * count
    drawn = (drawn_screens(nonce_number(number), n0, PROFILES[profile]) for number in range(draws))
    seen = Counter(tuple((srgb, ms) for _, srgb, ms in screens) for screens in drawn)
    assert len(seen) == count
    chi_squared = sum((frequency - 60) ** 2 / 60 for frequency in seen.values())
    degrees = count - 1
    assert chi_squared < degrees + 4 * math.sqrt(2 * degrees)


def test_draws_below_a_limit_are_unbiased_where_256_is_no_multiple_of_it() -> None:
    stream = DrawStream(NONCE, "test")
    counts = Counter(stream.below(200) for _ in range(40_000))
    # By `byte % 200` without rejection numbers below 56 would come twice as often as the others.
    low, high = sum(counts[n] for n in range(56)) / 56, sum(counts[n] for n in range(56, 200)) / 144
    assert low / high == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("limit", [0, -1, 257])
def test_draws_outside_a_byte_are_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="expected 1 to 256"):
        DrawStream(NONCE, "test").below(limit)


@pytest.mark.parametrize(
    "nonce",
    [
        "",
        "00",
        "0" * 31,
        "0" * 33,
        "0" * 30,
        "0" * 130,
        "zz" * 16,
        "0x" + "00" * 16,
        "00 " * 16,
        "٠" * 32,
        b"short",
        b"",
        bytes(15),
        bytes(65),
        bytearray(16),
        5,
        None,
        ["00"] * 16,
    ],
)
def test_wrong_nonces_are_refused(nonce: Any) -> None:
    with pytest.raises(PlanError, match="expected 16 to 64 bytes"):
        challenge(nonce)


@pytest.mark.parametrize("length", [16, 17, 64])
def test_nonces_of_16_to_64_bytes_are_taken(length: int) -> None:
    assert challenge(bytes(length)).nonce == "00" * length


# --- gentle


@pytest.mark.parametrize("n0", SIZES)
def test_gentle_challenges_keep_their_promises(n0: int) -> None:
    for number in range(50):
        plan = challenge(nonce_number(number), n0, "gentle")
        luminances = [step.luminance for step in plan.steps]
        assert luminances in (sorted(luminances), sorted(luminances, reverse=True))
        assert not any(is_saturated_red(step.srgb) for step in plan.steps)
        assert min(luminances) > 0.05
        assert max(luminances) < 0.75
        assert all(step.duration_ms in (600, 900) for step in plan.steps[:-1])
        assert plan.steps[-1].duration_ms == 600
        assert plan.safety.general.flashes <= 1
        assert plan.safety.red.flashes == 0
        assert plan.entropy_bits > challenge(NONCE, n0).entropy_bits


def test_a_gentle_plan_that_turns_hurries_or_shows_saturated_red_is_refused() -> None:
    steps = default_plan(5, "gentle").steps
    with pytest.raises(PlanError, match="luminance that turns"):
        FlashPlan((steps[1], steps[0], *steps[2:]), "gentle")
    with pytest.raises(PlanError, match="at least 500 ms"):
        FlashPlan(tuple(FlashStep(step.rank, step.srgb, 300) for step in steps), "gentle")
    with pytest.raises(PlanError, match="saturated red"):
        FlashPlan((steps[0], FlashStep(1, (226, 60, 60), 600), *steps[2:]), "gentle")


# --- validation


@pytest.mark.parametrize(
    "fields",
    [
        (-1, RED, 300),
        (8, RED, 300),
        (1.0, RED, 300),
        (True, RED, 300),
        (1, (256, 0, 0), 300),
        (1, (-1, 0, 0), 300),
        (1, (0, 0), 300),
        (1, [0, 0, 0], 300),
        (1, (0.0, 0, 0), 300),
        (1, RED, 0),
        (1, RED, 5001),
        (1, RED, 300.0),
    ],
)
def test_wrong_steps_are_refused(fields: Any) -> None:
    with pytest.raises(PlanError, match=r"found .* expected .*"):
        FlashStep(*fields)


def steps_of(*ranks_and_colours: tuple[int, tuple[int, int, int]]) -> tuple[FlashStep, ...]:
    return tuple(FlashStep(rank, colour, 300) for rank, colour in ranks_and_colours)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (steps_of((0, WHITE), (1, BLACK)), "2 steps"),
        (steps_of((0, WHITE), (1, RED), (1, GREEN), (2, BLACK)), "each of 0 to 3 once"),
        (steps_of((0, WHITE), (1, RED), (3, BLACK)), "each of 0 to 2 once"),
        (steps_of((0, RED), (1, WHITE), (2, BLACK)), "reorder the ranks"),
        (steps_of((0, WHITE), (1, BLACK), (2, RED)), "reorder the ranks"),
        (steps_of((0, WHITE), (1, WHITE), (2, BLACK)), "reorder the ranks"),
        (steps_of((0, WHITE), (1, RED), (2, RED)), "reorder the ranks"),
        (list(steps_of((0, WHITE), (1, RED), (2, BLACK))), "no tuple of FlashStep"),
        ((WHITE, RED, BLACK), "no tuple of FlashStep"),
        (tuple(FlashStep(rank, c, 99) for rank, c in enumerate((WHITE, RED, BLACK))), "at least 100 ms"),
    ],
)
def test_wrong_plans_are_refused(steps: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        FlashPlan(steps)


def test_a_plan_cannot_claim_a_nonce_or_entropy_it_was_not_drawn_from() -> None:
    drawn, other = challenge(NONCE), challenge(bytes(16))
    with pytest.raises(PlanError, match="do not follow from the nonce"):
        FlashPlan(drawn.steps, "standard", other.nonce, drawn.entropy_bits)
    with pytest.raises(PlanError, match="entropy_bits"):
        FlashPlan(drawn.steps, "standard", None, 11.0)
    with pytest.raises(PlanError, match="entropy_bits"):
        FlashPlan(drawn.steps, "standard", drawn.nonce, drawn.entropy_bits + 1)
    with pytest.raises(PlanError, match="lower-case"):
        FlashPlan(drawn.steps, "standard", str(drawn.nonce).upper(), drawn.entropy_bits)


# --- JSON and hash


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=16, max_size=64), st.sampled_from(SIZES), st.sampled_from(sorted(PROFILES)))
def test_json_round_trip_keeps_plan_and_hash(nonce: bytes, n0: int, profile: str) -> None:
    plan = challenge(nonce, n0, profile)
    again = FlashPlan.from_json(plan.to_json())
    assert again == plan
    assert again.canonical_hash() == plan.canonical_hash()


def test_the_canonical_text_is_the_documented_one() -> None:
    text = (
        '{"format":"flashproof-plan","nonce":null,"profile":"standard","steps":['
        '{"duration_ms":300,"rank":0,"srgb":[255,255,255]},{"duration_ms":300,"rank":1,"srgb":[255,0,0]},'
        '{"duration_ms":300,"rank":2,"srgb":[0,0,0]}],"version":1}'
    )
    plan = default_plan(3)
    assert plan.canonical_json() == text
    assert plan.canonical_hash() == hashlib.sha256(text.encode("utf-8")).hexdigest()
    assert isinstance(json.loads(plan.to_json())["steps"][0]["luminance"], float)


def test_any_change_of_what_is_shown_changes_the_hash() -> None:
    plan = default_plan(4)
    first, second, *rest = plan.steps
    changed = [
        FlashPlan((second, first, *rest)),
        FlashPlan((FlashStep(0, WHITE, 301), second, *rest)),
        FlashPlan((first, FlashStep(1, (254, 0, 0), 300), *rest)),
    ]
    assert len({each.canonical_hash() for each in (plan, *changed)}) == 4


def edited(**changes: Any) -> dict[str, Any]:
    return challenge(NONCE).to_dict() | changes


def with_step(**changes: Any) -> dict[str, Any]:
    plan = default_plan().to_dict()
    plan["steps"][1] |= changes
    return plan


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "plan",
        {},
        edited(extra=1),
        {key: value for key, value in edited().items() if key != "nonce"},
        edited(version=2),
        edited(version=True),
        edited(version="1"),
        edited(format="other"),
        edited(profile="gentle"),
        edited(profile=["standard"]),
        edited(nonce=None),
        edited(nonce=5),
        edited(nonce="xy"),
        edited(entropy_bits=64.0),
        edited(entropy_bits="11.2"),
        edited(entropy_bits=None),
        edited(entropy_bits=True),
        edited(entropy_bits=math.nan),
        edited(steps=[]),
        edited(steps={}),
        edited(steps=[1, 2, 3]),
        edited(steps=edited()["steps"] * 2),
        edited(steps=edited()["steps"][::-1]),
        with_step(luminance=0.9),
        with_step(luminance=None),
        with_step(extra=0),
        with_step(srgb=[255, 0]),
        with_step(srgb="red"),
        with_step(srgb=None),
        with_step(srgb=[255.0, 0, 0]),
        with_step(duration_ms=1),
        with_step(duration_ms="300"),
        with_step(rank=0),
        with_step(rank=[1]),
    ],
)
def test_wrong_plan_objects_are_refused(content: object) -> None:
    with pytest.raises(PlanError, match=r"found .*expected|found .*; reorder"):
        FlashPlan.from_dict(content)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 60_000,
        '{"version":1,"version":1}',
        '{"a":NaN}',
        '{"a":Infinity}',
        " " * 70_000,
        b"{}",
        "1" * 9_000,
    ],
)
def test_text_that_is_no_plan_is_refused(text: Any) -> None:
    with pytest.raises(PlanError, match=r"found .*expected"):
        FlashPlan.from_json(text)


def test_random_edits_of_plan_json_never_give_another_error() -> None:
    source = random.Random(7)
    plan = challenge(NONCE)
    text, accepted = plan.to_json(), 0
    for _ in range(500):
        position = source.randrange(len(text))
        broken = text[:position] + source.choice('0159{}[]",:.-eé ') + text[position + source.randrange(3) :]
        try:
            assert FlashPlan.from_json(broken) == plan  # white space, or the last digits of a derived value
            accepted += 1
        except PlanError:
            continue
    assert 0 < accepted < 250
