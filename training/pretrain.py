"""Pretraining of `mobile` on ever new people, with a teacher beside it; made for one GPU and many processors.

    python -m training.pretrain OUT [--from OLD] [--minutes 9 | --steps 8400] [--scenes 60000] [--workers 12]
    flashproof train RUN --preset mobile --from OUT --epochs 2 --learning-rate 2e-4 --data data/sim

While processors render scenes of new people (`training.fresh_scenes`), the GPU photographs them under new plans and
lights, and two networks learn from each batch: `mobile`, and a teacher seven times as large whose answers `mobile`
learns from, too (`training.distillation`). What comes out are weights to begin a training with, not a run: nothing is
known yet of thresholds, and faces were aligned by the truth. The paper has no such stage.

Killed and started again it goes on where it last saved itself; `--from` begins with what another pretraining left, on
people of another seed. It cannot be repeated bit for bit: which scenes are there when a batch is drawn hangs on how
fast they were rendered.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from sdk_reference.atomic_files import write_json
from sdk_reference.errors import FlashproofError
from sdk_reference.preprocess import PreprocessSettings
from simulator.stage import subject_name
from training.checkpoint import load_weights, save_weights
from training.course import Course, one_cycle
from training.data import person_code
from training.distillation import teacher_of
from training.errors import LossNotFinite, RunInvalid, require_range
from training.first_weights import (
    PRETRAINED_FILE,
    PRETRAINED_WEIGHTS,
    TRAINED_ON,
    FirstWeights,
    load_first_weights,
    pretrained_record,
    require_same_network,
)
from training.fresh_scenes import fresh_recipes, supply
from training.learners import Learner, Steps
from training.log_table import read_log
from training.losses import LIVE_SPECIES, Targets
from training.network import ATRFAS, MOBILE, NetworkSettings
from training.photograph_buffer import Photographs
from training.photograph_stock import PhotographStock
from training.pretrain_judging import LEARNERS, errors, photographed_once
from training.pretrain_keeping import LAST_FILE, Taken, add_line, resume, save
from training.progress import progress_bar
from training.run_folder import begin_folder
from training.settings import RECIPES
from training.synthesis import Recipe, SimulationSettings
from training.workers import MAX_WORKERS, Progress, default_workers

TEACHER_FILE = "teacher.safetensors"
FETCHED_PER_STEP = 8
SAVED_EVERY_S = 120.0
CHECKED_EVERY = 50
"""Steps between two looks at the losses, which wait for the GPU."""
JUDGED_EVERY = 700
JUDGING_PART = 4
"""Of so many processes that render, one renders what is judged, while the others begin with what is learned from."""


@dataclass(frozen=True)
class PretrainSettings:
    """What decides the result, but for what was rendered when."""

    steps: int = 8400
    minutes: float | None = None
    """Instead of steps: the learning rate falls with the time, from the first step on."""
    batch_size: int = 64
    unseen: int = 16
    """Of a batch: photographs that no batch has shown yet; the others are shown again, one photograph four times on
    average."""
    photographed_at_once: int = 64
    kept_photographs: int = 6144
    """A megabyte each."""
    learning_rate: float = 2.8e-3
    teacher_learning_rate: float = 1.6e-3
    warm_up: float = 0.12
    weight_decay: float = 1e-2
    average: float = 1e-3
    """What each step adds of the weights to their moving average, which is judged and saved."""
    scenes: int = 60_000
    """Captures of the simulation from which scenes are taken (`training.fresh_scenes.ONE_OF`)."""
    first_share: float = 0.5
    """What the saved weights keep of those that the pretraining began with, where it began with any: half-way between
    both, a network keeps what either has learned and says less of what it has never seen (Wortsman et al. 2022;
    docs/log.md has what became of a real face)."""
    validation_scenes: int = 400
    """Of the same mix; about 150 are rendered and can be judged. Enough for a glance: `evaluate` judges."""
    seed: int = 1004

    def __post_init__(self) -> None:
        require_range("steps", self.steps, 1, 10_000_000)
        require_range("minutes", self.minutes if self.minutes is not None else 1.0, 0.01, 100_000.0)
        require_range("batch size", self.batch_size, 2, 4096)
        require_range("unseen", self.unseen, 1, self.batch_size)
        require_range("photographed_at_once", self.photographed_at_once, 1, 4096)
        require_range("kept_photographs", self.kept_photographs, self.batch_size + self.photographed_at_once, 1_000_000)
        require_range("learning rate", self.learning_rate, 1e-8, 1.0)
        require_range("teacher's learning rate", self.teacher_learning_rate, 1e-8, 1.0)
        require_range("first_share", self.first_share, 0.0, 1.0)
        require_range("scenes", self.scenes, 400, 1_000_000)
        require_range("validation_scenes", self.validation_scenes, 40, 100_000)
        require_range("seed", self.seed, 0, 2**62)

    @property
    def course(self) -> Course:
        """By what it ends."""
        return Course(self.steps, self.minutes)


def pretrain(
    out: Path,
    settings: PretrainSettings,
    *,
    start: Path | None = None,
    network: NetworkSettings = MOBILE,
    device: torch.device | None = None,
    workers: int = 1,
    loader_workers: int = 0,
    quiet: bool = False,
) -> dict[str, Any]:
    """Pretrain into the folder `out`, or go on there; returns the record (pretrained.json).

    `start`: a finished pretraining's folder, or a run's, with whose weights to begin; without a teacher's weights there
    the teacher begins anew. Raises `SettingsMismatch` for a folder begun with other settings, `RunInvalid` for weights
    that do not fit, `SettingOutOfRange`, `LossNotFinite`, `WorkerLost` or `OutputNotWritable`.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    preprocess = PreprocessSettings(input_size=network.input_size)
    first = None if start is None else _to_begin_with(start, network, preprocess)
    begun_with = None if first is None else first.sha256
    begin_folder(out, {"settings": asdict(settings), "network": network.to_dict(), "started_from": begun_with})
    if (out / PRETRAINED_FILE).is_file():
        return dict(json.loads((out / PRETRAINED_FILE).read_text(encoding="utf-8")))
    learners = [
        Learner(teacher_of(network), settings.teacher_learning_rate, settings.weight_decay, settings.seed, device),
        Learner(network, settings.learning_rate, settings.weight_decay, settings.seed, device),
    ]
    beginnings = [] if first is None else _begin_with(first, learners)
    taken = resume(out, learners)
    training = SimulationSettings(count=settings.scenes, seed=settings.seed, split="train")
    judging = SimulationSettings(count=settings.validation_scenes, seed=settings.seed + 1, split="val")
    wanted = fresh_recipes(training)
    behind = int(len(wanted) * settings.course.done(*taken))  # a training that goes on meets new people at once
    with supply(wanted[behind:] + wanted[:behind], training, workers) as rendered:
        with supply(fresh_recipes(judging), judging, max(workers // JUDGING_PART, 1)) as to_judge:
            judged = photographed_once(
                to_judge, network, preprocess, device, loader_workers, settings.photographed_at_once, settings.seed + 1
            )
        stock = PhotographStock(
            rendered,
            RECIPES["mobile"].augment,
            network,
            device,
            kept=settings.kept_photographs,
            at_once=settings.photographed_at_once,
            loader_workers=loader_workers,
            seed=settings.seed + taken.steps,
        )
        with progress_bar("Pretraining", quiet) as progress:
            _learn(out, settings, preprocess, learners, stock, judged, taken, progress)
    validation = {name: float(value) for name, value in read_log(out)[-1].items()}
    for learner, weights in beginnings:
        towards(learner.average, weights, settings.first_share)
    if beginnings:
        validation |= errors(learners, judged)
    made = {
        "settings": asdict(settings),
        "started_from": begun_with,
        "device": device.type,
        "validation": validation,
    }
    save_weights(learners[0].average, out / TEACHER_FILE)
    sha256 = save_weights(learners[1].average, out / PRETRAINED_WEIGHTS)
    record = pretrained_record(network, preprocess, sha256, shown_in(wanted, first), made)
    write_json(out / PRETRAINED_FILE, record)
    (out / LAST_FILE).unlink(missing_ok=True)
    return record


def towards(network: ATRFAS, weights: Mapping[str, Tensor], share: float) -> None:
    """Move all weights and statistics of a network by this share of the way to others."""
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(weights[name], share)


def _to_begin_with(start: Path, network: NetworkSettings, preprocess: PreprocessSettings) -> FirstWeights:
    first = load_first_weights(start)
    require_same_network(first, network, preprocess)
    if not set(TRAINED_ON) <= set(first.trained_on):
        raise RunInvalid(
            found=f"{start} with weights of which it does not say what they had seen",
            expected="the people, phones and rooms of their training",
            remedy="begin with a pretraining of this version, or without --from",
        )
    return first


def _begin_with(first: FirstWeights, learners: Sequence[Learner]) -> list[tuple[Learner, dict[str, Tensor]]]:
    """Let `mobile`, and a teacher where there is one, learn on from these weights; return who does, and from where."""
    teacher, student = learners
    student.begin_with(first.network.state_dict())
    begun = [student]
    if (first.folder / TEACHER_FILE).is_file():
        load_weights(teacher.average, first.folder / TEACHER_FILE)
        teacher.begin_with(teacher.average.state_dict())
        begun.append(teacher)
    return [(one, {name: value.clone() for name, value in one.average.state_dict().items()}) for one in begun]


def shown_in(wanted: Sequence[Recipe], first: FirstWeights | None = None) -> dict[str, set[str]]:
    """Who and what may have been learned from, rendered in time or not, by the first weights too."""
    shown = {
        "people": {person_code(subject_name(recipe.subject)) for recipe in wanted},
        "devices": {recipe.device for recipe in wanted},
        "scenes": {recipe.scene for recipe in wanted},
    }
    if first is None:
        return shown
    return {name: seen | set(first.trained_on[name]) for name, seen in shown.items()}


def _learn(
    out: Path,
    settings: PretrainSettings,
    preprocess: PreprocessSettings,
    learners: Sequence[Learner],
    stock: PhotographStock,
    judged: tuple[Tensor, Tensor],
    taken: Taken,
    progress: Progress,
) -> None:
    steps = Steps(learners, settings.average, preprocess)
    again = settings.batch_size - settings.unseen
    stock.begin()
    began = time.monotonic() - taken.seconds
    saved = taken
    while (done := settings.course.done(*taken)) < 1.0:
        progress(taken.steps, int(taken.steps / done) if done else settings.steps)
        for learner in learners:
            learner.set_rate(learner.peak * one_cycle(done, settings.warm_up))
        stock.fetch(FETCHED_PER_STEP)
        batch = stock.draw(settings.unseen, again)
        steps.take(batch.frames, _targets(batch))
        taken = Taken(taken.steps + 1, time.monotonic() - began)
        if taken.steps % CHECKED_EVERY == 0:
            _require_finite(learners, taken.steps - 1)
        if taken.steps % JUDGED_EVERY == 0:
            add_line(out, _line(taken, stock, learners, judged))
        if taken.seconds - saved.seconds > SAVED_EVERY_S:
            save(out, taken, learners)
            saved = taken
    _require_finite(learners, taken.steps - 1)
    add_line(out, _line(taken, stock, learners, judged))


def _targets(batch: Photographs) -> Targets:
    live = (batch.species == LIVE_SPECIES).long()
    return Targets(live=live, species=batch.species, depth=batch.depth, response=batch.response)


def _line(
    taken: Taken, stock: PhotographStock, learners: Sequence[Learner], judged: tuple[Tensor, Tensor]
) -> dict[str, float]:
    values: dict[str, float] = {
        "step": taken.steps,
        "seconds": round(taken.seconds, 1),
        "scenes": len(stock.pool),
        "photographs": stock.photographed,
        "judgeable": round(stock.judgeable / max(stock.photographed, 1), 4),
        "validation_captures": len(judged[1]),
        **errors(learners, judged),
    }
    for name, learner in zip(LEARNERS, learners, strict=True):
        losses = dict(zip(("classification", "depth", "gate", "response"), learner.losses.tolist(), strict=True))
        values |= {f"{name}_{term}": round(value, 5) for term, value in losses.items()}
    return values


def _require_finite(learners: Sequence[Learner], step: int) -> None:
    if not all(isfinite(value) for learner in learners for value in learner.losses.tolist()):
        raise LossNotFinite(
            found=f"losses that are no numbers by step {step}",
            expected="finite losses",
            remedy="lower the learning rate; the last checkpoint is kept",
        )


def main(
    out: Annotated[Path, typer.Argument(help="New folder, or one begun with the same settings.")],
    start: Annotated[
        Path | None, typer.Option("--from", help="Folder of a pretraining or a run with whose weights to begin.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Batches to learn from.")] = PretrainSettings.steps,
    minutes: Annotated[float | None, typer.Option(help="How long to learn, instead of so many steps.")] = None,
    learning_rate: Annotated[float, typer.Option(help="Highest of mobile's.")] = PretrainSettings.learning_rate,
    teacher_learning_rate: Annotated[
        float, typer.Option(help="Highest of the teacher's.")
    ] = PretrainSettings.teacher_learning_rate,
    scenes: Annotated[
        int, typer.Option(help="Captures to simulate; about half are rendered.")
    ] = PretrainSettings.scenes,
    seed: Annotated[int, typer.Option(help="Draws people, scenes, plans and first weights.")] = PretrainSettings.seed,
    workers: Annotated[int, typer.Option(help="Processes that render; 0 takes three of four processors.")] = 0,
    loader_workers: Annotated[int, typer.Option(help="Processes that draw; 0 draws in this one.")] = 3,
    quiet: Annotated[bool, typer.Option("--json", help="Print one JSON object; no progress bar.")] = False,
) -> None:
    """Pretrain `mobile` on ever new simulated people."""
    try:
        settings = PretrainSettings(
            steps=steps,
            minutes=minutes,
            learning_rate=learning_rate,
            teacher_learning_rate=teacher_learning_rate,
            scenes=scenes,
            seed=seed,
        )
        workers = workers or max(default_workers() * 3 // 4, 1)
        require_range("workers", workers, 1, MAX_WORKERS)
        record = pretrain(out, settings, start=start, workers=workers, loader_workers=loader_workers, quiet=quiet)
    except FlashproofError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_status) from None
    print(json.dumps(record if quiet else record["validation"], indent=None if quiet else 1))


if __name__ == "__main__":
    typer.run(main)
