"""Makes sdk_reference/alignment_template.json: the mean face to which every frame is aligned.

Simulated live heads are photographed, their landmarks detected, brought together by a generalised Procrustes analysis
(similarity transforms; Gower 1975), averaged, mirrored onto themselves, and scaled into the 256×256 frame so that the
face's outline spans y = 38 to 228 and its middle lies at x = 128. The paper names no template; any sensible one will
do, as long as training and phone use the same.

    python -m training.alignment_template
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flash_sequencer.plan import default_plan
from sdk_reference.errors import UserFailure
from sdk_reference.landmarks import (
    FACE_OVAL,
    LANDMARK_CONVENTION,
    N_LANDMARKS,
    FaceMeshDetector,
    LandmarkDetector,
    find_single_face,
)
from simulator.capture import CaptureSpec, simulate_capture

OUTPUT = Path(__file__).parents[1] / "sdk_reference" / "alignment_template.json"
NAME = "flashproof-1"
VERSION = 1
SIZE = 256
TOP, BOTTOM = 38.0, 228.0  # of the face's outline; leaves background on both sides
N_HEADS = 40
PHOTOGRAPH_SIZE = 512
AMBIENT_LUX = 300.0
FIRST_SEED = 900_000  # of heads that no training set is likely to hold
ROUNDS = 20
DECIMALS = 2

# Landmarks that stay put when people blink or speak. Middle ones, and pairs of (right, left) side of the person.
MIDDLE = (10, 151, 9, 8, 168, 6, 197, 2, 199, 175, 152)
PAIRS = (
    *((33, 263), (133, 362)),  # corners of the eyes
    *((46, 276), (70, 300), (53, 283), (63, 293), (52, 282), (105, 334), (65, 295), (66, 296), (55, 285), (107, 336)),
    *((193, 417), (122, 351), (129, 358), (98, 327)),  # bridge and wings of the nose
    *((117, 346), (50, 280), (205, 425)),  # cheeks
    (61, 291),  # corners of the mouth
    *((148, 377), (176, 400)),  # chin
    *((109, 338), (67, 297), (103, 332)),  # forehead
)


def main() -> None:
    """Simulate, detect, average, write."""
    outline, points = average_face(detect_heads(FaceMeshDetector()))
    OUTPUT.write_text(template_json(outline, points), encoding="utf-8")
    print(f"wrote {OUTPUT.name}: {len(points)} landmarks")


def detect_heads(detector: LandmarkDetector) -> npt.NDArray[np.float64]:
    """Return (P,468,2): landmarks of P simulated live heads; heads on which no single face is found are left out."""
    found = []
    for seed in range(FIRST_SEED, FIRST_SEED + N_HEADS):
        frame = photograph(seed)
        try:
            found.append(find_single_face(detector.detect(frame), frame.shape).points)
        except UserFailure as failure:
            print(f"head {seed} left out: {failure}")
    return np.array(found, dtype=np.float64)


def photograph(seed: int) -> npt.NDArray[np.uint8]:
    """Return the (512,512,3) uint8 RGB photograph of one simulated live head under the brightest screen."""
    colours = tuple(step.linear for step in default_plan().steps_by_rank)
    spec = CaptureSpec(
        seed=seed,
        subject=seed,
        species="live",
        instrument="face",
        colours_linear=colours,
        size=PHOTOGRAPH_SIZE,
        ambient_lux=AMBIENT_LUX,
    )
    return np.asarray(simulate_capture(spec).frames[0], dtype=np.uint8)


def average_face(faces: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return `(outline (36,2), points (K,2))` of the mean of (P,468,2) faces, in template pixels, symmetric in x."""
    mean = procrustes_mean(faces)
    indices = list(stable_indices())
    points = mean[indices]
    mirrored = mean[[mirror_index(index) for index in indices]] * (-1, 1)
    # The mirror image is laid on the face by the best similarity before the two are averaged.
    both = procrustes_mean(np.stack([points, mirrored]))
    upright = _turn_upright(both)
    to_template = _similarity(points, upright)
    outline = _apply(mean[list(FACE_OVAL)], to_template)
    top, height = outline[:, 1].min(), np.ptp(outline[:, 1])
    scale = (BOTTOM - TOP) / height
    origin = np.array([upright[: len(MIDDLE), 0].mean(), top])
    target = np.array([SIZE / 2, TOP])
    return (outline - origin) * scale + target, (upright - origin) * scale + target


def stable_indices() -> tuple[int, ...]:
    """Return the template's landmarks: those of the middle, then both of each pair."""
    return (*MIDDLE, *(index for pair in PAIRS for index in pair))


def mirror_index(index: int) -> int:
    """Return the landmark on the other side of the face; those of the middle are their own."""
    for right, left in PAIRS:
        if index in (right, left):
            return left if index == right else right
    return index


def procrustes_mean(shapes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the (L,2) mean of (P,L,2) shapes after similarity alignment, centred, of unit size."""
    mean = _normalised(shapes[0])
    for _ in range(ROUNDS):
        mean = _normalised(np.mean([_apply(shape, _similarity(shape, mean)) for shape in shapes], axis=0))
    return mean


def _normalised(shape: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    centred = shape - shape.mean(axis=0)
    return np.asarray(centred / np.linalg.norm(centred))


def _similarity(source: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> tuple[complex, complex]:
    """Return complex (factor, shift): the least-squares turn, scale and shift, points read as x + iy."""
    a, b = source @ (1, 1j), target @ (1, 1j)
    factor = np.vdot(a - a.mean(), b - b.mean()) / np.vdot(a - a.mean(), a - a.mean())
    return complex(factor), complex(b.mean() - factor * a.mean())


def _apply(shape: npt.NDArray[np.float64], similarity: tuple[complex, complex]) -> npt.NDArray[np.float64]:
    factor, shift = similarity
    moved = (shape @ (1, 1j)) * factor + shift
    return np.stack([moved.real, moved.imag], axis=1)


def _turn_upright(shape: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Turn a mirror-symmetric shape so that its pairs lie level, then remove the last rounding of asymmetry."""
    indices = list(stable_indices())
    partner = [indices.index(mirror_index(index)) for index in indices]
    across = (shape[partner] - shape)[len(MIDDLE) :: 2].sum(axis=0) @ (1, 1j)
    level = _apply(shape - shape.mean(axis=0), (complex(abs(across) / across), 0j))
    level[:, 0] -= level[: len(MIDDLE), 0].mean()
    return np.asarray((level + level[partner] * (-1, 1)) / 2)


def template_json(outline: npt.NDArray[np.float64], points: npt.NDArray[np.float64]) -> str:
    """Return the text of the template file: coordinates in hundredths of a pixel."""
    half_width = float(np.ptp(outline[:, 0]) / 2)
    ellipse = {
        "centre": [SIZE / 2, (TOP + BOTTOM) / 2],
        "semi_axes": [round(half_width, DECIMALS), (BOTTOM - TOP) / 2],
    }
    template = {
        "name": NAME,
        "version": VERSION,
        "landmark_convention": LANDMARK_CONVENTION,
        "size": SIZE,
        "indices": list(stable_indices()),
        "points": np.round(points, DECIMALS).tolist(),
        "face_ellipse": ellipse,
    }
    assert max(stable_indices()) < N_LANDMARKS
    return json.dumps(template, indent=1) + "\n"


if __name__ == "__main__":
    main()
