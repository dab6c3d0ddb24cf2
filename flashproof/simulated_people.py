"""Who stands before a simulated webcam, and what camera that is: everything that a seed draws.

People are drawn as `flashproof demo` draws them, but placed as those are who follow a session's guidance: a scene whose
person looks aside would never pass positioning, and waiting would not help, for nobody moves them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sdk_reference.demo import Casting
    from simulator.framing import Framing

RATES_HZ: Final = (15.0, 60.0)
LATENCIES_MS: Final = (20.0, 250.0)
FAR_SCALE: Final = 0.45
"""Of the picture's size while the person is still on the way."""

FAR_SHIFT: Final = (0.24, -0.08)
"""Of the frame's side, right and down: where the far picture stands."""

EDGE_SHARE: Final = 0.06
"""Of the frame's side: over which the far picture goes over into the room."""

PLACED_TRIES: Final = 500
MAX_TURN: Final = (0.14, 0.17, 0.12)
"""Yaw, pitch, roll in radians of a person who follows the guidance."""

MAX_OFF_CENTRE: Final = 0.06
"""Of the frame's side."""

FACE_SHARES: Final = (0.42, 0.62)
"""Of the frame's width."""


@dataclass(frozen=True)
class SimulatedWebcamSettings:
    """The camera's properties. Raises SimulationError for values that no camera has."""

    frame_rate_hz: float = 30.0
    """15 to 60."""
    latency_ms: float = 45.0
    """From the command to show a colour to its light on the face, 20 to 250."""
    exposure_ms: float = 20.0
    """At most a frame period."""
    transport_ms: float = 15.0
    """From the end of an exposure until the frame can be polled."""
    jitter_ms: float = 0.0
    """Timestamps are off by up to so much, either way; at most a third of the period."""
    dropped_share: float = 0.0
    """Of the frames, that never come."""
    duplicated_share: float = 0.0
    """Of the frames, in whose place the one before comes again, with the new time."""
    size: int = 256
    """Width and height of the frames, pixels."""
    approach_s: float = 0.0
    """For so long after opening the person is not yet in place: first far and aside, then coming."""
    locks: bool = False
    """Whether `lock` really holds exposure and balance; else they follow the light as the drawn phone's do."""
    reaction: float | None = None
    """Share of the way (in log) that exposure goes in a quarter of a second, 0 to below 1; white balance goes half of
    that. None: as the drawn phone's. What wanders by itself does so as the drawn phone's in any case."""

    def __post_init__(self) -> None:
        from simulator.errors import require_between

        period_ms = 1000.0 / require_between("frame_rate_hz", self.frame_rate_hz, *RATES_HZ, "choose such a rate")
        require_between("latency_ms", self.latency_ms, *LATENCIES_MS, "choose such a latency")
        require_between("exposure_ms", self.exposure_ms, 0.1, period_ms, "an exposure ends before the next frame")
        require_between("transport_ms", self.transport_ms, 0.0, 500.0, "give the time in ms")
        require_between("jitter_ms", self.jitter_ms, 0.0, period_ms / 3, "frames must not overtake each other")
        require_between("dropped_share", self.dropped_share, 0.0, 0.9, "give a share")
        require_between("duplicated_share", self.duplicated_share, 0.0, 0.9 - self.dropped_share, "give a share")
        require_between("size", self.size, 128, 1024, "give pixels")
        require_between("approach_s", self.approach_s, 0.0, 60.0, "give seconds")
        require_between("reaction", self.reaction or 0.0, 0.0, 0.99, "give a share of the way")


def draw_settings(seed: int, **fixed: float | int | bool) -> SimulatedWebcamSettings:
    """Draw a camera: rate, latency, exposure, jitter, dropped and repeated frames; `fixed` are taken as given."""
    rng = np.random.default_rng([seed, 60])
    rate_hz = float(fixed.get("frame_rate_hz", rng.uniform(*RATES_HZ)))
    drawn = {
        "frame_rate_hz": rate_hz,
        "latency_ms": float(rng.uniform(*LATENCIES_MS)),
        "exposure_ms": float(rng.uniform(5.0, min(33.0, 950.0 / rate_hz))),
        "transport_ms": float(rng.uniform(2.0, 40.0)),
        "jitter_ms": float(rng.uniform(0.0, 4.0)),
        "dropped_share": float(rng.uniform(0.0, 0.10)),
        "duplicated_share": float(rng.uniform(0.0, 0.05)),
        "locks": bool(rng.random() < 0.5),
    }
    return SimulatedWebcamSettings(**{**drawn, **fixed})  # type: ignore[arg-type]


def cast_in_place(kind: str, seed: int, size: int = 256) -> Casting:
    """Draw who stands there as the demo does, but in the middle, near and looking ahead, as people do when guided."""
    from sdk_reference.demo import cast_for
    from simulator.errors import SimulationError, require_one_of
    from simulator.framing import Framing
    from simulator.instruments import SPECIES
    from simulator.streams import stream

    require_one_of("kind", kind, SPECIES, "choose what stands before the camera")
    casting = cast_for(kind, seed)
    rng = np.random.default_rng([casting.seed, 61])
    for _ in range(PLACED_TRIES):
        drawn = int(rng.integers(2**31))
        if _is_in_place(Framing.draw(stream(drawn, "framing"), size)):
            return replace(casting, seed=drawn)
    raise SimulationError(
        found=f"no seed of {PLACED_TRIES} whose person is in place",
        expected="about one in six",
        remedy="loosen MAX_TURN, MAX_OFF_CENTRE or FACE_SHARES",
    )


def _is_in_place(framing: Framing) -> bool:
    from simulator.framing import FACE_WIDTH_CM

    turn = np.abs([framing.yaw, framing.pitch, framing.roll])
    off_centre = np.abs(framing.offset_cm) * framing.share / FACE_WIDTH_CM
    near = FACE_SHARES[0] <= framing.share <= FACE_SHARES[1]
    return bool(near and (turn <= MAX_TURN).all() and off_centre.max() <= MAX_OFF_CENTRE)


def on_the_way(image: npt.NDArray[np.uint8], way_gone: float) -> npt.NDArray[np.uint8]:
    """HWC uint8 as seen when the person has come `way_gone` (0..1) of the way: smaller and aside, in a blurred room."""
    import cv2

    if way_gone >= 1.0:
        return image
    side = image.shape[0]
    scale = FAR_SCALE + (1.0 - FAR_SCALE) * way_gone
    corner = (1.0 - scale) * side / 2 + np.array(FAR_SHIFT) * (1.0 - way_gone) * side
    where = np.array([[scale, 0.0, corner[0]], [0.0, scale, corner[1]]])
    inside = cv2.GaussianBlur(_without_edge(side), (0, 0), EDGE_SHARE * side / 2)
    seen, share = (cv2.warpAffine(layer, where, (side, side)) for layer in (image, inside))
    room = cv2.blur(image, (side // 2, side // 2), borderType=cv2.BORDER_REFLECT)
    mixed = room + (seen.astype(np.float32) - room) * share[..., None]
    return np.asarray(np.rint(mixed), dtype=np.uint8)


def _without_edge(side: int) -> npt.NDArray[np.float32]:
    edge = round(EDGE_SHARE * side)
    inside = np.zeros((side, side), np.float32)
    inside[edge:-edge, edge:-edge] = 1.0
    return inside
