"""Writes a simulated data set: who stands before the camera, which attack, which flash plan, capture by capture.

The mix "paper" follows the proportions of the paper's section 6.1: 6,620 live, 2,120 print, 2,120 replay and 1,800
masks over 320 subjects. It differs from the paper in that every subject appears as live and as attacks, so that no
identity gives a class away.
Every capture follows from (settings, index) alone: the same settings give the same bytes whatever the number of workers
and however often the work was killed and taken up again.

    OUT/dataset.json           settings and version of the simulator, written first
    OUT/captures/000123.zip    one Capture each (`sdk_reference.capture`), written whole or not at all
    OUT/stages/000123.npz      with `layers`: the rendered scene (`simulator.stage_file`), written before its capture
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import flash_sequencer
import simulator
from flash_sequencer.plan import FlashPlan, challenge, default_plan
from sdk_reference.atomic_files import write_atomically, write_json, writing_to
from sdk_reference.capture import Capture, Labels, save_capture
from simulator.ambient import MAX_LUX, SCENES, draw_scene
from simulator.capture import Shot, photograph
from simulator.devices import PROFILES
from simulator.instruments import INSTRUMENTS, SPECIES
from simulator.stage import DISTANCES_CM, Stage, set_stage, subject_name
from simulator.stage_file import stage_bytes
from training.dataset_folder import (
    CAPTURES_FOLDER,
    DATASET_FILE,
    DATASET_FORMAT,
    DATASET_VERSION,
    STAGES_FOLDER,
    not_a_dataset,
    read_dataset_record,
)
from training.errors import SettingsMismatch, require_choice, require_range
from training.splits import SPLITS, TEST_DEVICES, TEST_SCENES, own_conditions, split_of
from training.workers import MAX_WORKERS, Progress, no_progress, run_in_workers

# Parts of the whole, per species, in the order of SPECIES.
MIXES: dict[str, dict[str, int]] = {
    "paper": {"live": 6620, "print": 2120, "replay": 2120, "mask": 1800},  # section 6.1
    "balanced": {"live": 3, "print": 1, "replay": 1, "mask": 1},
}
CHALLENGE_SHARE = 0.75  # the rest shows the default plan, the one a phone shows when no server draws a challenge

PAPER_CAPTURES = sum(MIXES["paper"].values())  # 12,660
PAPER_SUBJECTS = 320
CAPTURES_PER_SUBJECT = {
    "paper": PAPER_CAPTURES / PAPER_SUBJECTS,
    "balanced": 12.0,  # about six live and six attacks: enough people for a subject-disjoint split of few captures
}
FEWEST_SUBJECTS = 24
SUBJECT_IDS = 1_000_000  # six digits in the label

MAX_COUNT = 1_000_000  # six digits in the file name
MAX_SEED = 2**63 - 1
MIN_SIZE, MAX_SIZE = 128, 1024  # pixels; below 128 the landmarks fail, above 1024 nothing is gained after alignment


@dataclass(frozen=True)
class SimulationSettings:
    """What decides the bytes of a simulated data set."""

    count: int
    """Number of captures."""
    seed: int = 0
    """Draws people, scenes, attacks and flash plans."""
    mix: str = "paper"
    """Shares of the species: a key of `MIXES`."""
    size: int = 256
    """Width and height of each frame in pixels."""
    screen_off: bool = False
    """Light nothing with the screen: the control set in which no honest classifier may separate the classes."""
    cues: bool = False
    """Let attacks show what only attacks show (moiré, halftone, borders, bezels), to measure what that does."""
    layers: bool = False
    """Keep each rendered scene, so that it can be photographed again under other colours, exposures and noise."""
    lux: float | None = None
    """Illuminance of every room; None draws scenes."""
    distance_cm: float | None = None
    """Camera to a life-sized face in every capture; None draws it."""
    unseen_conditions: bool = True
    """Test subjects get phones and rooms of their own (`training.splits`); False: everyone gets any."""
    split: str | None = None
    """Only people of this split, e.g. `test` for a test set of new people; None: whoever is drawn."""

    def __post_init__(self) -> None:
        require_range("count", self.count, 1, MAX_COUNT)
        require_range("seed", self.seed, 0, MAX_SEED)
        require_range("size", self.size, MIN_SIZE, MAX_SIZE)
        require_choice("mix", self.mix, tuple(MIXES))
        if self.lux is not None:
            require_range("lux", self.lux, 0.0, MAX_LUX)
        if self.distance_cm is not None:
            require_range("distance_cm", self.distance_cm, *DISTANCES_CM)
        if self.split is not None:
            require_choice("split", self.split, SPLITS)

    def to_dict(self) -> dict[str, Any]:
        """Return what `dataset.json` says; a split only where there is one, as data sets said before there was any."""
        values = asdict(self)
        return values if self.split is not None else {key: values[key] for key in values if key != "split"}

    @property
    def subjects(self) -> int:
        """Number of people: the mix's share of `count`, at least 24 where each can then still have two captures."""
        return max(round(self.count / CAPTURES_PER_SUBJECT[self.mix]), min(FEWEST_SUBJECTS, self.count // 2), 1)

    def species_counts(self) -> dict[str, int]:
        """Return the captures of each species; they add up to `count` (largest remainders get the rounded parts)."""
        parts = MIXES[self.mix]
        exact = {species: self.count * parts[species] / sum(parts.values()) for species in SPECIES}
        counts = {species: int(share) for species, share in exact.items()}
        by_remainder = sorted(SPECIES, key=lambda species: counts[species] - exact[species])
        for species in by_remainder[: self.count - sum(counts.values())]:
            counts[species] += 1
        return counts


@dataclass(frozen=True)
class Recipe:
    """Everything that decides one capture."""

    index: int
    """Place in the data set, and its file name."""
    subject: int
    """Identity seed of the person (of the impersonated person in an attack)."""
    species: str
    instrument: str
    seed: int
    """Draws scene, camera, pose and light."""
    nonce: str | None
    """Hex of the challenge, or None for the default plan."""
    scene: str
    """Room, of `simulator.ambient.SCENES`."""
    device: str
    """Phone, of `simulator.devices.PROFILES`."""

    def plan(self) -> FlashPlan:
        """Return the flash plan that this capture shows."""
        return default_plan() if self.nonce is None else challenge(self.nonce)


@dataclass(frozen=True)
class SimulatedDataset:
    """What `write_simulated_dataset` did."""

    folder: Path
    captures: int
    """Captures now in the folder."""
    made: int
    """Captures made by this call; the others were there already."""
    species: dict[str, int]
    """Captures per species."""
    subjects: int
    """Different people."""

    def to_dict(self) -> dict[str, Any]:
        """Return the form that `--json` prints."""
        return {**asdict(self), "folder": str(self.folder), "simulated": True}


def recipes(settings: SimulationSettings) -> list[Recipe]:
    """Return the recipe of every capture, in order of index.

    People take turns within a species, and instruments take turns within a person; the order of the files is shuffled,
    so that any stretch of the data set holds all species.
    """
    rng = np.random.default_rng([settings.seed, DATASET_VERSION])
    people = _people(settings, rng)
    who = [part for species in SPECIES for part in _turns(settings, species, people[rng.permutation(len(people))])]
    shuffled = [who[k] for k in rng.permutation(len(who))]
    return [_recipe(settings, index, *part) for index, part in enumerate(shuffled)]


def _people(settings: SimulationSettings, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw different people, of one split where the settings say so."""
    if settings.split is None:
        return rng.choice(SUBJECT_IDS, settings.subjects, replace=False)
    of_split = (one for one in rng.permutation(SUBJECT_IDS) if split_of(subject_name(int(one))) == settings.split)
    return np.fromiter(islice(of_split, settings.subjects), np.int64)


def _turns(settings: SimulationSettings, species: str, people: npt.NDArray[np.int64]) -> list[tuple[str, str, int]]:
    """Return (species, instrument, subject) of each capture of one species."""
    instruments = INSTRUMENTS[species]
    return [
        (species, instruments[(k + k // len(people)) % len(instruments)], int(people[k % len(people)]))
        for k in range(settings.species_counts()[species])
    ]


def _recipe(settings: SimulationSettings, index: int, species: str, instrument: str, subject: int) -> Recipe:
    rng = np.random.default_rng([settings.seed, DATASET_VERSION, index])
    capture_seed = int(rng.integers(2**31))
    challenged = rng.random() < CHALLENGE_SHARE
    nonce = hashlib.sha256(f"{settings.seed}/{index}".encode()).hexdigest()[:32] if challenged else None
    scenes, devices = tuple(SCENES), tuple(PROFILES)
    if settings.unseen_conditions:
        name = subject_name(subject)
        scenes, devices = own_conditions(name, scenes, TEST_SCENES), own_conditions(name, devices, TEST_DEVICES)
    scene, device = draw_scene(rng, settings.lux, scenes), str(rng.choice(devices))
    return Recipe(index, subject, species, instrument, capture_seed, nonce, scene, device)


def make_stage(recipe: Recipe, settings: SimulationSettings) -> Stage:
    """Render the scene of one capture."""
    return set_stage(
        recipe.seed,
        recipe.subject,
        recipe.species,
        recipe.instrument,
        settings.size,
        ambient_lux=settings.lux,
        distance_cm=settings.distance_cm,
        cues=settings.cues,
        scene=recipe.scene,
        device=recipe.device,
    )


def photograph_stage(stage: Stage, plan: FlashPlan, seed: int, *, screen_off: bool = False) -> Capture:
    """Photograph a scene under a plan; `seed` draws motion, timing and noise."""
    colours = tuple((float(red), float(green), float(blue)) for red, green, blue in plan.colours_linear())
    taken = photograph(stage, Shot(seed, colours, screen_off, plan.time_order()))
    truth: dict[str, Any] = taken.labels
    return Capture(
        frames=taken.frames,
        timestamps_ns=taken.timestamps_ns,
        plan=plan,
        labels=Labels(**truth, simulated=True),
        depth_mm=taken.depth_mm,
    )


def capture_path(folder: Path, index: int) -> Path:
    """Return where capture `index` lies."""
    return folder / CAPTURES_FOLDER / f"{index:06d}.zip"


def stage_path(folder: Path, index: int) -> Path:
    """Return where the scene of capture `index` lies, if scenes are kept."""
    return folder / STAGES_FOLDER / f"{index:06d}.npz"


def write_simulated_dataset(
    folder: Path, settings: SimulationSettings, workers: int = 1, progress: Progress = no_progress
) -> SimulatedDataset:
    """Make the captures that `folder` still lacks.

    Raises `SettingOutOfRange`, `SettingsMismatch` (begun with other settings or another simulator), `DatasetInvalid`
    (the folder holds something else) or `OutputNotWritable`; whatever is complete by then stays and counts.
    """
    require_range("workers", workers, 1, MAX_WORKERS)
    _begin(folder, settings)
    wanted = recipes(settings)
    missing = [recipe for recipe in wanted if not _is_complete(capture_path(folder, recipe.index))]
    progress(len(wanted) - len(missing), len(wanted))
    make = partial(_make_and_save, settings=settings, folder=folder)
    for done, _ in enumerate(run_in_workers(make, missing, workers), start=len(wanted) - len(missing) + 1):
        progress(done, len(wanted))
    people = len({recipe.subject for recipe in wanted})
    return SimulatedDataset(folder, len(wanted), len(missing), settings.species_counts(), people)


def _make_and_save(recipe: Recipe, settings: SimulationSettings, folder: Path) -> None:
    path = capture_path(folder, recipe.index)
    stage = make_stage(recipe, settings)
    if settings.layers:
        write_atomically(stage_path(folder, recipe.index), stage_bytes(stage))
    capture = photograph_stage(stage, recipe.plan(), recipe.seed, screen_off=settings.screen_off)
    with writing_to(path):
        save_capture(capture, path)


def _is_complete(path: Path) -> bool:
    # Captures are renamed into place when whole; a power cut may still truncate one, which costs it its last record.
    return path.is_file() and zipfile.is_zipfile(path)


def _begin(folder: Path, settings: SimulationSettings) -> None:
    """Write `dataset.json` into a new or empty folder, or check that the one found there says the same."""
    record = dataset_record(settings)
    found = read_dataset_record(folder)
    if found is None:
        _require_empty(folder)
        write_json(folder / DATASET_FILE, record)
    elif found != record:
        changed = [key for key in record if found.get(key) != record[key]]
        raise SettingsMismatch(
            found=f"{folder / DATASET_FILE} with other {', '.join(changed) or 'keys'}: "
            + json.dumps({key: found.get(key) for key in changed}),
            expected=json.dumps({key: record[key] for key in changed}),
            remedy="repeat the settings that the folder was begun with, or choose another folder",
        )
    with writing_to(folder):
        for place in (folder / CAPTURES_FOLDER, *([folder / STAGES_FOLDER] if settings.layers else [])):
            place.mkdir(exist_ok=True)
            for unfinished in place.glob(".*.part*"):  # left by a kill
                unfinished.unlink()


def dataset_record(settings: SimulationSettings) -> dict[str, Any]:
    """Return the content of `dataset.json`."""
    return {
        "format": DATASET_FORMAT,
        "version": DATASET_VERSION,
        "simulated": True,
        "settings": settings.to_dict(),
        "simulator_sha256": simulator_hash(),
    }


def simulator_hash() -> str:
    """Return a hash of the source of everything that decides a simulated pixel; one line changed makes other data."""
    digest = hashlib.sha256()
    for package in (flash_sequencer, simulator):
        folder = Path(str(package.__file__)).parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{package.__name__}/{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _require_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise not_a_dataset(f"{folder}, which is a file")
    unfinished = f".{DATASET_FILE}"  # what a kill in the first moment leaves
    if folder.is_dir() and (others := sorted(p.name for p in folder.iterdir() if not p.name.startswith(unfinished))):
        raise not_a_dataset(f"{folder} with {', '.join(others[:3])} in it and no {DATASET_FILE}")
