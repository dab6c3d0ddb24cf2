"""The flash analysis against sequences worked out by hand from WCAG 2.3.1 and ITU-R BT.1702."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flash_sequencer.safety import (
    SafetyLimits,
    SafetyReport,
    alternation,
    analyse,
    chromaticity,
    is_saturated_red,
    luminance_of,
)

Srgb = tuple[int, int, int]
BLACK, GREY, WHITE = (0, 0, 0), (128, 128, 128), (255, 255, 255)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
MAGENTA, YELLOW = (255, 0, 255), (255, 255, 0)


def grey(level: int) -> Srgb:
    return (level, level, level)


def alternate(first: Srgb, second: Srgb, durations_ms: Sequence[int], total_ms: int) -> list[tuple[Srgb, int]]:
    """`first`, `second`, `first`, … with the durations repeated in turn, as many whole steps as fit into `total_ms`."""
    sequence: list[tuple[Srgb, int]] = []
    elapsed_ms = 0
    while elapsed_ms + durations_ms[len(sequence) % len(durations_ms)] <= total_ms:
        duration_ms = durations_ms[len(sequence) % len(durations_ms)]
        sequence.append(((first, second)[len(sequence) % 2], duration_ms))
        elapsed_ms += duration_ms
    return sequence


def within(sequence: list[tuple[Srgb, int]]) -> SafetyReport:
    """Analyse with a surround equal to both ends, so that the hand count holds without lead-in and return."""
    assert sequence[0][0] == sequence[-1][0]
    return analyse(sequence, surrounds=(sequence[0][0],))


THREE_HZ = (167, 167, 166)  # half a period is 166⅔ ms
FOUR_HZ = (125,)


def test_three_flashes_a_second_pass() -> None:
    report = within(alternate(BLACK, WHITE, THREE_HZ, 2167))
    assert report.ok
    assert (report.general.flashes, report.luminance.flashes, report.red.flashes) == (3, 3, 0)


def test_four_flashes_a_second_fail() -> None:
    report = within(alternate(BLACK, WHITE, FOUR_HZ, 2125))
    assert (report.general.flashes, report.luminance.flashes, report.red.flashes) == (4, 4, 0)
    assert not report.ok
    assert "4 general flashes (WCAG 2.3.1) within 125 to 1125 ms; the limit is 3" in report.reasons[0]
    assert "BT.1702" in report.reasons[1]


def test_a_burst_is_found_wherever_it_lies() -> None:
    quiet = [(BLACK, 4321)]
    report = within([*quiet, *alternate(WHITE, BLACK, FOUR_HZ, 1000), *quiet])
    assert (report.general.flashes, report.general.start_ms) == (4, 4321)


def test_one_flash_is_a_pair_of_changes() -> None:
    assert within([(BLACK, 500), (WHITE, 100), (BLACK, 500)]).general.flashes == 1


@pytest.mark.parametrize("levels", [range(0, 256, 5), range(255, -1, -5)])
def test_a_monotone_ramp_is_one_transition(levels: range) -> None:
    ramp = [(grey(level), 10) for level in levels]
    report = analyse(ramp, surrounds=(ramp[0][0],))
    assert report.general.transitions <= 2  # the ramp, and the return to the surround where it falls within the second
    assert analyse([*ramp, (ramp[-1][0], 2000)], surrounds=(ramp[0][0],)).general.transitions == 1


def test_wiggles_on_a_ramp_add_nothing() -> None:
    levels = [0, 120, 110, 180, 172, 255]  # rises of over 10 %, dips of under 10 %
    assert (
        analyse([*((grey(level), 50) for level in levels), (WHITE, 2000)], surrounds=(BLACK,)).general.transitions == 1
    )


def test_a_rise_in_small_steps_with_dips_still_counts() -> None:
    # Relative luminance 0, 0.08, 0.05, 0.14: no single step reaches 10 %, the whole rise does.
    levels = [grey(level) for level in (0, 80, 63, 105)]
    assert [round(luminance_of(level), 2) for level in levels] == [0.0, 0.08, 0.05, 0.14]
    report = analyse([*((level, 100) for level in levels), (BLACK, 2000)], surrounds=(BLACK,))
    assert report.general.flashes == 1


@pytest.mark.parametrize(
    ("darker", "lighter", "counts"),
    [
        (0, 89, False),  # 0 to 0.0999
        (0, 90, True),  # 0 to 0.1022
        (230, 255, True),  # 0.7913 to 1: the darker below 0.80
        (232, 255, False),  # 0.8069 to 1: it is not
        (128, 152, False),  # 0.2159 to 0.3140
        (128, 153, True),  # 0.2159 to 0.3185
    ],
)
def test_wcag_thresholds_of_a_general_flash(darker: int, lighter: int, counts: bool) -> None:
    report = within(alternate(grey(darker), grey(lighter), FOUR_HZ, 2125))
    assert report.general.flashes == (4 if counts else 0)


@pytest.mark.parametrize(
    ("darker", "lighter", "peak_cd_m2", "counts"),
    [
        (0, 255, 19, False),  # never 20 cd/m²
        (0, 255, 20, True),
        (0, 89, 200, False),  # 0.0999 · 200 = 19.98 cd/m²
        (0, 89, 201, True),
        (0, 50, 600, False),  # 0.0319 · 600 = 19.1 cd/m²
        (0, 52, 600, True),  # 0.0343 · 600 = 20.6 cd/m²
        (220, 255, 600, True),  # 0.7157 to 1 at 100 cd/m² white: 71.6 to 100
        (245, 255, 2000, False),  # 0.9130 to 1: 20 cd/m² apart only from 230 cd/m² on, where the darker has 210
    ],
)
def test_bt1702_thresholds_at_any_brightness_up_to_the_peak(
    darker: int, lighter: int, peak_cd_m2: float, counts: bool
) -> None:
    sequence = alternate(grey(darker), grey(lighter), FOUR_HZ, 2125)
    report = analyse(sequence, surrounds=(grey(darker),), limits=SafetyLimits(peak_luminance_cd_m2=peak_cd_m2))
    assert report.luminance.flashes == (4 if counts else 0)


def test_saturated_red_is_decided_in_linear_light() -> None:
    assert is_saturated_red(RED)
    assert is_saturated_red((255, 136, 0))  # linear 1 and 0.2462: 0.8025
    assert not is_saturated_red((255, 137, 0))  # linear 1 and 0.2502: 0.7999
    assert is_saturated_red((255, 99, 99))  # linear 1, 0.1248, 0.1248: 0.8003, although 255/453 is 0.56
    assert not is_saturated_red((255, 100, 100))  # linear 1, 0.1274, 0.1274: 0.7969
    assert not any(map(is_saturated_red, (BLACK, WHITE, MAGENTA, YELLOW, GREEN)))


def test_chromaticities_are_those_of_the_srgb_primaries() -> None:
    # From the xy of IEC 61966-2-1: u′ = 4x/(−2x+12y+3), v′ = 9y/(−2x+12y+3)
    for colour, (x, y) in {RED: (0.64, 0.33), GREEN: (0.30, 0.60), BLUE: (0.15, 0.06), WHITE: (0.3127, 0.3290)}.items():
        scale = -2 * x + 12 * y + 3
        assert chromaticity(colour) == pytest.approx((4 * x / scale, 9 * y / scale), abs=5e-4)


@pytest.mark.parametrize("other", [BLACK, WHITE, GREEN, BLUE])
def test_red_flicker_fails_as_red_flashes(other: Srgb) -> None:
    report = within(alternate(other, RED, FOUR_HZ, 2125))
    assert report.red.flashes == 4
    assert any("red flashes" in reason for reason in report.reasons)


def test_red_flashes_are_counted_where_luminance_stays_the_same() -> None:
    same_luminance = grey(127)  # 0.2122 against red's 0.2126
    report = within(alternate(same_luminance, RED, FOUR_HZ, 2125))
    assert (report.general.flashes, report.red.flashes) == (0, 4)
    assert not report.ok


def test_red_flashes_at_three_a_second_pass() -> None:
    report = within(alternate(BLACK, RED, THREE_HZ, 2167))
    assert report.red.flashes == 3
    assert report.ok


@pytest.mark.parametrize(
    ("wide_cm", "high_cm", "distance_cm"), [(5.8, 10.4, 30), (7, 15, 25), (7, 15, 60), (34, 19, 70)]
)
def test_no_screen_is_small_enough_to_flicker(wide_cm: float, high_cm: float, distance_cm: float) -> None:
    """WCAG exempts flashes under 0.006 sr; screens used as people do fill more, so the analysis exempts none."""
    assert wide_cm * high_cm / (distance_cm**2 + (wide_cm**2 + high_cm**2) / 4) > 0.006
    assert not within(alternate(BLACK, WHITE, FOUR_HZ, 2125)).ok


def test_red_flicker_of_three_hertz_that_lasts_fails_as_a_train() -> None:
    report = within(alternate(BLACK, RED, THREE_HZ, 7167))
    assert report.red.flashes == 3
    assert report.longest_train_ms > 5000
    assert not report.ok


def test_shades_of_one_red_are_no_red_flash() -> None:
    assert within(alternate(RED, (180, 0, 0), FOUR_HZ, 2125)).red.flashes == 0


def test_blue_and_green_are_no_red_flash() -> None:
    assert within(alternate(BLUE, GREEN, FOUR_HZ, 2125)).red.flashes == 0


@pytest.mark.parametrize(
    ("half_period_ms", "total_ms", "longest_ms", "ok"),
    [
        (200, 6200, 5800, False),  # 2.5 Hz; first and last change lie at 200 and 6000 ms
        (200, 5000, 4600, True),
        (250, 6250, 5750, False),  # exactly 2 Hz
        (260, 7020, 0, True),  # 1.92 Hz
    ],
)
def test_two_or_more_flashes_a_second_must_not_last(
    half_period_ms: int, total_ms: int, longest_ms: int, ok: bool
) -> None:
    report = within(alternate(BLACK, WHITE, (half_period_ms,), total_ms))
    assert (report.longest_train_ms, report.ok) == (longest_ms, ok)
    assert ok or f"for {longest_ms} ms; the limit is 5000 ms" in report.reasons[0]


def test_a_pause_of_a_second_ends_a_train() -> None:
    burst = alternate(BLACK, WHITE, (200,), 3400)
    # Taken together, 15.5 flashes in 7.4 s would be over 2 a second.
    report = within([*burst, (BLACK, 1000), *burst])
    assert report.longest_train_ms == 3000
    assert report.ok


def test_the_return_to_the_surround_counts() -> None:
    # White for 1 ms: on black one flash, on white none; black and white are both tried.
    assert analyse([(WHITE, 1)], surrounds=(WHITE,)).general.flashes == 0
    assert analyse([(WHITE, 1)]).general.flashes == 1
    assert analyse([(BLACK, 1)]).general.flashes == 1


colours = st.tuples(*[st.integers(0, 255)] * 3)
sequences = st.lists(st.tuples(colours, st.integers(20, 900)), min_size=1, max_size=9)


@settings(max_examples=60, deadline=None)
@given(sequences, st.integers(0, 255))
def test_no_grey_surround_is_worse_than_black_and_white(sequence: list[tuple[Srgb, int]], level: int) -> None:
    worst, one = analyse(sequence), analyse(sequence, surrounds=(grey(level),))
    assert one.general.transitions <= worst.general.transitions
    assert one.red.transitions <= worst.red.transitions
    assert one.luminance.transitions <= worst.luminance.transitions


@settings(max_examples=60, deadline=None)
@given(sequences, st.floats(50, 1000), st.floats(1, 4))
def test_a_brighter_screen_is_never_judged_safer(sequence: list[tuple[Srgb, int]], peak: float, factor: float) -> None:
    dim = analyse(sequence, limits=SafetyLimits(peak_luminance_cd_m2=peak))
    bright = analyse(sequence, limits=SafetyLimits(peak_luminance_cd_m2=peak * factor))
    assert dim.luminance.transitions <= bright.luminance.transitions


@settings(max_examples=60, deadline=None)
@given(sequences)
def test_the_same_sequence_backwards_flashes_as_much(sequence: list[tuple[Srgb, int]]) -> None:
    forwards, backwards = analyse(sequence), analyse(sequence[::-1])
    assert forwards.general.transitions == backwards.general.transitions
    assert forwards.red.transitions == backwards.red.transitions


@given(st.lists(st.integers(0, 9), max_size=12))
def test_the_longest_alternation_of_plain_numbers_is_the_number_of_turns(numbers: list[int]) -> None:
    """Without a threshold the longest alternating chain has one change per monotone run."""
    directions = [(later > earlier) - (later < earlier) for earlier, later in pairwise(numbers)]
    moves = [direction for direction in directions if direction]
    runs = sum(1 for index, move in enumerate(moves) if index == 0 or move != moves[index - 1])
    greys = [grey(number) for number in numbers]
    assert len(alternation(greys, lambda first, second: (second > first) - (second < first))) == runs


@pytest.mark.parametrize("sequence", [[], [(BLACK, 0)], [(BLACK, -5)], [(BLACK, 1.5)], [(BLACK, True)]])
def test_senseless_sequences_are_refused(sequence: list[tuple[Srgb, int]]) -> None:
    with pytest.raises(ValueError, match="expected"):
        analyse(sequence)


def test_the_report_as_json_has_stable_keys() -> None:
    report = analyse([(WHITE, 300)]).to_dict()
    assert set(report) == {"ok", "reasons", "general", "red", "luminance", "longest_train_ms", "limits"}
    assert report["general"]["flashes"] == 1
