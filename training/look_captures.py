"""What is looked at: simulated captures of every species in the same rooms, and real pairs of photographs.

Not in the paper. Seed k is the same for all species, so that the k-th live capture and the k-th attacks stand in the
same room before the same phone. All show the default plan: white, red, green, blue, black.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flash_sequencer.plan import default_plan
from sdk_reference.errors import CaptureNotFound, UserFailure
from sdk_reference.images import read_image
from sdk_reference.landmarks import FaceMeshDetector, LandmarkDetector, find_single_face
from simulator.capture import CaptureSpec, SimulatedCapture, simulate_capture
from simulator.instruments import INSTRUMENTS, SPECIES
from training import contact_sheet
from training.look_pair import AlignedPair, align_pair
from training.look_statistics import colour_answers, measure

SEEDS, SUBJECT_IDS = 2**31, 1_000_000
STREAM = 6  # sets these draws apart from those of other commands with the same seed
DARK_FILE, LIT_FILE = "background.jpg", "flash.jpg"
# How a folder of a real pair ends its name, and the species it shows.
REAL_ENDINGS = {"live": "live", "spoof": "print", "print": "print", "replay": "replay", "mask": "mask"}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides one simulated capture."""

    index: int
    """Its number within the species."""
    seed: int
    subject: int
    species: str
    instrument: str
    size: int
    """Width and height of the frames, pixels."""


@dataclass(frozen=True)
class Look:
    """One capture or real pair, measured and drawn."""

    species: str
    instrument: str
    """Of a simulated capture; "real" for a pair of photographs."""
    title: str
    """What a contact sheet writes above it."""
    labels: dict[str, object]
    """The simulator's truth; empty for a real pair."""
    statistics: dict[str, float]
    """By name (`look_statistics.measure`), NaN where it cannot be told; empty when no face was found."""
    refused: str
    """Why a phone would see no usable face, as the code of the error; else empty."""
    strip: bytes
    """JPEG: all frames by rank, the aligned difference, depth; empty for a real pair."""
    panel: bytes
    """JPEG: the aligned dark and lit frames, their difference and its ratio to the dark frame; may be empty."""


def recipes(count: int, seed: int, size: int) -> list[Recipe]:
    """Return `count` recipes per species; instruments take turns."""
    rng = np.random.default_rng([seed, STREAM])
    seeds, subjects = rng.integers(0, SEEDS, count), rng.integers(0, SUBJECT_IDS, count)
    return [
        Recipe(k, int(seeds[k]), int(subjects[k]), species, INSTRUMENTS[species][k % len(INSTRUMENTS[species])], size)
        for k in range(count)
        for species in SPECIES
    ]


def look_at(recipe: Recipe) -> Look:
    """Simulate, measure and draw one capture; the work of one worker process."""
    colours = tuple((float(r), float(g), float(b)) for r, g, b in default_plan().colours_linear())
    shot = simulate_capture(
        CaptureSpec(recipe.seed, recipe.subject, recipe.species, recipe.instrument, colours, size=recipe.size)
    )
    return look_at_capture(shot, recipe, _detector())


def look_at_capture(shot: SimulatedCapture, recipe: Recipe, detector: LandmarkDetector) -> Look:
    """Measure and draw a simulated capture of the default plan."""
    pair, statistics, refused = None, {}, ""
    try:
        faces = [find_single_face(detector.detect(frame), frame.shape) for frame in shot.frames]
        pair = align_pair(shot.frames[-1], shot.frames[0], faces[-1], faces[0])
        statistics = measure(pair) | colour_answers(shot.frames, faces)
    except UserFailure as failure:
        refused = failure.code
    return Look(
        species=recipe.species,
        instrument=recipe.instrument,
        title=simulated_title(shot.labels, statistics, refused),
        labels=shot.labels,
        statistics=statistics,
        refused=refused,
        strip=contact_sheet.encoded(contact_sheet.strip(shot.frames, pair, shot.depth_mm)),
        panel=b"" if pair is None else contact_sheet.encoded(contact_sheet.panel(pair)),
    )


def simulated_title(labels: dict[str, object], statistics: dict[str, float], refused: str) -> str:
    """Return one line about a capture: instrument, scene, light, phone, person, what was measured."""
    measured = f"measured {statistics['flash/ambient, face']:.2f}" if statistics else f"refused: {refused}"
    return (
        f"{labels['instrument']} | {labels['scene']} {labels['ambient_lux']:.0f} lux | "
        f"flash/ambient {labels['flash_to_ambient']:.2f}, {measured} | {labels['device']} | "
        f"{labels['distance_cm']:.0f} cm | skin {labels['skin_tone']} | {labels['subject']} seed {labels['seed']}"
    )


@lru_cache(maxsize=1)
def _detector() -> LandmarkDetector:
    """One detector per process, created by the first capture."""
    return FaceMeshDetector()


def real_pairs(folder: Path) -> dict[str, tuple[str, Path]]:
    """Return name → (species, folder) of every real pair in `folder`; raises CaptureNotFound when there is none.

    A pair is a folder that holds background.jpg and flash.jpg and whose name ends in `_live`, `_spoof` (a print),
    `_print`, `_replay` or `_mask`.
    """
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        ending = path.name.rpartition("_")[2]
        if ending in REAL_ENDINGS and (path / DARK_FILE).is_file() and (path / LIT_FILE).is_file():
            found[path.name] = (REAL_ENDINGS[ending], path)
    if not found:
        raise CaptureNotFound(
            found=f"no pair of photographs in {folder}",
            expected=f"folders named ..._live or ..._spoof that hold {DARK_FILE} and {LIT_FILE}",
            remedy="check the path",
        )
    return found


def look_at_real(name: str, species: str, folder: Path, detector: LandmarkDetector) -> Look:
    """Measure and draw a real pair; raises as `read_image`, and a UserFailure when there is no usable face."""
    dark, lit = read_image(folder / DARK_FILE), read_image(folder / LIT_FILE)
    pair = real_pair(dark, lit, detector)
    statistics = measure(pair)
    title = f"REAL {name} | measured flash/ambient {statistics['flash/ambient, face']:.2f}"
    panel = contact_sheet.encoded(contact_sheet.panel(pair))
    return Look(species, "real", title, {}, statistics, "", b"", panel)


def real_pair(dark: npt.NDArray[np.uint8], lit: npt.NDArray[np.uint8], detector: LandmarkDetector) -> AlignedPair:
    """Find the face in both HWC uint8 RGB photographs and align them."""
    dark_face, lit_face = (find_single_face(detector.detect(photo), photo.shape) for photo in (dark, lit))
    return align_pair(dark, lit, dark_face, lit_face)
