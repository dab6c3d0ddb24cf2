"""The hash of a capture: what was filmed, when, and for which plan, in one number that any language can compute.

SHA-256 over these bytes, one after the other; integers are big-endian:

    "flashproof-capture-hash 1\\n"      26 bytes, ASCII
    the plan's canonical hash          64 bytes, lower-case hex digits in ASCII
    number of frames                    4 bytes
    then per frame, by rank (0 = brightest screen):
        timestamp in ns                 8 bytes
        height, width in pixels         4 bytes each
        pixels                          height · width · 3 bytes: rows from the top, pixels from the left, R, G, B

Pixels, not files: two encoders of PNG rarely agree. Labels and depth are left out: a phone has neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sdk_reference.capture import Capture

PREFIX = b"flashproof-capture-hash 1\n"


def capture_hash(capture: Capture) -> str:
    """SHA-256 of a capture, 64 lower-case hex digits."""
    return hash_of_frames(list(capture.frames), capture.timestamps_ns, capture.plan.canonical_hash())


def hash_of_frames(frames: Sequence[npt.NDArray[np.uint8]], timestamps_ns: Sequence[int], plan_hash: str) -> str:
    """The same from its parts: (H,W,3) uint8 RGB frames and timestamps (0 to 2⁶³−1) by rank."""
    digest = hashlib.sha256(PREFIX + plan_hash.encode("ascii") + len(frames).to_bytes(4, "big"))
    for frame, timestamp_ns in zip(frames, timestamps_ns, strict=True):
        digest.update(int(timestamp_ns).to_bytes(8, "big"))
        digest.update(b"".join(side.to_bytes(4, "big") for side in frame.shape[:2]))
        digest.update(np.ascontiguousarray(frame, dtype=np.uint8).tobytes())
    return digest.hexdigest()
