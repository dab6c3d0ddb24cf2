"""The main job from start to finish, with simulated people: plan, player, camera, matching, capture, check.

This is figure 1 of the paper without a phone. A simulated camera films a person or an attack lit by whatever the flash
player shows at that moment; the frames are matched to the steps by their timestamps, as on a device, and judged by the
shipped model. It is the only file of this package that may import the simulator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np

from flash_sequencer.errors import MatchingError
from flash_sequencer.matching import match
from flash_sequencer.plan import FlashPlan, challenge
from flash_sequencer.player import FlashPlayer
from sdk_reference.capture import Capture, Labels
from sdk_reference.checker import Checker, CheckResult
from sdk_reference.errors import CameraLost

KINDS: Final = ("live", "print", "replay", "mask")
ROOM_LUX: Final = (20.0, 200.0)
"""Dim to well lit indoors. In much more light a screen cannot be seen on a face, and every verdict would be `retry`."""

DISPLAY_LAG_MS: Final = 45.0
"""From the command to show a colour to its light on the face; on a device this must be measured."""

SETTLING_MS: Final = 60.0
"""At the start of each step; longer than the screen takes to change its colour."""

SUBJECTS: Final = 1_000_000
NONCE_BYTES: Final = 16
NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True)
class Casting:
    """Who stands before the camera, and where."""

    kind: str
    """live, print, replay or mask."""

    instrument: str
    """Within the kind, e.g. `print_holes`."""

    seed: int
    """Of everything but the person."""

    subject: int
    ambient_lux: float


def run_demo(
    checker: Checker,
    *,
    seed: int,
    nonce_for: Callable[[str], bytes],
    on_start: Callable[[str], None] = lambda kind: None,
) -> list[CheckResult]:
    """Film and judge one live face and one attack of each species, in the order of KINDS.

    `seed` draws people, attacks and rooms; `nonce_for(kind)` gives each session its challenge, 16 bytes or more;
    `on_start(kind)` is called before each session. Raises CameraLost and what `Checker.check` raises.
    """
    results = []
    for kind in KINDS:
        on_start(kind)
        plan = challenge(nonce_for(kind), checker.bundle.manifest.n0)
        results.append(checker.check(film(cast_for(kind, seed), plan)))
    return results


def seeded_nonce(seed: int, kind: str) -> bytes:
    """A nonce that is the same every time, for demonstrations that must repeat; a real challenge may never be."""
    return hashlib.sha256(f"flashproof demo {seed} {kind}".encode()).digest()[:NONCE_BYTES]


def cast_for(kind: str, seed: int) -> Casting:
    """Draw who stands before the camera."""
    from simulator.instruments import INSTRUMENTS

    rng = np.random.default_rng([seed, KINDS.index(kind)])
    low, high = np.log(ROOM_LUX)
    return Casting(
        kind=kind,
        instrument=str(rng.choice(INSTRUMENTS[kind])),
        seed=int(rng.integers(2**31)),
        subject=int(rng.integers(SUBJECTS)),
        ambient_lux=float(np.exp(rng.uniform(low, high))),
    )


def film(casting: Casting, plan: FlashPlan) -> Capture:
    """Show `plan` to whoever was cast, film it at 30 frames a second and keep the frame that fits each step best.

    Raises CameraLost when a step got no frame.
    """
    from simulator.camera import SimulatedCamera, SimulatedClock
    from simulator.stage import set_stage

    stage = set_stage(casting.seed, casting.subject, casting.kind, casting.instrument, ambient_lux=casting.ambient_lux)
    clock = SimulatedClock()
    player = FlashPlayer(plan, clock.now_ns, ideal_display=True)
    rng = np.random.default_rng(casting.seed)
    camera = SimulatedCamera(stage, player.colour_at, clock, latency_ms=DISPLAY_LAG_MS, rng=rng)
    camera.open()
    player.start()
    images, timestamps_ns = [], []
    while not player.finished(clock.now_ns() - round(DISPLAY_LAG_MS * NS_PER_MS)):
        frame = camera.read()
        images.append(frame.image)
        timestamps_ns.append(frame.timestamp_ns)
    camera.close()
    chosen = chosen_frames(player, timestamps_ns, camera.exposure_ns)
    labels = cast("dict[str, Any]", stage.labels)
    return Capture(
        frames=np.stack([images[index] for index in chosen]),
        timestamps_ns=tuple(timestamps_ns[index] for index in chosen),
        plan=plan,
        labels=Labels(simulated=True, **labels),
    )


def chosen_frames(player: FlashPlayer, timestamps_ns: list[int], exposure_ns: int) -> tuple[int, ...]:
    """Index of the frame to use, by rank."""
    try:
        matching = match(
            player.presented(),
            timestamps_ns,
            exposure_ns=exposure_ns,
            lag_ns=round(DISPLAY_LAG_MS * NS_PER_MS),
            settling_ns=round(SETTLING_MS * NS_PER_MS),
        )
    except MatchingError as error:
        raise CameraLost(
            found=f"a camera that missed a step ({error})", expected="a frame for every step", remedy="try again"
        ) from error
    return matching.frame_index_by_rank
