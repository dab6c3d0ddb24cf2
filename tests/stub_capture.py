"""A capture of a painted disk and a detector that always finds a face there, so that tests of the runtime are instant.

The disk answers screen light as a Lambertian would: in linear light, ambient + albedo × screen colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from flash_sequencer.colour import linear_to_srgb
from flash_sequencer.plan import FlashPlan, default_plan
from sdk_reference.align import TEMPLATE
from sdk_reference.capture import Capture, Labels
from sdk_reference.landmarks import FACE_OVAL, N_LANDMARKS, Face

SIZE = 256
AMBIENT = 0.05
SKIN = (0.5, 0.35, 0.28)


def stub_face(offset: tuple[float, float] = (0.0, 0.0), scale: float = 0.8, size: int = SIZE) -> Face:
    """A face whose landmarks lie as in the template, scaled about the middle of a frame of `size`, then moved."""
    half_template, half_frame = TEMPLATE.size / 2, size / 2
    points = np.full((N_LANDMARKS, 2), half_template)
    turns = np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False)
    points[list(FACE_OVAL)] = half_template + 100 * np.stack([0.75 * np.sin(turns), -np.cos(turns)], axis=1)
    points[list(TEMPLATE.indices)] = TEMPLATE.points
    frame_points = (points - half_template) * scale * size / TEMPLATE.size + half_frame + np.array(offset)
    return Face(frame_points.astype(np.float32), np.zeros(N_LANDMARKS, np.float32))


@dataclass
class StubDetector:
    """Finds the given faces in every frame, or each in its turn when they are lists of faces per call."""

    faces: Sequence[Face] = field(default_factory=lambda: [stub_face()])
    per_call: Sequence[Sequence[Face]] | None = None
    calls: int = 0

    def detect(self, frame: np.ndarray) -> list[Face]:
        found = self.faces if self.per_call is None else self.per_call[self.calls % len(self.per_call)]
        self.calls += 1
        return list(found)


def lit_frames(
    colours_linear: np.ndarray, ambient: float = AMBIENT, strength: float = 0.5, size: int = SIZE
) -> np.ndarray:
    """(N0, size, size, 3) uint8: a skin-coloured disk before grey, lit by each colour in turn."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    disk = (rows**2 + columns**2 < (0.42 * size) ** 2)[..., None]
    shading = 1 - 0.3 * (rows[..., None] / size + 0.5)
    light = ambient + strength * shading * np.asarray(colours_linear)[:, None, None, :]
    linear = np.where(disk, np.array(SKIN) * light, 0.4 * ambient)
    return np.rint(255 * linear_to_srgb(np.clip(linear, 0, 1))).astype(np.uint8)


def stub_capture(
    plan: FlashPlan | None = None,
    labels: Labels | None = None,
    frames: np.ndarray | None = None,
    **light: float,
) -> Capture:
    """A capture of the disk that answers `plan` (the default plan if None)."""
    plan = plan or default_plan(5)
    frames = lit_frames(plan.colours_linear(), **light) if frames is None else frames
    order = plan.time_order()
    timestamps_ns = tuple(300_000_000 * order.index(rank) for rank in range(plan.n0))
    return Capture(frames=frames, timestamps_ns=timestamps_ns, plan=plan, labels=labels)
