"""Captures that an export is proved on: a few golden ones that ship with the bundle, and more that only the gates see.

Not in the paper. By default all of them are simulated, from seeds of their own, so that every export of one release is
proved on the same captures. Golden frames are small, for the bundle's sake: 160 pixels hold a face 80 pixels wide.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flash_sequencer.plan import FlashPlan, challenge, default_plan
from sdk_reference.capture import Capture, Labels, load_capture
from sdk_reference.errors import CaptureNotFound, N0Mismatch
from simulator.capture import CaptureSpec, simulate_capture
from simulator.instruments import INSTRUMENTS

SIMULATED: Final = "simulated"
"""The value of `--golden` that asks for simulated captures."""

GOLDEN_SPECIES: Final = ("live", "print")
GOLDEN_SIZE: Final = 160
GOLDEN_LUX: Final = 40.0  # a lamp-lit room: the screen is seen well
GOLDEN_SEED: Final = 8
GOLDEN_SUBJECT: Final = 11
MAX_GOLDEN: Final = 4  # each is about 2 MB


NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
FloatArray = npt.NDArray[np.float32]


def simulated_golden(n0: int) -> dict[str, Capture]:
    """One live face under a challenge and one flat print under the default plan, by name."""
    plans = {"live": challenge(nonce_of("golden"), n0), "print": default_plan(n0)}
    return {
        species: simulated(plans[species], species, GOLDEN_SEED, GOLDEN_SUBJECT, GOLDEN_SIZE, GOLDEN_LUX)
        for species in GOLDEN_SPECIES
    }


def golden_captures(source: str, n0: int) -> dict[str, Capture]:
    """Captures for `--golden SOURCE`: "simulated", a capture, or a folder of up to 4 captures.

    Raises CaptureNotFound, N0Mismatch or what `load_capture` raises.
    """
    if source == SIMULATED:
        return simulated_golden(n0)
    found = {name_of(path, place): load_capture(path) for place, path in enumerate(capture_paths(Path(source)))}
    for name, capture in found.items():
        require_n0(capture.n0, n0, f"the golden capture {name}")
    return found


def capture_paths(source: Path) -> list[Path]:
    """The capture at `source`, or those directly inside it; raises CaptureNotFound for none or more than 4."""
    if source.is_file() or (source / "capture.json").is_file():
        return [source]
    inside = sorted(source.iterdir()) if source.is_dir() else []
    found = [path for path in inside if path.suffix == ".zip" or (path / "capture.json").is_file()]
    if not 1 <= len(found) <= MAX_GOLDEN:
        raise CaptureNotFound(
            found=f"{len(found)} captures at {source}",
            expected=f"a capture, or a folder of 1 to {MAX_GOLDEN} of them",
            remedy=f"name such a folder with --golden, or `--golden {SIMULATED}`",
        )
    return found


def name_of(path: Path, place: int) -> str:
    """A folder name for a golden capture: its own name in plain letters, with its place where that says nothing."""
    return NOT_IN_NAMES.sub("-", path.stem.lower()).strip("-")[:40] or f"capture-{place}"


def require_n0(found: int, expected: int, where: str) -> None:
    """Raise N0Mismatch unless captures have as many frames as the run was trained for."""
    if found != expected:
        raise N0Mismatch(
            found=f"{found} frames in {where}",
            expected=f"{expected}, the number that the run was trained for",
            remedy="choose captures of a plan with that many colours",
        )


def simulated(
    plan: FlashPlan, species: str, seed: int, subject: int, size: int, ambient_lux: float | None = None
) -> Capture:
    """One simulated capture of a plan, photographed in its time order."""
    spec = CaptureSpec(
        seed=seed,
        subject=subject,
        species=species,
        instrument=INSTRUMENTS[species][0],
        colours_linear=tuple((float(red), float(green), float(blue)) for red, green, blue in plan.colours_linear()),
        size=size,
        ambient_lux=ambient_lux,
        time_order=plan.time_order(),
    )
    shot = simulate_capture(spec)
    labels: dict[str, Any] = dict(shot.labels)
    return Capture(shot.frames, shot.timestamps_ns, plan, Labels(**labels, simulated=True))


def nonce_of(text: str) -> str:
    """A nonce that follows from a text, 16 bytes in hex."""
    return hashlib.sha256(f"flashproof {text}".encode()).hexdigest()[:32]
