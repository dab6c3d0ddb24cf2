"""Small captures drawn by a formula, and a detector that knows where their faces are: for tests of the training room.

A capture is a textured square with an elliptical "face" that answers the screen: a live face by a dome of light, the
attacks by a flat, a weak or a tinted one. No simulator and no MediaPipe, so that a test takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import numpy as np

from flash_sequencer.colour import linear_to_srgb
from flash_sequencer.plan import FlashPlan, default_plan
from sdk_reference.align import TEMPLATE
from sdk_reference.capture import Capture, Labels, save_capture
from sdk_reference.landmarks import FACE_OVAL, N_LANDMARKS, Face
from training.splits import split_of

SIZE = 128
SCALE = SIZE / TEMPLATE.size
FACELESS = (255, 0, 255)  # colour of the first pixel of a frame in which no face shall be found
AMBIENT = 0.15
SPECIES = ("live", "print", "replay", "mask")


def face_points() -> np.ndarray:
    """(468,2) float32: the template's landmarks, its outline on the ellipse, the rest within."""
    centre, axes = np.array(TEMPLATE.ellipse_centre), np.array(TEMPLATE.ellipse_semi_axes)
    rng = np.random.default_rng(0)
    points = centre + rng.uniform(-0.5, 0.5, (N_LANDMARKS, 2)) * axes
    turn = np.linspace(0.0, 2.0 * np.pi, len(FACE_OVAL), endpoint=False)
    points[list(FACE_OVAL)] = centre + np.stack([np.sin(turn), -np.cos(turn)], axis=1) * axes
    points[list(TEMPLATE.indices)] = TEMPLATE.points
    return (points * SCALE).astype(np.float32)


class KnowingDetector:
    """Finds the one face that every tiny capture has, unless its first pixel is FACELESS."""

    detected = 0

    def detect(self, frame: np.ndarray) -> list[Face]:
        type(self).detected += 1
        if tuple(frame[0, 0]) == FACELESS:
            return []
        points = face_points()
        middle = np.array(TEMPLATE.ellipse_centre) * SCALE
        return [Face(points, np.hypot(*(points - middle).T).astype(np.float32))]


def dome() -> np.ndarray:
    """(SIZE, SIZE) 0..1: 1 in the middle of the face, 0 at its outline and beyond."""
    centres = (np.arange(SIZE) + 0.5) / SCALE
    across = (centres - TEMPLATE.ellipse_centre[0]) / TEMPLATE.ellipse_semi_axes[0]
    down = (centres - TEMPLATE.ellipse_centre[1]) / TEMPLATE.ellipse_semi_axes[1]
    return np.sqrt(np.clip(1.0 - across[None] ** 2 - down[:, None] ** 2, 0.0, 1.0))


def answer(species: str) -> np.ndarray:
    """(SIZE, SIZE, 3): how much of the screen's light comes back."""
    flat = np.float64(dome() > 0)  # the wall behind gets none of it
    shapes = {"live": dome(), "print": 0.6 * flat, "replay": 0.2 * flat, "mask": dome()}
    tint = np.array([0.3, 0.6, 1.0]) if species == "mask" else np.array([1.0, 0.8, 0.6])
    return shapes[species][..., None] * tint * 0.5


def tiny_capture(
    seed: int, subject: str | None, species: str | None, *, plan: FlashPlan | None = None, faceless: bool = False
) -> Capture:
    """Draw one capture; the same arguments give the same capture."""
    plan = plan or default_plan()
    rng = np.random.default_rng(seed)
    albedo = rng.uniform(0.3, 0.9, (SIZE // 8, SIZE // 8, 3)).repeat(8, axis=0).repeat(8, axis=1)
    light = AMBIENT + answer(species or "live") * plan.colours_linear()[:, None, None, :]
    noisy = linear_to_srgb(np.clip(albedo * light, 0.0, 1.0)) * 255.0 + rng.normal(0.0, 1.0, light.shape)
    frames = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    if faceless:
        frames[:, 0, 0] = FACELESS
    depth = np.where(dome() > 0, 400.0 - 100.0 * dome(), 0.0).astype(np.uint16)
    times = {rank: 1_000_000 * (moment + 1) for moment, rank in enumerate(plan.time_order())}
    return Capture(
        frames=frames,
        timestamps_ns=tuple(times[rank] for rank in range(plan.n0)),
        plan=plan,
        labels=Labels(simulated=True, subject=subject, species=species),
        depth_mm=depth,
    )


def subjects_of(split: str, number: int) -> list[str]:
    """The first names that belong to a split."""
    names = (f"person-{k}" for k in count())
    return [name for name, _ in zip((n for n in names if split_of(n) == split), range(number), strict=False)]


def write_tiny_dataset(folder: Path, people: Sequence[str], species: Sequence[str] = SPECIES) -> Path:
    """Write a live capture and an attack of each person; attacks take turns."""
    attacks = [name for name in species if name != "live"]
    kinds = [[name] for name in ("live",) if name in species]
    index = 0
    for turn, person in enumerate(people):
        for kind in [*kinds, attacks[turn % len(attacks) :][:1]]:
            save_capture(tiny_capture(index, person, kind[0]), folder / "captures" / f"{index:06d}.zip")
            index += 1
    return folder
