"""The same person stays the same under motion, light and expression; others are noticed, at rates that are stated."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from posed_faces import FRAME, posed_face
from turned_heads import photograph_head

from sdk_reference.landmarks import N_LANDMARKS, Face, FaceMeshDetector
from sdk_reference.same_face import SHAPE_LIMIT, same_person_place, shape_distance
from simulator.head import Expression

PEOPLE, SHOTS = 12, 3


@pytest.fixture(scope="module")
def shots() -> list[tuple[int, Face]]:
    """People whom the limit was not set on, each in a pose of their own that varies by 3°, in changing light."""
    detector, found = FaceMeshDetector(), []
    for person in range(PEOPLE):
        rng = np.random.default_rng(1000 + person)
        base = rng.normal(size=3) * (5, 5, 3)
        for shot in range(SHOTS):
            yaw, pitch, roll = base + rng.normal(size=3) * (3, 3, 2) * (shot > 0)
            frame = photograph_head(
                70_000 + 91 * person,
                yaw_deg=yaw,
                pitch_deg=pitch,
                roll_deg=roll,
                share=0.45 + rng.uniform(-0.05, 0.05) * (shot > 0),
                offset_cm=(float(rng.normal() * 0.7), float(rng.normal() * 0.7)),
                expression=Expression.draw(rng) if shot > 1 else None,
            )
            lit = frame * rng.uniform(0.7, 1.1, 3) + rng.normal(0, 3, frame.shape)
            found += [(person, face) for face in detector.detect(np.clip(lit, 0, 255).astype(np.uint8))]
    return found


def test_rates_at_the_limit(shots: list[tuple[int, Face]]) -> None:
    pairs = list(combinations(shots, 2))
    changed = np.array([not shape_distance(one, other) <= SHAPE_LIMIT for (_, one), (_, other) in pairs])
    same = np.array([one == other for (one, _), (other, _) in pairs])
    false_alarms, noticed = float(changed[same].mean()), float(changed[~same].mean())
    print(f"{same.sum()} pairs of one person: {false_alarms:.1%}; {(~same).sum()} of two: {noticed:.1%} noticed")
    assert same.sum() == PEOPLE * SHOTS * (SHOTS - 1) / 2
    assert false_alarms <= 0.03
    assert noticed >= 0.6


def test_the_shape_distance_ignores_turn_place_and_size() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(N_LANDMARKS, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    moved = 3.0 * points @ turn + (100.0, -50.0, 7.0)
    one, other = (Face(p[:, :2].astype(np.float32), p[:, 2].astype(np.float32)) for p in (points, moved))
    assert shape_distance(one, other) < 1e-3
    mirrored = points * (-1.0, 1.0, 1.0)
    assert shape_distance(one, Face(mirrored[:, :2].astype(np.float32), points[:, 2].astype(np.float32))) > 0.5


def test_the_same_face_is_no_change() -> None:
    change = same_person_place(posed_face(0.4), [posed_face(0.42, (0.02, 0.0), yaw_deg=3.0)], FRAME)
    assert change.problem is None
    assert change.size_ratio == pytest.approx(1.05, abs=1e-3)
    assert change.jump == pytest.approx(0.05, abs=1e-2)


@pytest.mark.parametrize(
    ("later", "code"),
    [
        ([], "face_left"),
        ([posed_face(0.3, (-0.4, 0.0)), posed_face(0.3, (0.4, 0.0))], "several_faces"),
        ([posed_face(0.4, (0.6, 0.0))], "face_cut_off"),
        ([posed_face(0.4, (0.26, 0.0))], "face_changed"),
        ([posed_face(0.57)], "face_changed"),
        ([posed_face(0.28)], "face_changed"),
    ],
)
def test_what_cannot_be_the_same_is_named(later: list[Face], code: str) -> None:
    change = same_person_place(posed_face(0.4), later, FRAME)
    assert change.problem is not None and change.problem.code == code


def test_what_is_no_number_is_a_change() -> None:
    first = posed_face()
    point = Face(np.full((N_LANDMARKS, 2), 100.0, np.float32), np.zeros(N_LANDMARKS, np.float32))
    broken = Face(first.points, np.full(N_LANDMARKS, np.nan, np.float32))
    for later in (point, broken):
        change = same_person_place(first, [later], FRAME)
        assert change.problem is not None
