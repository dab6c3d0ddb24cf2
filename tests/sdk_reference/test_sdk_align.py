"""Alignment: closed forms for the map, the pixel convention, and sharpness whatever the photograph's size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sdk_reference.align import (
    TEMPLATE,
    align,
    estimate_affine,
    fit_affine,
    load_template,
    map_points,
    resample,
    scale_of,
)
from sdk_reference.errors import FlashproofError, ModelFailed, NoFace
from sdk_reference.landmarks import N_LANDMARKS

IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])


def face_at(affine: np.ndarray) -> np.ndarray:
    """Landmarks (468,2) of a face that `affine` took from the template into the frame."""
    points = np.zeros((N_LANDMARKS, 2))
    points[list(TEMPLATE.indices)] = map_points(TEMPLATE.points, affine)
    return points


def inverse(affine: np.ndarray) -> np.ndarray:
    whole = np.vstack([affine, [0, 0, 1]])
    return np.linalg.inv(whole)[:2]


def test_the_template_is_a_symmetric_upright_face() -> None:
    assert TEMPLATE.size == 256
    assert TEMPLATE.points.shape == (len(TEMPLATE.indices), 2)
    assert len(set(TEMPLATE.indices)) >= 30
    mirrored = TEMPLATE.points * (-1, 1) + (256, 0)
    nearest = np.linalg.norm(mirrored[:, None] - TEMPLATE.points[None], axis=2).min(axis=1)
    assert nearest.max() < 0.03  # hundredths of a pixel are all that is stored
    place = dict(zip(TEMPLATE.indices, TEMPLATE.points, strict=True))
    forehead, right_eye, left_eye, nose, mouth, chin = (place[index] for index in (10, 33, 263, 2, 61, 152))
    assert forehead[1] < right_eye[1] < nose[1] < mouth[1] < chin[1]
    assert right_eye[0] < 128 < left_eye[0]
    assert 36 < forehead[1] < 42
    assert 224 < chin[1] < 230


def test_the_template_file_round_trips(tmp_path: Path) -> None:
    (tmp_path / "template.json").write_text(json.dumps(TEMPLATE.to_dict()))
    again = load_template(tmp_path / "template.json")
    assert again.to_dict() == TEMPLATE.to_dict()


def test_another_landmark_convention_is_refused(tmp_path: Path) -> None:
    (tmp_path / "template.json").write_text(json.dumps(TEMPLATE.to_dict() | {"landmark_convention": "68 points"}))
    with pytest.raises(ValueError, match="68 points"):
        load_template(tmp_path / "template.json")


@pytest.mark.parametrize("size", [256, 128, 64, 100])
def test_the_face_region_has_the_area_of_its_ellipse(size: int) -> None:
    region = TEMPLATE.face_region(size)
    across, down = TEMPLATE.ellipse_semi_axes
    assert region.shape == (size, size)
    assert region.mean() == pytest.approx(np.pi * across * down / 256**2, rel=0.02)
    rows, columns = np.nonzero(region)
    assert (columns.mean() + 0.5) * 256 / size == pytest.approx(128, abs=0.5)
    assert (rows.mean() + 0.5) * 256 / size == pytest.approx(TEMPLATE.ellipse_centre[1], abs=0.5)


@pytest.mark.parametrize(
    "to_frame",
    [
        IDENTITY,
        np.array([[2.0, 0, 300], [0, 2.0, 500]]),
        np.array([[0.8, -0.1, 40], [0.12, 0.7, 20]]),
        np.array([[0, -1.5, 900], [1.5, 0, 100]]),  # a quarter turn
    ],
)
def test_affine_maps_are_recovered_exactly(to_frame: np.ndarray) -> None:
    np.testing.assert_allclose(estimate_affine(face_at(to_frame)), inverse(to_frame), atol=1e-9)


def test_the_fit_is_least_squares() -> None:
    """Against numpy's own solver of the normal equations."""
    rng = np.random.default_rng(0)
    source = rng.normal(size=(40, 2)) * 50 + 200
    target = rng.normal(size=(40, 2)) * 30
    design = np.hstack([source, np.ones((40, 1))])
    expected = np.linalg.solve(design.T @ design, design.T @ target).T
    np.testing.assert_allclose(fit_affine(source, target), expected, rtol=1e-8)


def one_line() -> np.ndarray:
    return np.stack([np.arange(N_LANDMARKS), np.arange(N_LANDMARKS) * 2.0], axis=1)


def with_nan() -> np.ndarray:
    points = face_at(IDENTITY)
    points[400, 1] = np.nan
    return points


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        (one_line(), NoFace),
        (np.ones((N_LANDMARKS, 2)), NoFace),
        (face_at(np.array([[-1.0, 0, 256], [0, 1, 0]])), NoFace),  # mirrored
        (face_at(np.array([[0.01, 0, 0], [0, 0.01, 0]])), NoFace),
        (face_at(np.array([[1.0, 0, 0], [0, 0.01, 0]])), NoFace),
        (with_nan(), ModelFailed),
        (face_at(IDENTITY) + np.inf, ModelFailed),
        (np.zeros((68, 2)), ModelFailed),
    ],
)
def test_degenerate_landmarks_are_refused(points: np.ndarray, kind: type[FlashproofError]) -> None:
    with pytest.raises(kind):
        estimate_affine(points)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_identity_leaves_a_frame_as_it_is() -> None:
    frame = noise(256, 256)
    np.testing.assert_array_equal(align(frame, IDENTITY), frame)


def test_a_shift_moves_whole_pixels() -> None:
    frame = noise(300, 300)
    shifted = align(frame, np.array([[1.0, 0, -20], [0, 1, -30]]))
    np.testing.assert_array_equal(shifted, frame[30:286, 20:276])


def test_enlarging_keeps_pixel_corners_in_place() -> None:
    """Doubling maps the corner (0, 0) to itself: output pixels 0 and 1 share input pixel 0, at −¼ and ¼ of it."""
    ramp = np.repeat(np.repeat(np.arange(128, dtype=np.float32)[None, :, None], 128, 0), 3, 2)
    doubled = resample(ramp, np.array([[2.0, 0, 0], [0, 2, 0]]), 256)
    expected = (np.arange(256) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(doubled[128, 2:-2, 0], expected[2:-2], atol=1 / 32)  # OpenCV samples at 1/32 pixel


@pytest.mark.parametrize("factor", [2, 4, 5])
def test_reducing_takes_the_mean_of_blocks(factor: int) -> None:
    frame = noise(256 * factor, 256 * factor)
    reduced = align(frame, np.array([[1 / factor, 0, 0], [0, 1 / factor, 0]]))
    blocks = frame.reshape(256, factor, 256, factor, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(reduced, blocks, atol=0.51)


def test_a_face_lands_on_the_template_wherever_it_was() -> None:
    """A bright spot drawn at a landmark of a large photograph appears at that landmark's place in the template."""
    to_frame = np.array([[4.3, 0.4, 60.0], [-0.4, 4.3, 400.0]])
    eye = TEMPLATE.indices.index(33)
    x, y = map_points(TEMPLATE.points[eye], to_frame)
    rows, columns = np.mgrid[:1920, :1200] + 0.5
    spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 12.0**2)) * 255
    frame = np.repeat(spot[..., None], 3, axis=2).astype(np.uint8)
    aligned = align(frame, estimate_affine(face_at(to_frame)))[..., 0].astype(float)
    rows, columns = np.mgrid[:256, :256] + 0.5
    found = ((columns * aligned).sum() / aligned.sum(), (rows * aligned).sum() / aligned.sum())
    np.testing.assert_allclose(found, TEMPLATE.points[eye], atol=0.15)


def test_fine_texture_of_a_large_photograph_does_not_alias() -> None:
    """A pattern finer than the template's pixels must come out flat, not as a coarse moiré."""
    stripes = np.zeros((1920, 1920, 3), np.uint8)
    stripes[:, ::2] = 255
    aligned = align(stripes, np.array([[1 / 5.3, 0, 0], [0, 1 / 5.3, 0]]))
    inner = aligned[8:-8, 8:-8].astype(float)
    assert inner.mean() == pytest.approx(127.5, abs=1.5)
    assert inner.std() < 0.2 * 127.5


def test_beyond_the_frame_its_border_goes_on() -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[:, -1] = 200
    assert align(frame, IDENTITY)[10, 70:, 0].tolist() == [200] * 186


def test_float_frames_keep_their_precision() -> None:
    frame = np.full((300, 300, 3), 1e-4, np.float32)
    result = resample(frame, np.array([[0.5, 0, 0], [0, 0.5, 0]]), 100)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, 1e-4, rtol=1e-5)


def test_scale_is_template_pixels_per_frame_pixel() -> None:
    assert scale_of(np.array([[0.5, 0, 7], [0, 0.5, 9]])) == pytest.approx(0.5)
