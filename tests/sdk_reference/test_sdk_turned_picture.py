"""A camera that lies on its side or head is told from a person who tilts the head, and by how much it is turned."""

from __future__ import annotations

import numpy as np
import pytest
from posed_faces import FRAME, posed_face
from turned_heads import photograph_head
from virtual_session import detector

from sdk_reference.errors import PictureTurned, SeveralFaces
from sdk_reference.landmarks import Face
from sdk_reference.positioning import Placement, place_face
from sdk_reference.turned_picture import PATIENCE_NS, TurnedPicture

UPRIGHT = photograph_head(70_002)
"""Of a dozen heads the only one that FaceMesh misses upside down; of the others it makes an upright face."""
LOOK_NS = 100_000_000


class AlwaysUpright:
    """Finds an upright face in whatever it is shown."""

    def detect(self, frame_rgb: np.ndarray) -> list[Face]:
        return [posed_face(0.4)]


def seen(pictures: list[np.ndarray], turned: TurnedPicture | None = None) -> list[Placement]:
    """What becomes of pictures that come one after another."""
    turned = turned or TurnedPicture(detector())
    faces = {id(picture): detector().detect(picture) for picture in pictures}
    return [
        turned.see(picture, faces[id(picture)], place_face(faces[id(picture)], picture.shape), index * LOOK_NS)
        for index, picture in enumerate(pictures)
    ]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_camera_is_told_with_the_turn_that_helps(turns: int) -> None:
    picture = np.ascontiguousarray(np.rot90(UPRIGHT, turns))  # anticlockwise, so that much clockwise sets it upright
    placements = seen([picture] * 40)
    early, late = placements[: PATIENCE_NS // LOOK_NS], placements[PATIENCE_NS // LOOK_NS :]
    assert not any(isinstance(placement.problem, PictureTurned) for placement in early)
    assert all(isinstance(placement.problem, PictureTurned) for placement in late)
    assert f"by {90 * turns}°" in str(late[0].problem) and late[0].guidance == "picture_turned"


def test_an_upright_face_is_left_alone_and_a_tilted_head_is_patiently_borne() -> None:
    tilted = np.ascontiguousarray(np.rot90(UPRIGHT))
    pictures = [UPRIGHT] * 10 + [tilted] * 25 + [UPRIGHT] + [tilted] * 25
    assert not any(isinstance(placement.problem, PictureTurned) for placement in seen(pictures))


def test_two_people_are_no_turned_camera() -> None:
    """Whatever a turned picture of them might be taken for."""
    faces = [posed_face(0.3, (-0.3, 0.0)), posed_face(0.3, (0.3, 0.0))]
    placement, turned = place_face(faces, FRAME), TurnedPicture(AlwaysUpright())
    assert isinstance(placement.problem, SeveralFaces)
    assert all(turned.see(UPRIGHT, faces, placement, index * LOOK_NS) is placement for index in range(60))


def test_nobody_there_is_no_turned_camera() -> None:
    empty = np.full_like(UPRIGHT, 90)
    assert {type(placement.problem).__name__ for placement in seen([empty] * 40)} == {"NoFace"}
