"""As few layers as possible stay float, and every set that is chosen was proved."""

import numpy as np
import pytest

from export.parity import at_least, at_most
from export.precision_gates import LIMITS
from export.sensitivity import (
    MARGIN,
    Trials,
    edge_difference,
    float_layers,
    layer_snr_db,
    share_of,
    used_share,
    within_margin,
)

SNR = {"first": 20.0, "second": 45.0, "third": 35.0, "fourth": 60.0, "fifth": 50.0}


def within(budget, noise):
    """A judge who holds a set when its layers' noise adds up to no more than `budget`; keeps what it was asked."""
    asked = []

    def holds(layers):
        asked.append(layers)
        return sum(noise[layer] for layer in layers) <= budget

    return holds, asked


def test_all_but_the_layers_below_the_limit_are_int8_where_the_gates_bear_it():
    holds, asked = within(10, dict.fromkeys(SNR, 1))
    assert float_layers(SNR, holds) == ("first",)
    assert asked == [frozenset(SNR) - {"first"}]


def test_the_loudest_layers_go_first():
    noise = {layer: 10 ** (-snr / 20) for layer, snr in SNR.items()}
    holds, _ = within(0.011, noise)
    assert float_layers(SNR, holds) == ("first", "third")


def test_a_layer_that_does_no_harm_among_the_others_is_int8_though_a_quieter_one_is_not():
    holds, _ = within(3, {"first": 0, "second": 9, "third": 1, "fourth": 1, "fifth": 1})
    assert float_layers(SNR, holds) == ("first", "second")


@pytest.mark.parametrize("budget", range(7))
def test_what_is_left_in_int8_was_proved_and_takes_no_further_layer(budget):
    noise = dict(zip(SNR, (3, 2, 1, 3, 1), strict=True))
    holds, asked = within(budget, noise)
    kept = float_layers(SNR, holds, min_snr_db=0)
    int8 = frozenset(SNR) - set(kept)
    assert holds(int8)
    assert not int8 or int8 in asked[:-1]
    assert all(not holds(int8 | {layer}) for layer in kept)


def test_everything_stays_float_where_no_layer_passes():
    assert float_layers(SNR, lambda layers: False) == tuple(SNR)
    assert float_layers(SNR, lambda layers: True, min_snr_db=100) == tuple(SNR)


def test_a_layer_is_as_loud_as_its_worst_output_in_its_worst_capture():
    reference = {name: np.ones(4, np.float32) for name in ("type", "depth", "flash_response")}
    reference["score"] = np.array([0.5], np.float32)
    off = {**reference, "depth": np.full(4, 1.1, np.float32)}
    slightly_off = {**reference, "type": np.full(4, 1.001, np.float32)}
    assert layer_snr_db([reference] * 3, [reference, slightly_off, off]) == pytest.approx(20, abs=0.01)


def outputs(score, depth=0.5):
    return {
        "score": np.array([score], np.float32),
        "type": np.full(3, 1 / 3, np.float32),
        "depth": np.full((1, 2, 2), depth, np.float32),
        "flash_response": np.zeros((6, 3), np.float32),
    }


def test_a_share_is_the_worst_of_any_limit():
    limits = LIMITS["int8_static"]
    assert used_share(limits, [outputs(0.5)], [outputs(0.5, depth=0.503)]) == pytest.approx(
        0.003 / limits.depth, rel=1e-3
    )


@pytest.mark.parametrize("off", [0.0, MARGIN * 0.999, MARGIN * 1.001])
@pytest.mark.parametrize("place", range(3))
def test_a_trial_asks_what_all_captures_together_say(off, place):
    limits = LIMITS["int8_static"]
    depths = [0.5 + limits.depth * off * (number == place) for number in range(3)]
    references, found = [outputs(0.5)] * 3, [outputs(0.5, depth=depth) for depth in depths]
    trials = Trials([np.float32(number) for number in range(3)], references)
    together = used_share(limits, references, found) <= MARGIN
    assert trials.hold(lambda number: found[int(number)], within_margin(limits)) == together == (off <= MARGIN)


def test_a_trial_ends_at_the_first_capture_that_fails_and_the_next_begins_there():
    asked = []

    def run(number):
        asked.append(int(number))
        return outputs(0.5)

    trials = Trials([np.float32(number) for number in range(4)], [outputs(score) for score in (0.5, 0.5, 0.9, 0.5)])
    accepts = within_margin(LIMITS["fp16"])
    assert not trials.hold(run, accepts) and asked == [0, 1, 2]
    assert not trials.hold(run, accepts) and asked == [0, 1, 2, 2]
    assert trials.hold(run, lambda *both: True) and sorted(asked[4:]) == [0, 1, 2, 3]


def test_a_sure_score_is_taken_to_stand_at_the_edge_of_the_verdict():
    """0.99 and 0.992 differ by 0.002, but their logits by 0.225: at a score of 0.5 that would be 0.056."""
    limits = LIMITS["int8_static"]
    assert edge_difference(outputs(0.99), outputs(0.992)) == pytest.approx(0.225 / 4, rel=0.01)
    assert used_share(limits, [outputs(0.99)], [outputs(0.992)]) == pytest.approx(0.225 / 4 / limits.score, rel=0.01)
    assert edge_difference(outputs(1e-9), outputs(1e-6)) == 0.0  # beyond sure


@pytest.mark.parametrize(
    ("gate", "share"),
    [(at_most("a", 0.5, 2.0), 0.25), (at_least("dB", 80.0, 60.0), 0.1), (at_least("dB", 40.0, 60.0), 10)],
)
def test_noise_counts_against_the_noise_that_is_allowed(gate, share):
    assert share_of(gate) == pytest.approx(share)
