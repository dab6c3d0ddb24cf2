"""People and their meshes: the same seed gives the same person, people differ, surfaces are closed and face outward."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from simulator.head import EAR, FACE, GLASSES, LONG_HAIR, NECK, TORSO, Expression, HeadMesh, Identity, build_head
from simulator.identity import BEARD_STYLES, HAIR_STYLES, with_bald_head
from simulator.material import skin_surface
from simulator.population import MONK_ALBEDO

SUBJECTS = (0, 3, 8, 16)
MANY = range(400)


@pytest.fixture(scope="module")
def meshes() -> dict[int, HeadMesh]:
    return {subject: build_head(Identity.draw(subject)) for subject in SUBJECTS}


def face_vertex(mesh: HeadMesh, x: float, y: float) -> int:
    """Index of the vertex of the face's front nearest to canonical (x, y)."""
    front = (mesh.part == FACE) & (mesh.canonical[:, 2] > 0.0)
    distance = np.hypot(mesh.canonical[:, 0] - x, mesh.canonical[:, 1] - y)
    return int(np.argmin(np.where(front, distance, np.inf)))


def test_a_subject_is_the_same_person_every_time() -> None:
    first, second = Identity.draw(7), Identity.draw(7)
    assert first == second and hash(first) == hash(second)
    one, other = build_head(first), build_head(second)
    for name in ("vertices_cm", "normals", "triangles", "canonical", "part", "hair"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_drawing_a_person_leaves_other_random_numbers_alone() -> None:
    np.random.seed(1)  # noqa: NPY002 (the global state is what must stay untouched)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    Identity.draw(5)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def shape_of(identity: Identity, expression: Expression | None = None) -> np.ndarray:
    """(33, 3) cm: features of a face wherever this person has them, centred, scaled to a root mean square of 5 cm."""
    eyes, nose, mouth = identity.eyes, identity.nose, identity.mouth
    paired = [
        (eyes.x + eyes.half_width, eyes.y), (eyes.x - eyes.half_width, eyes.y), (1.3, eyes.brow_y),
        (3.0, eyes.brow_y + eyes.brow_arch), (5.0, eyes.brow_y), (nose.wings_cm, nose.base_y - 0.1),
        (mouth.half_width, mouth.y), (4.7, eyes.y - 2.4), (3.6, mouth.y - 3.0), (5.5, mouth.y + 0.5),
        (1.5, mouth.y - 4.4), (3.0, 6.5), (6.3, 3.0),
    ]  # fmt: skip
    middle = [(0.0, y) for y in (nose.base_y, eyes.y, mouth.y, mouth.y + 1.0, mouth.y - 1.2, mouth.y - 3.2, 6.5)]
    places = np.array(middle + paired + [(-x, y) for x, y in paired], np.float32)
    mesh = build_head(identity, expression)
    front = np.flatnonzero((mesh.part < 0.5) & (mesh.canonical[:, 2] > 0.0))
    canonical = mesh.canonical[front, :2]
    points = mesh.vertices_cm[[front[((canonical - place) ** 2).sum(1).argmin()] for place in places]]
    centred = points - points.mean(0)
    return centred * (5.0 / np.sqrt((centred**2).sum(1).mean()))


def apart_cm(one: np.ndarray, other: np.ndarray) -> float:
    """Root mean square distance of two shapes' features."""
    return float(np.sqrt(((one - other) ** 2).sum(-1).mean()))


def test_any_two_of_sixty_people_differ_more_than_one_person_by_an_expression() -> None:
    shapes = [shape_of(Identity.draw(subject)) for subject in range(60)]
    closest = min(apart_cm(shapes[k], shapes[j]) for k in range(60) for j in range(k))
    expressions = (Expression(smile=0.3, mouth_open=0.1), Expression(smile=-0.25), Expression(blink=1.0))
    moved = max(
        apart_cm(shapes[subject], shape_of(Identity.draw(subject), expression))
        for subject in range(5)
        for expression in expressions
    )
    assert moved < 0.13 < closest  # 0.06 and 0.2 cm when written; 0.2 among 200 people, too


def test_skin_tones_cover_monks_ten_steps_evenly() -> None:
    counts = Counter(Identity.draw(subject).skin_tone for subject in MANY)
    assert sorted(counts) == list(range(1, 11))
    assert min(counts.values()) > 0.5 * len(MANY) / 10


def test_deeper_tones_reflect_less_in_every_channel_and_red_most() -> None:
    table = np.array(MONK_ALBEDO)
    assert (np.diff(table, axis=0) < 0).all()
    assert (np.diff(table, axis=1) < 0).all()
    for subject in MANY:
        skin = Identity.draw(subject).skin
        assert skin.albedo[0] == pytest.approx(MONK_ALBEDO[skin.tone - 1][0], rel=0.35)


def test_every_hair_and_beard_style_occurs() -> None:
    hair = [Identity.draw(subject).hair for subject in MANY]
    assert {style.style for style in hair} == set(HAIR_STYLES)
    assert {style.beard for style in hair} == set(BEARD_STYLES)


def test_mesh_arrays_fit_together(meshes: dict[int, HeadMesh]) -> None:
    for mesh in meshes.values():
        count = len(mesh.vertices_cm)
        assert mesh.vertices_cm.shape == mesh.normals.shape == mesh.canonical.shape == (count, 3)
        assert mesh.part.shape == mesh.hair.shape == (count,)
        assert mesh.triangles.dtype == np.int32 and mesh.triangles.min() >= 0 and mesh.triangles.max() < count
        for array in (mesh.vertices_cm, mesh.normals, mesh.canonical, mesh.part, mesh.hair):
            assert array.dtype == np.float32 and np.isfinite(array).all()
        assert mesh.hair.min() >= 0.0 and mesh.hair.max() <= 1.0
        assert set(np.unique(mesh.part)) <= {FACE, EAR, NECK, TORSO, LONG_HAIR, GLASSES}
        np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1.0, atol=1e-4)
        assert len(mesh.triangles) < 90_000


def _unmatched_edges(mesh: HeadMesh, shift: float) -> int:
    """Edges of the head that lack their opposite, with vertices welded on a grid of 1/2000 cm moved by `shift`."""
    head = mesh.triangles[(mesh.part[mesh.triangles] == FACE).all(1)]
    _, welded = np.unique(np.round(mesh.vertices_cm * 2000.0 + shift).astype(np.int64), axis=0, return_inverse=True)
    corners = welded.ravel()[head]
    real = (corners != np.roll(corners, 1, axis=1)).all(1)
    edges = np.concatenate([corners[real][:, [0, 1]], corners[real][:, [1, 2]], corners[real][:, [2, 0]]])
    forward = Counter(map(tuple, edges.tolist()))
    return sum(count != forward[edge[::-1]] for edge, count in list(forward.items()))


def test_the_head_is_one_closed_surface(meshes: dict[int, HeadMesh]) -> None:
    # Weld vertices that coincide; then every edge must belong to exactly two triangles, once in each direction.
    for mesh in meshes.values():
        # Twins on either side of a cell's border stay apart on one grid, but a hole is open on every grid.
        assert any(_unmatched_edges(mesh, shift) == 0 for shift in (0.0, 0.25, 0.5, 0.75))


@pytest.mark.parametrize("part", [FACE, EAR, NECK, TORSO, LONG_HAIR])
def test_normals_point_outward(meshes: dict[int, HeadMesh], part: int) -> None:
    seen = 0
    for mesh in meshes.values():
        for side in (-1.0, 1.0) if part == EAR else (0.0,):
            at = (mesh.part == part) & ((np.sign(mesh.vertices_cm[:, 0]) == side) | (side == 0.0))
            if not at.any():
                continue
            seen += 1
            outward = mesh.vertices_cm[at] - (mesh.vertices_cm[at].mean(0) if part in (FACE, EAR) else (0.0, 0.0, -4.0))
            outward[:, 1] *= part in (FACE, EAR)
            # A cupped ear looks back at its own middle in places; everything else is close to convex.
            assert ((mesh.normals[at] * outward).sum(1) > 0).mean() > (0.7 if part == EAR else 0.95)
    assert seen > 0


def test_normals_agree_with_the_triangles(meshes: dict[int, HeadMesh]) -> None:
    for mesh in meshes.values():
        a, b, c = (mesh.vertices_cm[mesh.triangles[:, corner]] for corner in range(3))
        faces = np.cross(b - a, c - a)
        size = np.linalg.norm(faces, axis=1)
        real = size > 1e-4
        agreement = (faces[real] * mesh.normals[mesh.triangles[real, 0]]).sum(1) / size[real]
        assert (agreement > 0).mean() > 0.98


def test_the_face_looks_at_the_camera_and_the_nose_stands_out(meshes: dict[int, HeadMesh]) -> None:
    for subject, mesh in meshes.items():
        identity = Identity.draw(subject)
        tip = mesh.vertices_cm[face_vertex(mesh, 0.0, identity.nose.base_y)]
        eye = mesh.vertices_cm[face_vertex(mesh, identity.eyes.x, identity.eyes.y)]
        ear_side = mesh.vertices_cm[mesh.part == FACE][:, 2].min()
        assert tip[2] > eye[2] + 1.5 > ear_side + 8.0
        for x, y in ((0.0, 6.0), (4.0, -1.5), (-4.0, -1.5), (0.0, -7.6)):
            assert mesh.normals[face_vertex(mesh, x, y)][2] > 0.4


def test_ears_are_hidden_under_hanging_hair_only(meshes: dict[int, HeadMesh]) -> None:
    for mesh in meshes.values():
        assert (mesh.part == EAR).any() != (mesh.part == LONG_HAIR).any()


def test_a_neutral_expression_is_no_expression() -> None:
    identity = Identity.draw(2)
    np.testing.assert_array_equal(build_head(identity).vertices_cm, build_head(identity, Expression()).vertices_cm)


def test_an_open_mouth_lowers_the_chin_and_not_the_brow() -> None:
    identity = Identity.draw(2)
    shut, opened = build_head(identity), build_head(identity, Expression(mouth_open=1.0))
    moved = opened.vertices_cm - shut.vertices_cm
    assert moved[face_vertex(shut, 0.0, -7.8)][1] < -0.8
    assert np.abs(moved[face_vertex(shut, 2.0, 5.0)]).max() < 1e-5
    above, below = (face_vertex(shut, 0.0, identity.mouth.y + offset) for offset in (0.15, -0.15))
    gap = [mesh.vertices_cm[above, 1] - mesh.vertices_cm[below, 1] for mesh in (shut, opened)]
    assert gap[1] > gap[0] + 1.0


def test_a_smile_widens_and_lifts_the_mouth() -> None:
    identity = Identity.draw(4)
    neutral, smiling = build_head(identity), build_head(identity, Expression(smile=1.0))
    for side in (-1.0, 1.0):
        corner = face_vertex(neutral, side * identity.mouth.half_width, identity.mouth.y)
        moved = smiling.vertices_cm[corner] - neutral.vertices_cm[corner]
        assert side * moved[0] > 0.2 and moved[1] > 0.2


def test_a_blink_draws_the_lid_over_the_eye_and_changes_nothing_else() -> None:
    identity = Identity.draw(4)
    open_eyes, shut = build_head(identity), build_head(identity, Expression(blink=1.0))
    at = face_vertex(open_eyes, identity.eyes.x, identity.eyes.y)
    assert shut.canonical[at, 1] - identity.eyes.y > identity.eyes.opening - 0.05  # lid skin, above the open lid's edge
    far = np.abs(open_eyes.canonical[:, 1] - identity.eyes.y) > 2.0
    np.testing.assert_array_equal(open_eyes.canonical[far], shut.canonical[far])
    np.testing.assert_array_equal(open_eyes.vertices_cm[far], shut.vertices_cm[far])


def test_a_full_blink_hides_the_eyeball() -> None:
    for subject in (3, 4, 12, 25):
        identity = Identity.draw(subject)
        shares = []
        for blink in (0.0, 1.0):
            mesh = build_head(identity, Expression(blink=blink))
            middles = mesh.triangles[(mesh.part[mesh.triangles] < 0.5).all(1)]  # where interpolation could uncover it
            surface = skin_surface(
                identity, *(values[middles].mean(1) for values in (mesh.canonical, mesh.part, mesh.hair))
            )
            shares.append(surface.eye.sum())
        assert shares[0] > 50.0 and shares[1] < 1.0


def test_a_bald_head_keeps_the_face_and_loses_all_hair() -> None:
    for subject in (1, 5, 33):
        identity = Identity.draw(subject)
        bald = with_bald_head(identity)
        mesh = build_head(bald)
        assert not mesh.hair.any() and not (mesh.part == LONG_HAIR).any() and bald.hair.beard == "none"
        haired = build_head(identity)
        face = face_vertex(mesh, 0.0, identity.nose.base_y)
        np.testing.assert_array_equal(mesh.vertices_cm[face], haired.vertices_cm[face])


def test_a_taper_makes_the_lower_face_more_pointed_and_leaves_the_upper() -> None:
    identity = Identity.draw(3)
    blunt, pointed = (build_head(replace(identity, skull=replace(identity.skull, taper=taper))) for taper in (0.0, 0.5))
    front = (blunt.part == FACE) & (blunt.normals[:, 2] > 0.2)
    moved = np.abs(blunt.vertices_cm - pointed.vertices_cm).max(axis=1)
    height = blunt.canonical[:, 1]
    assert moved[front & (height > 1.1) & (height < 9.0)].max() < 1e-4

    def faces_forward(head: HeadMesh) -> float:
        at = (head.part == FACE) & (np.abs(head.canonical[:, 1] - identity.mouth.y) < 0.5) & (head.canonical[:, 2] > 0)
        return float(head.normals[at & (np.abs(np.abs(head.canonical[:, 0]) - 4.0) < 0.3), 2].mean())

    assert faces_forward(pointed) < faces_forward(blunt) - 0.03  # beside the mouth it turns away sooner


def test_hair_comes_forward_over_the_temples() -> None:
    identity = replace(Identity.draw(0), hair=replace(Identity.draw(0).hair, style="short", recession_cm=0.0))
    free, covered = (
        build_head(replace(identity, hair=replace(identity.hair, temple_rad=reach))) for reach in (0.0, 0.4)
    )
    at = (free.part == FACE) & (np.abs(free.canonical[:, 1] - 4.0) < 0.5) & (free.canonical[:, 2] > 0.0)
    assert covered.hair[at].mean() > free.hair[at].mean() + 0.1
    middle = (free.part == FACE) & (np.abs(free.canonical[:, 0]) < 1.5) & (free.canonical[:, 2] > 0.0)
    middle &= free.canonical[:, 1] < 6.0
    assert np.abs(covered.hair[middle] - free.hair[middle]).max() < 0.02
