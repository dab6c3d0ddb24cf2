"""Photographs on paper: gray, in colour, on photo paper, with holes, cropped; each flat or bent.

The five kinds are the paper's (section 5.1). A print answers the screen as paper does: with the picture's albedo, no
relief, and the sheen of its surface. Whoever made it set its blacks so that the paper's own sheen does not wash it out
under the capture's light: a careful attacker, and the reason why contrast alone does not tell a print.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from simulator.ambient import Lighting
from simulator.cues import PrintCues
from simulator.portrait import Hanging, Portrait
from simulator.scene import LightLayers
from simulator.sensor import LUMINANCE
from simulator.sheet import Sheet, light_sheet, trace_sheet

PAPER_F0 = 0.04  # coatings and fibres, refractive index 1.5
BENT_SHARE = 0.5


@dataclass(frozen=True)
class PaperKind:
    """Ranges typical of one kind of paper and printer."""

    roughness: tuple[float, float]
    paper_albedo: tuple[float, float]
    ink_albedo: tuple[float, float]
    """Reflectance of the darkest ink."""


PAPERS: dict[str, PaperKind] = {
    "office": PaperKind((0.5, 0.85), (0.76, 0.90), (0.005, 0.016)),
    "satin": PaperKind((0.32, 0.5), (0.80, 0.92), (0.004, 0.010)),
    "glossy": PaperKind((0.18, 0.32), (0.82, 0.93), (0.003, 0.007)),
}
PAPERS_OF: dict[str, tuple[str, ...]] = {
    "print_colour": ("office", "office", "satin"),
    "print_gray": ("office", "office", "satin"),
    "print_hd": ("glossy", "glossy", "satin"),
    "print_holes": ("office", "satin", "glossy"),
    "print_cropped": ("office", "satin", "glossy"),
}


@dataclass(frozen=True)
class Print:
    """A sheet of paper, ready to carry a portrait."""

    instrument: str
    paper: str
    """One of PAPERS."""
    scale: float
    """Printed face over life size."""
    sheet: Sheet
    roughness: float
    paper_albedo: tuple[float, float, float]
    ink_albedo: float
    black_setting: float
    """Share of the expected sheen that is taken off the picture before printing."""
    seed: int
    """Of the scissors."""

    @staticmethod
    def draw(rng: np.random.Generator, instrument: str) -> Print:
        """Draw paper, gloss and bend for one of the print instruments."""
        paper = str(rng.choice(PAPERS_OF[instrument]))
        kind = PAPERS[paper]
        tint = np.array([1.0, 1.0, rng.uniform(0.95, 1.04)])
        return Print(
            instrument=instrument,
            paper=paper,
            scale=float(rng.uniform(0.85, 1.1)),
            sheet=draw_bend(rng),
            roughness=float(rng.uniform(*kind.roughness)),
            paper_albedo=tuple(map(float, rng.uniform(*kind.paper_albedo) * tint)),  # type: ignore[arg-type]
            ink_albedo=float(rng.uniform(*kind.ink_albedo)),
            black_setting=float(rng.uniform(0.95, 1.35)),
            seed=int(rng.integers(2**31)),
        )

    @property
    def detail(self) -> str:
        """Paper and bend, such as 'glossy, bent'."""
        return f"{self.paper}, {'bent' if abs(self.sheet.slope) > FLAT_SLOPE else 'flat'}"

    @property
    def cut(self) -> bool:
        """Whether somebody is seen through or around it."""
        return self.instrument in ("print_cropped", "print_holes")

    @property
    def outlined(self) -> bool:
        """Whether scissors took its border away."""
        return self.instrument == "print_cropped"

    def render(
        self, portrait: Portrait, hanging: Hanging, lighting: Lighting, cues: PrintCues | None = None
    ) -> LightLayers:
        """Layers of the paper alone, cut where its instrument is cut."""
        hits = trace_sheet(self.sheet, hanging.pose, hanging.view)
        size = hanging.view.size
        along = hits.along_cm.reshape(size, size, 2)
        light = light_sheet(self.sheet, hanging.pose, hanging.view, self.roughness, PAPER_F0, lighting)
        picture = self._set_blacks(self._inks(portrait.linear), light.room, light.room_gloss)
        if cues is not None:
            picture = cues.halftone(picture, along, hanging)
        white = np.asarray(self.paper_albedo, np.float32)
        albedo = self.ink_albedo + (white - self.ink_albedo) * picture
        kept = hits.met.reshape(size, size) & self._uncut(portrait, along, hanging)
        if cues is not None:
            kept &= cues.inside(along, hanging)
        return sheet_layers(
            albedo * light.room + light.room_gloss,
            albedo * light.screen + light.screen_gloss,
            kept,
            -hits.points[:, 2].reshape(size, size),
            portrait.face,
        )

    def _inks(self, linear: np.ndarray) -> np.ndarray:
        if self.instrument != "print_gray":
            return linear
        return np.repeat((linear @ LUMINANCE)[..., None], 3, 2)

    def _set_blacks(self, picture: np.ndarray, room: np.ndarray, gloss: np.ndarray) -> np.ndarray:
        """Take off what ink and sheen will add, as far as black allows."""
        veil = gloss.mean() / max(float(room.mean()), 1e-6) + self.ink_albedo
        veil = veil * self.black_setting / float(np.mean(self.paper_albedo))
        return np.maximum(picture - np.float32(veil), 0.0)

    def _uncut(self, portrait: Portrait, along: np.ndarray, hanging: Hanging) -> np.ndarray:
        """(S, S) bool: where there is paper."""
        rng = np.random.default_rng(self.seed)
        if self.outlined:
            return _cut_along_head(rng, portrait, hanging)
        if self.instrument == "print_holes":
            return _cut_holes(rng, portrait, along, self.scale)
        return np.ones(along.shape[:2], bool)


FLAT_SLOPE = 0.05
"""Paper that is called flat still waves a little."""


def draw_bend(rng: np.random.Generator) -> Sheet:
    """Half of all papers are bent, mostly about the vertical axis and round a face's own radius, some inwards."""
    bent, inwards = rng.random() < BENT_SHARE, rng.random() < 0.25
    direction = float(rng.choice([0.0, np.pi / 2, rng.uniform(0.0, np.pi)], p=[0.6, 0.2, 0.2]))
    outward = float(rng.uniform(0.4, 0.9))
    radius_cm = float(rng.uniform(7.0, 22.0))
    if not bent:
        slope = float(np.clip(rng.normal() * 0.01, -FLAT_SLOPE, FLAT_SLOPE))
        return Sheet(slope, 12.0, direction)
    slope = -0.4 * outward if inwards else outward
    return Sheet(slope, radius_cm * outward, direction)


def sheet_layers(
    ambient: np.ndarray, screen: np.ndarray, kept: np.ndarray, depth_cm: np.ndarray, face: np.ndarray
) -> LightLayers:
    """Layers of a sheet: its light (S, S, 3) and depth (S, S) where it is `kept` (S, S)."""
    return LightLayers(
        ambient=np.where(kept[..., None], ambient, 0.0).astype(np.float32),
        screen=np.where(kept[..., None], screen, 0.0).astype(np.float32),
        covered=kept,
        depth_cm=np.where(kept, depth_cm, 0.0).astype(np.float32),
        face=face & kept,
    )


def _cut_along_head(rng: np.random.Generator, portrait: Portrait, hanging: Hanging) -> np.ndarray:
    """Scissors follow the person's outline at a small distance."""
    view = hanging.view
    reach_px = rng.uniform(0.2, 1.5) * view.focal_px / hanging.distance_cm
    blurred = cv2.GaussianBlur(portrait.head.astype(np.float32), (0, 0), reach_px, borderType=cv2.BORDER_REPLICATE)
    return blurred > 0.5 / rng.uniform(1.2, 2.5)


def _cut_holes(rng: np.random.Generator, portrait: Portrait, along: np.ndarray, scale: float) -> np.ndarray:
    """Eye holes always, holes for nose and mouth sometimes; by hand, so never quite in place."""
    eye = (rng.uniform(1.5, 1.9), rng.uniform(0.55, 0.9))
    mouth = (rng.uniform(2.2, 3.0), rng.uniform(0.8, 1.2))
    nose = (rng.uniform(1.2, 1.6), rng.uniform(1.4, 1.9))
    with_mouth, with_nose = rng.random() < 0.4, rng.random() < 0.3
    slips = rng.normal(size=(4, 2)) * 0.12
    holes = [(portrait.eyes_cm[0], eye, True), (portrait.eyes_cm[1], eye, True)]
    holes += [(portrait.mouth_cm, mouth, with_mouth), (portrait.nose_cm, nose, with_nose)]
    uncut = np.ones(along.shape[:2], bool)
    for (middle, half_axes, cut), slip in zip(holes, slips, strict=True):
        if cut:
            offset = (along - (middle + slip * scale).astype(np.float32)) / np.float32(np.asarray(half_axes) * scale)
            uncut &= (offset**2).sum(-1) > 1.0
    return uncut
