"""The shipping form of the network gives what the training network gives, with nothing a converter cannot take."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from export.deploy import MAX_RANK, DeployNetwork
from training.network import ATRFAS, MOBILE

SMALL = replace(MOBILE, input_size=64)
OTHER_KINDS = replace(
    SMALL,
    n0=4,
    block="inverted_residual",
    skip="concatenate",
    expert_output_kernel=3,
    type_gate_last_kernel=7,
    response_kernel=7,
)
LATE = replace(SMALL, fusion="late", joint_widths=(), joint_detail=1)
KINDS = {
    "mobile": SMALL,
    "mobile, an encoder per expert": replace(SMALL, shared_encoder=False),
    "late": replace(LATE, shared_encoder=False),
    "late, one encoder": LATE,
    "other kinds": OTHER_KINDS,
    "other kinds, late": replace(OTHER_KINDS, fusion="late", joint_widths=(), joint_detail=1, shared_encoder=False),
    "a joint stem that sees no more than the rest": replace(SMALL, joint_detail=1),
}
BOTH_FUSIONS = pytest.mark.parametrize("settings", [SMALL, LATE], ids=["early", "late"])


def awakened(settings, seed=0):
    """A network whose outputs depend visibly on its input: random normalisation statistics, strong last layers."""
    torch.manual_seed(seed)
    network = ATRFAS(settings)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.05, 0.2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.2)
    for layer in (network.classification_head.linear, network.type_gate.linear[2]):
        nn.init.normal_(layer.weight, 0, 1)
    nn.init.normal_(network.position_embedding.embedding, 0, 0.5)
    return network.eval()


def differential(settings, seed=0, scale=0.3):
    rng = np.random.default_rng(seed)
    shape = (settings.n_frames, 3, settings.input_size, settings.input_size)
    return torch.from_numpy(np.clip(rng.normal(0, scale, shape), -1, 1).astype(np.float32))


def repeated(depth, settings):
    """A depth map in the size that ships, a quarter of the input's."""
    times = settings.joint_detail
    return depth.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_it_equals_the_training_network(settings):
    network = awakened(settings)
    deploy = DeployNetwork(network)
    with torch.no_grad():
        for seed in range(3):
            x = differential(settings, seed, scale=0.1 + 0.2 * seed)
            expected, found = network(x.unsqueeze(0)), deploy(x)
            pairs = (expected.score, expected.type[0], repeated(expected.depth, settings), expected.flash_response[0])
            for name, a, b in zip(("score", "type", "depth", "response"), pairs, found, strict=True):
                assert a.shape == b.shape, name
                assert (a - b).abs().max() <= 1e-6, name


@BOTH_FUSIONS
def test_the_outputs_compared_do_depend_on_the_input(settings):
    network = awakened(settings)
    answers = [DeployNetwork(network)(differential(settings, seed, 0.1 + 0.2 * seed)) for seed in range(3)]
    for name, values in zip(("score", "type", "depth", "response"), zip(*answers, strict=True), strict=True):
        assert torch.stack(values).std(dim=0).max() > 1e-3, name


@BOTH_FUSIONS
def test_no_tensor_has_more_than_four_axes(settings):
    deploy = DeployNetwork(awakened(settings))
    program = torch.export.export(deploy, (differential(settings),))
    ranks = [node.meta["val"].dim() for node in program.graph.nodes if isinstance(node.meta.get("val"), torch.Tensor)]
    assert len(ranks) > 100
    assert max(ranks) == MAX_RANK


@BOTH_FUSIONS
def test_softmax_is_always_on_the_last_axis(settings):
    program = torch.export.export(DeployNetwork(awakened(settings)), (differential(settings),))
    axes = [
        (node.args[1], node.meta["val"].dim())
        for node in program.graph.nodes
        if node.op == "call_function" and "softmax" in str(node.target)
    ]
    assert len(axes) == 6
    assert all(axis in (-1, rank - 1) for axis, rank in axes)


def test_the_given_network_is_left_alone():
    network = awakened(SMALL).train()
    deploy = DeployNetwork(network)
    assert network.training
    assert not deploy.network.training
    assert all(p.requires_grad for p in network.parameters())
    with torch.no_grad():
        network.classification_head.linear.bias.add_(100.0)
        assert deploy(differential(SMALL))[0].item() < 1


def test_it_takes_the_shape_it_says():
    assert DeployNetwork(awakened(OTHER_KINDS)).input_shape == (4, 3, 64, 64)
