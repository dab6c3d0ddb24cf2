"""What decides a training, what has passed its checks, and what run.json says of it in the end (paper, section 6.2)."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sdk_reference.preprocess import PreprocessSettings
from sdk_reference.quality import QualityLimits
from training.data import CaptureData, PreparedData
from training.evaluate import operating_point
from training.first_weights import FirstWeights
from training.gates import fit_decision
from training.network import ATRFAS, NetworkSettings
from training.run_keeper import read_best
from training.scoring import network_scorer, score_dataset
from training.settings import TrainSettings

RECORDED_PACKAGES = ("torch", "lightning", "numpy", "opencv-contrib-python", "mediapipe", "safetensors")


@dataclass(frozen=True)
class Plan:
    """Everything that decides the result."""

    network: NetworkSettings
    preprocess: PreprocessSettings
    training: TrainSettings
    limits: QualityLimits
    data_sha256: str
    relightable: int
    """Of the captures to train on, how many can be photographed anew: the hash is of the captures alone, and shards of
    a data set have its hash without its layers of light."""

    def to_dict(self) -> dict[str, Any]:
        """Return the content of settings.json."""
        return {
            "network": self.network.to_dict(),
            "preprocess": self.preprocess.to_dict(),
            "training": self.training.to_dict(),
            "quality_limits": dict(vars(self.limits)),
            "data_sha256": self.data_sha256,
            "relightable": self.relightable,
        }


@dataclass(frozen=True)
class Task:
    """A training that has passed all checks."""

    plan: Plan
    data: PreparedData
    loaders: CaptureData
    begun_with: FirstWeights | None = None
    """Whose weights the training begins with; None: those that the seed draws."""


def record_of(task: Task, out: Path, network: ATRFAS) -> dict[str, Any]:
    """Return what run.json says about a training: all that is needed to rebuild it and to judge it."""
    plan, data = task.plan, task.data
    best = read_best(out)
    assert best is not None, "every epoch of the training writes its merit"
    scored = score_dataset(network_scorer(network), task.loaders.all_of("val"))
    fitted = fit_decision(scored, plan.limits, plan.network.n0)
    settings = plan.to_dict()
    loss = settings["training"].pop("loss")
    return {
        "created": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "preset": plan.training.preset,
        "seed": plan.training.seed,
        "network": settings["network"],
        "preprocess": settings["preprocess"],
        "training": settings["training"],
        "loss": loss,
        "trained_within": settings["quality_limits"],
        "quality_limits": asdict(fitted.limits),
        "response_rule": fitted.response.to_dict(),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "data": data.to_dict(),
        "begun_with": None if task.begun_with is None else task.begun_with.to_dict(),
        "best_epoch": best.epoch,
        "validation": {"eer": best.eer, "loss": best.loss},
        "operating_point": operating_point(fitted.judged, simulated=data.simulated),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in RECORDED_PACKAGES}},
    }
