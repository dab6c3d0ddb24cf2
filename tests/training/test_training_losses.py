"""The losses against values worked out by hand and against scipy."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import special

from training.losses import (
    LossSettings,
    Targets,
    classification_loss,
    depth_loss,
    gate_loss,
    gate_targets,
    response_loss,
    total_loss,
)
from training.network import ATRFAS, MOBILE

TINY = replace(
    MOBILE,
    input_size=32,
    joint_detail=1,
    depth_bins=5,
    stem_widths=(8, 8),
    expert_input_width=8,
    expert_encoder_widths=(8, 8, 8),
    expert_decoder_widths=(8, 8),
    attention_stem_widths=(8, 8),
    attention_encoder_widths=(8, 8),
    attention_decoder_widths=(8,),
    attention_bins=4,
)
COLOURS = torch.tensor([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]]).repeat(2, 1)


def targets(**changes):
    values = {
        "live": torch.tensor([1, 0, 0, 0]),
        "species": torch.tensor([-1, 0, 1, 2]),
        "depth": torch.cat([torch.linspace(0, 1, 64).view(1, 8, 8), torch.full((3, 8, 8), 0.5)]),
        "response": COLOURS.expand(4, 6, 3),
    }
    return Targets(**{**values, **changes})


def differential(seed=0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (4, 6, 3, 32, 32)).astype(np.float32))


def test_the_gate_target_is_one_hot_for_an_attack_and_uniform_for_a_live_face():
    found = gate_targets(torch.tensor([0, 1, 2, -1]), 3)
    assert found.tolist() == pytest.approx(np.vstack([np.eye(3), np.full((1, 3), 1 / 3)]), abs=1e-7)


@pytest.mark.parametrize(
    ("species", "expected"),
    [(0, math.log(2)), (1, math.log(4)), (2, math.log(4)), (-1, (math.log(2) + 2 * math.log(4)) / 3)],
)
def test_gate_loss_by_hand(species, expected):
    logits = torch.log(torch.tensor([0.5, 0.25, 0.25])).expand(1, 6, 3)
    assert gate_loss(logits, torch.tensor([species])).item() == pytest.approx(expected, rel=1e-6)


def test_gate_loss_of_a_live_face_is_least_where_no_type_is_preferred():
    logits = torch.zeros(1, 6, 3, requires_grad=True)
    loss = gate_loss(logits, torch.tensor([-1]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3))
    assert logits.grad.abs().max() < 1e-7


def test_gate_loss_averages_frames_and_captures():
    logits = np.random.default_rng(3).normal(0, 2, (2, 6, 3)).astype(np.float32)
    log_p = special.log_softmax(logits.astype(np.float64), axis=2)
    expected = -(log_p[0, :, 2].mean() + log_p[1].mean()) / 2
    assert gate_loss(torch.from_numpy(logits), torch.tensor([2, -1])).item() == pytest.approx(expected, rel=1e-6)


def test_classification_loss_takes_index_one_for_live():
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])  # live with probability ¾
    assert classification_loss(logits[:1], torch.tensor([1])).item() == pytest.approx(-math.log(0.75))
    assert classification_loss(logits, torch.tensor([True, False])).item() == pytest.approx(
        -(math.log(0.75) + math.log(0.25)) / 2
    )


@pytest.mark.parametrize(
    ("depth", "masses"),
    [
        (0.0, [1, 0, 0, 0, 0]),
        (0.25, [0, 1, 0, 0, 0]),
        (0.5, [0, 0, 1, 0, 0]),
        (0.3125, [0, 0.75, 0.25, 0, 0]),
        (0.9, [0, 0, 0, 0.4, 0.6]),
        (1.0, [0, 0, 0, 0, 1]),
    ],
)
def test_depth_loss_shares_a_label_between_its_neighbouring_bins(depth, masses):
    logits = np.array([0.3, -1.0, 2.0, 0.7, -0.2])
    expected = -float(np.dot(masses, special.log_softmax(logits)))
    found = depth_loss(torch.tensor(logits, dtype=torch.float32).view(1, 1, 5, 1, 1), torch.full((1, 1, 1), depth))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_depth_loss_is_the_mean_over_captures_frames_and_pixels():
    rng = np.random.default_rng(4)
    logits, depth = rng.normal(0, 2, (2, 3, 16, 4, 5)), rng.uniform(0, 1, (2, 4, 5))
    log_p, position, losses = special.log_softmax(logits, axis=2), depth * 15, []
    for b, n, y, x in np.ndindex(2, 3, 4, 5):
        masses = np.maximum(0, 1 - np.abs(np.arange(16) - position[b, y, x]))  # a triangle around the label
        losses.append(-np.dot(masses, log_p[b, n, :, y, x]))
    found = depth_loss(torch.from_numpy(logits).float(), torch.from_numpy(depth).float())
    assert found.item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_depth_that_minimises_the_loss_is_the_label():
    depth = torch.linspace(0, 1, 7).view(1, 1, 7)
    logits = torch.zeros(1, 1, 32, 1, 7, requires_grad=True)
    depth_loss(logits, depth).backward()
    masses = 1 / 32 - 7 * logits.grad[0, 0, :, 0]  # the gradient is (softmax − target) / pixels
    assert torch.allclose((masses * torch.arange(32.0).view(-1, 1) / 31).sum(0), depth[0, 0], atol=1e-5)


def test_response_loss_leaves_out_rows_without_a_colour():
    expected = torch.tensor([[[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]]])
    predicted = torch.tensor([[[1.0, 0.0, 0.5], [9.0, 9.0, 9.0]]])
    assert response_loss(predicted, expected).item() == pytest.approx((0 + 1 + 0.25) / 3)


def test_response_loss_without_any_colour_is_zero_with_a_finite_gradient():
    predicted = torch.ones(2, 6, 3, requires_grad=True)
    loss = response_loss(predicted, torch.zeros(2, 6, 3))
    loss.backward()
    assert loss.item() == 0
    assert predicted.grad.abs().max() == 0


def test_the_total_is_the_weighted_sum():
    outputs = ATRFAS(TINY)(differential())
    terms = total_loss(outputs, targets(), LossSettings(2.0, 3.0, 5.0, 7.0))
    expected = 2 * terms.classification + 3 * terms.depth + 5 * terms.gate + 7 * terms.response
    assert terms.total.item() == pytest.approx(expected.item())
    assert terms.classification.item() == pytest.approx(
        classification_loss(outputs.score_logits, targets().live).item()
    )


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    network = ATRFAS(TINY)
    total_loss(network(differential()), targets()).total.backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize(
    ("weights", "unreached"),
    [
        (LossSettings(0, 1, 1, 1), "classification_head."),
        (LossSettings(1, 1, 1, 0), "flash_response_head."),
    ],
)
def test_a_loss_of_weight_zero_teaches_nothing(weights, unreached):
    torch.manual_seed(0)
    network = ATRFAS(TINY)
    total_loss(network(differential()), targets(), weights).total.backward()
    reached = [name for name, p in network.named_parameters() if name.startswith(unreached) and p.grad.abs().sum() > 0]
    assert reached == []


def test_a_few_steps_learn_four_captures_by_heart():
    torch.manual_seed(0)
    network, x = ATRFAS(TINY), differential()
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        terms = total_loss(network(x), targets())
        optimiser.zero_grad()
        terms.total.backward()
        optimiser.step()
    outputs = network(x)
    assert outputs.score[0] > 0.8
    assert outputs.score[1:].max() < 0.2
    assert outputs.type[1:].argmax(dim=1).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"live": torch.tensor([1, 0, 0])}, "target live"),
        ({"species": torch.tensor([[-1, 0, 1, 2]])}, "target species"),
        ({"depth": torch.full((4, 16, 16), 0.5)}, "target depth"),
        ({"response": torch.zeros(4, 5, 3)}, "target response"),
        ({"species": torch.tensor([0, 0, 1, 2])}, "species −1 where live"),
        ({"species": torch.tensor([-1, -1, 1, 2])}, "species −1 where live"),
        ({"species": torch.tensor([-1, 0, 1, 3])}, "0 to 2 elsewhere"),
        ({"depth": torch.full((4, 8, 8), 1.01)}, "expected 0 to 1"),
        ({"depth": torch.full((4, 8, 8), float("nan"))}, "expected 0 to 1"),
    ],
)
def test_targets_that_do_not_fit_are_refused(change, text):
    outputs = ATRFAS(TINY)(differential())
    with pytest.raises(ValueError, match=text):
        total_loss(outputs, targets(**change))


def test_negative_weights_are_refused():
    with pytest.raises(ValueError, match="none below 0"):
        LossSettings(depth=-1.0)
