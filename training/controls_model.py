"""What each control shows one small classifier, and how that classifier is trained and tested.

Not in the paper. The classifier, its training and the people it is tested on are the same for all controls; only the
input differs:

    flash           D of the capture, in linear light and scaled as the shipped preprocessing does it
    screen_off      the same of the same scene, photographed with the screen black: nothing but noise and movement
    one_frame       the frame of rank 0 (brightest screen), sRGB-coded
    darkest_frame   the frame of the last rank
    shuffled        as flash, but the frames of each capture permuted at random first: D no longer knows which frame had
                    which light

Every capture is scored once, by a classifier that saw neither it nor its subject (folds by subject). A classifier runs
on one thread, so that its scores depend neither on the number of workers nor on the machine's load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from flash_sequencer.colour import linear_to_srgb
from sdk_reference.align import TEMPLATE
from sdk_reference.differential import differential
from simulator.instruments import SPECIES
from training.controls_data import CROP_SETTINGS, CROP_SIZE, Crops, Scene
from training.errors import ClassMissing, require_range
from training.machine import torch_threads
from training.workers import Progress, no_progress, run_in_workers

CONTROLS = ("flash", "screen_off", "one_frame", "darkest_frame", "shuffled")
LIVE = "live"
WIDTHS = (24, 32, 48, 64, 96)
STRIDES = (2, 2, 1, 2, 1)  # 64 → 32 → 16 → 16 → 8 → 8
GRID = 4
DROPOUT = 0.3
MAX_SEED = 2**31 - 1
SHIFT_PX = 3
GRADIENT_LIMIT = 1.0

Pixels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TrainingSettings:
    """How every control's classifier is trained."""

    seed: int = 0
    """Draws folds, weights, batches, augmentation and the permutations of `shuffled`."""
    folds: int = 3
    """Groups of subjects; each is tested by a classifier trained on the others."""
    steps: int = 1500
    """Batches, whatever the number of captures: about 30 epochs of 2,400."""
    batch: int = 32
    learning_rate: float = 2e-3
    """Largest, of a cycle that rises and falls once."""
    weight_decay: float = 0.05

    def __post_init__(self) -> None:
        require_range("training seed", self.seed, 0, MAX_SEED)
        require_range("folds", self.folds, 2, 10)
        require_range("steps", self.steps, 1, 1_000_000)
        require_range("batch", self.batch, 2, 4096)


@dataclass(frozen=True, eq=False)
class Scores:
    """What the classifiers of one control said about every usable scene."""

    control: str
    live_logit: npt.NDArray[np.float64]
    """(n,) higher = rather live; comparable within a fold only."""
    fold: npt.NDArray[np.int64]
    """(n,) which classifier said it."""


@dataclass(frozen=True)
class Job:
    """One classifier to train and test."""

    crops: Crops
    control: str
    fold: int
    settings: TrainingSettings


def small_classifier(channels: int) -> nn.Sequential:
    """Five convolutions, means over a grid of 4×4 (where the light fell matters), one line: (B, channels, 64, 64) →
    (B, 1) logit of live."""
    layers: list[nn.Module] = []
    for width, stride in zip(WIDTHS, STRIDES, strict=True):
        layers += [nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(GRID), nn.Flatten(), nn.Dropout(DROPOUT), nn.Linear(channels * GRID**2, 1)
    )


def cross_validate(
    crops: Crops,
    settings: TrainingSettings,
    workers: int = 1,
    progress: Progress = no_progress,
    controls: Sequence[str] = CONTROLS,
) -> list[Scores]:
    """Train and test every control on every fold; `ClassMissing` when a species or subjects are too few for that."""
    folds = subject_folds([scene.subject for scene in crops.usable], settings)
    _require_species(crops.usable, folds, settings.folds)
    jobs = [Job(crops, control, fold, settings) for control in controls for fold in range(settings.folds)]
    logits = {control: np.zeros(len(folds)) for control in controls}
    progress(0, len(jobs))
    for done, (job, tested) in enumerate(run_in_workers(run_job, jobs, workers), start=1):
        logits[job.control][folds == job.fold] = tested
        progress(done, len(jobs))
    return [Scores(control, logits[control], folds) for control in controls]


def subject_folds(subjects: Sequence[str], settings: TrainingSettings) -> npt.NDArray[np.int64]:
    """Return (n,) the fold of each scene: subjects are dealt out at random, so that no one is in two folds."""
    people = sorted(set(subjects))
    order = np.random.default_rng([settings.seed, 0]).permutation(len(people))
    fold_of = {people[who]: place % settings.folds for place, who in enumerate(order)}
    return np.array([fold_of[subject] for subject in subjects], np.int64)


def run_job(job: Job) -> npt.NDArray[np.float64]:
    """Train one classifier and return its logits for the scenes of its fold, in their order."""
    scenes = job.crops.usable
    test = subject_folds([scene.subject for scene in scenes], job.settings) == job.fold
    inputs = torch.from_numpy(control_inputs(job.crops, job.control, job.settings.seed))
    rng = np.random.default_rng([job.settings.seed, 1, CONTROLS.index(job.control), job.fold])
    with torch_threads(1):
        model = train_classifier(inputs, ~test, [scene.species for scene in scenes], job.settings, rng)
        return score(model, inputs[torch.from_numpy(test)])


def control_inputs(crops: Crops, control: str, seed: int) -> npt.NDArray[np.float16]:
    """Return (n, C, 64, 64) float16 in −1..1 of all usable scenes: 18 channels for differences, 3 for a frame."""
    make = partial(_input_of, crops, control, seed)
    return np.stack([make(scene) for scene in crops.usable]).astype(np.float16)


def _input_of(crops: Crops, control: str, seed: int, scene: Scene) -> Pixels:
    frames = crops.linear(scene, "screen_off" if control == "screen_off" else "flash")
    if control == "one_frame":
        return coded_frame(frames[0])
    if control == "darkest_frame":
        return coded_frame(frames[-1])
    if control == "shuffled":
        frames = frames[np.random.default_rng([seed, 2, scene.row]).permutation(len(frames))]
    return scaled_differences(frames)


def scaled_differences(frames: Pixels) -> Pixels:
    """Linear frames (N0,3,64,64) in 0..1 by rank → (3·2·(N0−2),64,64) in −1..1: steps 4 to 6 of the phone's path."""
    differences = differential(frames)
    mean = float(np.abs(differences[:, :, TEMPLATE.face_region(CROP_SIZE)]).mean(dtype=np.float64))
    limit = CROP_SETTINGS.gain_limit
    gain = min(CROP_SETTINGS.gain_target / mean, limit) if mean > 0 else limit
    return np.clip(differences * np.float32(gain), -1, 1).reshape(-1, CROP_SIZE, CROP_SIZE)


def coded_frame(frame: Pixels) -> Pixels:
    """Linear frame (3,64,64) in 0..1 → sRGB-coded in −1..1."""
    return np.asarray(linear_to_srgb(frame) * 2 - 1, np.float32)


def train_classifier(
    inputs: Tensor,
    chosen: npt.NDArray[np.bool_],
    species: Sequence[str],
    settings: TrainingSettings,
    rng: np.random.Generator,
) -> nn.Module:
    """Train on the `chosen` (n,) of `inputs` (n,C,64,64): live weighs as much as attacks, attacks alike."""
    rows = np.flatnonzero(chosen)
    weights = balanced_weights(np.asarray(species)[rows])
    live = torch.tensor([species[row] == LIVE for row in rows], dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))  # of weights and dropout
        model = small_classifier(inputs.shape[1])
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a processor
        optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=settings.steps)
        model.train()
        for batch in islice(_batches(len(rows), settings.batch, rng), settings.steps):
            pixels = augmented(inputs[torch.from_numpy(rows[batch])].float(), rng)
            _step(model, optimizer, pixels, live[batch], weights[batch])
            schedule.step()
    return model


def _batches(count: int, size: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """Yield batches for ever, in a new order each epoch; the rest of an epoch is dropped: batch norm needs company."""
    while True:
        order = rng.permutation(count)
        for start in range(0, max(count - size, 0) + 1, size):
            yield order[start : start + size]


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, pixels: Tensor, live: Tensor, weights: Tensor) -> None:
    logits = model(pixels.contiguous(memory_format=torch.channels_last))[:, 0]
    loss = nn.functional.binary_cross_entropy_with_logits(logits, live, weights)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_LIMIT)
    optimizer.step()


def balanced_weights(species: npt.NDArray[np.str_]) -> Tensor:
    """Return (n,) float32 of mean 1: live captures weigh half of all, each attack species an equal part of the rest."""
    present = [name for name in np.unique(species) if name != LIVE]
    part = {LIVE: 0.5, **{name: 0.5 / len(present) for name in present}}
    return torch.tensor([part[name] * len(species) / np.sum(species == name) for name in species], dtype=torch.float32)


def augmented(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Mirror half of a batch (B,C,64,64) and shift each capture by up to three pixels, all its frames alike."""
    mirrored = torch.from_numpy(rng.random(len(pixels)) < 0.5)
    pixels = torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)
    padded = nn.functional.pad(pixels, (SHIFT_PX,) * 4, mode="replicate")
    corners = rng.integers(0, 2 * SHIFT_PX + 1, (len(pixels), 2))
    return torch.stack(
        [one[:, y : y + CROP_SIZE, x : x + CROP_SIZE] for one, (y, x) in zip(padded, corners.tolist(), strict=True)]
    )


@torch.no_grad()
def score(model: nn.Module, inputs: Tensor, batch: int = 256) -> npt.NDArray[np.float64]:
    """Return (n,) logits of live: the mean over each capture and its mirror image."""
    model.eval()
    logits = [(model(part.float()) + model(part.float().flip(-1)))[:, 0] / 2 for part in inputs.split(batch)]
    return np.asarray(torch.cat(logits).numpy(), np.float64)


def _require_species(scenes: Sequence[Scene], folds: npt.NDArray[np.int64], count: int) -> None:
    names = np.array([scene.species for scene in scenes])
    for fold in range(count):
        missing = [name for name in SPECIES if not np.any((names == name) & (folds == fold))]
        if missing:
            raise ClassMissing(
                found=f"no usable capture of {', '.join(missing)} in fold {fold + 1} of {count}",
                expected="captures of every species in every fold",
                remedy="simulate more captures with --count",
            )
