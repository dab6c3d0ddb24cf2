"""Each way in which a face can be out of place is named, with the sentence that mends it first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from posed_faces import FRAME, posed_face

from sdk_reference.landmarks import MIN_FACE_WIDTH_PX, Face
from sdk_reference.positioning import GUIDANCE, PlacementLimits, place_face
from sdk_reference.quality import QualityLimits


def code(*faces: Face, frame: tuple[int, ...] = FRAME) -> tuple[str, str]:
    placement = place_face(faces, frame)
    return "" if placement.problem is None else placement.problem.code, placement.guidance


def test_a_face_in_place_is_measured() -> None:
    placement = place_face([posed_face(0.4, (0.05, -0.1), 10.0, -5.0, 3.0)], FRAME)
    assert placement.problem is None
    assert placement.guidance == "hold_still"
    assert placement.width_share == pytest.approx(0.4, abs=1e-3)
    assert placement.width_px == pytest.approx(192, abs=0.5)
    assert placement.offset == pytest.approx((0.05, -0.1), abs=1e-3)
    assert placement.pose is not None
    angles = (placement.pose.yaw_deg, placement.pose.pitch_deg, placement.pose.roll_deg)
    assert angles == pytest.approx((10.9, -4.8, 3.0), abs=1.5)  # fitted to FaceMesh, whose yaw falls short
    assert (placement.held_ns, placement.ready, placement.movement) == (0, False, None)


@pytest.mark.parametrize(
    ("faces", "problem", "guidance"),
    [
        ([], "no_face", "place_face"),
        ([posed_face(0.3, (-0.4, 0.0)), posed_face(0.3, (0.4, 0.0))], "several_faces", "place_face"),
        ([posed_face(0.1)], "face_too_small", "move_closer"),
        ([posed_face(0.21)], "face_too_small", "move_closer"),
        ([posed_face(0.73)], "face_too_large", "move_back"),
        ([posed_face(1.2)], "face_too_large", "move_back"),
        ([posed_face(0.4, (0.6, 0.0))], "face_cut_off", "centre_face"),
        ([posed_face(0.4, (0.22, 0.0))], "face_off_centre", "centre_face"),
        ([posed_face(0.4, (0.0, -0.21))], "face_off_centre", "centre_face"),
        ([posed_face(yaw_deg=-25.0)], "face_turned", "look_straight"),
        ([posed_face(pitch_deg=26.0)], "face_turned", "look_straight"),
        ([posed_face(roll_deg=-24.0)], "face_turned", "look_straight"),
    ],
)
def test_what_is_wrong_is_named(faces: list[Face], problem: str, guidance: str) -> None:
    assert code(*faces) == (problem, guidance)


@pytest.mark.parametrize(
    "how",
    [
        {"share": 0.23},
        {"share": 0.71},
        {"offset": (0.19, -0.19), "share": 0.3},
        {"yaw_deg": 17.0},
        {"pitch_deg": -19.0},
        {"roll_deg": 19.0},
    ],
)
def test_what_is_within_the_limits_passes(how: dict[str, Any]) -> None:
    assert code(posed_face(**how)) == ("", "hold_still")


@pytest.mark.parametrize("frame", [(640, 480, 3), (480, 640, 3), (480, 480, 3)])
def test_portrait_and_landscape_frames_share_one_rule(frame: tuple[int, ...]) -> None:
    assert code(posed_face(0.4, frame=frame), frame=frame)[0] == ""
    assert code(posed_face(0.2, frame=frame), frame=frame)[0] == "face_too_small"


def test_first_things_first() -> None:
    """Someone far off, aside and looking away is called nearer."""
    assert code(posed_face(0.15, (0.3, 0.0), 40.0))[1] == "move_closer"
    assert code(posed_face(0.4, (0.25, 0.0), 40.0))[1] == "centre_face"


def test_a_coarse_camera_needs_a_larger_face_and_the_manifest_may_ask_for_more() -> None:
    tiny = (160, 120, 3)
    assert code(posed_face(0.5, frame=tiny), frame=tiny)[0] == "face_too_small"  # 60 pixels
    assert PlacementLimits.of(QualityLimits(min_face_width_px=200.0)).min_width_px == 200.0
    assert PlacementLimits.of(QualityLimits(min_face_width_px=0.0)).min_width_px == MIN_FACE_WIDTH_PX
    strict = place_face([posed_face(0.4)], FRAME, PlacementLimits.of(QualityLimits(min_face_width_px=200.0)))
    assert strict.guidance == "move_closer"


def test_a_bystander_does_not_count() -> None:
    assert code(posed_face(0.4), posed_face(0.1, (-0.5, -0.3)))[0] == ""


def test_landmarks_that_are_no_numbers_are_never_in_place() -> None:
    good = posed_face()
    for points, depth in (
        (np.full_like(good.points, np.nan), good.depth),
        (good.points, np.full_like(good.depth, np.nan)),
    ):
        assert place_face([Face(points, depth)], FRAME).problem is not None


def test_every_problem_has_a_sentence() -> None:
    assert set(GUIDANCE.values()) == {
        *("place_face", "move_closer", "move_back", "centre_face", "look_straight", "hold_still", "picture_turned"),
    }
