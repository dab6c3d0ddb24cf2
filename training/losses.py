"""The training losses (sections 1.3 to 1.5 of the paper): L = λc·Lc + λd·Ld + λg·Lg + λr·Lr.

Lc judges live or spoof, Ld the depth of every frame, Lg the attack type of every frame. Lr teaches the flash-response
head of the authors' released model, which the paper does not mention. The paper prints no λ. It sums Ld over pixels;
here every loss is a mean over what it covers, so that the λ do not depend on the resolution.

A depth label lies between two bins in general. Rounding it to the nearer one would cost up to half a bin, so its mass
is shared linearly between both neighbours: the expectation over bins of this target is exactly the label.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.network import NetworkOutputs

LIVE_SPECIES = -1  # a live capture has no attack type


@dataclass(frozen=True)
class LossSettings:
    """The weights λ of the four losses."""

    classification: float = 1.0
    """λc, on live/spoof cross-entropy in nats."""
    depth: float = 1.0
    """λd, on the cross-entropy over depth bins in nats per pixel."""
    gate: float = 1.0
    """λg, on the attack-type cross-entropy in nats per frame."""
    response: float = 1.0
    """λr, on the squared error of the flash response."""

    def __post_init__(self) -> None:
        if min(self.classification, self.depth, self.gate, self.response) < 0:
            raise ValueError(f"found loss weights {self}; expected none below 0; set 0 to switch a loss off")


@dataclass(frozen=True)
class Targets:
    """What a batch of B captures should give."""

    live: Tensor
    """B, 1 or True for live, 0 or False for spoof; any dtype."""
    species: Tensor
    """B int64: 0 print, 1 replay, 2 mask, −1 live."""
    depth: Tensor
    """B×h×w float in 0..1, nearest = 1; 0.5 everywhere for a spoof. One label serves all frames of a capture."""
    response: Tensor
    """B×N×3 float: expected (R−G, G−B, B−R) of each differential frame; a row of zeros is not judged."""


@dataclass(frozen=True)
class LossTerms:
    """The four losses before weighting, and their weighted sum; scalars, float32, differentiable."""

    classification: Tensor
    depth: Tensor
    gate: Tensor
    response: Tensor
    total: Tensor


def total_loss(outputs: NetworkOutputs, targets: Targets, settings: LossSettings | None = None) -> LossTerms:
    """All losses of one batch; ValueError when shapes or labels do not fit."""
    _check_targets(outputs, targets)
    return loss_terms(outputs, targets, settings)


def loss_terms(outputs: NetworkOutputs, targets: Targets, settings: LossSettings | None = None) -> LossTerms:
    """All losses of one batch that is known to fit: nothing here waits for a GPU."""
    weights = settings if settings is not None else LossSettings()
    classification = classification_loss(outputs.score_logits, targets.live)
    depth = depth_loss(outputs.frame_depth_logits, targets.depth)
    gate = gate_loss(outputs.type_logits, targets.species)
    response = response_loss(outputs.flash_response, targets.response)
    total = (
        weights.classification * classification
        + weights.depth * depth
        + weights.gate * gate
        + weights.response * response
    )
    return LossTerms(classification, depth, gate, response, total)


def classification_loss(score_logits: Tensor, live: Tensor) -> Tensor:
    """Lc: cross-entropy of B×2 logits (spoof, live) against B labels, mean over captures."""
    return F.cross_entropy(score_logits.float(), live.long())


def gate_targets(species: Tensor, types: int) -> Tensor:
    """B species → B×types probabilities: one-hot for a spoof, uniform for a live face (section 1.3)."""
    one_hot = F.one_hot(species.clamp(min=0), types).float()
    uniform = torch.full_like(one_hot, 1.0 / types)
    return torch.where((species == LIVE_SPECIES).unsqueeze(1), uniform, one_hot)


def gate_loss(type_logits: Tensor, species: Tensor) -> Tensor:
    """Lg: soft-target cross-entropy of B×N×types logits, every frame against its capture's target, mean over both."""
    target = gate_targets(species, type_logits.shape[2]).unsqueeze(1)
    return -(target * F.log_softmax(type_logits.float(), dim=2)).sum(dim=2).mean()


def depth_loss(frame_depth_logits: Tensor, depth: Tensor) -> Tensor:
    """Ld: cross-entropy of B×N×K×h×w logits against depths B×h×w in 0..1, mean over captures, frames and pixels.

    The depth at bin position p = depth·(K−1) puts mass 1−(p−⌊p⌋) on bin ⌊p⌋ and the rest on the next one.
    """
    logits = frame_depth_logits.float()
    frames, bins = logits.shape[1:3]
    position = depth.float().unsqueeze(1).unsqueeze(1) * (bins - 1)
    lower = position.floor().clamp(max=bins - 2)
    share_above = position - lower
    index = lower.long().expand(-1, frames, -1, -1, -1)
    expected_logit = (1 - share_above) * logits.gather(2, index) + share_above * logits.gather(2, index + 1)
    return (logits.logsumexp(dim=2, keepdim=True) - expected_logit).mean()


def response_loss(flash_response: Tensor, expected: Tensor) -> Tensor:
    """Lr: squared error of B×N×3 responses, mean over the rows whose expected response is not zero; 0 without any.

    A row expected to be zero (a grey step between white and black) says nothing about colour and is left out.
    """
    judged = (expected.abs().amax(dim=2, keepdim=True) > 0).float()
    squared = (flash_response.float() - expected.float()).square() * judged
    return squared.sum() / (judged.sum() * expected.shape[2]).clamp(min=1.0)


def _check_targets(outputs: NetworkOutputs, targets: Targets) -> None:
    """Raise ValueError where a target has the wrong shape or a label without meaning."""
    batch = outputs.score.shape[0]
    expected_shapes = {
        "live": (batch,),
        "species": (batch,),
        "depth": tuple(outputs.depth.shape),
        "response": tuple(outputs.flash_response.shape),
    }
    for name, expected in expected_shapes.items():
        found = tuple(getattr(targets, name).shape)
        if found != expected:
            raise ValueError(f"found target {name} of shape {found}; expected {expected}; collate it like the outputs")
    types = outputs.type_logits.shape[2]
    live = targets.live.bool()
    fits = torch.where(live, targets.species == LIVE_SPECIES, (targets.species >= 0) & (targets.species < types))
    if not bool(fits.all()):
        raise ValueError(
            f"found live {live.tolist()} with species {targets.species.tolist()}; expected species −1 where live and "
            f"0 to {types - 1} elsewhere; check the labels of the capture"
        )
    if not bool(((targets.depth >= 0) & (targets.depth <= 1)).all()):
        low, high = float(targets.depth.min()), float(targets.depth.max())
        raise ValueError(f"found depth labels from {low} to {high}; expected 0 to 1; normalise them per capture")
