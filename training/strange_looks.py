"""How a model bears what a simulated face and camera lack: the same scenes with other looks (not in the paper).

A validation split drawn from the same simulator as the training cannot tell whether a model has learned the simulator's
own narrowness by heart. So scenes of people of the validation split are photographed with looks that one real face
showed to be outside or at the edge of what is simulated (docs/log.md): colours saturated more, a room tinted against
the screen, blotched skin, frames blended of two photographs. Each condition goes the phone's whole way, landmarks
included; scores are held against the model's threshold, without gates. All rates are simulated.

    python -m training.strange_looks RUN [--count 100] [--json FILE]
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from flash_sequencer.plan import FlashPlan, challenge
from sdk_reference.atomic_files import write_json
from sdk_reference.capture import Capture
from sdk_reference.errors import FlashproofError, UserFailure
from sdk_reference.landmarks import FaceMeshDetector, LandmarkDetector
from sdk_reference.pair import capture_from_pair
from sdk_reference.preprocess import preprocess
from simulator.capture import Shot, photograph
from simulator.devices import PROFILES
from simulator.identity import SUBJECT_COUNT
from simulator.instruments import INSTRUMENTS, SPECIES
from simulator.scene import LightLayers
from simulator.stage import Stage, set_stage, subject_name
from training.evaluated_model import Model, open_model
from training.metrics import Rate, share
from training.progress import progress_bar
from training.relit_looks import blotch_factors, draw_blotches
from training.splits import TEST_DEVICES, own_conditions, split_of
from training.synthesis import photograph_stage

LUX: Final = 60.0
"""A lamp in the evening: bright enough for contrast, dark enough for the flash."""
SCENE: Final = "bedroom"
FIRST_SEED: Final = 900_000  # of scenes that no data set is likely to hold
MASKS_MORE: Final = 2
"""Masks over other attacks: they are what models differ in."""

WHITE: Final = (1.0, 1.0, 1.0)
GREY: Final = (0.5, 0.5, 0.5)  # a capture has three frames at least
BLACK: Final = (0.0, 0.0, 0.0)

Change = Callable[[Stage, np.random.Generator], Stage]


def saturated(stage: Stage, rng: np.random.Generator, *, by: float) -> Stage:
    """A camera that saturates colours by so much."""
    return replace(stage, phone=replace(stage.phone, saturation=by))


def tinted(stage: Stage, rng: np.random.Generator, *, red: float, blue: float) -> Stage:
    """A room whose red and blue light is so much stronger than it was, the screen's being the same."""
    factors = np.array([red, 1.0, blue], np.float32)
    return _relayered(stage, lambda layers: replace(layers, ambient=layers.ambient * factors))


def blotched(stage: Stage, rng: np.random.Generator, *, strength: float) -> Stage:
    """Surfaces tinted and shaded from place to place."""
    side = stage.layers.ambient.shape[0]
    factors = blotch_factors(draw_blotches(strength, rng), side)
    return _relayered(
        stage, lambda layers: replace(layers, ambient=layers.ambient * factors, screen=layers.screen * factors)
    )


def unchanged(stage: Stage, rng: np.random.Generator) -> Stage:
    """As simulated."""
    return stage


CONDITIONS: Final[Mapping[str, tuple[Change, bool]]] = {
    "as simulated": (unchanged, False),
    "colours saturated by 1.5": (partial(saturated, by=1.5), False),
    "colours saturated by 2": (partial(saturated, by=2.0), False),
    "room tinted yellow": (partial(tinted, red=1.25, blue=0.75), False),
    "room tinted blue": (partial(tinted, red=0.8, blue=1.3), False),
    "blotched surfaces": (partial(blotched, strength=0.12), False),
    "blended of two photographs": (unchanged, True),
    "blended, colours saturated by 1.7": (partial(saturated, by=1.7), True),
}
"""What is changed, and whether the capture is blended of a photograph without and one with white light."""


@dataclass(frozen=True)
class Scored:
    """One capture."""

    condition: str
    species: str
    score: float | None
    """None where no face could be aligned."""


def scenes(count: int) -> Iterator[tuple[int, str, Stage]]:
    """Yield (seed, species, scene) of people of the validation split; `count` live, and as many attacks."""
    shares = {name: 1 + (MASKS_MORE - 1) * (name == "mask") for name in SPECIES if name != "live"}
    wanted = {"live": count} | {name: count * part // sum(shares.values()) for name, part in shares.items()}
    devices = own_conditions(subject_name(_subject(FIRST_SEED)), PROFILES, TEST_DEVICES)
    seed = FIRST_SEED
    for species, number in wanted.items():
        for index in range(number):
            seed += 1
            instrument = INSTRUMENTS[species][index % len(INSTRUMENTS[species])]
            device = devices[index % len(devices)]
            yield (
                seed,
                species,
                set_stage(seed, _subject(seed), species, instrument, ambient_lux=LUX, device=device, scene=SCENE),
            )


def scores(model: Model, stage: Stage, seed: int, species: str, detector: LandmarkDetector) -> Iterator[Scored]:
    """Photograph a scene under every condition and judge it."""
    plan = challenge(hashlib.sha256(f"flashproof strange look {seed}".encode()).digest()[:16], model.n0)
    for name, (change, blended) in CONDITIONS.items():
        changed = change(stage, np.random.default_rng([seed, 17]))
        try:
            capture = _pair(changed, plan, seed, detector) if blended else photograph_stage(changed, plan, seed)
            prepared = preprocess(capture, detector, model.preprocess)
        except UserFailure:
            yield Scored(name, species, None)
            continue
        yield Scored(name, species, model.scorer(prepared.model_input[None])[0].score)


def table(found: Sequence[Scored], threshold: float) -> dict[str, dict[str, Rate | float | None]]:
    """Per condition: median score of live, share of live called spoof, share of each species called live."""
    rows: dict[str, dict[str, Rate | float | None]] = {}
    for condition in CONDITIONS:
        by_species = {
            species: [
                one.score
                for one in found
                if (one.condition, one.species) == (condition, species) and one.score is not None
            ]
            for species in SPECIES
        }
        live = by_species["live"]
        row: dict[str, Rate | float | None] = {"median live score": float(np.median(live)) if live else None}
        for species, values in by_species.items():
            wrong = sum((value < threshold) == (species == "live") for value in values)
            row["live refused" if species == "live" else f"{species} accepted"] = (
                share(wrong, len(values)) if values else None
            )
        rows[condition] = row
    return rows


def _number(value: Rate | float | None) -> str:
    found = value.value if isinstance(value, Rate) else value
    return "–" if found is None else f"{found:.3f}"


def _pair(stage: Stage, plan: FlashPlan, seed: int, detector: LandmarkDetector) -> Capture:
    """A photograph without and one with white light, blended for the plan."""
    lit, _, dark = photograph(stage, Shot(seed, (WHITE, GREY, BLACK))).frames
    return capture_from_pair(dark, lit, plan, detector)


def _relayered(stage: Stage, change: Callable[[LightLayers], LightLayers]) -> Stage:
    shut = stage.eyes_shut
    return replace(stage, layers=change(stage.layers), eyes_shut=None if shut is None else change(shut))


def _subject(seed: int) -> int:
    """A person of the validation split."""
    rng = np.random.default_rng(seed)
    while split_of(subject_name(subject := int(rng.integers(SUBJECT_COUNT)))) != "val":
        pass
    return subject


def main(
    run: Annotated[Path, typer.Argument(help="A run or a bundle.")],
    count: Annotated[int, typer.Option(min=8, help="Live scenes, and as many attacks.")] = 100,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the table here, too.")] = None,
) -> None:
    """Judge scenes of the validation split with looks that the training did not draw."""
    try:
        model, detector = open_model(run), FaceMeshDetector()
    except FlashproofError as error:
        print(f"strange_looks: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_status) from None
    found: list[Scored] = []
    with progress_bar("Judging") as progress:
        for done, (seed, species, stage) in enumerate(scenes(count), start=1):
            found += scores(model, stage, seed, species, detector)
            progress(done, 2 * count)
    rows = table(found, model.threshold)
    print(f"simulated, {LUX:g} lux, threshold {model.threshold:.4f}")
    for condition, row in rows.items():
        cells = (f"{name} {_number(value)}" for name, value in row.items())
        print(f"{condition:36} {'  '.join(cells)}")
    if json_file is not None:
        plain = {
            name: {key: value.to_dict() if isinstance(value, Rate) else value for key, value in row.items()}
            for name, row in rows.items()
        }
        write_json(json_file, {"simulated": True, "lux": LUX, "threshold": model.threshold, "conditions": plain})


if __name__ == "__main__":
    typer.run(main)
