"""Simulated captures: one seed in, N0 frames with their truth out.

A capture is what the paper calls an image sequence under flash (section 3.1). The scene is rendered once
(`simulator.stage`) and photographed under any colours of the screen, in any order, as often as one likes: another
nonce, another exposure and other noise cost a fraction of another rendering.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.ambient import MAX_LUX
from simulator.errors import SimulationError, require_between, require_one_of
from simulator.identity import SUBJECT_COUNT
from simulator.instruments import INSTRUMENTS, SPECIES
from simulator.motion import MotionWalk, image_speed_px, motion_map, move
from simulator.phone import STEP_S, ExposureControl
from simulator.scene import relight
from simulator.sensor import LUMINANCE
from simulator.stage import DISTANCES_CM, Stage, set_stage
from simulator.streams import stream

MIN_SIZE, MAX_SIZE = 64, 2048
MIN_N0, MAX_N0 = 3, 8
FRAME_PERIOD_NS = 1_000_000_000 // 30


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
    distance_cm: float | None = None
    """From the camera to a life-sized face; None draws it."""
    cues: bool = False
    """Whether attacks show what only attacks show: moiré, halftone, paper borders, bezels, banding."""
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
        if self.distance_cm is not None:
            require_between("distance_cm", self.distance_cm, *DISTANCES_CM, "give the camera's distance from the face")
        _ = self.shot  # which checks the rest

    @property
    def shot(self) -> Shot:
        """How the scene is photographed."""
        return Shot(self.seed, self.colours_linear, self.screen_off, self.time_order)


@dataclass(frozen=True)
class Shot:
    """How a scene is photographed; the scene itself is not in it."""

    seed: int
    """Of motion, timing and noise."""
    colours_linear: tuple[tuple[float, float, float], ...]
    """The screen's colours by rank (N0, 3), linear light, 0..1."""
    screen_off: bool = False
    """The screen stays black."""
    time_order: tuple[int, ...] | None = None
    """Ranks in the order in which they are photographed; None: by rank."""

    def __post_init__(self) -> None:
        require_between("seed", self.seed, 0, 2**63 - 1, "give a whole number")
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
    """subject, species, instrument, detail, scene, device, distance_cm, ambient_lux, flash_to_ambient, flash_snr,
    skin_tone, seed."""


def simulate_capture(spec: CaptureSpec) -> SimulatedCapture:
    """Render one scene and photograph it: N0 frames in the order of time, returned by rank. Same spec, same bytes."""
    stage = set_stage(
        spec.seed,
        spec.subject,
        spec.species,
        spec.instrument,
        int(spec.size),
        ambient_lux=spec.ambient_lux,
        distance_cm=spec.distance_cm,
        cues=spec.cues,
    )
    return photograph(stage, spec.shot)


def photograph(stage: Stage, shot: Shot) -> SimulatedCapture:
    """Photograph a stage: N0 frames of `stage.size` pixels in the order of time, returned by rank."""
    screen, phone = stage.lighting.screen, stage.phone
    lit = 0.0 if shot.screen_off else 1.0
    metered = relight(stage.layers, screen.radiance(np.full(3, phone.metering_level * lit)))
    exposure = ExposureControl(phone, metered, stream(shot.seed, "noise"))
    labels = {**stage.labels, "flash_snr": round(flash_snr(stage, exposure.gain), 3)}
    walk = MotionWalk(stream(shot.seed, "motion"), stage.distance_cm)
    order = shot.time_order or tuple(range(shot.n0))
    times_ns = _draw_times(stream(shot.seed, "timing"), shot.n0)
    frames = np.empty((shot.n0, stage.size, stage.size, 3), np.uint8)
    timestamps = [0] * shot.n0
    depth_mm = np.zeros((stage.size, stage.size), np.uint16)
    for moment, rank in enumerate(order):
        elapsed_s = (times_ns[moment] - times_ns[moment - 1]) * 1e-9 if moment else STEP_S
        motion = walk.step(elapsed_s) if moment else walk.now()
        source = motion_map(stage.layers, motion, stage.middle_cm, stage.view, stage.size)
        radiance = screen.radiance(np.asarray(shot.colours_linear[rank]) * lit)
        layers = stage.layers_at(moment / shot.n0, (moment + 1) / shot.n0)
        frames[rank] = exposure.photograph(
            move(relight(layers, radiance), source),
            elapsed_s=elapsed_s,
            speed_px=image_speed_px(walk.speed(), stage.middle_cm, stage.view, stage.size),
        )
        timestamps[rank] = times_ns[moment]
        if rank == 0:
            depth_mm = millimetres(move(stage.layers.depth_cm, source, nearest=True))
    return SimulatedCapture(frames, tuple(timestamps), depth_mm, labels)


def flash_snr(stage: Stage, gain: float) -> float:
    """Screen light on the face over its noise: mean luminance of (white − black), over one pixel's deviation of it.

    Of the sensor alone, from photon and read noise, before denoising, at `gain` (full scale per cd/m²); a pixel is one
    of the frame, however many of the sensor it was made from.
    """
    face = stage.layers.face
    if not face.any():
        return 0.0
    white, black = (
        relight(stage.layers, stage.lighting.screen.radiance(np.full(3, level)))[face] for level in (1.0, 0.0)
    )
    electrons = gain * stage.phone.electrons_at_full_scale(gain) * stage.phone.sensor_scale**2
    variance = (white + black) * electrons + 2.0 * (stage.phone.read_electrons * stage.phone.sensor_scale) ** 2
    signal = ((white - black) @ LUMINANCE).mean() * electrons
    return float(signal / np.sqrt((variance @ LUMINANCE**2).mean()))


def _draw_times(rng: np.random.Generator, count: int) -> list[int]:
    """Timestamps of the chosen frames: one per step of 150 to 350 ms, on a 30 Hz camera's beat with its jitter."""
    beats_per_step = int(rng.integers(5, 11))
    start = int(rng.integers(1_000_000_000, 10_000_000_000))
    beats = np.arange(count) * beats_per_step + rng.integers(0, 2, count)
    jitter = rng.normal(size=count) * 4e5
    return [int(start + beat * FRAME_PERIOD_NS + wobble) for beat, wobble in zip(beats, jitter, strict=True)]


def millimetres(depth_cm: np.ndarray) -> np.ndarray:
    """A z-buffer (H, W) float32, cm, as a capture keeps it: uint16 mm, what is farther at its end."""
    return np.clip(np.rint(depth_cm * 10.0), 0, np.iinfo(np.uint16).max).astype(np.uint16)
