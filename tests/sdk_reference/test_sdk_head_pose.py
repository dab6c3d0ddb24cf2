"""Angles measured from landmarks against simulated heads turned by known ones; other people than it was fitted on."""

from __future__ import annotations

import numpy as np
import pytest
from turned_heads import photograph_head

from sdk_reference.head_pose import HeadPose, head_pose
from sdk_reference.landmarks import N_LANDMARKS, Face, FaceMeshDetector

SUBJECTS = (1003, 1010, 1021)
POSES = ((0, 0, 0), (-22, 0, 0), (22, 0, 0), (0, -20, 0), (0, 20, 0), (0, 0, -15), (0, 0, 15), (12, -8, 6))


@pytest.fixture(scope="module")
def measured() -> np.ndarray:
    """(people, poses, 3) degrees."""
    detector = FaceMeshDetector()
    found = np.zeros((len(SUBJECTS), len(POSES), 3))
    for i, subject in enumerate(SUBJECTS):
        for j, (yaw, pitch, roll) in enumerate(POSES):
            frame = photograph_head(subject, yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll)
            (face,) = detector.detect(frame)
            pose = head_pose(face)
            found[i, j] = pose.yaw_deg, pose.pitch_deg, pose.roll_deg
    return found


def test_angles_are_right_within_a_few_degrees(measured: np.ndarray) -> None:
    errors = measured - np.array(POSES)
    print("rms", np.sqrt((errors**2).mean((0, 1))), "largest", np.abs(errors).max((0, 1)))
    assert (np.sqrt((errors**2).mean((0, 1))) < (3.0, 5.0, 2.0)).all()
    assert (np.abs(errors).max((0, 1)) < (8.0, 11.0, 5.0)).all()


def test_signs_are_as_documented(measured: np.ndarray) -> None:
    yaw, pitch, roll = measured[..., 0], measured[..., 1], measured[..., 2]
    assert (yaw[:, 2] > yaw[:, 0]).all() and (yaw[:, 0] > yaw[:, 1]).all()
    assert (pitch[:, 4] > pitch[:, 0]).all() and (pitch[:, 0] > pitch[:, 3]).all()
    assert (roll[:, 6] > roll[:, 0]).all() and (roll[:, 0] > roll[:, 5]).all()


def test_size_and_place_in_the_frame_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(N_LANDMARKS, 3)).astype(np.float32) * 20
    here = head_pose(Face(points[:, :2], points[:, 2]))
    there = head_pose(Face(points[:, :2] * 3 + 200, points[:, 2] * 3 - 50))
    np.testing.assert_allclose(list(vars(here).values()), list(vars(there).values()), atol=1e-3)


def test_a_face_that_is_one_point_has_no_pose() -> None:
    nothing = head_pose(Face(np.ones((N_LANDMARKS, 2), np.float32), np.zeros(N_LANDMARKS, np.float32)))
    assert all(np.isnan(angle) for angle in vars(nothing).values())
    assert isinstance(nothing, HeadPose)
