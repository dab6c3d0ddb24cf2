"""The parts of the network against values worked out by hand or by scipy and numpy."""

import math

import numpy as np
import pytest
import torch
from scipy import special

from training.modules import (
    AttentionGate,
    ClassificationHead,
    Experts,
    FlashResponseHead,
    Fusion,
    JointStem,
    Mixture,
    PositionEmbedding,
    ResUNet,
    Stem,
    TypeGate,
    bin_expectation,
    inverted_residual,
    l2_normalise,
)


def small_unet(block="dense", skip="concatenate", encoder=(4, 6, 8), decoder=(6, 4), bins=5):
    return ResUNet(3, 4, encoder, decoder, bins, block=block, skip=skip, output_kernel=3)


def as_map(values):
    """A vector over bins as 1×K×1×1."""
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([0.0, 0.0], 0.5),
        ([0.0, math.log(2), 0.0], 0.5),  # ¼·0 + ½·½ + ¼·1
        ([math.log(3), 0.0], 0.25),
        ([0.0, 0.0, 0.0, 200.0], 1.0),
        ([200.0, 0.0, 0.0, 0.0], 0.0),
    ],
)
def test_bin_expectation_is_the_mean_depth_of_the_softmax(logits, expected):
    assert bin_expectation(as_map(logits)).item() == pytest.approx(expected, abs=1e-6)


def test_bin_expectation_agrees_with_scipy():
    logits = np.random.default_rng(1).normal(0, 3, (2, 256, 3, 4)).astype(np.float32)
    expected = np.einsum("fkhw,k->fhw", special.softmax(logits.astype(np.float64), axis=1), np.arange(256) / 255)
    assert np.abs(bin_expectation(torch.from_numpy(logits)).numpy() - expected).max() < 1e-6


def test_mixing_happens_on_logits_before_the_softmax_over_bins():
    experts = [as_map([0.0, 4.0]), as_map([0.0, -2.0])]
    gate = torch.tensor([[math.log(3), 0.0]])  # weights ¾ and ¼
    on_logits = special.expit(0.75 * 4.0 - 0.25 * 2.0)  # 0.924
    on_probabilities = 0.75 * special.expit(4.0) + 0.25 * special.expit(-2.0)  # 0.766
    found = bin_expectation(Mixture()(experts, gate)).item()
    assert found == pytest.approx(on_logits, abs=1e-6)
    assert abs(found - on_probabilities) > 0.1


def test_each_frame_is_mixed_by_its_own_gate():
    experts = [torch.full((2, 1, 1, 1), value) for value in (1.0, 10.0, 100.0)]
    gate = torch.log(torch.tensor([[0.5, 0.25, 0.25], [1e-30, 1e-30, 1.0]]))
    assert Mixture()(experts, gate).flatten().tolist() == pytest.approx([28.0, 100.0])


def test_mixture_refuses_a_gate_for_another_number_of_experts():
    with pytest.raises(ValueError, match="2 experts"):
        Mixture()([torch.zeros(1, 2, 1, 1)] * 2, torch.zeros(1, 3))


def test_fusion_is_the_attention_weighted_sum_over_frames():
    attention = torch.tensor([0.2, 0.3, 0.5]).view(1, 3, 1, 1)
    depth = torch.tensor([1.0, 0.0, 0.5]).view(1, 3, 1, 1)
    assert Fusion()(attention, depth).item() == pytest.approx(0.45)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_l2_normalise_agrees_with_numpy(scale):
    x = np.random.default_rng(2).normal(0, scale, (4, 100)).astype(np.float32)
    expected = x / np.linalg.norm(x, axis=1, keepdims=True)
    found = l2_normalise(torch.from_numpy(x)).numpy()
    assert np.abs(found - expected).max() < 1e-4


def test_l2_normalise_of_a_zero_row_is_zero_with_a_finite_gradient():
    x = torch.zeros(1, 8, requires_grad=True)
    y = l2_normalise(x)
    y.sum().backward()
    assert y.abs().max() == 0
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("value", [6e4, 1.0, 1e-2])
def test_l2_normalise_survives_half_precision(value):
    y = l2_normalise(torch.full((1, 1024), value, dtype=torch.float16))
    assert np.linalg.norm(y.double().numpy()) == pytest.approx(1, abs=0.02)


def test_inverted_residual_expands_twofold_and_filters_by_channel():
    shapes = [tuple(p.shape) for p in inverted_residual(8, 5).parameters()]
    assert shapes == [(16, 8, 1, 1), (16, 1, 3, 3), (5, 16, 1, 1), (5,), (5,)]


def test_stem_quarters_the_side():
    assert Stem((4, 7))(torch.zeros(2, 3, 64, 32)).shape == (2, 7, 16, 8)


def test_position_embedding_adds_one_map_to_every_frame():
    layer = PositionEmbedding(2, 3)
    layer.embedding.data.copy_(torch.arange(18.0).view(1, 2, 3, 3))
    found = layer(torch.ones(4, 2, 3, 3))
    assert torch.equal(found, 1 + torch.arange(18.0).view(1, 2, 3, 3).expand(4, -1, -1, -1))


@pytest.mark.parametrize("block", ["dense", "inverted_residual"])
@pytest.mark.parametrize("skip", ["concatenate", "add"])
def test_resunet_keeps_the_size_of_the_map(block, skip):
    assert small_unet(block, skip, decoder=(4, 4))(torch.zeros(2, 3, 16, 24)).shape == (2, 5, 16, 24)


def test_resunet_halves_by_max_pooling_and_doubles_by_repetition():
    unet, sizes = small_unet().eval(), []
    for part in (*unet.encoder.blocks, *unet.decoder.blocks):
        part.register_forward_hook(
            lambda module, inputs, output: sizes.append((*inputs[0].shape[1:3], output.shape[2]))
        )
    unet(torch.randn(1, 3, 16, 16))
    # (channels in, side in, side out): the first decoder block sees the bottom alone, the second 6 + 4 channels
    assert sizes == [(4, 16, 16), (4, 8, 8), (6, 4, 4), (8, 8, 8), (10, 16, 16)]


def test_resunet_passes_the_encoders_largest_map_to_the_last_decoder_block():
    unet = small_unet(skip="add", encoder=(4, 6, 8), decoder=(4, 4)).eval()
    seen = {}
    unet.encoder.blocks[0].register_forward_hook(lambda m, i, o: seen.update(skip=o))
    unet.decoder.blocks[0].register_forward_hook(lambda m, i, o: seen.update(below=o))
    unet.decoder.blocks[1].register_forward_hook(lambda m, i, o: seen.update(joined=i[0]))
    unet(torch.randn(1, 3, 8, 8))
    repeated = np.kron(seen["below"].detach().numpy(), np.ones((2, 2), np.float32))
    assert np.allclose(seen["joined"].detach().numpy(), repeated + seen["skip"].detach().numpy())


def small_experts(shared_encoder, bins=5):
    return Experts(
        3, 2, 4, (4, 6), (4,), bins, block="dense", skip="add", output_kernel=1, shared_encoder=shared_encoder
    ).eval()


@pytest.mark.parametrize("shared_encoder", [False, True])
def test_each_expert_answers_with_a_map_of_its_own(shared_encoder):
    experts = small_experts(shared_encoder)
    maps = experts(torch.randn(2, 2, 8, 8))
    assert [tuple(m.shape) for m in maps] == [(2, 5, 8, 8)] * 3
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert not torch.allclose(maps[one], maps[other])


@pytest.mark.parametrize(("shared_encoder", "changed"), [(False, [False, True, False]), (True, [True, True, True])])
def test_experts_share_an_encoder_only_when_they_are_told_to(shared_encoder, changed):
    """A change of the last encoder is felt by all experts, or by the one that it belongs to."""
    experts, x = small_experts(shared_encoder), torch.randn(1, 2, 8, 8)
    before = experts(x)
    encoder = experts.encoders[0 if shared_encoder else 1]
    encoder.input[0].weight.data.neg_()
    assert [not torch.equal(a, b) for a, b in zip(before, experts(x), strict=True)] == changed


def test_joint_stem_sees_every_difference_and_quarters_the_side():
    stem = JointStem(6, (4, 5, 7)).eval()
    stacked = torch.randn(2, 18, 32, 16)
    found = stem(stacked)
    assert found.shape == (2, 7, 8, 4)
    for channel in range(18):
        other = stacked.clone()
        other[:, channel] = 0
        assert not torch.equal(stem(other), found)


def test_type_gate_of_all_differences_gives_one_judgement_per_capture():
    assert TypeGate((4, 6, 8), 7, 5, 3, inputs=18)(torch.zeros(2, 18, 32, 32)).shape == (2, 3)


def test_type_gate_gives_one_judgement_per_frame():
    gate = TypeGate((4, 6, 8), 7, 5, 3)
    assert [m.stride for m in gate.modules() if isinstance(m, torch.nn.Conv2d)] == [(2, 2)] * 3
    assert gate(torch.zeros(6, 3, 32, 32)).shape == (6, 3)


def test_attention_gate_is_a_soft_argmax_times_its_span():
    gate = AttentionGate((4, 3), small_unet(bins=3), span=8.0).eval()
    gate.unet.decoder.output.weight.data.zero_()
    gate.unet.decoder.output.bias.data.copy_(torch.tensor([0.0, 0.0, math.log(2)]))  # ¼·½ + ½·1
    found = gate(torch.randn(2, 3, 32, 32))
    assert found.shape == (2, 8, 8)
    assert found.flatten().tolist() == pytest.approx([8 * 0.625] * 128)


def test_classification_head_sees_the_shape_of_the_features_not_their_size():
    head = ClassificationHead((4, 3, 2), 8).eval()
    head.convolutions[2].bias.data.zero_()
    depth = torch.rand(1, 1, 8, 8) + 0.1
    with torch.no_grad():
        before = head(depth)
        head.convolutions[2].weight.mul_(3.0)
        assert torch.allclose(head(depth), before, atol=1e-3)
    assert before.shape == (1, 2)


def test_flash_response_is_red_minus_green_green_minus_blue_blue_minus_red():
    head = FlashResponseHead(4, 5, 7, 6)
    head.linear[2].weight.data.zero_()
    head.linear[2].bias.data.copy_(torch.tensor([1.0, 0.25, 0.0]))
    assert head(torch.randn(2, 4, 8, 8)).tolist() == [[0.75, 0.25, -1.0]] * 2
