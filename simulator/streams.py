"""One stream of random numbers per nuisance, all drawn from a capture's seed.

The species has no part in them: two captures of one seed and different species stand in the same room before the same
phone, and a draw more or less in one nuisance moves no other.
"""

from __future__ import annotations

import numpy as np

STREAMS = (
    "framing",
    "room",
    "screen",
    "phone",
    "background",
    "motion",
    "timing",
    "noise",
    "artefact",
    "attacker",
    "expression",
    "blink",
)


def stream(seed: int, name: str) -> np.random.Generator:
    """The random numbers of one nuisance; the species has no part in them."""
    return np.random.default_rng([int(seed), STREAMS.index(name)])
