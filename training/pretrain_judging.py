"""How a pretraining is judged on its way: by photographs of people of the validation split, taken once.

It is a glance on faces aligned by the truth and without quality limits of a model's own: `flashproof evaluate` judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sdk_reference.preprocess import PreprocessSettings
from training.augment import NO_AUGMENTATION
from training.batch_relight import to_input
from training.fresh_scenes import SceneSupply
from training.losses import LIVE_SPECIES
from training.metrics import eer
from training.network import ATRFAS, TYPES, NetworkSettings
from training.pretrain_draws import ScenePool, Sheets, loader, photograph_judgeable

PLAIN = replace(NO_AUGMENTATION, relit_share=1.0)
"""How scenes are photographed here: as a simulated data set's."""


def photographed_once(
    rendered: SceneSupply,
    network: NetworkSettings,
    preprocess: PreprocessSettings,
    device: torch.device,
    workers: int,
    at_once: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Photograph all scenes of a supply once, as a simulated data set would: input and species of judgeable ones."""
    pool = ScenePool(device)
    while not rendered.is_exhausted:
        for scene in rendered.fetch(1, wait=True):
            pool.add(scene)
    rng = np.random.default_rng(seed)
    requests = [pool.request(place, rng) for place in range(len(pool))]
    batches = [requests[begin : begin + at_once] for begin in range(0, len(requests), at_once)]
    inputs, species = [], []
    for drawn in loader(Sheets(PLAIN, network.map_size), batches, workers):
        good = photograph_judgeable(drawn, pool)
        inputs.append(to_input(good.frames.float(), preprocess))
        species.append(good.species)
    return torch.cat(inputs), torch.cat(species)


def _judge(network: ATRFAS, judged: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Equal error rate of a network on the validation photographs, and the share of masks let through where one live
    capture in twenty is not."""
    inputs, species = judged
    with torch.inference_mode():
        scores = torch.cat([network(part).score for part in inputs.split(64)]).double().cpu().numpy()
    kinds = species.cpu().numpy()
    live, mask = kinds == LIVE_SPECIES, kinds == TYPES.index("mask")
    return eer(scores, live).value, float((scores[mask] > np.quantile(scores[live], 0.05)).mean())


def errors(networks: Mapping[str, ATRFAS], judged: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Equal error rate of each network, by name, and masks let through where one live capture in twenty is not."""
    values: dict[str, float] = {"validation_captures": len(judged[1])}
    for name, network in networks.items():
        error, masks = _judge(network, judged)
        values |= {f"{name}_eer": round(error, 5), f"{name}_masks_at_bpcer_5": round(masks, 5)}
    return values
