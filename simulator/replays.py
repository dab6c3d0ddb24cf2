"""Pictures on displays, under glass: a phone held close, a computer's screen, a television farther away.

The three devices are the paper's (section 5.1). A display shines of itself and hardly answers the phone's screen: a
little light comes back from the panel, and the glass mirrors. Its face has a live one's size in the image whatever the
display's size, so a large display stands farther away and the flash on it fades. Its owner sets brightness and blacks
so that the picture fits the room: a careful attacker.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.ambient import Ambient, Lighting
from simulator.cues import ReplayCues
from simulator.portrait import Hanging, Portrait
from simulator.prints import sheet_layers
from simulator.scene import LightLayers
from simulator.sheet import FLAT, light_sheet, trace_sheet

FACE_REFLECTANCE_AT_WHITE = 1.9
"""A display this bright, over a white paper in the same room, shows a face about as bright as one standing there."""


@dataclass(frozen=True)
class DisplayKind:
    """Ranges typical of one kind of display."""

    scale: tuple[float, float]
    """Shown face over life size."""
    white_nits: tuple[float, float]
    """From its dimmest to its brightest setting."""
    oled: float
    """Probability that black is (nearly) black."""
    panel_albedo: tuple[float, float]
    matte: float
    """Probability of an anti-glare surface."""
    refresh_hz: tuple[float, ...]
    pitch_cm: tuple[float, float]
    """Distance of its pixels."""


DISPLAYS: dict[str, DisplayKind] = {
    "replay_phone": DisplayKind((0.42, 0.62), (2, 900), 0.6, (0.004, 0.015), 0.1, (60, 90, 120), (0.0055, 0.0085)),
    "replay_computer": DisplayKind((0.8, 1.25), (4, 500), 0.15, (0.006, 0.022), 0.6, (60, 75, 120), (0.012, 0.029)),
    "replay_tv": DisplayKind((1.5, 2.6), (4, 800), 0.35, (0.005, 0.022), 0.4, (50, 60, 100, 120), (0.025, 0.075)),
}


@dataclass(frozen=True)
class Replay:
    """A display, ready to show a portrait."""

    instrument: str
    scale: float
    """Shown face over life size."""
    white_nits: float
    """Luminance of the display's white."""
    black_share: float
    """Luminance of its black over its white."""
    panel_albedo: float
    """How much light the panel under the glass returns diffusely."""
    roughness: float
    """Of the glass: 0.05 is a mirror, 0.3 an anti-glare coating."""
    f0: float
    """Reflectance of the glass; coatings lower it."""
    black_setting: float
    """Share of the expected haze that is taken off the picture."""
    refresh_hz: float
    pitch_cm: float

    @staticmethod
    def draw(rng: np.random.Generator, instrument: str, ambient: Ambient) -> Replay:
        """Draw a display of this kind; its owner sets its brightness by the room, as people do."""
        kind = DISPLAYS[instrument]
        matte, oled = rng.random() < kind.matte, rng.random() < kind.oled
        fitting = FACE_REFLECTANCE_AT_WHITE * ambient.lux / np.pi * np.exp(rng.normal() * 0.5)
        return Replay(
            instrument=instrument,
            scale=float(rng.uniform(*kind.scale)),
            white_nits=float(np.clip(fitting, *kind.white_nits)),
            black_share=float(rng.uniform(0.0, 0.00005) if oled else rng.uniform(0.0006, 0.0012)),
            panel_albedo=float(rng.uniform(*kind.panel_albedo)),
            roughness=float(rng.uniform(0.22, 0.4) if matte else rng.uniform(0.04, 0.15)),
            f0=float(rng.choice([0.04, rng.uniform(0.012, 0.04)])),
            black_setting=float(rng.uniform(0.95, 1.35)),
            refresh_hz=float(rng.choice(kind.refresh_hz)),
            pitch_cm=float(rng.uniform(*kind.pitch_cm)),
        )

    @property
    def detail(self) -> str:
        """Surface and brightness, such as 'glossy, 210 nits'."""
        return f"{'matte' if self.roughness >= 0.2 else 'glossy'}, {self.white_nits:.0f} nits"

    def render(
        self, portrait: Portrait, hanging: Hanging, lighting: Lighting, cues: ReplayCues | None = None
    ) -> LightLayers:
        """Layers of the display alone."""
        view = hanging.view
        hits = trace_sheet(FLAT, hanging.pose, view)
        along = hits.along_cm.reshape(view.size, view.size, 2)
        light = light_sheet(FLAT, hanging.pose, view, self.roughness, self.f0, lighting)
        haze = self.panel_albedo * light.room + light.room_gloss
        shown = self._set_blacks(portrait.linear, haze)
        if cues is not None:
            shown = cues.pixel_grid(cues.banding(shown, self.refresh_hz), along, hanging, self.pitch_cm)
        emitted = (self.black_share + (1.0 - self.black_share) * shown) * np.float32(self.white_nits)
        screen = np.repeat(self.panel_albedo * light.screen + light.screen_gloss, 3, 2)
        kept = hits.met.reshape(view.size, view.size)
        if cues is not None:
            emitted, haze, screen, kept = cues.framed(emitted, haze, screen, kept, along, hanging, light)
        depth = -hits.points[:, 2].reshape(view.size, view.size)
        return sheet_layers(emitted + haze, screen, kept, depth, portrait.face)

    def _set_blacks(self, linear: np.ndarray, haze: np.ndarray) -> np.ndarray:
        """Take off what the panel and the glass will add, as far as black allows."""
        veil = (float(haze.mean()) / self.white_nits + self.black_share) * self.black_setting
        return np.maximum(linear - np.float32(veil), 0.0)
