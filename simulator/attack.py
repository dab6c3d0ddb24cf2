"""Presentation attacks: a print, a screen that replays, a rigid mask; the paper's three types (section 4.1).

Each shows the same kind of simulated person as a live capture does. What a print or a replay shows is a portrait taken
at the live capture's own distances, lights and poses, rendered finely enough to be as sharp as a live face once
photographed; so sharpness, colour and brightness do not tell, only the answer to the flash does. A mask is the
same head in another material: opaque, without fine relief, of many colours and glosses.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from simulator.ambient import Ambient
from simulator.background import draw_background
from simulator.framing import FACE_CENTRE_CM, Framing
from simulator.head import HeadMesh, build_head
from simulator.identity import SUBJECT_COUNT, Identity
from simulator.light import ScreenLight, as_triple, screen_diffuse, screen_specular
from simulator.material import Surface
from simulator.scene import (
    SKIN,
    Finish,
    Lighting,
    LightLayers,
    Pose,
    View,
    relight,
    render_head,
    rotation,
    with_albedo,
)
from simulator.streams import stream

PORTRAIT_SIZE = 512
PORTRAIT_SHARPENING_PX = 1.0
PORTRAIT_SHARPENING = (0.3, 1.1)
"""Radius and range of the portrait camera's sharpening; it gives back what photographing a photograph takes."""
PRINT_CONTRAST, REPLAY_CONTRAST = (1.1, 1.5), (0.95, 1.2)
"""Exponents of the pictures' contrast: printers raise it, since the gloss of paper lowers it again."""
ARTEFACT_F0 = 0.04  # paper coatings and glass, refractive index 1.5
ATTACKER_BEHIND_CM = 9.0
"""How far behind a cut paper the attacker's eyes are: his nose must not pierce it."""


@dataclass(frozen=True)
class Portrait:
    """A picture of a simulated person, as the content of a print or a replay."""

    linear: np.ndarray
    """(S, S, 3) float32, 0..1, linear light."""
    face: np.ndarray
    """(S, S) bool."""
    head: np.ndarray
    """(S, S) bool: the person, with hair and shoulders."""
    centre_px: tuple[float, float]
    """Where the face's centre is."""
    life_size_cm_per_px: float
    eyes_px: np.ndarray
    """(2, 2): the eyes' centres."""
    nose_px: np.ndarray
    mouth_px: np.ndarray

    @staticmethod
    def draw(
        rng: np.random.Generator,
        identity: Identity,
        mesh: HeadMesh,
        contrast: tuple[float, float],
        size: int = PORTRAIT_SIZE,
    ) -> Portrait:
        """Take a portrait of this person in a light and framing of its own, developed to a contrast from this range."""
        framing = Framing.draw(rng, share=(0.44, 0.58))
        view, pose = framing.view(size), framing.head_pose()
        lighting = Lighting(Ambient.draw(rng), ScreenLight.draw(rng))
        layers = draw_background(rng, size, lighting).under(render_head(identity, mesh, pose, view, lighting))
        return Portrait(
            linear=_developed(rng, layers, lighting.screen, contrast),
            face=layers.face,
            head=layers.covered,
            centre_px=tuple(_project(pose, view, np.asarray(FACE_CENTRE_CM)[None])[0]),
            life_size_cm_per_px=framing.distance_cm / view.focal_px,
            eyes_px=_landmarks(
                mesh, pose, view, [(-identity.eyes.x, identity.eyes.y), (identity.eyes.x, identity.eyes.y)]
            ),
            nose_px=_landmarks(mesh, pose, view, [(0.0, identity.nose.base_y + 0.6)])[0],
            mouth_px=_landmarks(mesh, pose, view, [(0.0, identity.mouth.y)])[0],
        )


def _developed(
    rng: np.random.Generator, layers: LightLayers, screen: ScreenLight, contrast: tuple[float, float]
) -> np.ndarray:
    """Expose a portrait: some are lit by their own phone's screen; the face is brought to a usual reflectance."""
    lit = float(rng.random() < 0.4) * rng.uniform(0.2, 1.0)
    linear = relight(layers, screen.radiance(np.full(3, lit)) if lit > 0 else np.zeros(3))
    level = float(np.exp(rng.normal(np.log(0.24), 0.35)))
    face = linear[layers.face].mean() if layers.face.any() else linear.mean()
    exposed = np.clip(level, 0.10, 0.45) * (linear / max(float(face), 1e-6)) ** np.float32(rng.uniform(*contrast))
    soft = cv2.GaussianBlur(exposed, (0, 0), PORTRAIT_SHARPENING_PX)
    exposed = np.maximum(exposed + np.float32(rng.uniform(*PORTRAIT_SHARPENING)) * (exposed - soft), 0.0)
    return (exposed / (1.0 + np.maximum(exposed - 0.6, 0.0))).clip(0.0, 1.0).astype(np.float32)


def _project(pose: Pose, view: View, own_cm: np.ndarray) -> np.ndarray:
    """Pixels (P, 2) of own points (P, 3)."""
    points = pose.apply(np.asarray(own_cm, np.float32))
    scale = view.focal_px / -points[:, 2]
    return np.stack([view.centre_px[0] + points[:, 0] * scale, view.centre_px[1] - points[:, 1] * scale], 1)


def _landmarks(mesh: HeadMesh, pose: Pose, view: View, canonical_xy: list[tuple[float, float]]) -> np.ndarray:
    """Pixels (K, 2) of the face's vertices nearest to canonical places (x, y)."""
    front = np.flatnonzero((mesh.part < 0.5) & (mesh.canonical[:, 2] > 0.0))
    places = mesh.canonical[front, :2]
    chosen = [front[np.argmin(((places - np.asarray(xy)) ** 2).sum(1))] for xy in canonical_xy]
    return _project(pose, view, mesh.vertices_cm[chosen])


@dataclass(frozen=True)
class Sheet:
    """The surface of a print or a display: the plane z = bend·x² of its own coordinates."""

    bend_per_cm: float
    """Curvature term; 0 is flat, 1/(2 r) bends with radius r."""
    bend_direction: float
    """Angle of the bent axis in the plane, radians."""


FLAT = Sheet(0.0, 0.0)


@dataclass(frozen=True)
class SheetHits:
    """Where the camera's rays meet a sheet; P pixels of a square image."""

    points: np.ndarray
    """(P, 3) float32 camera space."""
    normals: np.ndarray
    """(P, 3) float32, towards the camera."""
    pixels: np.ndarray
    """(P, 2) float32: place (x, y) in the portrait."""


def trace_sheet(sheet: Sheet, pose: Pose, view: View, portrait: Portrait, scale: float) -> SheetHits:
    """Trace each pixel of `view` to the sheet showing `portrait` at `scale` times life size; a miss has NaN pixels."""
    twist = rotation(0.0, 0.0, sheet.bend_direction)
    out_points = np.empty((view.size * view.size, 3), np.float32)
    out_normals = np.empty_like(out_points)
    out_own = np.empty((view.size * view.size, 2), np.float32)
    turn = (pose.rotation @ twist).astype(np.float32)
    _trace_parabola(
        turn,
        pose.translation_cm,
        np.float32(sheet.bend_per_cm),
        view.size,
        view.focal_px,
        out_points,
        out_normals,
        out_own,
    )
    flat = out_own @ twist[:2, :2].T / np.float32(portrait.life_size_cm_per_px * scale)
    pixels = np.stack([portrait.centre_px[0] + flat[:, 0], portrait.centre_px[1] - flat[:, 1]], 1)
    return SheetHits(out_points, out_normals, pixels.astype(np.float32))


@njit(cache=True, nogil=True)
def _trace_parabola(
    turn: np.ndarray,
    shift: np.ndarray,
    bend: float,
    size: int,
    focal: float,
    points: np.ndarray,
    normals: np.ndarray,
    own: np.ndarray,
) -> None:
    """Rays from the origin against z = bend·x² of the sheet's own frame; the nearest hit before the camera counts."""
    ox = -(turn[0, 0] * shift[0] + turn[1, 0] * shift[1] + turn[2, 0] * shift[2])
    oy = -(turn[0, 1] * shift[0] + turn[1, 1] * shift[1] + turn[2, 1] * shift[2])
    oz = -(turn[0, 2] * shift[0] + turn[1, 2] * shift[1] + turn[2, 2] * shift[2])
    for row in range(size):
        for column in range(size):
            i = row * size + column
            cx, cy, cz = (column + 0.5 - size / 2) / focal, -(row + 0.5 - size / 2) / focal, -1.0
            dx = turn[0, 0] * cx + turn[1, 0] * cy + turn[2, 0] * cz
            dy = turn[0, 1] * cx + turn[1, 1] * cy + turn[2, 1] * cz
            dz = turn[0, 2] * cx + turn[1, 2] * cy + turn[2, 2] * cz
            a, b, c = bend * dx * dx, 2 * bend * ox * dx - dz, bend * ox * ox - oz
            reach = -1.0
            if abs(a) < 1e-9:
                if abs(b) > 1e-9:
                    reach = -c / b
            else:
                root = b * b - 4 * a * c
                if root > 0:
                    q = -(b + np.copysign(np.sqrt(root), b)) / 2
                    first, second = q / a, c / q if abs(q) > 1e-12 else -1.0
                    near, far = min(first, second), max(first, second)
                    reach = near if near > 0 else far
            if reach <= 0:
                own[i, 0], own[i, 1] = np.nan, np.nan
                reach = 1.0
            else:
                own[i, 0], own[i, 1] = ox + reach * dx, oy + reach * dy
            points[i, 0], points[i, 1], points[i, 2] = reach * cx, reach * cy, reach * cz
            slope = -2 * bend * (ox + reach * dx)
            length = np.sqrt(slope * slope + 1)
            for axis in range(3):
                normals[i, axis] = (turn[axis, 0] * slope + turn[axis, 2]) / length


def _sample(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Bicubic samples of `image` (h, w[, C]) at `pixels` (P, 2); P is padded to a rectangle, as OpenCV wants."""
    columns = 256
    rows = -(-len(pixels) // columns)
    grid = np.zeros((rows * columns, 2), np.float32)
    grid[: len(pixels)] = pixels
    sampled = cv2.remap(image, grid.reshape(rows, columns, 2), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.maximum(sampled.reshape(rows * columns, -1)[: len(pixels)], 0.0)  # cubic lobes dip below zero


@dataclass(frozen=True)
class Print:
    """A photograph on paper."""

    portrait: Portrait
    scale: float
    """Printed face over life size."""
    sheet: Sheet
    roughness: float
    paper_albedo: float
    ink_albedo: float
    """Reflectance of the darkest ink."""
    opaque: np.ndarray | None
    """(S, S) float32: below 0.5 the paper is cut away; None: a whole sheet."""

    @staticmethod
    def draw(rng: np.random.Generator, portrait: Portrait, instrument: str) -> Print:
        """Draw paper, gloss and bend for one of the print instruments."""
        bent = instrument == "print_bent" or (instrument != "print_flat" and rng.random() < 0.5)
        radius_cm = float(rng.uniform(7.0, 22.0)) * (1.0 if rng.random() < 0.75 else -2.0)
        direction = float(rng.choice([0.0, np.pi / 2, rng.uniform(0.0, np.pi)], p=[0.6, 0.2, 0.2]))
        scale = float(rng.uniform(0.85, 1.1))
        sheet = Sheet(-0.5 / radius_cm, direction) if bent else Sheet(float(rng.normal() * 0.001), direction)
        cuts = {"print_cropped": _cut_along_head, "print_holes": _cut_holes}
        return Print(
            portrait=portrait,
            scale=scale,
            sheet=sheet,
            roughness=float(rng.choice([rng.uniform(0.2, 0.3), rng.uniform(0.35, 0.5), rng.uniform(0.55, 0.8)])),
            paper_albedo=float(rng.uniform(0.72, 0.9)),
            ink_albedo=float(rng.uniform(0.004, 0.02)),
            opaque=cuts[instrument](rng, portrait) if instrument in cuts else None,
        )

    def render(self, pose: Pose, view: View, lighting: Lighting) -> LightLayers:
        """Layers of the paper alone."""
        hits, kept = _visible(self.sheet, pose, view, self.portrait, self.scale, self.opaque)
        albedo = self.ink_albedo + (self.paper_albedo - self.ink_albedo) * _sample(self.portrait.linear, hits.pixels)
        gloss = _gloss(hits, self.roughness, lighting)
        ones = np.ones(len(hits.points), np.float32)
        ambient = albedo * lighting.ambient.diffuse(hits.normals, ones) + gloss.ambient
        screen = albedo * screen_diffuse(hits.points, hits.normals, lighting.screen)[:, None] + gloss.screen
        return _sheet_layers(hits, kept, ambient, screen, self.portrait, view.size)


@dataclass(frozen=True)
class Replay:
    """A picture on a display, under glass."""

    portrait: Portrait
    scale: float
    white_nits: float
    """Luminance of the display's white."""
    black_share: float
    """Luminance of its black over its white."""
    panel_albedo: float
    """How much light the switched-off panel under the glass returns."""
    roughness: float
    """Of the glass: 0.05 is a mirror, 0.3 an anti-glare coating."""

    SCALES = {"replay_phone": (0.45, 0.6), "replay_tablet": (0.75, 1.05), "replay_monitor": (0.95, 1.25)}  # noqa: RUF012

    @staticmethod
    def draw(rng: np.random.Generator, portrait: Portrait, instrument: str, ambient: Ambient) -> Replay:
        """Draw a display of this size; its owner sets its brightness by the room, as people do."""
        comfortable = np.clip(20.0 + 0.5 * ambient.lux, 20.0, 500.0)
        matte = instrument == "replay_monitor" and rng.random() < 0.6
        return Replay(
            portrait=portrait,
            scale=float(rng.uniform(*Replay.SCALES[instrument])),
            white_nits=float(np.clip(comfortable * np.exp(rng.normal() * 0.4), 12.0, 600.0)),
            black_share=float(rng.choice([0.0005, rng.uniform(0.001, 0.004)])),
            panel_albedo=float(rng.uniform(0.005, 0.025)),
            roughness=float(rng.uniform(0.25, 0.4) if matte else rng.uniform(0.04, 0.15)),
        )

    def render(self, pose: Pose, view: View, lighting: Lighting) -> LightLayers:
        """Layers of the display alone."""
        hits, kept = _visible(FLAT, pose, view, self.portrait, self.scale, None)
        content = _sample(self.portrait.linear, hits.pixels)
        emitted = (self.black_share + (1.0 - self.black_share) * content) * np.float32(self.white_nits)
        gloss = _gloss(hits, self.roughness, lighting)
        ones = np.ones(len(hits.points), np.float32)
        ambient = emitted + self.panel_albedo * lighting.ambient.diffuse(hits.normals, ones) + gloss.ambient
        diffuse = screen_diffuse(hits.points, hits.normals, lighting.screen)[:, None]
        screen = np.repeat(self.panel_albedo * diffuse, 3, 1) + gloss.screen
        return _sheet_layers(hits, kept, ambient, screen, self.portrait, view.size)


@dataclass(frozen=True)
class _Gloss:
    ambient: np.ndarray
    screen: np.ndarray


def _gloss(hits: SheetHits, roughness: float, lighting: Lighting) -> _Gloss:
    rough = np.full(len(hits.points), roughness, np.float32)
    screen = screen_specular(hits.points, hits.normals, rough, ARTEFACT_F0, lighting.screen)
    return _Gloss(lighting.ambient.specular(hits.points, hits.normals, rough, ARTEFACT_F0), screen[:, None])


def _visible(
    sheet: Sheet, pose: Pose, view: View, portrait: Portrait, scale: float, opaque: np.ndarray | None
) -> tuple[SheetHits, np.ndarray]:
    """The hits on the sheet's picture, and which pixels (size², bool) of the image they are."""
    hits = trace_sheet(sheet, pose, view, portrait, scale)
    height, width = portrait.face.shape
    with np.errstate(invalid="ignore"):
        kept = (hits.pixels > 0.0).all(1) & (hits.pixels[:, 0] < width - 1) & (hits.pixels[:, 1] < height - 1)
    if opaque is not None:
        kept[kept] = _sample(opaque, hits.pixels[kept])[:, 0] > 0.5
    return SheetHits(hits.points[kept], hits.normals[kept], hits.pixels[kept]), kept


def _sheet_layers(
    hits: SheetHits, kept: np.ndarray, ambient: np.ndarray, screen: np.ndarray, portrait: Portrait, size: int
) -> LightLayers:
    def image(values: np.ndarray, channels: int) -> np.ndarray:
        full = np.zeros((size * size, channels), np.float32)
        full[kept] = values
        return full.reshape(size, size, channels)

    face = _sample(portrait.face.astype(np.float32), hits.pixels) > 0.5
    return LightLayers(
        ambient=image(ambient, 3),
        screen=image(screen, 3),
        covered=kept.reshape(size, size),
        depth_cm=image(-hits.points[:, 2:3], 1)[..., 0],
        face=image(face, 1)[..., 0] > 0.5,
    )


def _cut_along_head(rng: np.random.Generator, portrait: Portrait) -> np.ndarray:
    """Scissors follow the person's outline at a small distance."""
    reach_px = rng.uniform(0.2, 1.5) / portrait.life_size_cm_per_px
    blurred = cv2.GaussianBlur(portrait.head.astype(np.float32), (0, 0), reach_px)
    return np.clip(blurred * rng.uniform(1.2, 2.5), 0.0, 1.0)


def _cut_holes(rng: np.random.Generator, portrait: Portrait) -> np.ndarray:
    """Eye holes always, holes for nose and mouth sometimes."""
    opaque = np.ones(portrait.face.shape, np.float32)
    eye_size = (rng.uniform(1.5, 1.9), rng.uniform(0.55, 0.9))
    for eye in portrait.eyes_px:
        _cut_ellipse(opaque, eye, eye_size, portrait.life_size_cm_per_px)
    if rng.random() < 0.4:
        _cut_ellipse(
            opaque, portrait.mouth_px, (rng.uniform(2.2, 3.0), rng.uniform(0.8, 1.2)), portrait.life_size_cm_per_px
        )
    if rng.random() < 0.3:
        _cut_ellipse(
            opaque, portrait.nose_px, (rng.uniform(1.2, 1.6), rng.uniform(1.4, 1.9)), portrait.life_size_cm_per_px
        )
    return opaque


def _cut_ellipse(opaque: np.ndarray, middle: np.ndarray, half_axes_cm: tuple[float, float], cm_per_px: float) -> None:
    axes = tuple(max(round(axis / cm_per_px), 1) for axis in half_axes_cm)
    cv2.ellipse(opaque, (round(float(middle[0])), round(float(middle[1]))), axes, 0.0, 0.0, 360.0, 0.0, -1)


@dataclass(frozen=True)
class MaskMaterial:
    """What masks and head models of one kind are made of."""

    weight: float
    colour: tuple[tuple[float, float, float], tuple[float, float, float]] | None
    """Range of the base albedo, linear RGB; None: the wearer's own skin colour, somewhat changed."""
    detail: tuple[float, float]
    """Range of how much of a face's own paint (brows, lips, blotches) it carries: 0 none, 1 all, as an exponent."""
    roughness: tuple[float, float]
    f0: tuple[float, float]
    wig: float
    """Probability that it wears hair, instead of moulded hair of its own material."""


MASK_MATERIALS: dict[str, MaskMaterial] = {
    "printed_resin": MaskMaterial(1.5, None, (0.8, 1.0), (0.25, 0.65), (0.038, 0.052), 0.8),
    "skin_silicone": MaskMaterial(1.8, None, (0.5, 1.0), (0.28, 0.55), (0.026, 0.034), 0.9),
    "latex": MaskMaterial(1.0, None, (0.4, 0.9), (0.35, 0.7), (0.036, 0.048), 0.8),
    "skin_mannequin": MaskMaterial(1.2, None, (0.3, 0.9), (0.18, 0.45), (0.040, 0.055), 0.7),
    "pale_mannequin": MaskMaterial(
        1.2, ((0.50, 0.42, 0.36), (0.82, 0.76, 0.70)), (0.25, 0.8), (0.12, 0.32), (0.042, 0.06), 0.5
    ),
    "plaster": MaskMaterial(
        0.5, ((0.55, 0.52, 0.48), (0.85, 0.83, 0.80)), (0.2, 0.6), (0.65, 0.95), (0.03, 0.045), 0.4
    ),
    "paper_mask": MaskMaterial(0.8, None, (0.85, 1.0), (0.45, 0.8), (0.038, 0.048), 0.9),
    "wood_or_clay": MaskMaterial(
        0.4, ((0.18, 0.09, 0.05), (0.5, 0.3, 0.2)), (0.3, 0.7), (0.4, 0.8), (0.036, 0.05), 0.5
    ),
}


def draw_mask_finish(rng: np.random.Generator) -> tuple[str, Finish]:
    """Draw a mask's material by name and the finish that renders it: opaque, its fine relief partly lost."""
    names = list(MASK_MATERIALS)
    weights = np.array([MASK_MATERIALS[name].weight for name in names])
    name = str(rng.choice(names, p=weights / weights.sum()))
    paint = _MaskPaint.draw(rng, MASK_MATERIALS[name])
    finish = Finish(
        f0=float(rng.uniform(*MASK_MATERIALS[name].f0)),
        scatter_cm=(0.0, 0.0, 0.0),
        relief_blur_cm=float(rng.uniform(0.0, 0.15)),
        bump_scale=float(rng.uniform(0.0, 1.0)),
        repaint=paint,
    )
    return name, finish


@dataclass(frozen=True)
class _MaskPaint:
    """Repaints a skin surface as a mask; the wearer's clothes stay, his eyes may look through."""

    colour: tuple[float, float, float] | None
    tint: tuple[float, float, float]
    detail: float
    roughness: float
    gloss: float
    wig: bool
    real_eyes: bool

    CLOTHES_PART = 3.0

    @staticmethod
    def draw(rng: np.random.Generator, material: MaskMaterial) -> _MaskPaint:
        share = rng.random()
        colour = material.colour and tuple(
            (1 - share) * np.asarray(material.colour[0]) + share * np.asarray(material.colour[1])
        )
        tint = np.exp(rng.normal() * 0.18 + rng.normal(size=3) * np.array([0.05, 0.05, 0.08]))
        return _MaskPaint(
            colour=colour,
            tint=as_triple(tint),
            detail=float(rng.uniform(*material.detail)),
            roughness=float(rng.uniform(*material.roughness)),
            gloss=float(rng.uniform(0.7, 1.5)),
            wig=bool(rng.random() < material.wig),
            real_eyes=bool(rng.random() < 0.3),
        )

    def __call__(self, surface: Surface, part: np.ndarray) -> Surface:
        hair = np.asarray(surface.hair) > 0.5
        worn = (part < 2.5) & ~(hair & self.wig) & ~((np.asarray(surface.eye) > 0.5) & self.real_eyes)
        bare = (part < 0.5) & ~hair
        skin = surface.albedo[bare].mean(0) if bare.any() else surface.albedo.mean(0)
        base = np.asarray(self.colour if self.colour is not None else skin) * np.asarray(self.tint)
        painted = base * (surface.albedo / skin) ** self.detail
        moulded_gloss = np.where(surface.eye > 0.5, np.minimum(surface.roughness * 2.0, self.roughness), self.roughness)
        return with_albedo(
            surface,
            np.where(worn[:, None], painted, surface.albedo),
            np.where(worn, moulded_gloss, surface.roughness),
            np.where(worn, self.gloss, surface.specular_scale),
        )


@dataclass(frozen=True)
class Artefact:
    """What stands before the camera, rendered."""

    layers: LightLayers
    scale: float = 1.0
    material: str = ""


def present(
    seed: int,
    species: str,
    instrument: str,
    identity: Identity,
    mesh: HeadMesh,
    framing: Framing,
    view: View,
    lighting: Lighting,
) -> Artefact:
    """Render what stands before the camera; everything about it follows from `seed` and the other arguments."""
    rng = stream(seed, "artefact")
    if species == "live":
        return Artefact(render_head(identity, mesh, framing.head_pose(), view, lighting, SKIN))
    if species == "mask":
        material, finish = draw_mask_finish(rng)
        return Artefact(render_head(identity, mesh, framing.head_pose(), view, lighting, finish), material=material)
    contrast = REPLAY_CONTRAST if species == "replay" else PRINT_CONTRAST
    portrait = Portrait.draw(rng, identity, mesh, contrast)
    if species == "replay":
        replay = Replay.draw(rng, portrait, instrument, lighting.ambient)
        return Artefact(replay.render(framing.plane_pose(replay.scale), view, lighting), replay.scale)
    paper = Print.draw(rng, portrait, instrument)
    layers = paper.render(framing.plane_pose(paper.scale), view, lighting)
    if paper.opaque is not None:
        layers = _attacker(stream(seed, "attacker"), framing, view, lighting).under(layers)
    return Artefact(layers, paper.scale)


def _attacker(rng: np.random.Generator, framing: Framing, view: View, lighting: Lighting) -> LightLayers:
    """Whoever holds a cut paper: his eyes are behind its eye holes; none of him counts as the presented face."""
    identity = Identity.draw(int(rng.integers(SUBJECT_COUNT)))
    pose = framing.head_pose()
    along_ray = 1.0 + ATTACKER_BEHIND_CM / framing.distance_cm
    moved = Pose(pose.rotation, (pose.translation_cm * np.float32(along_ray)).astype(np.float32))
    layers = render_head(identity, build_head(identity), moved, view, lighting)
    return LightLayers(layers.ambient, layers.screen, layers.covered, layers.depth_cm, np.zeros_like(layers.face))
