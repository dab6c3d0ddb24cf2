"""What Mitsuba 3 says of the screen's light on a sphere, a plane and a head: the reference our shading is held to.

Run it with a Python that has Mitsuba (it is not among the project's dependencies) and this repository on its path:

    python benchmarks/mitsuba_reference.py tests/simulator/mitsuba_reference.npz

Mitsuba traces one ray through each chosen pixel's centre, then samples its own rectangle emitter many times from there,
with its own shadow rays: direct light only. Two images per shape are kept per unit of screen radiance: the matte part
at reflectance 1 (Mitsuba's `diffuse`), and the highlight of Cook and Torrance with Mitsuba's own GGX distribution and
Smith term and Schlick's Fresnel at F0, a formula no plug-in of Mitsuba's has alone. The head's mesh is kept beside its
images, so that a change to the heads does not ask for a new reference.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import drjit as dr
import mitsuba as mi
import numpy as np

mi.set_variant("llvm_ad_rgb")

SIZE, FOCAL_PX = 384, 460.0
"""The whole image; the reference holds every fourth pixel of every fourth row, from the second on."""
FIRST, STEP = 1, 4
SCREEN = {"offset_x_cm": 0.5, "offset_y_cm": 0.6, "width_cm": 6.8, "height_cm": 14.5}
F0 = 0.04
ROUGHNESS = {"sphere": 0.45, "plane": 0.3, "head": 0.5}
SPHERE = {"centre": [0.5, -1.0, -32.0], "radius": 8.0}
PLANE = {"point": [0.0, 0.0, -30.0], "normal": [0.1, -0.35, 0.93]}
LOW_SCREEN = {"offset_x_cm": -6.0, "offset_y_cm": 14.0, "width_cm": 6.8, "height_cm": 14.5}
"""Held much lower and aside, it throws the long shadows that a screen beside the camera does not."""
ROOM_DIRECTION = [0.48, 0.72, 0.5]
"""Towards a far light above and to the right, for the head's hard shadows."""
HEAD = {"subject": 3, "distance_cm": 30.0, "yaw": 0.22, "pitch": 0.0, "roll": 0.03}
SAMPLES_SIDE, PASSES = 16, 8
"""Stratified samples on the screen across and down per pass, and independent passes (an even number)."""


def pixel_rays() -> mi.Ray3f:
    """One ray through the centre of each chosen pixel, from the origin along −z."""
    at = np.arange(FIRST, SIZE, STEP) + 0.5 - SIZE / 2
    x, y = np.meshgrid(at / FOCAL_PX, -at / FOCAL_PX)
    direction = np.stack([x.ravel(), y.ravel(), -np.ones(x.size)]).astype(np.float32)
    return mi.Ray3f(mi.Point3f(0.0), dr.normalize(mi.Vector3f(direction)))


def screen_emitter(screen: dict) -> dict:
    """A phone's screen as a rectangle of radiance 1 that shines towards −z."""
    x, top, width, height = (screen[k] for k in ("offset_x_cm", "offset_y_cm", "width_cm", "height_cm"))
    move = mi.ScalarTransform4f().translate([x, -top - height / 2, 0.0])
    turn = mi.ScalarTransform4f().rotate([0, 1, 0], 180).scale([width / 2, height / 2, 1.0])
    light = {"type": "area", "radiance": {"type": "rgb", "value": [1.0, 1.0, 1.0]}}
    return {"type": "rectangle", "to_world": move @ turn, "emitter": light}


def matte() -> dict:
    """A two-sided white matte surface."""
    white = {"type": "diffuse", "reflectance": {"type": "rgb", "value": [1.0, 1.0, 1.0]}}
    return {"type": "twosided", "bsdf": white}


def plane_shape() -> dict:
    """A rectangle of 60 cm about a point, facing along a normal."""
    point, normal = np.array(PLANE["point"]), np.array(PLANE["normal"])
    normal = normal / np.linalg.norm(normal)
    at = mi.ScalarTransform4f().look_at(list(point), list(point + normal), [0, 1, 0])
    grow = mi.ScalarTransform4f().scale([30, 30, 1])
    return {"type": "rectangle", "to_world": at @ grow, "bsdf": matte()}


def mesh_shape(vertices: np.ndarray, normals: np.ndarray, triangles: np.ndarray) -> mi.Mesh:
    """A mesh with interpolated normals, as seen by the camera."""
    properties = mi.Properties()
    properties["bsdf"] = mi.load_dict(matte())
    mesh = mi.Mesh("head", len(vertices), len(triangles), props=properties, has_vertex_normals=True)
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = vertices.astype(np.float32).ravel()
    parameters["vertex_normals"] = normals.astype(np.float32).ravel()
    parameters["faces"] = triangles.astype(np.uint32).ravel()
    parameters.update()
    return mesh


def highlight(normal: mi.Vector3f, view: mi.Vector3f, light: mi.Vector3f, roughness: float) -> mi.Float:
    """Cook and Torrance's reflectance times the cosine to the light: Mitsuba's GGX and Smith, Schlick's Fresnel."""
    frame = mi.Frame3f(normal)
    to_camera, to_light = frame.to_local(view), frame.to_local(light)
    half = dr.normalize(to_camera + to_light)
    facets = mi.MicrofacetDistribution(mi.MicrofacetType.GGX, roughness**2, False)
    fresnel = F0 + (1.0 - F0) * (1.0 - dr.dot(half, to_camera)) ** 5
    value = facets.eval(half) * facets.G(to_camera, to_light, half) * fresnel / (4.0 * to_camera.z)
    return dr.select((to_camera.z > 0.0) & (to_light.z > 0.0), value, 0.0)


def render(shape: object, roughness: float, screen: dict) -> np.ndarray:
    """Matte part and highlight of a shape, each rendered twice: (2 halves, 2 parts, n, n) float64, 0 beside it."""
    scene = mi.load_dict({"type": "scene", "screen": screen_emitter(screen), "shape": shape})
    rays = pixel_rays()
    hit = scene.ray_intersect(rays)
    there = hit.is_valid() & (hit.t > 5.0)
    count, side = dr.width(hit.t), SAMPLES_SIDE
    sums = np.zeros((2, 2, count))
    for chosen in range(PASSES * side * side):
        number = np.random.default_rng(chosen).random((2, count)).astype(np.float32)
        cell = chosen // 2 % (side * side)
        place = (np.array([[cell % side], [cell // side]]) + number) / side
        sample, radiance = scene.sample_emitter_direction(hit, mi.Point2f(place.astype(np.float32)), True, there)
        normal = hit.sh_frame.n
        cosine = dr.dot(normal, sample.d) / dr.pi
        gloss = highlight(normal, -rays.d, sample.d, roughness)
        for k, factor in enumerate((cosine, gloss)):
            sums[chosen % 2, k] += np.array(dr.select(there & (cosine > 0.0), factor * radiance.x, 0.0))
    return (2.0 * sums / (PASSES * side * side)).reshape(2, 2, *2 * (round(count**0.5),))


def lit_from_afar(shape: object) -> np.ndarray:
    """Whether each chosen pixel (n · n,) bool sees something that the far light reaches."""
    scene = mi.load_dict({"type": "scene", "shape": shape})
    hit = scene.ray_intersect(pixel_rays())
    towards = mi.Vector3f(*(float(x) for x in np.array(ROOM_DIRECTION) / np.linalg.norm(ROOM_DIRECTION)))
    free = ~scene.ray_test(hit.spawn_ray(towards))
    return np.array(hit.is_valid() & (hit.t > 5.0) & free & (dr.dot(hit.sh_frame.n, towards) > 0.0))


def posed_head() -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) int16 in camera space, 1/500 cm about the head's middle, and triangles (T, 3)."""
    from simulator.framing import FACE_CENTRE_CM
    from simulator.head import build_head
    from simulator.identity import Identity
    from simulator.scene import rotation

    mesh = build_head(Identity.draw(HEAD["subject"]))
    turn = rotation(HEAD["yaw"], HEAD["pitch"], HEAD["roll"])
    posed = (mesh.vertices_cm - np.asarray(FACE_CENTRE_CM)) @ turn.T
    return np.rint(posed * 500.0).astype(np.int16), mesh.triangles


def main(path: Path) -> None:
    """Render and write the reference."""
    coarse, triangles = posed_head()
    vertices = coarse.astype(np.float32) / 500.0 - [0.0, 0.0, HEAD["distance_cm"]]
    normals = vertex_normals(vertices, triangles)
    shapes = {
        "sphere": {"type": "sphere", "center": SPHERE["centre"], "radius": SPHERE["radius"], "bsdf": matte()},
        "plane": plane_shape(),
        "head": mesh_shape(vertices, normals, triangles),
    }
    arrays, noise = {"head_lit": np.packbits(lit_from_afar(shapes["head"]))}, {}
    for name, shape in {**shapes, "low_head": shapes["head"]}.items():
        low = name == "low_head"
        first, second = render(shape, ROUGHNESS["head" if low else name], LOW_SCREEN if low else SCREEN)
        for k, part in enumerate(("diffuse", "specular")):
            image = (first[k] + second[k]) / 2
            arrays[f"{name}_{part}"] = (image * 1000.0).astype(np.float16)
            noise[f"{name}_{part}"] = round(float(np.abs(first[k] - second[k]).sum() / (2.0 * image.sum())), 5)
    settings = {
        "mitsuba": mi.__version__,
        "variant": mi.variant(),
        "samples": PASSES * SAMPLES_SIDE**2,
        "noise": noise,
        "unit": "0.001 of the screen's radiance",
        "size": SIZE,
        "focal_px": FOCAL_PX,
        "first": FIRST,
        "step": STEP,
        "screen": SCREEN,
        "low_screen": LOW_SCREEN,
        "room_direction": ROOM_DIRECTION,
        "f0": F0,
        "roughness": ROUGHNESS,
        "sphere": SPHERE,
        "plane": PLANE,
        "head": HEAD,
    }
    np.savez_compressed(
        path,
        settings=np.array(json.dumps(settings)),
        head_vertex_steps=np.diff(coarse, axis=0, prepend=np.zeros((1, 3), np.int16)),
        head_triangle_steps=np.diff(triangles.astype(np.int32), axis=0, prepend=np.zeros((1, 3), np.int32)),
        **arrays,
    )
    print(json.dumps(noise))
    print(path, path.stat().st_size, "bytes")


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3), area-weighted means of the triangles around each vertex; coinciding vertices share one."""
    first, second, third = vertices[triangles].transpose(1, 0, 2)
    faces = np.cross(second - first, third - first)
    _, same = np.unique(vertices, axis=0, return_inverse=True)
    sums = np.zeros((len(vertices), 3))
    for corner in triangles.T:
        np.add.at(sums, same.ravel()[corner], faces)
    normals = sums[same.ravel()]
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
