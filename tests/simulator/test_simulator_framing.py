"""How faces stand before the camera."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.framing import DISTANCE_CM, FACE_CENTRE_CM, FACE_PX, FACE_WIDTH_CM, LARGEST_SHARE, Framing
from simulator.head import build_head
from simulator.identity import Identity


def drawn(size: int, count: int = 400) -> list[Framing]:
    rng = np.random.default_rng(6)
    return [Framing.draw(rng, size) for _ in range(count)]


def sensor_px(framing: Framing, size: int) -> float:
    return framing.share * size * framing.sensor_scale


@pytest.mark.parametrize("size", [96, 256])
def test_faces_have_80_to_400_sensor_pixels_across_spread_evenly_over_octaves(size):
    pixels = np.array([sensor_px(framing, size) for framing in drawn(size)])
    assert pixels.min() >= FACE_PX[0] - 1e-6 and pixels.max() <= FACE_PX[1] + 1e-6
    assert np.median(pixels) == pytest.approx(np.sqrt(FACE_PX[0] * FACE_PX[1]), rel=0.12)  # of a log-uniform law


def test_a_face_that_fits_is_photographed_pixel_by_pixel_and_a_larger_one_scaled_down():
    for framing in drawn(256):
        assert framing.sensor_scale >= 1.0 and framing.share <= LARGEST_SHARE[1]
        if framing.sensor_scale > 1.0:
            assert framing.share >= LARGEST_SHARE[0]


def test_distance_knows_nothing_of_the_pixels():
    framings = drawn(256, 1500)
    distances = np.array([framing.distance_cm for framing in framings])
    assert DISTANCE_CM[0] <= distances.min() < 21 and 44 < distances.max() <= DISTANCE_CM[1]
    assert abs(np.corrcoef(distances, [sensor_px(framing, 256) for framing in framings])[0, 1]) < 0.08


def test_a_given_share_overrides_the_pixels():
    framing = Framing.draw(np.random.default_rng(0), share=(0.44, 0.58))
    assert 0.44 <= framing.share <= 0.58 and framing.sensor_scale == 1.0


def test_the_same_numbers_give_the_same_framing_and_sizes_share_their_pixels():
    one, same, other = (Framing.draw(np.random.default_rng(4), size) for size in (256, 256, 128))
    assert one == same and sensor_px(one, 256) == pytest.approx(sensor_px(other, 128))


def test_the_face_centre_and_width_are_where_the_framing_says():
    framing = drawn(256, 3)[2]
    centre = framing.head_pose().apply(np.array([FACE_CENTRE_CM]))[0]
    assert np.allclose(centre, [*framing.offset_cm, -framing.distance_cm], atol=1e-4)
    assert framing.view(200).focal_px * FACE_WIDTH_CM / framing.distance_cm == pytest.approx(framing.share * 200)


def test_nearly_every_face_is_whole_in_its_frame():
    mesh = build_head(Identity.draw(17))
    bare = (mesh.part < 0.5) & (mesh.hair < 0.5) & (mesh.canonical[:, 2] > 0.0)
    face = mesh.vertices_cm[bare]
    whole = []
    for framing in drawn(256, 300):
        points, view = framing.head_pose().apply(face), framing.view(256)
        pixels = np.abs(points[:, :2] / -points[:, 2:] * view.focal_px)
        whole.append(pixels.max() <= 128)
    assert np.mean(whole) > 0.97
