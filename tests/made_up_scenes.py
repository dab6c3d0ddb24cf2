"""Scenes whose light is a formula, rendered by nobody, and a phone that adds nothing: for tests of relighting."""

from __future__ import annotations

import numpy as np

from sdk_reference.align import TEMPLATE
from simulator.ambient import Ambient, Lighting
from simulator.light import ScreenLight
from simulator.phone import Phone
from simulator.scene import LightLayers, View
from simulator.sensor import UNCOMPRESSED
from simulator.stage import Stage
from training.augment import AugmentSettings
from training.layer_store import AlignedLayers

SIZE, LAYER_SIZE = 128, 192  # of photographs, and of the layers that they are taken from
SIDE = TEMPLATE.size
ALWAYS = AugmentSettings(relit_share=1.0)
COVERED = (np.hypot(*(np.mgrid[:SIDE, :SIDE] - SIDE / 2)) < SIDE * 0.4).astype(np.float32)
"""A disc of a person; the rest is background."""
IDEAL = Phone(
    profile="sim-flagship-oled",
    full_well_electrons=1e12,  # photon noise of a millionth
    read_electrons=0.0,
    blur_px=0.0,
    defocus_px=0.0,
    denoise=0.0,
    chroma_sigma_px=0.0,
    chroma_noise=1.0,
    sharpen=0.0,
    crosstalk=0.0,
    vignetting=0.0,
    white_balance=(1.0, 1.0, 1.0),
    saturation=1.0,
    contrast=0.0,
    gamma=1.0,
    shadows=0.0,
    exposure_target=0.12,
    longest_exposure_s=1e9,
    metering_level=1.0,
    exposure_reaction=0.0,
    exposure_jitter=0.0,
    balance_reaction=0.0,
    balance_drift=0.0,
    jpeg_quality=UNCOMPRESSED,
)


def ambient_at(points: np.ndarray, phase: float = 0.0) -> np.ndarray:
    """The room's light (…,3) of a made-up scene at frame coordinates (…,2), cd/m²; smooth."""
    x, y = points[..., :1], points[..., 1:]
    return 20.0 * (1.0 + 0.5 * np.sin(x / 15.0 + phase + np.arange(3.0))) * (1.0 + 0.3 * np.cos(y / 20.0))


def screen_at(points: np.ndarray, phase: float = 0.0) -> np.ndarray:
    """What comes back of each primary (…,3)."""
    x, y = points[..., :1], points[..., 1:]
    return 0.05 * (1.0 + 0.6 * np.cos(x / 18.0 - y / 25.0 + phase + np.arange(3.0)))


def made_up_stage(seed: int = 0) -> Stage:
    """A scene by a formula, as if it had been rendered."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:LAYER_SIZE, :LAYER_SIZE] + 0.5
    points = np.stack([columns, rows], axis=-1) * (SIZE / LAYER_SIZE)
    everywhere = np.ones((LAYER_SIZE, LAYER_SIZE), bool)
    layers = LightLayers(
        ambient=ambient_at(points, seed).astype(np.float32),
        screen=screen_at(points, seed).astype(np.float32),
        covered=everywhere,
        depth_cm=np.full((LAYER_SIZE, LAYER_SIZE), 30.0, np.float32),
        face=everywhere,
    )
    return Stage(
        species="live",
        instrument="face",
        subject=seed,
        seed=seed,
        size=SIZE,
        layers=layers,
        view=View(LAYER_SIZE, 200.0),
        lighting=Lighting(Ambient.draw(rng), ScreenLight()),
        phone=Phone.draw(rng, sensor_scale=3.0),
        middle_cm=np.array([0.0, 0.0, -30.0]),
        distance_cm=30.0,
        skin_tone=5,
    )


def flat_layers(ambient: float = 20.0, screen: float = 0.05, phone: Phone = IDEAL) -> AlignedLayers:
    """Even light everywhere."""
    shape = (SIDE, SIDE, 3)
    ambient_light, screen_light = (np.full(shape, value, np.float32) for value in (ambient, screen))
    return AlignedLayers(ambient_light, screen_light, COVERED, phone, ScreenLight())


def scene_layers(phone: Phone = IDEAL) -> AlignedLayers:
    """The made-up scene, enlarged to the template."""
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    points = np.stack([columns, rows], axis=-1) * (SIZE / SIDE)
    ambient, screen = (at(points).astype(np.float32) for at in (ambient_at, screen_at))
    return AlignedLayers(ambient, screen, COVERED, phone, ScreenLight())


def flat_depth() -> np.ndarray:
    return np.full((64, 64), 0.5, np.float32)
