"""Pretraining of `mobile` on ever new people, with a teacher beside it; made for one GPU and many processors.

    python -m training.pretrain OUT [--steps 8400] [--scenes 60000] [--workers 12]
    flashproof train RUN --preset mobile --from OUT --epochs 14 --learning-rate 5e-4 --data data/sim

While processors render scenes of new people (`training.fresh_scenes`), the GPU photographs them under new plans and
lights, and two networks learn from each batch: `mobile`, and a teacher seven times as large whose answers `mobile`
learns from, too (`training.distillation`). What comes out are weights to begin a training with, not a run: nothing is
known yet of thresholds, and faces were aligned by the truth. The paper has no such stage.

Killed and started again it goes on where it last saved itself. It cannot be repeated bit for bit: which scenes are
there when a batch is drawn hangs on how fast they were rendered.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import cos, isfinite, pi
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from sdk_reference.atomic_files import write_json, writing_to
from sdk_reference.errors import FlashproofError
from sdk_reference.preprocess import PreprocessSettings
from simulator.stage import subject_name
from training.augment import NO_AUGMENTATION
from training.batch_relight import to_input
from training.checkpoint import LOG_FILE, save_weights
from training.data import person_code
from training.distillation import teacher_of
from training.errors import LossNotFinite, RunInvalid, SettingOutOfRange, require_range
from training.first_weights import PRETRAINED_FILE, PRETRAINED_WEIGHTS, pretrained_record
from training.fresh_scenes import SceneSupply, fresh_recipes, supply
from training.learners import Learner, Steps
from training.losses import LIVE_SPECIES, Targets
from training.metrics import eer
from training.network import MOBILE, TYPES, NetworkSettings
from training.photograph_buffer import PhotographBuffer, Photographs
from training.photographs import SHIFT_SHARE
from training.pretrain_draws import ScenePool, Sheets, Stream, loader, photograph_judgeable
from training.progress import progress_bar
from training.run_folder import begin_folder
from training.settings import RECIPES
from training.synthesis import Recipe, SimulationSettings
from training.workers import MAX_WORKERS, Progress, default_workers

LAST_FILE, TEACHER_FILE = "last.pt", "teacher.safetensors"
FETCHED_PER_STEP = 8
FIRST_SCENES = 24
"""Of each species, before the first batch is drawn."""
SAVED_EVERY_S = 120.0
CHECKED_EVERY = 50
"""Steps between two looks at the losses, which wait for the GPU."""
JUDGED_EVERY = 700
PLAIN = replace(NO_AUGMENTATION, relit_share=1.0)
"""How validation scenes are photographed: as a simulated data set's."""


@dataclass(frozen=True)
class PretrainSettings:
    """What decides the result, but for what was rendered when."""

    steps: int = 8400
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
    validation_scenes: int = 900
    seed: int = 1004

    def __post_init__(self) -> None:
        require_range("steps", self.steps, 1, 10_000_000)
        require_range("batch size", self.batch_size, 2, 4096)
        require_range("unseen", self.unseen, 1, self.batch_size)
        require_range("photographed_at_once", self.photographed_at_once, 1, 4096)
        require_range("kept_photographs", self.kept_photographs, self.batch_size + self.photographed_at_once, 1_000_000)
        require_range("learning rate", self.learning_rate, 1e-8, 1.0)
        require_range("teacher's learning rate", self.teacher_learning_rate, 1e-8, 1.0)
        require_range("scenes", self.scenes, 400, 1_000_000)
        require_range("validation_scenes", self.validation_scenes, 40, 100_000)
        require_range("seed", self.seed, 0, 2**62)


class Stock:
    """Photographs that new batches are made of; it grows while scenes are rendered."""

    def __init__(
        self,
        settings: PretrainSettings,
        network: NetworkSettings,
        device: torch.device,
        loader_workers: int,
        rendered: SceneSupply,
        seed: int,
    ) -> None:
        self.settings, self.rendered = settings, rendered
        self.pool = ScenePool(device)
        augmentation = RECIPES["mobile"].augment
        self.buffer = PhotographBuffer(
            settings.kept_photographs,
            network.n0,
            network.n_frames,
            network.map_size,
            device,
            int(augmentation.shift_px * SHIFT_SHARE),
        )
        self.generator = torch.Generator(device=device).manual_seed(seed)
        self.photographed = self.judgeable = 0
        requests = Stream(self.pool, settings.photographed_at_once, seed)
        self._loader = loader(Sheets(augmentation, network.map_size), requests, loader_workers)
        self._drawn: Iterator[dict[str, Any]] | None = None

    def begin(self) -> None:
        """Wait for the first scenes of every species; only then may loaders, which draw ahead, begin."""
        while self.pool.scarcest < FIRST_SCENES and not self.rendered.is_exhausted:
            self.fetch(1, wait=True)
        if not self.pool.scarcest:
            raise SettingOutOfRange(
                found=f"{self.settings.scenes} captures, too few to have one of every kind",
                expected="scenes of people, prints, replays and masks",
                remedy="choose more --scenes",
            )
        self._drawn = iter(self._loader)

    def fetch(self, most: int, wait: bool = False) -> None:
        """Take in scenes that have been rendered."""
        for scene in self.rendered.fetch(most, wait):
            self.pool.add(scene)

    def draw(self) -> Photographs:
        """Return the photographs of a batch."""
        s = self.settings
        assert self._drawn is not None, "begin first"
        while self.buffer.unseen < s.unseen or self.buffer.filled < s.batch_size:
            drawn = next(self._drawn)
            good = photograph_judgeable(drawn, self.pool)
            self.photographed, self.judgeable = self.photographed + len(drawn["place"]), self.judgeable + len(good)
            self.buffer.put(good)
        return self.buffer.draw(s.unseen, s.batch_size - s.unseen, self.generator)


def pretrain(
    out: Path,
    settings: PretrainSettings,
    *,
    network: NetworkSettings = MOBILE,
    device: torch.device | None = None,
    workers: int = 1,
    loader_workers: int = 0,
    quiet: bool = False,
) -> dict[str, Any]:
    """Pretrain into the folder `out`, or go on there; returns the record (pretrained.json).

    Raises `SettingsMismatch` for a folder begun with other settings, `SettingOutOfRange`, `LossNotFinite`, `WorkerLost`
    or `OutputNotWritable`.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    begin_folder(out, {"settings": asdict(settings), "network": network.to_dict()})
    if (out / PRETRAINED_FILE).is_file():
        return dict(json.loads((out / PRETRAINED_FILE).read_text(encoding="utf-8")))
    learners = [
        Learner(teacher_of(network), settings.teacher_learning_rate, settings.weight_decay, settings.seed, device),
        Learner(network, settings.learning_rate, settings.weight_decay, settings.seed, device),
    ]
    done = _resume(out, learners)
    training = SimulationSettings(count=settings.scenes, seed=settings.seed, split="train")
    wanted = fresh_recipes(training)
    behind = len(wanted) * done // settings.steps  # a training that goes on meets new people at once
    judged = _validation(settings, network, device, workers, loader_workers)
    with supply(wanted[behind:] + wanted[:behind], training, workers) as rendered:
        stock = Stock(settings, network, device, loader_workers, rendered, settings.seed + done)
        with progress_bar("Pretraining", quiet) as progress:
            _learn(out, settings, learners, stock, judged, done, progress)
    made = {"settings": asdict(settings), "device": device.type, "validation": _read_log(out)[-1]}
    save_weights(learners[0].average, out / TEACHER_FILE)
    sha256 = save_weights(learners[1].average, out / PRETRAINED_WEIGHTS)
    preprocess = PreprocessSettings(input_size=network.input_size)
    record = pretrained_record(network, preprocess, sha256, shown_in(wanted), made)
    write_json(out / PRETRAINED_FILE, record)
    (out / LAST_FILE).unlink(missing_ok=True)
    return record


def shown_in(wanted: Sequence[Recipe]) -> dict[str, set[str]]:
    """Who and what may have been learned from, rendered in time or not."""
    return {
        "people": {person_code(subject_name(recipe.subject)) for recipe in wanted},
        "devices": {recipe.device for recipe in wanted},
        "scenes": {recipe.scene for recipe in wanted},
    }


def _learn(
    out: Path,
    settings: PretrainSettings,
    learners: Sequence[Learner],
    stock: Stock,
    judged: tuple[Tensor, Tensor],
    done: int,
    progress: Progress,
) -> None:
    preprocess, steps = PreprocessSettings(input_size=judged[0].shape[-1]), Steps(learners, settings.average)
    began = saved = time.monotonic()
    stock.begin()
    for step in range(done, settings.steps):
        progress(step, settings.steps)
        for learner in learners:
            learner.set_rate(learner.peak * one_cycle(step / settings.steps, settings.warm_up))
        stock.fetch(FETCHED_PER_STEP)
        batch = stock.draw()
        steps.take(to_input(batch.frames.float(), preprocess), _targets(batch))
        last = step + 1 == settings.steps
        if last or (step + 1) % CHECKED_EVERY == 0:
            _require_finite(learners, step)
        if last or (step + 1) % JUDGED_EVERY == 0:
            _write_line(out / LOG_FILE, _line(step + 1, time.monotonic() - began, stock, learners, judged))
        if time.monotonic() - saved > SAVED_EVERY_S:
            saved = time.monotonic()
            _save(out, step + 1, learners)


def one_cycle(done: float, warm_up: float) -> float:
    """Share of the highest learning rate, `done` 0..1 through a training: up a cosine from 4 %, then down one to 0."""
    if done < warm_up:
        return 0.04 + 0.96 * (1.0 - cos(pi * done / warm_up)) / 2.0
    return (1.0 + cos(pi * (done - warm_up) / (1.0 - warm_up))) / 2.0


def _targets(batch: Photographs) -> Targets:
    live = (batch.species == LIVE_SPECIES).long()
    return Targets(live=live, species=batch.species, depth=batch.depth, response=batch.response)


def _validation(
    settings: PretrainSettings, network: NetworkSettings, device: torch.device, workers: int, loader_workers: int
) -> tuple[Tensor, Tensor]:
    """Photograph scenes of the validation split's people once, as a simulated data set would: input and species."""
    simulated = SimulationSettings(count=settings.validation_scenes, seed=settings.seed + 1, split="val")
    wanted, pool = fresh_recipes(simulated), ScenePool(device)
    with supply(wanted, simulated, workers) as rendered:
        while not rendered.is_exhausted:
            for scene in rendered.fetch(1, wait=True):
                pool.add(scene)
    rng, size = np.random.default_rng(settings.seed + 1), settings.photographed_at_once
    requests = [pool.request(place, rng) for place in range(len(pool))]
    batches = [requests[begin : begin + size] for begin in range(0, len(requests), size)]
    inputs, species, preprocess = [], [], PreprocessSettings(input_size=network.input_size)
    for drawn in loader(Sheets(PLAIN, network.map_size), batches, loader_workers):
        good = photograph_judgeable(drawn, pool)
        inputs.append(to_input(good.frames.float(), preprocess))
        species.append(good.species)
    return torch.cat(inputs), torch.cat(species)


def _judge(learner: Learner, judged: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Equal error rate of the average on the validation photographs, and the share of masks let through where one live
    capture in twenty is not."""
    inputs, species = judged
    with torch.inference_mode():
        scores = torch.cat([learner.average(part).score for part in inputs.split(64)]).double().cpu().numpy()
    kinds = species.cpu().numpy()
    live, mask = kinds == LIVE_SPECIES, kinds == TYPES.index("mask")
    return eer(scores, live).value, float((scores[mask] > np.quantile(scores[live], 0.05)).mean())


def _line(
    step: int, seconds: float, stock: Stock, learners: Sequence[Learner], judged: tuple[Tensor, Tensor]
) -> dict[str, float]:
    values: dict[str, float] = {
        "step": step,
        "seconds": round(seconds, 1),
        "scenes": len(stock.pool),
        "photographs": stock.photographed,
        "judgeable": round(stock.judgeable / max(stock.photographed, 1), 4),
        "validation_captures": len(judged[1]),
    }
    for name, learner in zip(("teacher", "student"), learners, strict=True):
        error, masks = _judge(learner, judged)
        losses = dict(zip(("classification", "depth", "gate", "response"), learner.losses.tolist(), strict=True))
        values |= {f"{name}_eer": round(error, 5), f"{name}_masks_at_bpcer_5": round(masks, 5)}
        values |= {f"{name}_{term}": round(value, 5) for term, value in losses.items()}
    return values


def _require_finite(learners: Sequence[Learner], step: int) -> None:
    if not all(isfinite(value) for learner in learners for value in learner.losses.tolist()):
        raise LossNotFinite(
            found=f"losses that are no numbers by step {step}",
            expected="finite losses",
            remedy="lower the learning rate; the last checkpoint is kept",
        )


def _save(out: Path, done: int, learners: Sequence[Learner]) -> None:
    with writing_to(out / LAST_FILE):
        beside = out / f".{LAST_FILE}.part"
        torch.save({"done": done, "learners": [learner.state() for learner in learners]}, beside)
        beside.replace(out / LAST_FILE)


def _resume(out: Path, learners: Sequence[Learner]) -> int:
    """Return how many steps have been taken, 0 without a checkpoint."""
    if not (out / LAST_FILE).is_file():
        return 0
    try:
        kept = torch.load(out / LAST_FILE, map_location=learners[0].device, weights_only=True)
        for learner, state in zip(learners, kept["learners"], strict=True):
            learner.restore(state)
        return int(kept["done"])
    except Exception as error:  # torch and pickle raise whatever they stumble over
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RunInvalid(
            found=f"{out / LAST_FILE} that cannot be gone on from ({reason[:200]})",
            expected="the checkpoint of a pretraining of this version",
            remedy="delete the folder and pretrain anew",
        ) from error


def _write_line(path: Path, values: dict[str, float]) -> None:
    new = not path.is_file()
    with writing_to(path), path.open("a", newline="", encoding="utf-8") as log:
        table = csv.DictWriter(log, list(values))
        if new:
            table.writeheader()
        table.writerow(values)


def _read_log(out: Path) -> list[dict[str, float]]:
    with (out / LOG_FILE).open(newline="", encoding="utf-8") as log:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(log)]


def main(
    out: Annotated[Path, typer.Argument(help="New folder, or one begun with the same settings.")],
    steps: Annotated[int, typer.Option(help="Batches to learn from.")] = PretrainSettings.steps,
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
        settings = PretrainSettings(steps=steps, scenes=scenes, seed=seed)
        workers = workers or max(default_workers() * 3 // 4, 1)
        require_range("workers", workers, 1, MAX_WORKERS)
        record = pretrain(out, settings, workers=workers, loader_workers=loader_workers, quiet=quiet)
    except FlashproofError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_status) from None
    print(json.dumps(record if quiet else record["validation"], indent=None if quiet else 1))


if __name__ == "__main__":
    typer.run(main)
