"""The assembled network: the paper's sizes and shapes, the presets' budgets, the wiring of the parts."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import special
from torch.utils.flop_counter import FlopCounterMode

from training.network import ATRFAS, LIVE, MOBILE, PAPER, PRESETS, NetworkSettings

TINY = replace(
    MOBILE,
    input_size=32,
    depth_bins=5,
    stem_widths=(4, 6),
    expert_input_width=4,
    expert_encoder_widths=(4, 6, 8),
    expert_decoder_widths=(6, 4),
    skip="concatenate",
    joint_detail=1,
    type_gate_widths=(4, 4, 6),
    attention_stem_widths=(4, 4),
    attention_input_width=4,
    attention_encoder_widths=(4, 6),
    attention_decoder_widths=(4,),
    attention_bins=4,
    response_width=6,
)
LATE = replace(TINY, fusion="late", joint_widths=(), joint_detail=1, shared_encoder=False)
BOTH_FUSIONS = pytest.mark.parametrize("tiny", [TINY, LATE], ids=lambda settings: settings.fusion)


def differential(settings, batch=2, seed=0):
    shape = (batch, settings.n_frames, 3, settings.input_size, settings.input_size)
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32))


def on_meta(settings):
    with torch.device("meta"):
        return ATRFAS(settings).eval()


def count(settings):
    """Parameters, and multiply-accumulates of one capture."""
    network = on_meta(settings)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(differential(settings, batch=1).to("meta"))
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops() / 2


def test_paper_preset_has_the_authors_size():
    parameters, macs = count(PAPER)
    assert parameters == pytest.approx(18.1e6, rel=0.02)
    assert macs == pytest.approx(36.6e9, rel=0.02)


def test_eighteen_expert_passes_of_the_paper_preset_take_thirty_gmac():
    network = on_meta(PAPER)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        assert len(network.experts(torch.zeros(6, 64, 64, 64, device="meta"))) == 3
    assert counter.get_total_flops() / 2 == pytest.approx(30e9, rel=0.02)


def test_mobile_preset_keeps_its_budget():
    parameters, macs = count(MOBILE)
    assert parameters <= 0.3e6
    assert 2 * macs <= 0.75e9
    assert (MOBILE.input_size, MOBILE.map_size) == (256, 32)


def test_every_tensor_of_the_paper_has_the_papers_shape():
    network, shapes = on_meta(PAPER), {}
    for name, module in network.named_modules():
        module.register_forward_hook(
            lambda _, inputs, output, name=name: shapes.update(
                {name: tuple(output.shape)} if isinstance(output, torch.Tensor) else {}
            )
        )
    out = network(differential(PAPER, batch=1).to("meta"))
    assert shapes["stem.layers.0"] == (6, 32, 128, 128)
    assert shapes["stem"] == (6, 64, 64, 64)
    assert tuple(network.position_embedding.embedding.shape) == (1, 64, 64, 64)
    for i in range(3):
        encoder = [shapes[f"experts.encoders.{i}.blocks.{level}"] for level in range(5)]
        decoder = [shapes[f"experts.decoders.{i}.blocks.{level}"] for level in range(4)]
        assert shapes[f"experts.encoders.{i}.input"] == (6, 128, 64, 64)
        assert encoder == [(6, 64, 64, 64), (6, 128, 32, 32), (6, 256, 16, 16), (6, 512, 8, 8), (6, 1024, 4, 4)]
        assert decoder == [(6, 256, 8, 8), (6, 128, 16, 16), (6, 64, 32, 32), (6, 64, 64, 64)]
        assert shapes[f"experts.decoders.{i}"] == (6, 256, 64, 64)
    assert [shapes[f"type_gate.convolutions.{i}"][1] for i in range(3)] == [32, 64, 64]
    assert [shapes[f"type_gate.linear.{i}"] for i in (0, 2)] == [(6, 32), (6, 3)]
    assert shapes["attention_gate.stem.layers.0"] == (6, 16, 128, 128)
    assert shapes["attention_gate.stem"] == (6, 32, 64, 64)
    assert shapes["attention_gate.unet"] == (6, 256, 64, 64)
    assert shapes["attention_gate"] == (6, 64, 64)
    assert shapes["mixture"] == (6, 256, 64, 64)
    assert shapes["fusion"] == (1, 64, 64)
    head = [shapes[f"classification_head.convolutions.{i}"] for i in range(3)]
    assert head == [(1, 16, 32, 32), (1, 8, 32, 32), (1, 4, 32, 32)]
    assert tuple(network.classification_head.linear.weight.shape) == (2, 4096)
    assert shapes["flash_response_head.convolution"][1] == 64
    assert tuple(out.attention.shape) == (1, 6, 64, 64)
    assert tuple(out.depth.shape) == (1, 64, 64)


@BOTH_FUSIONS
@pytest.mark.parametrize(("n0", "frames"), [(3, 2), (5, 6), (8, 12)])
def test_outputs_have_the_agreed_shapes_for_any_number_of_frames(tiny, n0, frames):
    settings, judged = replace(tiny, n0=n0), {"late": frames, "early": 1}[tiny.fusion]
    out = ATRFAS(settings)(differential(settings))
    shapes = {name: tuple(value.shape) for name, value in vars(out).items()}
    assert shapes == {
        "score_logits": (2, 2),
        "score": (2,),
        "type_logits": (2, judged, 3),
        "type": (2, 3),
        "attention": (2, frames, 8, 8),
        "frame_depth_logits": (2, judged, 5, 8, 8),
        "frame_depth": (2, judged, 8, 8),
        "depth": (2, 8, 8),
        "flash_response": (2, frames, 3),
    }


def test_only_the_joint_stem_sees_more_than_means_of_pixels():
    settings = replace(TINY, input_size=64, joint_detail=2)
    network = ATRFAS(settings).eval()
    x = differential(settings) / 2
    fine = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).tile(32, 32) / 4  # whose means of 2×2 are 0
    with torch.no_grad():
        plain, detailed = network(x), network(x + fine)
        assert plain.depth.shape == (2, 8, 8)
        assert plain.attention.shape == (2, 6, 8, 8)
        for name in ("attention", "type_logits", "flash_response"):
            assert torch.allclose(getattr(plain, name), getattr(detailed, name), atol=1e-5), name
        assert (plain.frame_depth_logits - detailed.frame_depth_logits).abs().max() > 1e-4


def test_attention_sums_to_one_over_the_frames_at_each_pixel():
    out = ATRFAS(TINY)(differential(TINY))
    assert torch.allclose(out.attention.sum(dim=1), torch.ones(2, 8, 8), atol=1e-6)
    assert out.attention.std() > 0


@BOTH_FUSIONS
def test_fused_depth_score_and_type_follow_from_the_other_outputs(tiny):
    out = ATRFAS(tiny)(differential(tiny))
    found = {name: value.detach().numpy() for name, value in vars(out).items()}
    weights = {"late": found["attention"], "early": np.ones((2, 1, 8, 8))}[tiny.fusion]
    fused = np.einsum("bnhw,bnhw->bhw", weights, found["frame_depth"])
    assert np.allclose(found["depth"], fused, atol=1e-6)
    assert np.allclose(found["score"], special.softmax(found["score_logits"], axis=1)[:, LIVE], atol=1e-6)
    assert np.allclose(found["type"], special.softmax(found["type_logits"].mean(axis=1), axis=1), atol=1e-6)
    bins = np.arange(5) / 4
    depth = np.einsum("bnkhw,k->bnhw", special.softmax(found["frame_depth_logits"], axis=2), bins)
    assert np.allclose(found["frame_depth"], depth, atol=1e-6)


def constant_logits(module, values):
    """Make a layer answer `values` whatever it sees."""
    module.weight.data.zero_()
    module.bias.data.copy_(torch.tensor(values))


@BOTH_FUSIONS
def test_the_network_mixes_expert_logits_before_the_softmax(tiny):
    settings = replace(tiny, depth_bins=2)
    network = ATRFAS(settings).eval()
    for decoder, last in zip(network.experts.decoders, (4.0, -2.0, 0.0), strict=True):
        constant_logits(decoder.output, [0.0, last])
    constant_logits(network.type_gate.linear[2], [math.log(3), 0.0, -100.0])
    depth = network(differential(settings)).depth
    assert depth.flatten().tolist() == pytest.approx([special.expit(0.75 * 4.0 - 0.25 * 2.0)] * depth.numel(), abs=1e-6)


def test_early_fusion_shows_the_experts_the_attended_features_beside_all_differences_at_once():
    network, x, seen = ATRFAS(TINY).eval(), differential(TINY), {}
    for name in ("stem", "joint_stem", "type_gate"):
        getattr(network, name).register_forward_hook(lambda _, i, o, name=name: seen.update({name: (i[0], o)}))
    network.experts.register_forward_hook(lambda _, i, o: seen.update(experts=(i[0], o)))
    network.position_embedding.embedding.data.normal_()
    out = network(x)
    stacked = x.numpy().reshape(2, 18, 32, 32)  # difference by difference, red, green, blue of each
    np.testing.assert_array_equal(seen["joint_stem"][0], stacked)
    np.testing.assert_array_equal(seen["type_gate"][0], stacked)
    features = seen["stem"][1].detach().numpy().reshape(2, 6, 6, 8, 8)
    attended = np.einsum("bnhw,bnchw->bchw", out.attention.detach().numpy(), features)
    placed = attended + network.position_embedding.embedding.detach().numpy()
    expected = np.concatenate([placed, seen["joint_stem"][1].detach().numpy()], axis=1)
    np.testing.assert_allclose(seen["experts"][0].detach().numpy(), expected, atol=1e-5)


def test_early_fusion_runs_the_experts_once_per_capture():
    rows = {}
    for settings in (TINY, LATE):
        network = ATRFAS(settings).eval()
        network.experts.register_forward_hook(lambda _, i, o, name=settings.fusion: rows.update({name: len(i[0])}))
        network(differential(settings, batch=3))
    assert rows == {"early": 3, "late": 3 * 6}


def test_the_head_sees_nothing_but_the_depth_map():
    network, seen = ATRFAS(TINY).eval(), []
    network.classification_head.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    out = network(differential(TINY))
    assert torch.equal(seen[0], out.depth.unsqueeze(1))


@BOTH_FUSIONS
def test_captures_of_a_batch_do_not_influence_each_other_in_evaluation(tiny):
    network, x = ATRFAS(tiny).eval(), differential(tiny, batch=3)
    together, alone = network(x), network(x[1:2])
    for name, value in vars(together).items():
        assert torch.allclose(value[1:2], getattr(alone, name), atol=1e-6), name


@BOTH_FUSIONS
def test_half_precision_training_gives_finite_float32_probabilities(tiny):
    network = ATRFAS(tiny)
    with torch.autocast("cpu", torch.bfloat16):
        out = network(differential(tiny))
    for name in ("score_logits", "score", "type", "attention", "depth", "flash_response"):
        value = getattr(out, name)
        assert value.dtype == torch.float32, name
        assert torch.isfinite(value).all(), name


@pytest.mark.parametrize(
    "shape", [(6, 3, 32, 32), (2, 5, 3, 32, 32), (2, 6, 1, 32, 32), (2, 6, 3, 64, 64), (1, 2, 6, 3, 32, 32)]
)
def test_an_input_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"found a network input of shape"):
        ATRFAS(TINY)(torch.zeros(shape))


@pytest.mark.parametrize("name", PRESETS)
def test_settings_survive_json(name):
    settings = PRESETS[name]
    assert NetworkSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize(("change", "names"), [({"colour": 1}, "colour"), ({"n0": None}, "n0")])
def test_settings_with_unknown_or_missing_names_are_refused(change, names):
    values = {**MOBILE.to_dict(), **change}
    values = {name: value for name, value in values.items() if value is not None}
    with pytest.raises(ValueError, match=names):
        NetworkSettings.from_dict(values)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"n0": 2}, "n0"),
        ({"n0": 9}, "n0"),
        ({"input_size": 100}, "input_size"),
        ({"input_size": 0}, "input_size"),
        ({"depth_bins": 1}, "depth_bins"),
        ({"block": "other"}, "block"),
        ({"skip": "other"}, "skip"),
        ({"stem_widths": (4,)}, "stem widths"),
        ({"head_widths": (4, 2)}, "head_widths"),
        ({"expert_decoder_widths": (6, 4, 4)}, "decoder level"),
        ({"expert_encoder_widths": (8,), "expert_decoder_widths": ()}, "encoder levels"),
        ({"skip": "add", "expert_encoder_widths": (5, 6, 8)}, "adding"),
        ({"fusion": "middle"}, "fusion"),
        ({"joint_widths": (4, 4)}, "joint_widths"),
        ({"joint_widths": ()}, "joint_widths"),
        ({"fusion": "late"}, "joint_widths"),
        ({"joint_detail": 3}, "joint_detail"),
        ({"fusion": "late", "joint_widths": (), "joint_detail": 2}, "joint_detail"),
        ({"input_size": 24, "joint_detail": 2}, "input_size"),
    ],
)
def test_settings_that_cannot_be_built_are_refused(change, text):
    with pytest.raises(ValueError, match=text):
        replace(TINY, **change)
