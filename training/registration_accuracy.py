"""How well the frames of a capture lie on each other: by landmarks alone, and corrected by what the frames show.

The paper aligns by landmarks and takes it for done (section 5.1). Here live captures are simulated under random
challenges and aligned as on a phone; where each map takes the true landmarks (`simulator.truth_landmarks`) is compared
between the frames of a capture: with perfect registration they fall on the same spots. Differences between captures do
not count, only those within one. A turning head moves nearer points more than farther ones, which no affine map
follows: that is in the numbers, too. Blinking captures are left out, for a blink moves the lids.

    python -m training.registration_accuracy [--count 200] [--seed 0] [--json FILE]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from flash_sequencer.plan import challenge
from sdk_reference.align import Affine, map_points
from sdk_reference.atomic_files import write_json
from sdk_reference.errors import UserFailure
from sdk_reference.landmarks import FaceMeshDetector, LandmarkDetector, find_single_face
from sdk_reference.preprocess import PreprocessSettings, landmark_affines, registered_affines
from simulator.capture import Shot, photograph
from simulator.identity import SUBJECT_COUNT
from simulator.stage import set_stage
from training.landmark_accuracy import true_points
from training.progress import progress_bar

FIRST_SEED = 800_000  # of captures that no data set is likely to hold
SIZE = 256
BRIGHT_LUX = 300.0  # above, a phone asks for shade
METHODS = {name: PreprocessSettings(registration=name) for name in ("none", "detail")}


def errors_of(seed: int, subject: int, detector: LandmarkDetector) -> dict[str, npt.NDArray[np.float64]] | None:
    """Return per method (N0,) pixels of the aligned 256: each frame's distance from the mean of all, root mean square.

    None for a capture that does not count: too bright a room, a blink, no usable face.
    """
    stage = set_stage(seed, subject, "live", "face", SIZE)
    if stage.eyes_shut is not None or stage.lighting.ambient.lux > BRIGHT_LUX:
        return None
    plan = challenge(np.random.default_rng(seed).bytes(16))
    colours = tuple(step.linear for step in plan.steps_by_rank)
    taken = photograph(stage, Shot(seed, colours, time_order=plan.time_order()))
    try:
        faces = [find_single_face(detector.detect(frame), frame.shape) for frame in taken.frames]
    except UserFailure:
        return None
    truth, first = true_points(stage, taken), landmark_affines(faces)
    return {
        name: spread(registered_affines(taken.frames, first, settings), truth) for name, settings in METHODS.items()
    }


def spread(affines: Affine, truth: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N0,2,3) maps and (N0,K,2) true points → (N0,) how far each frame's points lie from their mean."""
    placed = np.stack([map_points(points, affine) for points, affine in zip(truth, affines, strict=True)])
    distances: npt.NDArray[np.float64] = np.linalg.norm(placed - placed.mean(axis=0), axis=2)
    return np.asarray(np.sqrt((distances**2).mean(axis=1)))


def summary(found: list[dict[str, npt.NDArray[np.float64]]]) -> dict[str, Any]:
    """Return captures and, per method, quantiles over frames; `worse` is the share of captures that it made worse."""
    rows = {name: np.array([one[name] for one in found]) for name in METHODS}
    quantiles = {
        name: {f"p{q}_px": round(float(np.percentile(values, q)), 3) for q in (50, 90, 99)}
        for name, values in rows.items()
    }
    worse = float((rows["detail"].mean(axis=1) > rows["none"].mean(axis=1)).mean())
    return {"captures": len(found), "simulated": True, **quantiles, "worse": round(worse, 4)}


def main(
    count: Annotated[int, typer.Option(min=1, help="Captures to simulate; those of bright rooms do not count.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Draws the captures.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the numbers to this file.")] = None,
) -> None:
    """Simulate, align, compare, print one JSON object."""
    subjects = np.random.default_rng([seed, FIRST_SEED]).choice(SUBJECT_COUNT, count)
    detector, found = FaceMeshDetector(), []
    with progress_bar("Registering", quiet=False) as progress:
        for k, subject in enumerate(subjects):
            errors = errors_of(FIRST_SEED + seed + k, int(subject), detector)
            found += [errors] if errors is not None else []
            progress(k + 1, count)
    if not found:
        raise typer.BadParameter("no capture counted: give a larger --count")
    numbers = summary(found)
    if json_file is not None:
        write_json(json_file, numbers)
    print(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    typer.run(main)
