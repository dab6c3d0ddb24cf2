"""3D masks and head models: a face's shape in another material than skin, worn by somebody or standing by itself.

The paper's third attack type (section 5.1) says no more than "3D masks and 3D head models"; the seven materials, their
colours and glosses are ours. Most are coloured like skin, so that one image does not tell; what differs is how light
leaves them: opaque or scattering without blood's redness, harder gloss, less fine relief. Scattering radii follow the
order of published mean free paths: silicone near skin's but alike in all colours, latex less, the rest hardly at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simulator.canvas import EAR_PART, NECK_PART, TORSO_PART, Surface
from simulator.features import smooth_step
from simulator.glasses import LensMesh
from simulator.head import HeadMesh, build_head
from simulator.identity import Identity, with_bald_head
from simulator.light import as_triple
from simulator.scene import Finish, with_albedo

Range = tuple[float, float]


@dataclass(frozen=True)
class MaskKind:
    """Ranges typical of masks and head models of one material."""

    plain: float
    """Probability of the material's own colour instead of a skin's."""
    colour: tuple[tuple[float, float, float], tuple[float, float, float]]
    """Range of the material's own colour, linear RGB reflectance."""
    detail: Range
    """How much of a face's own light and dark (brows, lips, blotches) it carries: 0 none, 1 all, as an exponent."""
    colour_detail: Range
    """Likewise of a face's own changes of colour. A print carries them; paint has hardly any of the redness with which
    blood tints cheeks, nose and ears (real mannequins under a flash show none)."""
    gloss_detail: Range
    """Likewise of a face's own changes of gloss and roughness: paint that is matt on the cheeks and moist on the lips
    costs nothing. Were masks even everywhere, a model would learn that and nothing else (docs/log.md)."""
    off_colour: float
    """Standard deviation of red and blue against green by which its skin colour misses a person's, in log."""
    roughness: Range
    f0: Range
    scatter_cm: tuple[float, float, float]
    """Scattering radius per channel, varied by a factor of two."""
    relief_blur_cm: Range
    """Relief finer than this is lost."""
    bump: Range
    """Share of pores and fine wrinkles kept."""
    hair: tuple[float, float, float]
    """Weights of the wearer's own hair or a wig, of hair moulded in the material, and of a bald head."""
    eye_holes: float
    """Probability that living eyes look through it."""
    stands: float
    """Probability that it stands by itself, with neck and chest of the same material."""


WHITE, IVORY, WOOD = (0.55, 0.52, 0.48), (0.85, 0.83, 0.80), ((0.18, 0.09, 0.05), (0.5, 0.3, 0.2))
MASKS: dict[str, MaskKind] = {
    "mask_resin": MaskKind(
        0.10, (WHITE, IVORY), (0.8, 1.05), (0.7, 1.05), (0.2, 1.1), 0.05,
        (0.22, 0.6), (0.040, 0.052), (0.012, 0.012, 0.010), (0.0, 0.08), (0.2, 0.9), (0.7, 0.15, 0.15), 0.35, 0.2,
    ),
    "mask_silicone": MaskKind(
        0.0, (WHITE, IVORY), (0.75, 1.1), (0.1, 0.8), (0.3, 1.2), 0.08,
        (0.28, 0.58), (0.026, 0.034), (0.16, 0.135, 0.115),
        (0.0, 0.05), (0.5, 1.1), (0.85, 0.0, 0.15), 0.5, 0.1,
    ),
    "mask_latex": MaskKind(
        0.05, ((0.5, 0.40, 0.30), (0.75, 0.65, 0.52)), (0.6, 1.05), (0.0, 0.6), (0.2, 1.2), 0.12,
        (0.35, 0.7), (0.036, 0.046), (0.045, 0.038, 0.032),
        (0.0, 0.08), (0.3, 1.0), (0.75, 0.1, 0.15), 0.5, 0.05,
    ),
    "mask_plastic": MaskKind(
        0.20, (WHITE, IVORY), (0.6, 1.05), (0.0, 0.5), (0.0, 1.1), 0.12, (0.14, 0.4), (0.038, 0.05), (0.0, 0.0, 0.0),
        (0.02, 0.12), (0.1, 0.7), (0.75, 0.15, 0.1), 0.4, 0.1,
    ),
    "mask_plaster": MaskKind(
        0.45, (WHITE, IVORY), (0.6, 1.0), (0.0, 0.5), (0.0, 1.1), 0.12,
        (0.6, 0.95), (0.030, 0.045), (0.010, 0.010, 0.010),
        (0.02, 0.12), (0.2, 0.8), (0.35, 0.4, 0.25), 0.15, 0.6,
    ),
    "mask_paper": MaskKind(
        0.0, (WHITE, IVORY), (0.85, 1.05), (0.7, 1.05), (0.0, 0.8), 0.06, (0.4, 0.8), (0.038, 0.048), (0.0, 0.0, 0.0),
        (0.25, 0.7), (0.0, 0.2), (1.0, 0.0, 0.0), 0.5, 0.0,
    ),
    "mask_mannequin": MaskKind(
        0.35, WOOD, (0.5, 1.0), (0.0, 0.5), (0.0, 1.1), 0.12, (0.12, 0.5), (0.038, 0.058), (0.006, 0.006, 0.006),
        (0.02, 0.15), (0.0, 0.6), (0.4, 0.2, 0.4), 0.0, 1.0,
    ),
}  # fmt: skip
"""About one mask in six shows its material's own colour; the instruments take turns in equal parts."""
HAIRLESS_RAMP = 0.2
"""Below this value of the hair ramp even the normals know nothing of the hair."""
EYE_HOLE_DEPTH_CM = (0.2, 0.6)
WORN_SCALE, WORN_OFFSET_CM = (1.0, 1.05), 0.3
HEAD_MIDDLE_CM = np.array([0.0, 1.0, -2.9], np.float32)


@dataclass(frozen=True)
class Mask:
    """One mask or head model."""

    instrument: str
    finish: Finish
    hair: str
    """'own' (or a wig), 'moulded' or 'bald'."""
    eye_hole_depth_cm: float
    """How far behind it living eyes are; 0 for eyes of its own."""
    stands: bool
    """A head model rather than a mask."""
    scale: float
    """Over the size of the face it shows: a mask must fit over its wearer's."""
    offset_cm: tuple[float, float, float]
    """By which it sits beside the wearer's own face."""

    @staticmethod
    def draw(rng: np.random.Generator, instrument: str) -> Mask:
        """Draw one of this material: colour, gloss, relief, fit, hair, eyes."""
        kind = MASKS[instrument]
        stands, holes = rng.random() < kind.stands, rng.random() < kind.eye_holes
        hair = str(rng.choice(["own", "moulded", "bald"], p=kind.hair))
        depth, scale = float(rng.uniform(*EYE_HOLE_DEPTH_CM)), float(rng.uniform(*WORN_SCALE))
        offset = rng.normal(size=3) * WORN_OFFSET_CM
        paint = _MaskPaint.draw(rng, kind, hair=hair, real_eyes=holes and not stands, whole=stands)
        swelling = float(np.exp(rng.uniform(-np.log(2.0), np.log(2.0))))
        finish = Finish(
            f0=float(rng.uniform(*kind.f0)),
            scatter_cm=as_triple(swelling * np.asarray(kind.scatter_cm)),
            relief_blur_cm=float(rng.uniform(*kind.relief_blur_cm)),
            bump_scale=float(rng.uniform(*kind.bump)),
            repaint=paint,
        )
        return Mask(
            instrument=instrument,
            finish=finish,
            hair=hair,
            eye_hole_depth_cm=depth if paint.real_eyes else 0.0,
            stands=stands,
            scale=1.0 if stands else scale,
            offset_cm=(0.0, 0.0, 0.0) if stands else as_triple(np.clip(offset, -0.6, 0.6)),
        )

    @property
    def detail(self) -> str:
        """Such as 'skin-like, worn, eye holes' or 'plain, head model, bald'."""
        paint = self.finish.repaint
        assert isinstance(paint, _MaskPaint)
        words = ["skin-like" if paint.colour is None else "plain", "head model" if self.stands else "worn"]
        words += ["eye holes"] * paint.real_eyes + [self.hair] * (self.hair != "own")
        return ", ".join(words)

    def shaped(self, identity: Identity, mesh: HeadMesh) -> tuple[Identity, HeadMesh]:
        """The person and mesh to render: fitted over a wearer, with eye holes, without hair."""
        if self.hair == "bald":
            identity, mesh = without_hair(identity, mesh)
        vertices = mesh.vertices_cm.copy()
        worn = (mesh.part < NECK_PART)[:, None]  # the wearer's neck and shoulders stay
        fitted = (vertices - HEAD_MIDDLE_CM) * self.scale + HEAD_MIDDLE_CM + np.asarray(self.offset_cm)
        vertices = np.where(worn, fitted, vertices)
        vertices[:, 2] -= self.eye_hole_depth_cm * _eye_openings(identity, mesh)
        return identity, replace(mesh, vertices_cm=vertices.astype(np.float32), lenses=self._fitted_lenses(mesh))

    def _fitted_lenses(self, mesh: HeadMesh) -> LensMesh | None:
        """Glasses are worn over the mask: their lenses move with it."""
        if mesh.lenses is None:
            return None
        fitted = (mesh.lenses.vertices_cm - HEAD_MIDDLE_CM) * self.scale + HEAD_MIDDLE_CM + np.asarray(self.offset_cm)
        return replace(mesh.lenses, vertices_cm=fitted.astype(np.float32))


def without_hair(identity: Identity, mesh: HeadMesh) -> tuple[Identity, HeadMesh]:
    """The same person bald and beardless, wearing the expression of `mesh`.

    Only hair lifts the scalp, so the face is taken from `mesh` and the rest of the head built anew.
    """
    shaven = with_bald_head(identity)
    bald = build_head(shaven)
    count = int((mesh.part < EAR_PART).sum())  # the head's own sheet comes first and is always the same
    face = np.flatnonzero(mesh.hair[:count] < HAIRLESS_RAMP)

    def with_face(name: str) -> np.ndarray:
        values = getattr(bald, name).copy()
        values[face] = getattr(mesh, name)[face]
        return values

    return shaven, replace(
        bald,
        vertices_cm=with_face("vertices_cm"),
        normals=with_face("normals"),
        canonical=with_face("canonical"),
        part=with_face("part"),
    )


def _eye_openings(identity: Identity, mesh: HeadMesh) -> np.ndarray:
    """(V,) 0..1: vertices within the eyes' openings."""
    eyes = identity.eyes
    outward = (np.abs(mesh.canonical[:, 0]) - eyes.x) / (1.02 * eyes.half_width)
    upward = (mesh.canonical[:, 1] - eyes.y) / (1.1 * eyes.opening + 0.08)
    front = (mesh.part < EAR_PART) & (mesh.canonical[:, 2] > 0.0)
    return smooth_step((1.0 - outward**2 - upward**2) / 0.12) * front


@dataclass(frozen=True)
class _MaskPaint:
    """Repaints a skin surface as a mask; what the wearer does not cover stays: neck and clothes, hair, eyes."""

    colour: tuple[float, float, float] | None
    """The material's own; None: the person's skin colour, somewhat changed."""
    tint: tuple[float, float, float]
    detail: float
    colour_detail: float
    gloss_detail: float
    roughness: float
    gloss: float
    hair: str
    real_eyes: bool
    whole: bool
    """Neck and chest are of the material too."""

    @staticmethod
    def draw(rng: np.random.Generator, kind: MaskKind, *, hair: str, real_eyes: bool, whole: bool) -> _MaskPaint:
        plain, share = rng.random() < kind.plain, rng.random()
        mixed = (1 - share) * np.asarray(kind.colour[0]) + share * np.asarray(kind.colour[1])
        off_colour = np.array([1.0, 0.5, 1.3]) * kind.off_colour
        tint = np.exp(rng.normal() * 0.18 + rng.normal(size=3) * off_colour)
        return _MaskPaint(
            colour=as_triple(mixed) if plain else None,
            tint=as_triple(tint),
            detail=float(rng.uniform(*kind.detail)),
            colour_detail=float(rng.uniform(*kind.colour_detail)),
            gloss_detail=float(rng.uniform(*kind.gloss_detail)),
            roughness=float(rng.uniform(*kind.roughness)),
            gloss=float(rng.uniform(0.7, 1.4)),
            hair=hair,
            real_eyes=real_eyes,
            whole=whole,
        )

    def __call__(self, surface: Surface, part: np.ndarray) -> Surface:
        hair, eye = surface.hair > 0.5, surface.eye > 0.5
        covered = part < (TORSO_PART if self.whole else NECK_PART)
        left = (hair & (self.hair == "own")) | (eye & self.real_eyes)
        worn = (covered | (hair & (self.hair == "moulded"))) & ~left
        bare = surface.bare_skin(part)
        skin = surface.albedo[bare].mean(0) if bare.any() else surface.albedo.mean(0)
        base = np.asarray(self.colour if self.colour is not None else skin, np.float32) * np.asarray(
            self.tint, np.float32
        )
        against_skin = surface.albedo / skin
        shade = against_skin.mean(axis=1, keepdims=True)
        painted = base * shade ** np.float32(self.detail) * (against_skin / shade) ** np.float32(self.colour_detail)
        gloss = self.gloss * _own_pattern(surface.specular_scale, bare, self.gloss_detail)
        rough = np.clip(self.roughness * _own_pattern(surface.roughness, bare, self.gloss_detail), 0.05, 1.0)
        rough = np.where(eye, np.minimum(surface.roughness * 2.0, self.roughness), rough)
        return with_albedo(
            surface,
            np.where(worn[:, None], painted, surface.albedo),
            np.where(worn, rough, surface.roughness),
            np.where(worn, np.where(eye, self.gloss, gloss), surface.specular_scale),
        )


def _own_pattern(values: np.ndarray, bare: np.ndarray, detail: float) -> np.ndarray:
    """How a face's gloss or roughness (P,) changes from place to place, about 1, at this share of its strength."""
    middle = float(values[bare].mean()) if bare.any() else float(values.mean())
    return np.clip(values / max(middle, 1e-3), 0.05, 4.0) ** np.float32(detail)
