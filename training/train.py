"""Trains a network from data sets to a run folder (paper, section 6.2; `training.settings` has the recipes).

In this order: check labels and prepare what is not prepared, check that every split has both classes, train, take the
best epoch of the validation split (equal error rate, then loss), fix the threshold on the same split, write the record.
The threshold is fixed where the validation split's error rates are equal, and never touched again: the test split has
no part in any choice. A finished folder is left as it is; an unfinished one of the same settings is taken up again.
"""

from __future__ import annotations

import json
import logging
import platform
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback, RichProgressBar

from sdk_reference.atomic_files import write_json, writing_to
from sdk_reference.landmarks import FaceMeshDetector
from sdk_reference.preprocess import PreprocessSettings
from sdk_reference.quality import QualityLimits
from training.checkpoint import BEST_FILE, LAST_FILE, RUN_FILE, SETTINGS_FILE, load_weights, read_record, save_run
from training.data import CaptureData, PreparedData, join_stores
from training.errors import RunInvalid, SettingsMismatch
from training.evaluate import operating_point
from training.lightning_module import TrainingModule
from training.machine import Machine, torch_threads
from training.network import ATRFAS, NetworkSettings
from training.network import PRESETS as NETWORKS
from training.prepare import DetectorFactory, prepare_all
from training.run_keeper import RunKeeper, read_best
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

    def to_dict(self) -> dict[str, Any]:
        """Return the content of settings.json."""
        return {
            "network": self.network.to_dict(),
            "preprocess": self.preprocess.to_dict(),
            "training": self.training.to_dict(),
            "quality_limits": dict(vars(self.limits)),
            "data_sha256": self.data_sha256,
        }


def train(
    out: Path,
    folders: Sequence[Path],
    settings: TrainSettings,
    machine: Machine | None = None,
    *,
    detector_factory: DetectorFactory = FaceMeshDetector,
    callbacks: Sequence[Callback] = (),
) -> dict[str, Any]:
    """Train into the folder `out` on the data sets in `folders`, or go on there; returns the record (run.json).

    Raises `DatasetInvalid`, `LabelsMissing`, `ClassMissing`, `SettingsMismatch`, `RunInvalid` or `OutputNotWritable`.
    """
    machine = machine or Machine()
    stores = prepare_all(folders, machine.workers, machine.quiet, detector_factory)
    data = join_stores(stores, QualityLimits())
    plan = make_plan(settings, data, stores[0].n0)
    loaders = CaptureData(
        data,
        plan.preprocess,
        settings.augment,
        batch_size=settings.batch_size,
        seed=settings.seed,
        loader_workers=machine.loader_workers,
        use_refused=settings.use_refused,
    )
    begin_run(out, plan)
    if (out / RUN_FILE).is_file():
        return read_record(out)
    with torch_threads(machine.threads):
        network = fit(out, plan, loaders, machine, callbacks)
        save_run(out, network, record_of(out, plan, data, network, loaders))
    return read_record(out)


def make_plan(settings: TrainSettings, data: PreparedData, n0: int) -> Plan:
    """Fit the preset's network to the data's number of frames."""
    network = replace(NETWORKS[settings.preset], n0=n0)
    return Plan(network, PreprocessSettings(input_size=network.input_size), settings, data.limits, data.sha256)


def begin_run(out: Path, plan: Plan) -> None:
    """Write settings.json into a new or empty folder, or check that the one found there says the same."""
    wanted = json.loads(json.dumps(plan.to_dict()))
    path = out / SETTINGS_FILE
    if not path.exists():
        if out.is_file() or (out.is_dir() and any(out.iterdir())):
            raise RunInvalid(
                found=f"{out}, which holds something else",
                expected="a new or empty folder, or a run of the same settings",
                remedy="choose another folder",
            )
        write_json(path, wanted)
    else:
        _require_same(path, wanted)
    with writing_to(out):
        (out / LAST_FILE).parent.mkdir(exist_ok=True)


def _require_same(path: Path, wanted: dict[str, Any]) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunInvalid(
            found=f"{path} that cannot be read ({error})", expected="a run's settings", remedy="choose another folder"
        ) from error
    if found != wanted:
        differing = list(differences(found, wanted))
        raise SettingsMismatch(
            found=f"{path} with " + ", ".join(f"{name} {a!r}" for name, a, _ in differing[:4]),
            expected=", ".join(f"{name} {b!r}" for name, _, b in differing[:4]),
            remedy="repeat the settings and data that the run was begun with, or choose another folder",
        )


def differences(found: Any, wanted: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted name, found, wanted) for every leaf in which two trees of dictionaries differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            yield from differences(found.get(key), wanted.get(key), f"{name}.{key}".lstrip("."))
    elif found != wanted:
        yield name or "content", found, wanted


def fit(out: Path, plan: Plan, loaders: CaptureData, machine: Machine, callbacks: Sequence[Callback] = ()) -> ATRFAS:
    """Train, from the last checkpoint if there is one; returns the network of the best epoch in evaluation mode."""
    module = TrainingModule(new_network(plan), plan.training)
    bars = [] if machine.quiet else [RichProgressBar(leave=True, console_kwargs={"stderr": True})]
    last = out / LAST_FILE
    with _without_chatter():
        trainer = lightning.Trainer(
            accelerator=machine.accelerator,
            devices=1,
            max_epochs=plan.training.epochs,
            precision=plan.training.precision,
            gradient_clip_val=plan.training.gradient_clip,
            callbacks=[*callbacks, *bars, RunKeeper(out)],
            logger=False,
            default_root_dir=out,
            enable_progress_bar=not machine.quiet,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, loaders, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    network = module.judged.cpu().eval()
    load_weights(network, out / BEST_FILE)
    return network


def new_network(plan: Plan) -> ATRFAS:
    """Return the network with the first weights that the seed draws; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.training.seed)
        return ATRFAS(plan.network)


def record_of(out: Path, plan: Plan, data: PreparedData, network: ATRFAS, loaders: CaptureData) -> dict[str, Any]:
    """Return what run.json says about a training: all that is needed to rebuild it and to judge it."""
    best = read_best(out)
    assert best is not None, "every epoch of the training writes its merit"
    scored = score_dataset(network_scorer(network), loaders.validation_set)
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
        "quality_limits": settings["quality_limits"],
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "data": data.to_dict(),
        "best_epoch": best.epoch,
        "validation": {"eer": best.eer, "loss": best.loss},
        "operating_point": operating_point(scored, simulated=data.simulated),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in RECORDED_PACKAGES}},
    }


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Silence Lightning's advertisement of devices and its advice on loaders: both are chosen here on purpose."""
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated")  # between Lightning and torch 2.13
            yield
    finally:
        logger.setLevel(before)
