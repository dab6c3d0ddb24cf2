"""A finished training run of a tiny untrained network, so that tests of the export take seconds."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from sdk_reference.preprocess import PreprocessSettings
from sdk_reference.quality import QualityLimits
from training.checkpoint import Run, load_run, save_run
from training.network import ATRFAS, MOBILE

INPUT_SIZE = 32


def stub_record(n0: int = 5, threshold: float = 0.01, simulated: bool = True) -> dict[str, Any]:
    """The record of a run; its figures are made up and all different, so that a card can be searched for them."""
    settings = replace(MOBILE, n0=n0, input_size=INPUT_SIZE)
    rate = {"value": 0.0123, "low": 0.0045, "high": 0.0267}
    return {
        "created": "2026-01-02T03:04:05Z",
        "preset": "mobile",
        "seed": 41,
        "network": settings.to_dict(),
        "preprocess": PreprocessSettings(input_size=INPUT_SIZE).to_dict(),
        "training": {"epochs": 17},
        "loss": {},
        "trained_within": asdict(QualityLimits()),
        "quality_limits": asdict(QualityLimits(min_flash_snr=4.0)),
        "response_rule": {
            "cosine_limit": 0.6,
            "max_disagreeing_rows": 2,
            "right_passes": 0.9961,
            "wrong_caught": 0.8137,
        },
        "parameters": 123_456,
        "best_epoch": 13,
        "begun_with": None,
        "data": {
            "sha256": "ab" * 32,
            "captures": 3211,
            "subjects": 267,
            "simulated": simulated,
            "folders": [
                {
                    "name": "small-world",
                    "sha256": "cd" * 32,
                    "captures": 3211,
                    "simulation": {"count": 3211, "seed": 17, "mix": "balanced", "size": 256, "screen_off": False},
                    "simulator_sha256": "ef" * 32,
                }
            ],
            "refused": {"flash_too_weak": 87},
            "splits": {
                "train": {"captures": 2111, "subjects": 187, "species": {"live": 1100, "print": 1011}},
                "val": {"captures": 512, "subjects": 39, "species": {"live": 270, "print": 242}},
                "test": {"captures": 501, "subjects": 41, "species": {"live": 260, "print": 241}},
            },
        },
        "operating_point": {
            "threshold": threshold,
            "chosen_by": "equal error rate",
            "split": "validation",
            "simulated": simulated,
            "captures": 512,
            "rates": {"eer": rate, "apcer_print": {"value": 0.0321, "low": 0.0111, "high": 0.0444}},
        },
        "versions": {"python": "3.11", "torch": "2.13.0"},
    }


def stub_run(folder: Path, n0: int = 5, *, seed: int = 3, threshold: float = 0.01, **record: Any) -> Run:
    """Write a run with random weights to `folder` and load it; `record` replaces fields of the record."""
    fields = stub_record(n0, threshold) | record
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ATRFAS(replace(MOBILE, n0=n0, input_size=INPUT_SIZE)).eval()
    folder.mkdir(parents=True, exist_ok=True)
    save_run(folder, network, fields)
    return load_run(folder)
