"""True landmarks: on the face, where anybody would put them, and projected as OpenCV projects."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from simulator.ambient import Ambient, Lighting
from simulator.framing import Framing
from simulator.head import Expression, Identity, build_head
from simulator.light import ScreenLight
from simulator.motion import Motion, motion_map
from simulator.scene import render_head, rotation
from simulator.truth_landmarks import LANDMARKS, SHARP, project_landmarks, true_landmarks

SUBJECTS = (0, 5, 21)
FRAMING = Framing(0.6, 30.0, 0.12, -0.08, 0.05, (0.4, -0.3))
MIDDLE_CM = np.array([0.4, -0.3, -30.0])


def truth(subject: int, expression: Expression | None = None) -> dict[int, np.ndarray]:
    identity = Identity.draw(subject)
    points = true_landmarks(identity, build_head(identity, expression))
    return dict(zip(LANDMARKS, points, strict=True))


def test_landmarks_lie_on_the_mesh_in_the_order_of_a_face() -> None:
    for subject in SUBJECTS:
        identity = Identity.draw(subject)
        mesh = build_head(identity)
        at = truth(subject)
        for point in at.values():
            assert np.linalg.norm(mesh.vertices_cm - point, axis=1).min() < 0.15
        across = [at[index][0] for index in (33, 159, 133, 4, 362, 386, 263)]
        assert across == sorted(across)
        down = [at[index][1] for index in (159, 145, 4, 0, 17, 152)]
        assert down == sorted(down, reverse=True)
        assert at[4][2] == max(point[2] for point in at.values())


def test_a_blink_brings_the_lids_together_and_a_smile_parts_the_corners_of_the_mouth() -> None:
    for subject in SUBJECTS:
        neutral, blinking, smiling = (
            truth(subject),
            truth(subject, Expression(blink=1.0)),
            truth(subject, Expression(smile=1.0)),
        )
        for upper, lower in ((159, 145), (386, 374)):
            gap = [at[upper][1] - at[lower][1] for at in (neutral, blinking)]
            assert gap[0] > 0.5 and gap[1] < 0.25
        assert smiling[291][0] - smiling[61][0] > neutral[291][0] - neutral[61][0] + 0.4
        np.testing.assert_allclose(smiling[33], neutral[33], atol=0.01)


def test_projection_agrees_with_opencv() -> None:
    points = np.stack(list(truth(0).values()))
    pose, view = FRAMING.head_pose(), FRAMING.view(300)
    ours = project_landmarks(points, pose, view, 200, None, MIDDLE_CM)
    focal = view.focal_px * 200 / 300
    camera = np.array([[focal, 0.0, 100.0], [0.0, focal, 100.0], [0.0, 0.0, 1.0]])
    flip = np.diag([1.0, -1.0, -1.0])  # OpenCV's y points down and its z away from the camera
    turn, _ = cv2.Rodrigues(flip @ pose.rotation.astype(np.float64))
    expected, _ = cv2.projectPoints(points.astype(np.float64), turn, flip @ pose.translation_cm, camera, None)
    np.testing.assert_allclose(ours, expected[:, 0], atol=0.01)


def test_a_moved_landmark_is_where_the_moved_picture_shows_it() -> None:
    identity, mesh = Identity.draw(5), build_head(Identity.draw(5))
    pose, view, size = FRAMING.head_pose(), FRAMING.view(288), 192
    lighting = Lighting(Ambient.draw(np.random.default_rng(0)), ScreenLight())
    layers = render_head(identity, mesh, pose, view, lighting)
    motion = Motion(np.array([0.02, -0.015, 0.01]), np.array([0.15, -0.1, 0.2]))
    source = motion_map(layers, motion, MIDDLE_CM, view, size)
    points = true_landmarks(identity, mesh)
    moved = project_landmarks(points, pose, view, size, motion, MIDDLE_CM)
    still = project_landmarks(points, pose, view, view.size, None, MIDDLE_CM)
    assert np.abs(moved - still * size / view.size).max() > 1.0
    for index, (x, y), before in zip(LANDMARKS, moved, still, strict=True):
        if index in SHARP:
            shown = source[round(y - 0.5), round(x - 0.5)] + 0.5
            np.testing.assert_allclose(shown, before, atol=1.6)  # of layer pixels: rounding, and depth at edges


def test_a_turned_head_turns_its_landmarks() -> None:
    points = np.array([[0.0, 0.0, 5.0]], np.float32)
    pose, view = Framing(0.5, 30.0, 0.0, 0.0, 0.0, (0.0, 0.0)).head_pose(), FRAMING.view(100)
    middle = pose.translation_cm.astype(np.float64)
    motion = Motion(np.array([0.1, 0.0, 0.0]), np.zeros(3))
    moved = project_landmarks(points, pose, view, 100, motion, middle)
    place = middle + rotation(0.1, 0.0, 0.0) @ points[0]
    assert moved[0, 0] == pytest.approx(50.0 + view.focal_px * place[0] / -place[2], abs=1e-3)
