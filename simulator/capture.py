"""Simulated captures: one seed in, N0 frames with their truth out.

A capture is what the paper calls an image sequence under flash (section 3.1). Every nuisance (framing, light, phone,
motion, background, timing) has its own stream of random numbers, drawn from the seed without looking at the species:
two captures of one seed and different species stand in the same room before the same phone; only what stands there
differs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.ambient import MAX_LUX, Ambient
from simulator.attack import present
from simulator.background import draw_background
from simulator.errors import SimulationError, require_between, require_one_of
from simulator.framing import Framing
from simulator.head import build_head
from simulator.identity import SUBJECT_COUNT, Expression, Identity
from simulator.instruments import INSTRUMENTS, SPECIES
from simulator.light import ScreenLight
from simulator.phone import ExposureControl, Phone
from simulator.scene import (
    OVERSAMPLING,
    Lighting,
    LightLayers,
    MotionWalk,
    View,
    motion_map,
    move,
    relight,
)
from simulator.streams import stream

MIN_SIZE, MAX_SIZE = 64, 2048
MIN_N0, MAX_N0 = 3, 8
FRAME_PERIOD_NS = 1_000_000_000 // 30
DEVICES = {"flagship": "sim-flagship", "midrange": "sim-midrange", "budget": "sim-budget", "older": "sim-older"}


@dataclass(frozen=True)
class CaptureSpec:
    """Everything that determines a simulated capture: the same spec gives the same bytes."""

    seed: int
    """Of everything but the person."""
    subject: int
    """The person's identity, 0 to 999999."""
    species: str
    """One of SPECIES."""
    instrument: str
    """One of INSTRUMENTS[species]."""
    colours_linear: tuple[tuple[float, float, float], ...]
    """The screen's colours by rank (N0, 3), linear light, 0..1."""
    size: int = 256
    """Width and height of the frames, pixels."""
    screen_off: bool = False
    """The screen stays black: a control in which the flash can tell nothing."""
    ambient_lux: float | None = None
    """The room's illuminance; None draws a scene."""
    time_order: tuple[int, ...] | None = None
    """Ranks in the order in which they are photographed; None: by rank."""

    def __post_init__(self) -> None:
        require_one_of("species", self.species, SPECIES, "choose one of simulator.instruments.SPECIES")
        require_one_of("instrument", self.instrument, INSTRUMENTS[self.species], f"choose one that fits {self.species}")
        require_between("seed", self.seed, 0, 2**63 - 1, "give a whole number")
        require_between("subject", self.subject, 0, SUBJECT_COUNT - 1, "give a subject's number")
        require_between("size", self.size, MIN_SIZE, MAX_SIZE, "give the frames' width in pixels")
        if self.ambient_lux is not None:
            require_between("ambient_lux", self.ambient_lux, 0.0, MAX_LUX, "give the room's illuminance in lux")
        _check_colours(self.colours_linear)
        _check_time_order(self.time_order, len(self.colours_linear))

    @property
    def n0(self) -> int:
        """Number of frames."""
        return len(self.colours_linear)


def _check_colours(colours: tuple[tuple[float, float, float], ...]) -> None:
    require_between("number of screen colours", len(colours), MIN_N0, MAX_N0, "give one colour per frame, by rank")
    for colour in colours:
        if len(colour) != 3:
            raise SimulationError(
                found=f"a colour of {len(colour)} values", expected="red, green, blue", remedy="give three values"
            )
        for value in colour:
            require_between("screen colour", value, 0.0, 1.0, "give linear light from 0 (off) to 1 (full)")


def _check_time_order(order: tuple[int, ...] | None, count: int) -> None:
    if order is not None and sorted(order) != list(range(count)):
        raise SimulationError(
            found=f"time order {order!r}",
            expected=f"each rank from 0 to {count - 1} once",
            remedy="list the ranks in the order in which they are photographed",
        )


@dataclass(frozen=True)
class SimulatedCapture:
    """Frames and their truth."""

    frames: np.ndarray
    """(N0, size, size, 3) uint8 RGB, by rank."""
    timestamps_ns: tuple[int, ...]
    """When each frame was photographed, by rank."""
    depth_mm: np.ndarray
    """(size, size) uint16: depth of what is really there in the frame of rank 0, from the z-buffer; 0 = nothing."""
    labels: dict[str, object]
    """subject, species, instrument, scene, device, distance_cm, ambient_lux, flash_to_ambient, skin_tone, seed."""


@dataclass(frozen=True)
class Stage:
    """A person or an artefact standing before a phone, rendered, ready to be photographed under any screen colour."""

    species: str
    instrument: str
    subject: int
    seed: int
    layers: LightLayers
    view: View
    """Of the layers."""
    lighting: Lighting
    phone: Phone
    middle_cm: np.ndarray
    """(3,) what the object turns about when it moves."""
    distance_cm: float
    skin_tone: int
    """Monk Skin Tone of the person shown, 1 (fairest) to 10 (deepest)."""
    material: str = ""
    """A mask's material."""

    @property
    def labels(self) -> dict[str, object]:
        """The truth about this stage."""
        return {
            "subject": f"sim-{self.subject:06d}",
            "species": self.species,
            "instrument": self.instrument,
            "scene": self.lighting.ambient.scene,
            "device": DEVICES[self.phone.profile],
            "distance_cm": round(self.distance_cm, 2),
            "ambient_lux": round(self.lighting.ambient.lux, 2),
            "flash_to_ambient": round(self.layers.flash_to_ambient(self.lighting.screen.luminance_nits), 5),
            "skin_tone": self.skin_tone,
            "seed": self.seed,
        }


def draw_expression(rng: np.random.Generator) -> Expression:
    """Mostly neutral, often a slight smile, sometimes parted lips, rarely half-shut eyes; alike for every species."""
    return Expression(
        mouth_open=float(max(rng.normal() * 0.12 - 0.08, 0.0)),
        smile=float(np.clip(rng.normal() * 0.2 + 0.08, -0.25, 0.7)),
        blink=float(max(rng.normal() * 0.2 - 0.2, 0.0)),
    )


def set_stage(
    seed: int, subject: int, species: str, instrument: str, size: int = 256, ambient_lux: float | None = None
) -> Stage:
    """Draw and render the scene of a capture; arguments as in CaptureSpec."""
    framing = Framing.draw(stream(seed, "framing"))
    lighting = Lighting(Ambient.draw(stream(seed, "room"), lux=ambient_lux), ScreenLight.draw(stream(seed, "screen")))
    view = framing.view(round(size * OVERSAMPLING))
    identity = Identity.draw(subject)
    mesh = build_head(identity, draw_expression(stream(seed, "expression")))
    artefact = present(seed, species, instrument, identity, mesh, framing, view, lighting)
    background = draw_background(stream(seed, "background"), view.size, lighting)
    return Stage(
        species=species,
        instrument=instrument,
        subject=subject,
        seed=seed,
        layers=background.under(artefact.layers),
        view=view,
        lighting=lighting,
        phone=Phone.draw(stream(seed, "phone")),
        middle_cm=np.array([*framing.offset_cm, -framing.distance_cm]) * artefact.scale,
        distance_cm=framing.distance_cm * artefact.scale,
        skin_tone=identity.skin_tone,
        material=artefact.material,
    )


def simulate_capture(spec: CaptureSpec) -> SimulatedCapture:
    """Photograph one capture: N0 frames in the order of time, returned by rank. Same spec, same bytes."""
    stage = set_stage(spec.seed, spec.subject, spec.species, spec.instrument, int(spec.size), spec.ambient_lux)
    screen, phone = stage.lighting.screen, stage.phone
    lit = 0.0 if spec.screen_off else 1.0
    metered = relight(stage.layers, screen.radiance(np.full(3, phone.metering_level * lit)))
    exposure = ExposureControl(phone, metered, stream(spec.seed, "noise"))
    walk = MotionWalk(stream(spec.seed, "motion"))
    order = spec.time_order or tuple(range(spec.n0))
    times_ns = _draw_times(stream(spec.seed, "timing"), spec.n0)
    frames = np.empty((spec.n0, spec.size, spec.size, 3), np.uint8)
    timestamps = [0] * spec.n0
    depth_mm = np.zeros((spec.size, spec.size), np.uint16)
    for moment, rank in enumerate(order):
        elapsed_s = (times_ns[moment] - times_ns[moment - 1]) * 1e-9 if moment else 0.0
        motion = walk.step(elapsed_s) if moment else walk.now()
        source = motion_map(stage.layers, motion, stage.middle_cm, stage.view, spec.size)
        radiance = screen.radiance(np.asarray(spec.colours_linear[rank]) * lit)
        frames[rank] = exposure.photograph(move(relight(stage.layers, radiance), source))
        timestamps[rank] = times_ns[moment]
        if rank == 0:
            depth_mm = _millimetres(move(stage.layers.depth_cm, source, nearest=True))
    return SimulatedCapture(frames, tuple(timestamps), depth_mm, stage.labels)


def _draw_times(rng: np.random.Generator, count: int) -> list[int]:
    """Timestamps of the chosen frames: one per step of 150 to 350 ms, on a 30 Hz camera's beat with its jitter."""
    beats_per_step = int(rng.integers(5, 11))
    start = int(rng.integers(1_000_000_000, 10_000_000_000))
    beats = np.arange(count) * beats_per_step + rng.integers(0, 2, count)
    jitter = rng.normal(size=count) * 4e5
    return [int(start + beat * FRAME_PERIOD_NS + wobble) for beat, wobble in zip(beats, jitter, strict=True)]


def _millimetres(depth_cm: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(depth_cm * 10.0), 0, np.iinfo(np.uint16).max).astype(np.uint16)
