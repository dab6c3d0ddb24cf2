"""What a model tells skin by: live faces rendered again with one property of their skin changed, and their scores.

Not in the paper. A model that calls every live face a mask once its gloss is even, though nothing else changed, has
learned how the simulator paints gloss and not what skin does to light; on a real face, whose gloss is another, it will
be wrong. Rates over simulated captures say nothing of this, for there skin and paint always come together.

    python -m training.skin_probe MODEL [--people 40] [--json FILE]

MODEL is a run or a bundle. Captures are simulated: subjects of the validation split, since what is learnt here steers
the simulator and the next training, under the default plan, in rooms where the screen adds at least a quarter of the
room's light; a scene counts when its face can be aligned under every change. Two kinds of change: some that a real
person can have (even gloss, less relief), which should turn no score; others that no skin can (no scattering), which
should.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from flash_sequencer.plan import FlashPlan, default_plan
from sdk_reference.atomic_files import write_json
from sdk_reference.errors import FlashproofError, UserFailure
from sdk_reference.landmarks import FaceMeshDetector, LandmarkDetector
from sdk_reference.preprocess import preprocess
from simulator.canvas import Surface
from simulator.scene import SKIN, Finish, with_albedo
from simulator.stage import set_stage, subject_name
from training.evaluated_model import Model, open_model
from training.progress import progress_bar
from training.splits import split_of
from training.synthesis import photograph_stage
from training.workers import Progress, no_progress

FAINTEST_FLASH = 0.25
"""Of the screen's light over the room's: below, quality limits refuse many captures and skin has little to say."""
MEASURED_SIZE = 128
"""Pixels of the picture by which a scene's flash is measured; the captures themselves are as large as any."""
FIRST_SEED = 9_000_000
"""Of scenes that no data set is likely to hold."""


@dataclass(frozen=True)
class EvenOut:
    """Repaints skin with less change from place to place; hair, brows, eyes, neck and clothes stay as they are."""

    gloss: float = 0.0
    """0 leaves gloss and roughness as they are, 1 makes both even: their mean over the skin."""
    colour: float = 0.0
    """0 leaves the pattern of colour (redness, lips) as it is, 1 gives all skin one hue; light and dark stay."""

    def __call__(self, surface: Surface, part: npt.NDArray[np.float32]) -> Surface:
        """The surface (P points) with the skin of the head evened out."""
        skin = surface.bare_skin(part)
        if not skin.any():
            return surface
        hue = surface.albedo / surface.albedo.mean(axis=1, keepdims=True)
        even_hue = hue[skin].mean(axis=0)
        factor = (even_hue / hue) ** np.float32(self.colour)
        return with_albedo(
            surface,
            np.where(skin[:, None], surface.albedo * factor, surface.albedo),
            _towards_mean(surface.roughness, skin, self.gloss),
            _towards_mean(surface.specular_scale, skin, self.gloss),
        )


def _towards_mean(
    values: npt.NDArray[np.float32], skin: npt.NDArray[np.bool_], share: float
) -> npt.NDArray[np.float32]:
    mean = np.float32(values[skin].mean())
    return np.where(skin, values + np.float32(share) * (mean - values), values).astype(np.float32)


CHANGES: dict[str, Finish] = {
    "as simulated": SKIN,
    "no scattering": replace(SKIN, scatter_cm=(0.0, 0.0, 0.0)),
    "scattering 1.8 times as wide": replace(SKIN, scatter_cm=(0.40, 0.18, 0.09)),
    "scattering alike in all colours": replace(SKIN, scatter_cm=(0.10, 0.10, 0.10)),
    "reflectance at normal incidence 0.042": replace(SKIN, f0=0.042),
    "a fifth of the fine relief": replace(SKIN, bump_scale=0.2),
    "no relief below 0.8 mm": replace(SKIN, relief_blur_cm=0.08),
    "even gloss": replace(SKIN, repaint=EvenOut(gloss=1.0)),
    "half the colour pattern": replace(SKIN, repaint=EvenOut(colour=0.5)),
    "one hue": replace(SKIN, repaint=EvenOut(colour=1.0)),
}
"""What is changed, one thing at a time; the first row is what the others are compared with."""


@dataclass(frozen=True)
class Row:
    """How a model judges all scenes with one change."""

    change: str
    captures: int
    median: float | None
    """Score, probability of live; None without a capture."""
    below_threshold: int
    """Captures taken for attacks."""


def probe(
    model: Model,
    people: int,
    detector: LandmarkDetector,
    changes: Sequence[str],
    progress: Progress = no_progress,
) -> list[Row]:
    """Return one row per change, all of the same scenes; ValueError when a change is unknown."""
    unknown = sorted(set(changes) - set(CHANGES))
    if unknown:
        raise ValueError(f"found changes {unknown}; expected some of {list(CHANGES)}")
    plan = default_plan(model.n0)
    found: list[list[float]] = []
    for done, (seed, subject) in enumerate(_scenes(people), start=1):
        inputs = [_input(model, seed, subject, plan, change, detector) for change in changes]
        aligned = [one for one in inputs if one is not None]
        if len(aligned) == len(changes):
            found.append([model.scorer(one[None])[0].score for one in aligned])
        progress(done, people)
    by_change = np.array(found).reshape(len(found), len(changes)).T
    return [
        Row(
            change,
            len(scores),
            float(np.median(scores)) if len(scores) else None,
            int((scores < model.threshold).sum()),
        )
        for change, scores in zip(changes, by_change, strict=True)
    ]


def _scenes(people: int) -> list[tuple[int, int]]:
    """(seed of the scene, subject) per capture: subjects of the validation split, where the flash is strong enough."""
    found: list[tuple[int, int]] = []
    subject = 0
    while len(found) < people:
        subject += 1
        if split_of(subject_name(subject)) != "val":
            continue
        seed = FIRST_SEED + subject
        stage = set_stage(seed, subject, "live", "face", MEASURED_SIZE)
        if stage.layers.flash_to_ambient(stage.lighting.screen.luminance_nits) >= FAINTEST_FLASH:
            found.append((seed, subject))
    return found


def _input(
    model: Model, seed: int, subject: int, plan: FlashPlan, change: str, detector: LandmarkDetector
) -> npt.NDArray[np.float32] | None:
    """The network's input for one scene, or None where no face could be aligned."""
    stage = set_stage(seed, subject, "live", "face", skin=CHANGES[change])
    try:
        return preprocess(photograph_stage(stage, plan, seed), detector, model.preprocess).model_input
    except UserFailure:
        return None


def main(
    model: Annotated[Path, typer.Argument(help="A run or a bundle.")],
    people: Annotated[int, typer.Option(min=1, help="Simulated people, one capture of each.")] = 40,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows here, too.")] = None,
) -> None:
    """Change simulated skin, one property at a time, and see which a model holds on to."""
    try:
        opened = open_model(model)
        with progress_bar("Probing") as progress:
            rows = probe(opened, people, FaceMeshDetector(), tuple(CHANGES), progress)
    except FlashproofError as error:
        print(f"skin_probe: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_status) from None
    print(f"{opened.name}, threshold {opened.threshold:.3f}; simulated live captures\n")
    print("| skin | captures | median score | taken for an attack |\n|---|---:|---:|---:|")
    for row in rows:
        median = "–" if row.median is None else f"{row.median:.2f}"
        print(f"| {row.change} | {row.captures} | {median} | {row.below_threshold} |")
    if json_file is not None:
        content: dict[str, Any] = {"simulated": True, "threshold": opened.threshold, "rows": [asdict(r) for r in rows]}
        write_json(json_file, content)


if __name__ == "__main__":
    typer.run(main)
