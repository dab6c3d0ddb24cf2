"""The captures of the controls: every scene rendered once, photographed with the screen's light and with the screen
black, aligned as on a phone, and kept as small crops, so that all controls see the same people in the same rooms.

Not in the paper. Landmarks are found on every frame of both photographs apart, as a phone would have to. A scene in
which either photograph shows no usable face is counted and left out of all controls alike; what the quality limits say
is measured on the photograph with the screen's light.

    DIR/controls.json   settings and version of the simulator, written first
    DIR/crops.npy       (K, 2, N0, 3, 64, 64) uint16: linear light, 65535 = white; flash, then screen off; by rank
    DIR/index.jsonl     one line per finished scene, in order of completion

Crops are kept in linear light with 16 bits: 8 bits would add as much rounding as bright rooms leave of the flash.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flash_sequencer.plan import default_plan
from sdk_reference.align import TEMPLATE
from sdk_reference.atomic_files import write_atomically, write_json, writing_to
from sdk_reference.capture import Capture
from sdk_reference.errors import UserFailure
from sdk_reference.landmarks import FaceMeshDetector, LandmarkDetector
from sdk_reference.preprocess import Preprocessed, PreprocessSettings, preprocess
from sdk_reference.quality import QualityLimits, failures, measure_quality
from training.errors import DatasetInvalid, SettingsMismatch
from training.prepare import DetectorFactory
from training.store import open_array, reserve_array
from training.synthesis import Recipe, SimulationSettings, dataset_record, make_stage, photograph_stage, recipes
from training.workers import Progress, no_progress, run_in_workers

CROPS_FORMAT, CROPS_VERSION = "flashproof-controls", 1  # raise the version when the same scene would give another row
RECORD_FILE, CROPS_FILE, INDEX_FILE = "controls.json", "crops.npy", "index.jsonl"
VARIANTS = ("flash", "screen_off")
CROP_SIZE = 64
LINEAR_WHITE = np.iinfo(np.uint16).max
CROP_SETTINGS = PreprocessSettings(input_size=CROP_SIZE)
"""The shipped preprocessing, at the controls' size."""


@dataclass(frozen=True)
class Scene:
    """One line of the index."""

    row: int
    """Row in the array."""
    subject: str
    species: str
    instrument: str
    ambient_lux: float
    left_out: str | None
    """Why no face could be aligned, as `variant:code of the error`; None when all frames are usable."""
    accepted: bool
    """Whether the photograph with the screen's light passes the quality limits."""


class Crops:
    """Read access to the crops that are usable."""

    def __init__(self, folder: Path, scenes: Sequence[Scene]) -> None:
        self.folder = folder
        self.scenes = tuple(sorted(scenes, key=lambda scene: scene.row))
        self.usable = tuple(scene for scene in self.scenes if scene.left_out is None)

    def __getstate__(self) -> dict[str, Any]:
        # A worker opens the array itself; pickled, it would be copied whole.
        return {name: value for name, value in vars(self).items() if name != "array"}

    @cached_property
    def array(self) -> npt.NDArray[np.uint16]:
        """(K, 2, N0, 3, 64, 64) uint16 linear light, read-only, on disk; rows of scenes left out are zeros."""
        return open_array(self.folder / CROPS_FILE)

    def linear(self, scene: Scene, variant: str) -> npt.NDArray[np.float32]:
        """Return (N0,3,64,64) float32 linear light in 0..1 of one photograph of a scene, frames by rank."""
        stored = self.array[scene.row, VARIANTS.index(variant)]
        return np.asarray(stored, np.float32) / np.float32(LINEAR_WHITE)


def make_pair(recipe: Recipe, settings: SimulationSettings) -> tuple[Capture, Capture]:
    """Render one scene and photograph it twice, in the order of `VARIANTS`; motion and timing are the same."""
    stage, plan = make_stage(recipe, settings), recipe.plan()
    lit, dark = (photograph_stage(stage, plan, recipe.seed, screen_off=off) for off in (False, True))
    return lit, dark


def make_crops(
    folder: Path,
    settings: SimulationSettings,
    workers: int = 1,
    progress: Progress = no_progress,
    detector_factory: DetectorFactory = FaceMeshDetector,
) -> Crops:
    """Make the crops that `folder` still lacks; killed at any moment it goes on where it stopped.

    Raises `SettingsMismatch` (begun with other settings or another simulator), `DatasetInvalid` (the folder holds
    something else) or `OutputNotWritable`. `detector_factory` is called once per process.
    """
    scenes = _begin(folder, settings)
    known = {scene.row for scene in scenes}
    missing = [recipe for recipe in recipes(settings) if recipe.index not in known]
    progress(len(scenes), settings.count)
    work = partial(_make_row, settings=settings, folder=folder, detector_factory=detector_factory)
    with writing_to(folder), (folder / INDEX_FILE).open("ab") as index:
        for _, scene in run_in_workers(work, missing, workers):
            index.write(_line(scene))
            index.flush()
            scenes.append(scene)
            progress(len(scenes), settings.count)
    return Crops(folder, scenes)


def crops_record(settings: SimulationSettings) -> dict[str, Any]:
    """Return the content of `controls.json`: everything that decides a row."""
    preprocessing = {**CROP_SETTINGS.to_dict(), "template": TEMPLATE.name, "quality": asdict(QualityLimits())}
    simulated = dataset_record(settings)
    return {**simulated, "format": CROPS_FORMAT, "version": CROPS_VERSION, "preprocessing": preprocessing}


def to_crop(prepared: Preprocessed) -> npt.NDArray[np.uint16]:
    """Return (N0,3,64,64) uint16 linear light: block means of the aligned frames, as the shipped preprocessing."""
    block = TEMPLATE.size // CROP_SIZE
    blocks = prepared.linear.reshape(-1, 3, CROP_SIZE, block, CROP_SIZE, block)
    return np.rint(blocks.mean(axis=(3, 5), dtype=np.float64) * LINEAR_WHITE).astype(np.uint16)


def _make_row(recipe: Recipe, settings: SimulationSettings, folder: Path, detector_factory: DetectorFactory) -> Scene:
    pair = make_pair(recipe, settings)
    prepared: list[Preprocessed] = []
    left_out = None
    for variant, capture in zip(VARIANTS, pair, strict=True):
        try:
            prepared.append(preprocess(capture, _detector(detector_factory), CROP_SETTINGS))
        except UserFailure as error:
            left_out = left_out or f"{variant}:{error.code}"
    accepted = False
    if left_out is None:
        open_array(folder / CROPS_FILE, writable=True)[recipe.index] = np.stack([to_crop(one) for one in prepared])
        accepted = not failures(measure_quality(prepared[0], pair[0]), QualityLimits())
    return _scene(recipe, pair[0], left_out, accepted)


def _scene(recipe: Recipe, capture: Capture, left_out: str | None, accepted: bool) -> Scene:
    labels = capture.labels
    assert labels is not None and labels.subject is not None and labels.ambient_lux is not None  # it is simulated
    return Scene(
        recipe.index, labels.subject, recipe.species, recipe.instrument, labels.ambient_lux, left_out, accepted
    )


@cache
def _detector(factory: DetectorFactory) -> LandmarkDetector:
    return factory()


def _begin(folder: Path, settings: SimulationSettings) -> list[Scene]:
    """Return the scenes that are done; makes the files of a new folder and checks those of one begun before."""
    record, path = crops_record(settings), folder / RECORD_FILE
    if path.is_file():
        _require_same(path, record)
    else:
        _require_empty(folder)
        write_json(path, record)
    scenes = _read_index(folder / INDEX_FILE)
    if not scenes:
        shape = (settings.count, len(VARIANTS), default_plan().n0, 3, CROP_SIZE, CROP_SIZE)
        reserve_array(folder / CROPS_FILE, shape, np.dtype(np.uint16))
    write_atomically(folder / INDEX_FILE, b"".join(_line(scene) for scene in scenes))
    return scenes


def _read_index(path: Path) -> list[Scene]:
    # Only whole lines count: a kill may have cut the last one short, and its scene is made again.
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    return [Scene(**json.loads(line)) for line in lines]


def _line(scene: Scene) -> bytes:
    return (json.dumps(asdict(scene), allow_nan=False) + "\n").encode()


def _require_same(path: Path, record: dict[str, Any]) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = {}
    if found != record:
        changed = ", ".join(key for key in record if found.get(key) != record[key])
        raise SettingsMismatch(
            found=f"{path} of another {changed or 'kind'}",
            expected="the settings and the simulator of this call",
            remedy="name another folder with --data, or delete this one: it holds simulated crops only",
        )


def _require_empty(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DatasetInvalid(
            found=f"{folder} with something else in it and no {RECORD_FILE}",
            expected="a new folder, an empty one, or one that this command began",
            remedy="name another folder with --data",
        )
