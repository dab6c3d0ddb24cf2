"""Trains a network from data sets to a run folder (paper, section 6.2; `training.settings` has the recipes).

In this order: check labels and prepare what is not prepared, check that every split has both classes, train, take the
best epoch of the validation split (equal error rate, then loss), fix the threshold on the same split, write the record.
The threshold is fixed where the validation split's error rates are equal, and never touched again: the test split has
no part in any choice that is made here. (Which of several trainings ships is chosen by people: docs/training.md.) A
finished folder is left as it is; an unfinished one of the same settings is taken up again.
"""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from rich.console import Console

from sdk_reference.atomic_files import writing_to
from sdk_reference.landmarks import FaceMeshDetector
from sdk_reference.preprocess import PreprocessSettings
from sdk_reference.quality import QualityLimits
from training.checkpoint import (
    BEST_FILE,
    LAST_FILE,
    LOG_FILE,
    PHOTOGRAPHS_FOLDER,
    RUN_FILE,
    load_weights,
    read_record,
    require_best,
    require_resumable,
    save_run,
)
from training.data import CaptureData, PreparedData, join_stores, require_equal_shares
from training.errors import RunInvalid, SettingOutOfRange
from training.first_weights import FirstWeights, load_first_weights, require_same_network
from training.int8_grid import round_to_int8_grid
from training.lightning_module import TrainingModule
from training.log_table import read_log
from training.machine import Machine, torch_threads
from training.network import ATRFAS, drawn_network
from training.network import PRESETS as NETWORKS
from training.photographs import PhotographStore
from training.prepare import DetectorFactory, prepare_all
from training.processes import lost_processes_are_errors
from training.run_folder import begin_folder
from training.run_keeper import RunKeeper
from training.run_record import Plan, Task, record_of
from training.settings import TrainSettings
from training.taking_turns import alone
from training.training_progress import TrainingProgress


def train(
    out: Path,
    folders: Sequence[Path],
    settings: TrainSettings,
    machine: Machine | None = None,
    *,
    start: Path | None = None,
    detector_factory: DetectorFactory = FaceMeshDetector,
    callbacks: Sequence[Callback] = (),
) -> dict[str, Any]:
    """Train into the folder `out` on the data sets in `folders`, or go on there; returns the record (run.json).

    `start` is the folder of a finished run or of a pretraining of the same network, whose weights the training begins
    with.
    Of several processes each returns the record, and the first one writes. Raises `DatasetInvalid`, `LabelsMissing`,
    `ClassMissing`, `SettingOutOfRange`, `SettingsMismatch`, `RunInvalid`, `LossNotFinite`, `ProcessLost` or
    `OutputNotWritable`.
    """
    machine = machine or Machine()
    begun_with = None if start is None else load_first_weights(start)
    if begun_with is not None:
        settings = replace(settings, started_from=begun_with.sha256)
    with torch_threads(machine.threads), lost_processes_are_errors():
        trainer = new_trainer(out, settings, machine, callbacks)
        require_equal_shares(settings.batch_size, trainer.world_size)
        with alone(lock_of(out)) if trainer.world_size > 1 else nullcontext():
            task = begin(out, folders, settings, machine, trainer, detector_factory, begun_with)
        if not (out / RUN_FILE).is_file():
            network = fit(trainer, out, task)
            if trainer.is_global_zero:
                save_run(out, network, record_of(task, out, network))
                shutil.rmtree(out / PHOTOGRAPHS_FOLDER, ignore_errors=True)
            trainer.strategy.barrier("run.json is written")
            lock_of(out).unlink(missing_ok=True)
        return read_record(out)


def begin(
    out: Path,
    folders: Sequence[Path],
    settings: TrainSettings,
    machine: Machine,
    trainer: lightning.Trainer,
    detector_factory: DetectorFactory,
    begun_with: FirstWeights | None,
) -> Task:
    """Prepare the data and the folder, and check all that can be checked before hours are spent."""
    stores = prepare_all(folders, machine.workers, machine.quiet or not trainer.is_global_zero, detector_factory)
    data = join_stores(stores, QualityLimits())
    plan = make_plan(settings, data, stores[0].n0)
    if not machine.quiet and trainer.is_global_zero:
        show_unlit(data, settings)
    if begun_with is not None:
        require_same_network(begun_with, plan.network, plan.preprocess)
    loaders = CaptureData(
        data,
        plan.preprocess,
        settings.augment,
        batch_size=settings.batch_size,
        seed=settings.seed,
        loader_workers=machine.loader_workers,
        use_refused=settings.use_refused,
        weights={"mask": settings.mask_weight},
        in_batches=trainer.strategy.root_device.type == "cuda",
        photographs=PhotographStore(out / PHOTOGRAPHS_FOLDER),
        map_size=plan.network.map_size,
    )
    loaders.require_enough_for(trainer.world_size)
    begin_run(out, plan)
    return Task(plan, data, loaders, begun_with)


def show_unlit(data: PreparedData, settings: TrainSettings) -> None:
    """Say on standard error how many simulated captures cannot be relit although the recipe wants it."""
    simulated = sum(bool(example.record.labels["simulated"]) for example in data.usable("train"))
    if settings.augment.relit_share > 0 and data.relightable < simulated:
        Console(stderr=True).print(
            f"{simulated - data.relightable} of {simulated} simulated captures to train on come without layers of "
            "light and are never photographed anew, which the recipe counts on: simulate with --layers, and train on "
            "the folder rather than on shards of it.",
            style="yellow",
        )


def lock_of(out: Path) -> Path:
    """Return the file whose lock keeps the processes of a training apart while the data is prepared."""
    return out.with_name(f".{out.name}.lock")


def make_plan(settings: TrainSettings, data: PreparedData, n0: int) -> Plan:
    """Fit the preset's network to the data's number of frames."""
    network = replace(NETWORKS[settings.preset], n0=n0)
    preprocess = PreprocessSettings(input_size=network.input_size)
    return Plan(network, preprocess, settings, data.limits, data.sha256, data.relightable)


def begin_run(out: Path, plan: Plan) -> None:
    """Begin the run's folder, or go on there (`training.run_folder.begin_folder`)."""
    begin_folder(out, plan.to_dict())
    with writing_to(out):
        (out / LAST_FILE).parent.mkdir(exist_ok=True)


def new_trainer(
    out: Path, settings: TrainSettings, machine: Machine, callbacks: Sequence[Callback] = ()
) -> lightning.Trainer:
    """Return Lightning's trainer for this machine; `SettingOutOfRange` when the machine is not as the settings say."""
    progress = [] if machine.quiet else [TrainingProgress()]
    try:
        with _without_chatter():
            return lightning.Trainer(
                accelerator=machine.accelerator,
                devices=machine.processes_per_node,
                num_nodes=machine.nodes,
                # Buffers are the same in all processes (`training.processes`), and sending them along with each
                # forward pass would hang a validation in which one process has a batch more than another.
                strategy=DDPStrategy(forward_sync_buffers=False) if machine.is_parallel else "auto",
                use_distributed_sampler=False,  # `CaptureData` shares the captures
                max_epochs=settings.epochs,
                precision=settings.precision,
                gradient_clip_val=settings.gradient_clip,
                callbacks=[*callbacks, *progress, RunKeeper(out, machine.checkpoint_every_s)],
                logger=False,
                default_root_dir=out,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
            )
    except (MisconfigurationException, ValueError) as error:
        raise SettingOutOfRange(
            found=f"a machine that cannot train so ({error})",
            expected=f"{machine.nodes} × {machine.processes_per_node} devices, accelerator {machine.accelerator}",
            remedy="choose other values for --accelerator, --devices or --nodes",
        ) from error


def fit(trainer: lightning.Trainer, out: Path, task: Task) -> ATRFAS:
    """Train, from the last checkpoint if there is one; returns the network of the best epoch in evaluation mode.

    Its weights are rounded to what int8 can hold (`training.int8_grid`).
    """
    on_gpu = trainer.strategy.root_device.type == "cuda"
    module = TrainingModule(first_network(task), task.plan.training, trainer.world_size, on_gpu)
    last = checked_checkpoint(out, module)
    with _without_chatter():
        trainer.fit(module, task.loaders, ckpt_path=None if last is None else str(last), weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    network = new_network(task.plan).eval()
    load_weights(network, out / BEST_FILE)
    round_to_int8_grid(network)
    return network


def checked_checkpoint(out: Path, module: TrainingModule) -> Path | None:
    """Return the checkpoint to go on from, or None; `RunInvalid` when this training cannot go on from what is there."""
    last, best = out / LAST_FILE, out / BEST_FILE
    if best.is_file():
        require_best(best, module.judged)
    elif read_log(out):
        raise RunInvalid(
            found=f"{out / LOG_FILE} of epochs whose best weights are not in {best}",
            expected="a run's folder as it was left",
            remedy="copy the run again or train anew into another folder",
        )
    if not last.is_file():
        return None
    require_resumable(last, module.state_dict())
    return last


def first_network(task: Task) -> ATRFAS:
    """Return the network as the training begins with it."""
    network = new_network(task.plan)
    if task.begun_with is not None:
        network.load_state_dict(task.begun_with.network.state_dict())
    return network


def new_network(plan: Plan) -> ATRFAS:
    """Return the network with the first weights that the seed draws; torch's own generator is left as it was."""
    return drawn_network(plan.network, plan.training.seed)


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Silence Lightning's advertisement of devices and its advice on loaders: both are chosen here on purpose."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated")  # between Lightning and torch 2.13
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
