"""The flash response: hand-worked expectations, measurement on known skin, and what counts as disagreement."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_faces import ScriptedDetector, lit_capture

from flash_sequencer.plan import FlashPlan, FlashStep, challenge, default_plan
from sdk_reference.errors import PlanMismatch
from sdk_reference.preprocess import preprocess
from sdk_reference.response import checked_expectation, cosines, disagreements, expected_response, measured_response

RED, GREEN, BLUE = [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0], [0.0, -1.0, 1.0]


def negative(row: list[float]) -> list[float]:
    return [-value for value in row]


def test_white_red_green_blue_black_by_hand() -> None:
    """White − red is (0, 1, 1), so (R−G, G−B, B−R) = (−1, 0, 1); red − black is (1, 0, 0), so (1, 0, −1)."""
    expected = [negative(RED), negative(GREEN), negative(BLUE), RED, GREEN, BLUE]
    np.testing.assert_allclose(expected_response(default_plan()), expected, atol=1e-6)


@pytest.mark.parametrize("n0", [3, 5, 8])
@pytest.mark.parametrize("profile", ["standard", "gentle"])
def test_expectations_are_bounded_and_sum_to_zero(n0: int, profile: str) -> None:
    expected = expected_response(challenge(bytes(range(16)), n0, profile))
    assert expected.shape == (2 * (n0 - 2), 3)
    assert expected.dtype == np.float32
    np.testing.assert_allclose(expected.sum(axis=1), 0, atol=1e-6)
    assert np.abs(expected).max() <= 2


@pytest.mark.parametrize("plan", [default_plan(), challenge(bytes(range(16))), challenge(bytes(range(16)), 8)])
def test_skin_of_any_colour_answers_as_expected(plan: object) -> None:
    prepared = preprocess(lit_capture(plan=plan), ScriptedDetector())  # type: ignore[arg-type]
    measured = measured_response(prepared)
    expected = expected_response(plan)  # type: ignore[arg-type]
    np.testing.assert_allclose(measured, expected, atol=0.08)
    assert not disagreements(measured, expected).any()


def test_a_face_that_no_light_reaches_answers_nothing() -> None:
    measured = measured_response(preprocess(lit_capture(flash=0.0), ScriptedDetector()))
    np.testing.assert_allclose(measured, 0)
    assert disagreements(measured, expected_response(default_plan())).all()


@pytest.mark.parametrize(
    ("predicted", "expected", "disagrees"),
    [
        (RED, RED, False),
        (np.multiply(RED, 0.01), RED, False),  # only the direction counts
        (negative(RED), RED, True),
        (GREEN, RED, True),  # 120 degrees apart
        ([0.0, 0.0, 0.0], RED, True),
        ([np.nan, 0.0, 0.0], RED, True),
        ([np.inf, 0.0, 0.0], RED, True),
        ([1e300, 0.0, -1e300], RED, True),  # overflows: not to be trusted
        (GREEN, [0.0, 0.0, 0.0], False),  # grey was shown: no colour to disagree about
        (GREEN, [0.05, -0.05, 0.0], False),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # arithmetic on the broken predictions
def test_disagreement_is_a_matter_of_direction(predicted: list[float], expected: list[float], disagrees: bool) -> None:
    assert disagreements(np.array([predicted]), np.array([expected])).tolist() == [disagrees]


def test_the_limit_of_agreement_can_be_set() -> None:
    sixty_degrees = np.array([np.add(RED, negative(GREEN))])
    np.testing.assert_allclose(cosines(np.array([RED]), np.array([negative(GREEN)])), [0.5], atol=1e-6)
    assert disagreements(sixty_degrees, np.array([RED]), 0.9).all()
    assert not disagreements(sixty_degrees, np.array([RED]), 0.8).any()


def test_cosines_are_undefined_where_no_colour_is_expected() -> None:
    assert np.isnan(cosines(np.array([RED]), np.zeros((1, 3)))).all()


GREYS = FlashPlan(tuple(FlashStep(rank, (level,) * 3, 300) for rank, level in enumerate((255, 190, 170, 150, 0))))
"""What the sequencer allows and nobody should decide by."""


@pytest.mark.parametrize(
    "expected",
    [
        expected_response(GREYS),
        np.zeros((0, 3), np.float32),
        np.array([[0.14, -0.14, 0.0]] * 6, np.float32),  # 0.198 long
        expected_response(default_plan())[:5],
        np.concatenate([expected_response(default_plan()), [[1, 0, -1]]]).astype(np.float32),
        np.where(np.arange(18).reshape(6, 3) == 17, np.nan, expected_response(default_plan())),
        np.where(np.arange(18).reshape(6, 3) == 0, np.inf, expected_response(default_plan())),
    ],
)
def test_expectations_that_nothing_can_contradict_are_refused(expected: np.ndarray) -> None:
    with pytest.raises(PlanMismatch):
        checked_expectation(expected, 6)


@pytest.mark.parametrize("profile", ["standard", "gentle"])
@pytest.mark.parametrize("n0", [3, 5, 8])
def test_expectations_of_challenges_are_not_refused(n0: int, profile: str) -> None:
    for number in range(8):
        expected = expected_response(challenge(bytes([number] * 16), n0, profile))
        assert checked_expectation(expected, 2 * (n0 - 2)) is expected
    one_colour = np.array([[0.15, -0.15, 0.0], *[[0.0] * 3] * 5], np.float32)  # 0.212 long
    assert checked_expectation(one_colour, 6) is one_colour
