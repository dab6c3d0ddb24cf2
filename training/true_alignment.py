"""Alignment by where a simulated face truly is, for trainings that render faster than landmarks can be found.

A phone aligns by MediaPipe's landmarks (section 5.2 of the paper). MediaPipe puts the corners of simulated eyes and
mouths at places of the template that differ a little from those of its own mean face, so the truth is brought to where
MediaPipe brings it on average. What is left are the detector's errors on each face, which a network has to meet in
captures that were aligned by it.

    python -m training.true_alignment DATA [--count 200]    measures those places, and what is left, on a data set
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from sdk_reference.align import Affine, estimate_affine, fit_affine, invert, map_points
from sdk_reference.errors import FlashproofError, UserFailure
from sdk_reference.landmarks import FaceMeshDetector, find_single_face
from simulator.stage import Stage
from simulator.truth_landmarks import LANDMARKS, SHARP
from training.dataset_folder import read_dataset_record
from training.errors import DatasetInvalid
from training.progress import progress_bar
from training.source import read_source
from training.synthesis import SimulationSettings, capture_path, make_stage, recipes

USED = tuple(LANDMARKS.index(index) for index in SHARP)
PLACES = (
    *((73.7, 100.8), (107.6, 100.5), (148.1, 100.5), (181.0, 100.8)),
    *((90.3, 94.5), (90.1, 104.1), (165.1, 94.8), (165.3, 104.2)),
    *((98.0, 181.5), (157.9, 181.8), (128.4, 176.1), (128.4, 197.7), (129.4, 145.2)),
)
"""Where in the template, in pixels, MediaPipe's alignment brings the true landmarks `SHARP`: medians over 220 captures,
whatever was shown (`python -m training.true_alignment`)."""
CORNERS = np.array([(64.0, 60.0), (192.0, 60.0), (128.0, 200.0), (128.0, 128.0)])
"""Points of the template at which two alignments are compared."""


def true_affine(stage: Stage) -> Affine:
    """Return the (2,3) map from pixels of a stage's frames, before anything has moved, to the template.

    Raises `NoFace` for landmarks on one line. The stage must not come from a file.
    """
    return fit_affine(_true_points(stage), np.array(PLACES))


def _true_points(stage: Stage) -> npt.NDArray[np.float64]:
    assert stage.shown is not None, "a file does not hold whose face is shown"
    return np.asarray(stage.shown.landmarks(stage.view, stage.size)[list(USED)], np.float64)


def compare(data: Path, count: int, quiet: bool = False) -> dict[str, Any]:
    """Measure on the first captures of a simulated data set: the medians of PLACES, and by species how far the true
    alignment is from MediaPipe's, in pixels of the template."""
    settings = _settings_of(data)
    detector = FaceMeshDetector()
    mapped: list[npt.NDArray[np.float64]] = []
    apart: dict[str, list[npt.NDArray[np.float64]]] = {}
    with progress_bar("Comparing", quiet) as progress:
        for done, recipe in enumerate(recipes(settings)[:count]):
            progress(done, count)
            found = _found_affine(capture_path(data, recipe.index), detector)
            if found is None:
                continue
            stage = make_stage(recipe, settings)
            mapped.append(map_points(_true_points(stage), found))
            there = map_points(map_points(CORNERS, invert(found)), true_affine(stage))
            apart.setdefault(recipe.species, []).append(np.linalg.norm(there - CORNERS, axis=1))
    return {
        "captures": len(mapped),
        "places": np.median(mapped, axis=0).round(1).tolist(),
        "apart_px": {
            name: {"median": round(float(np.median(values)), 2), "p95": round(float(np.quantile(values, 0.95)), 2)}
            for name, values in sorted(apart.items())
        },
    }


def _settings_of(data: Path) -> SimulationSettings:
    record = read_dataset_record(data)
    if record is None or "settings" not in record:
        raise DatasetInvalid(
            found=f"{data} without a simulation's settings",
            expected="a data set of `flashproof simulate`",
            remedy="simulate one",
        )
    return SimulationSettings(**record["settings"])


def _found_affine(path: Path, detector: FaceMeshDetector) -> Affine | None:
    """By MediaPipe, of the first frame in time, which no motion has moved yet."""
    capture = read_source(path)
    frame = capture.frames[int(np.argmin(capture.timestamps_ns))]
    try:
        return estimate_affine(find_single_face(detector.detect(frame), frame.shape).points)
    except UserFailure:
        return None


def main(
    data: Annotated[Path, typer.Argument(help="A data set of `flashproof simulate`.")],
    count: Annotated[int, typer.Option(min=1, help="Captures to look at.")] = 200,
) -> None:
    """Print one JSON object."""
    try:
        print(json.dumps(compare(data, count), indent=1))
    except FlashproofError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_status) from None


if __name__ == "__main__":
    typer.run(main)
