"""The screen's light against Mitsuba 3, a renderer that knows nothing of our formulas, on a sphere, a plane, a head.

`benchmarks/mitsuba_reference.py` made the reference and says how. Errors are sums of absolute differences over covered
pixels, over the reference's sum.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from simulator.ambient import Ambient, Lighting
from simulator.canvas import Surface
from simulator.head import HeadMesh
from simulator.identity import Identity
from simulator.light import ScreenLight
from simulator.raster import rasterise
from simulator.scene import Finish, Pose, View, render_head
from simulator.shading import shade
from simulator.shadow import direction_visibility

FILE = Path(__file__).parent / "mitsuba_reference.npz"
ALBEDO = 0.4
"""Of the whole image: the matte part counts this much beside the highlight."""
DIFFUSE_LIMIT, WHOLE_LIMIT = 0.03, 0.08


class Reference:
    """The committed images and how they were made."""

    def __init__(self) -> None:
        with np.load(FILE) as file:
            self.arrays = {name: file[name] for name in file.files}
        self.settings = json.loads(str(self.arrays["settings"]))
        self.view = View(self.settings["size"], self.settings["focal_px"])
        room = Ambient.draw(np.random.default_rng(0), "office")
        self.lighting = Lighting(room, ScreenLight(**self.settings["screen"]))

    def image(self, name: str) -> np.ndarray:
        """Radiance (n, n) per unit of the screen's."""
        return self.arrays[name].astype(np.float64) / 1000.0

    def chosen(self, image: np.ndarray) -> np.ndarray:
        """The pixels of a whole image that the reference holds."""
        first, step = self.settings["first"], self.settings["step"]
        return image[first::step, first::step].astype(np.float64)

    def head(self) -> HeadMesh:
        """The posed head, about its own middle."""
        vertices = np.cumsum(self.arrays["head_vertex_steps"], axis=0, dtype=np.int16).astype(np.float32) / 500.0
        triangles = np.cumsum(self.arrays["head_triangle_steps"], axis=0, dtype=np.int32)
        nothing = np.zeros(len(vertices), np.float32)
        return HeadMesh(vertices, smooth_normals(vertices, triangles), triangles, vertices, nothing, nothing)


def smooth_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted means of the triangles around each place."""
    first, second, third = vertices[triangles].transpose(1, 0, 2)
    faces = np.cross(second - first, third - first)
    _, same = np.unique(vertices, axis=0, return_inverse=True)
    around = [np.bincount(same.ravel()[triangles].T.ravel(), np.tile(axis, 3), len(vertices)) for axis in faces.T]
    sums = np.stack(around, 1)[same.ravel()]
    return (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def plain(count: int, albedo: float, gloss: float, roughness: float) -> Surface:
    ones = np.ones(count, np.float32)
    return Surface(
        albedo=np.full((count, 3), albedo, np.float32),
        roughness=roughness * ones,
        specular_scale=gloss * ones,
        occlusion=ones,
        bump=0 * ones,
        eye=0 * ones,
        hair=0 * ones,
    )


def rays(view: View) -> np.ndarray:
    at = (np.arange(view.size) + 0.5 - view.size / 2) / view.focal_px
    return np.stack([*np.meshgrid(at, -at), -np.ones((view.size, view.size))], -1)


def sphere_and_plane(reference: Reference, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Depth (H, W) and normals (H, W, 3) in closed form."""
    ray = rays(reference.view)
    settings = reference.settings[name]
    if name == "plane":
        normal = np.array(settings["normal"]) / np.linalg.norm(settings["normal"])
        depth = np.array(settings["point"]) @ normal / (ray @ normal)
        return depth, np.broadcast_to(normal, ray.shape)
    centre, radius = np.array(settings["centre"]), settings["radius"]
    a, b, c = (ray**2).sum(-1), ray @ centre, centre @ centre - radius**2
    root = b * b - a * c
    depth = np.where(root > 0.0, (b - np.sqrt(np.maximum(root, 0.0))) / a, 0.0)
    return depth, np.where((root > 0.0)[..., None], (ray * depth[..., None] - centre) / radius, 0.0)


def our_shape(reference: Reference, name: str, albedo: float, gloss: float) -> np.ndarray:
    depth, normals = sphere_and_plane(reference, name)
    mask = depth > 0.0
    points = rays(reference.view)[mask] * depth[mask][:, None]
    return shade(
        depth_cm=depth.astype(np.float32),
        geometry_normals=normals.astype(np.float32),
        points=points.astype(np.float32),
        normals=normals[mask].astype(np.float32),
        surface=plain(len(points), albedo, gloss, reference.settings["roughness"][name]),
        lighting=reference.lighting,
        f0=reference.settings["f0"],
        scatter_px=(0.0, 0.0, 0.0),
        focal_px=reference.view.focal_px,
    )[1][..., 0]


def our_head(reference: Reference, albedo: float, gloss: float, screen: str = "screen") -> np.ndarray:
    lighting = Lighting(reference.lighting.ambient, ScreenLight(**reference.settings[screen]))
    roughness, distance_cm = reference.settings["roughness"]["head"], reference.settings["head"]["distance_cm"]
    finish = Finish(
        f0=reference.settings["f0"],
        scatter_cm=(0.0, 0.0, 0.0),
        bump_scale=0.0,
        repaint=lambda surface, part: plain(len(part), albedo, gloss, roughness),
    )
    pose = Pose(np.eye(3, dtype=np.float32), np.array([0.0, 0.0, -distance_cm], np.float32))
    layers = render_head(Identity.draw(0), reference.head(), pose, reference.view, lighting, finish)
    return layers.screen[..., 0]


def ours(reference: Reference, name: str, albedo: float, gloss: float) -> np.ndarray:
    whole = our_head(reference, albedo, gloss) if name == "head" else our_shape(reference, name, albedo, gloss)
    return reference.chosen(whole)


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    covered = (got > 0.0) | (expected > 0.0)
    return float(np.abs(got - expected)[covered].sum() / expected[covered].sum())


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


def test_the_reference_is_less_noisy_than_what_it_measures(reference):
    assert max(reference.settings["noise"].values()) < 0.005
    assert FILE.stat().st_size < 200_000


@pytest.mark.parametrize("name", ["sphere", "plane", "head"])
def test_matte_light_agrees_with_mitsuba(reference, name):
    assert relative_error(ours(reference, name, 1.0, 0.0), reference.image(f"{name}_diffuse")) < DIFFUSE_LIMIT


@pytest.mark.parametrize("name", ["sphere", "plane", "head"])
def test_matte_and_glossy_light_together_agree_with_mitsuba(reference, name):
    expected = ALBEDO * reference.image(f"{name}_diffuse") + reference.image(f"{name}_specular")
    assert relative_error(ours(reference, name, ALBEDO, 1.0), expected) < WHOLE_LIMIT


@pytest.mark.parametrize("name", ["sphere", "plane", "head"])
def test_the_highlight_alone_agrees_with_mitsuba(reference, name):
    assert relative_error(ours(reference, name, 0.0, 1.0), reference.image(f"{name}_specular")) < WHOLE_LIMIT


def test_long_shadows_of_nose_chin_and_brow_agree_with_mitsuba(reference):
    """A screen held low and aside shadows much of the face; the limit is as for the screen beside the camera."""
    got = reference.chosen(our_head(reference, 1.0, 0.0, "low_screen"))
    assert relative_error(got, reference.image("low_head_diffuse")) < DIFFUSE_LIMIT


def test_shadows_of_a_far_light_agree_with_mitsuba(reference):
    head, view = reference.head(), reference.view
    vertices = head.vertices_cm - np.array([0.0, 0.0, reference.settings["head"]["distance_cm"]], np.float32)
    raster = rasterise(vertices, head.triangles, head.normals, view.focal_px, view.centre_px, view.size, view.size)
    towards = np.array(reference.settings["room_direction"])
    towards = towards / np.linalg.norm(towards)
    lit = direction_visibility(raster.depth_cm, view.focal_px, tuple(towards))
    facing = reference.chosen(raster.attributes @ towards.astype(np.float32))
    there = facing > 0.0
    free = np.unpackbits(reference.arrays["head_lit"], count=there.size).reshape(there.shape)
    assert free[there].mean() < 0.9  # there is something to shadow
    wrong = np.abs(reference.chosen(lit) - free) * facing
    assert wrong[there].sum() / (free * facing)[there].sum() < 0.06
