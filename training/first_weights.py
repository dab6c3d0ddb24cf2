"""Weights that a training begins with: of a finished run, or of a pretraining (`training.pretrain`).

PRETRAINED/model.safetensors    the network's weights
           pretrained.json      its sizes, how its input is made, the weights' hash, what it was trained on
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdk_reference.preprocess import PreprocessSettings
from training.checkpoint import load_run, load_weights
from training.errors import RunInvalid
from training.network import ATRFAS, NetworkSettings

PRETRAINED_FILE, PRETRAINED_WEIGHTS = "pretrained.json", "model.safetensors"
PRETRAINED_FORMAT, PRETRAINED_VERSION = "flashproof-pretrained", 1


@dataclass(frozen=True, eq=False)
class FirstWeights:
    """Where they come from, and the network that has them."""

    folder: Path
    settings: NetworkSettings
    preprocess: PreprocessSettings
    network: ATRFAS
    sha256: str


def pretrained_record(
    network: NetworkSettings, preprocess: PreprocessSettings, sha256: str, made: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of pretrained.json; `made` says how."""
    return {
        "format": PRETRAINED_FORMAT,
        "version": PRETRAINED_VERSION,
        "network": network.to_dict(),
        "preprocess": preprocess.to_dict(),
        "weights": {"file": PRETRAINED_WEIGHTS, "sha256": sha256},
        **made,
    }


def load_first_weights(folder: Path) -> FirstWeights:
    """Read the weights of a run's folder or a pretraining's; raises `RunInvalid` when they are missing or changed."""
    if not (folder / PRETRAINED_FILE).is_file():
        run = load_run(folder)
        return FirstWeights(folder, run.settings, run.preprocess, run.network, run.record["weights"]["sha256"])
    try:
        record = json.loads((folder / PRETRAINED_FILE).read_text(encoding="utf-8"))
        if (record["format"], record["version"]) != (PRETRAINED_FORMAT, PRETRAINED_VERSION):
            raise ValueError(f"format {record['format']!r}, version {record['version']!r}")
        settings = NetworkSettings.from_dict(record["network"])
        preprocess = PreprocessSettings.from_dict(record["preprocess"])
        sha256 = str(record["weights"]["sha256"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunInvalid(
            found=f"{folder / PRETRAINED_FILE} that cannot be used ({error})",
            expected=f"a {PRETRAINED_FORMAT} file of version {PRETRAINED_VERSION}",
            remedy="copy the folder again, or pretrain anew with python -m training.pretrain",
        ) from error
    network = ATRFAS(settings).eval()
    load_weights(network, folder / PRETRAINED_WEIGHTS, sha256)
    return FirstWeights(folder, settings, preprocess, network.requires_grad_(False), sha256)
