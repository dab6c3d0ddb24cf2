"""Pretraining of `mobile` on ever new people, with a teacher beside it; made for one GPU and many processors.

    python -m training.pretrain OUT [--from OLD] [--minutes 9 | --steps 8400] [--scenes 60000] [--workers 12]
    python -m training.pretrain OUT --from OLD --teacher-learning-rate 0 --batch-size 32 --unseen 8 --threads 2 …
    flashproof train RUN --preset mobile --from OUT --epochs 2 --learning-rate 2e-4 --data data/sim

While processors render scenes of new people (`training.fresh_scenes`), the GPU photographs them under new plans and
lights, and two networks learn from each batch: `mobile`, and a teacher seven times as large whose answers `mobile`
learns from, too (`training.distillation`). Without a GPU a teacher that has learned before may only teach: at a
learning rate of 0 it is asked once about each photograph, however often that is shown. What comes out are weights to
begin a training with, not a run: nothing is known yet of thresholds, and faces were aligned by the truth. The paper has
no such stage.

Killed and started again it goes on where it last saved itself; `--from` begins with what another pretraining left, on
people of another seed. It cannot be repeated bit for bit: which scenes are there when a batch is drawn hangs on how
fast they were rendered.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from sdk_reference.atomic_files import write_json
from sdk_reference.errors import FlashproofError
from sdk_reference.preprocess import PreprocessSettings
from simulator.stage import subject_name
from training.augment import LOOKS
from training.checkpoint import save_weights
from training.course import Course, one_cycle
from training.data import person_code
from training.distillation import teacher_of
from training.errors import LossNotFinite, require_choice, require_range
from training.first_weights import PRETRAINED_FILE, PRETRAINED_WEIGHTS, FirstWeights, pretrained_record
from training.fresh_scenes import fresh_recipes, supply
from training.learners import Learner, Steps
from training.log_table import read_log
from training.losses import LIVE_SPECIES, Targets
from training.machine import torch_threads
from training.network import MOBILE, NetworkSettings
from training.photograph_buffer import Photographs
from training.photograph_stock import PhotographStock
from training.pretrain_beginning import STUDENT, TEACHER, TEACHER_FILE, only_teaching, read_beginning
from training.pretrain_judging import errors, photographed_once
from training.pretrain_keeping import LAST_FILE, Taken, add_line, resume, save
from training.progress import progress_bar
from training.run_folder import begin_folder
from training.synthesis import Recipe, SimulationSettings
from training.workers import MAX_WORKERS, Progress, default_workers

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
    """0: the teacher of the folder that the pretraining begins with teaches and learns no more."""
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
    looks: str = "wide"
    """How varied photographs are: a name of `training.augment.LOOKS`."""
    seed: int = 1004

    def __post_init__(self) -> None:
        require_range("steps", self.steps, 1, 10_000_000)
        require_range("minutes", self.minutes if self.minutes is not None else 1.0, 0.01, 100_000.0)
        require_range("batch size", self.batch_size, 2, 4096)
        require_range("unseen", self.unseen, 1, self.batch_size)
        require_range("photographed_at_once", self.photographed_at_once, 1, 4096)
        require_range("kept_photographs", self.kept_photographs, self.batch_size + self.photographed_at_once, 1_000_000)
        require_range("learning rate", self.learning_rate, 1e-8, 1.0)
        require_range("teacher's learning rate", self.teacher_learning_rate, 0.0, 1.0)
        require_range("first_share", self.first_share, 0.0, 1.0)
        require_range("scenes", self.scenes, 400, 1_000_000)
        require_range("validation_scenes", self.validation_scenes, 40, 100_000)
        require_range("seed", self.seed, 0, 2**62)
        require_choice("looks", self.looks, tuple(LOOKS))

    @property
    def teacher_learns(self) -> bool:
        """Whether the teacher is a learner, too."""
        return self.teacher_learning_rate > 0.0

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
    the teacher begins anew, and one that only teaches is missing. Raises `SettingsMismatch` for a folder begun with
    other settings, `RunInvalid` for weights that do not fit or are missing, `SettingOutOfRange`, `LossNotFinite`,
    `WorkerLost` or `OutputNotWritable`.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    preprocess = PreprocessSettings(input_size=network.input_size)
    beginning = None if start is None else read_beginning(start, network, preprocess)
    teacher = None if settings.teacher_learns else only_teaching(beginning, network, preprocess, device)
    first = None if beginning is None else beginning.first
    begun_with = {
        "started_from": None if first is None else first.sha256,
        "taught_by": None if teacher is None or beginning is None else beginning.teacher_sha256,
    }
    begin_folder(out, {"settings": asdict(settings), "network": network.to_dict(), **begun_with})
    if (out / PRETRAINED_FILE).is_file():
        return dict(json.loads((out / PRETRAINED_FILE).read_text(encoding="utf-8")))
    learners = _learners(settings, network, device)
    if beginning is not None:
        beginning.hand_out(learners)
    taken = resume(out, list(learners.values()))
    networks = {name: learner.average for name, learner in learners.items()}
    if teacher is not None:
        networks = {TEACHER: teacher.network} | networks
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
            LOOKS[settings.looks],
            network,
            device,
            kept=settings.kept_photographs,
            at_once=settings.photographed_at_once,
            loader_workers=loader_workers,
            seed=settings.seed + taken.steps,
            teacher=teacher,
        )
        judge = partial(errors, networks, judged)
        with progress_bar("Pretraining", quiet) as progress:
            _learn(out, settings, preprocess, learners, stock, judge, taken, progress)
    validation = {name: float(value) for name, value in read_log(out)[-1].items()}
    if beginning is not None:
        beginning.half_way_back(learners, settings.first_share)
        validation |= judge()
    made = {
        "settings": asdict(settings),
        **begun_with,
        "device": device.type,
        "validation": validation,
    }
    save_weights(networks[TEACHER], out / TEACHER_FILE)
    sha256 = save_weights(networks[STUDENT], out / PRETRAINED_WEIGHTS)
    record = pretrained_record(network, preprocess, sha256, shown_in(wanted, first), made)
    write_json(out / PRETRAINED_FILE, record)
    (out / LAST_FILE).unlink(missing_ok=True)
    return record


def _learners(settings: PretrainSettings, network: NetworkSettings, device: torch.device) -> dict[str, Learner]:
    """Who learns, by name; a teacher in front of whom it teaches."""
    wanted = {TEACHER: (teacher_of(network), settings.teacher_learning_rate)} if settings.teacher_learns else {}
    return {
        name: Learner(sizes, rate, settings.weight_decay, settings.seed, device)
        for name, (sizes, rate) in (wanted | {STUDENT: (network, settings.learning_rate)}).items()
    }


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
    learners: Mapping[str, Learner],
    stock: PhotographStock,
    judge: Callable[[], Mapping[str, float]],
    taken: Taken,
    progress: Progress,
) -> None:
    steps = Steps(list(learners.values()), settings.average, preprocess)
    again = settings.batch_size - settings.unseen
    stock.begin()
    began = time.monotonic() - taken.seconds
    saved = taken
    while (done := settings.course.done(*taken)) < 1.0:
        progress(taken.steps, int(taken.steps / done) if done else settings.steps)
        for learner in learners.values():
            learner.set_rate(learner.peak * one_cycle(done, settings.warm_up))
        stock.fetch(FETCHED_PER_STEP)
        batch = stock.draw(settings.unseen, again)
        steps.take(batch.frames, _targets(batch), batch.answer)
        taken = Taken(taken.steps + 1, time.monotonic() - began)
        if taken.steps % CHECKED_EVERY == 0:
            _require_finite(learners, taken.steps - 1)
        if taken.steps % JUDGED_EVERY == 0:
            add_line(out, _line(taken, stock, learners, judge()))
        if taken.seconds - saved.seconds > SAVED_EVERY_S:
            save(out, taken, list(learners.values()))
            saved = taken
    _require_finite(learners, taken.steps - 1)
    add_line(out, _line(taken, stock, learners, judge()))


def _targets(batch: Photographs) -> Targets:
    live = (batch.species == LIVE_SPECIES).long()
    return Targets(live=live, species=batch.species, depth=batch.depth, response=batch.response)


def _line(
    taken: Taken, stock: PhotographStock, learners: Mapping[str, Learner], judged: Mapping[str, float]
) -> dict[str, float]:
    values: dict[str, float] = {
        "step": taken.steps,
        "seconds": round(taken.seconds, 1),
        "scenes": len(stock.pool),
        "photographs": stock.photographed,
        "judgeable": round(stock.judgeable / max(stock.photographed, 1), 4),
        **judged,
    }
    for name, learner in learners.items():
        losses = dict(zip(("classification", "depth", "gate", "response"), learner.losses.tolist(), strict=True))
        values |= {f"{name}_{term}": round(value, 5) for term, value in losses.items()}
    return values


def _require_finite(learners: Mapping[str, Learner], step: int) -> None:
    if not all(isfinite(value) for learner in learners.values() for value in learner.losses.tolist()):
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
        float, typer.Option(help="Highest of the teacher's; 0: it only teaches.")
    ] = PretrainSettings.teacher_learning_rate,
    batch_size: Annotated[int, typer.Option(help="Photographs of a batch.")] = PretrainSettings.batch_size,
    unseen: Annotated[int, typer.Option(help="Of them, how many are new.")] = PretrainSettings.unseen,
    photographed_at_once: Annotated[
        int, typer.Option(help="Photographs that are taken together.")
    ] = PretrainSettings.photographed_at_once,
    first_share: Annotated[
        float, typer.Option(help="What is kept of the weights that it begins with.")
    ] = PretrainSettings.first_share,
    scenes: Annotated[
        int, typer.Option(help="Captures to simulate; about three of ten are rendered.")
    ] = PretrainSettings.scenes,
    looks: Annotated[
        str, typer.Option(help="How varied photographs are: simulated, wide or patchy.")
    ] = PretrainSettings.looks,
    seed: Annotated[int, typer.Option(help="Draws people, scenes, plans and first weights.")] = PretrainSettings.seed,
    threads: Annotated[int, typer.Option(help="Threads that learn, where there is no GPU; 0 takes all.")] = 0,
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
            batch_size=batch_size,
            unseen=unseen,
            photographed_at_once=photographed_at_once,
            first_share=first_share,
            scenes=scenes,
            looks=looks,
            seed=seed,
        )
        workers = workers or max(default_workers() * 3 // 4, 1)
        require_range("workers", workers, 1, MAX_WORKERS)
        require_range("threads", threads, 0, MAX_WORKERS)
        with torch_threads(threads) if threads else nullcontext():
            record = pretrain(out, settings, start=start, workers=workers, loader_workers=loader_workers, quiet=quiet)
    except FlashproofError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_status) from None
    print(json.dumps(record if quiet else record["validation"], indent=None if quiet else 1))


if __name__ == "__main__":
    typer.run(main)
