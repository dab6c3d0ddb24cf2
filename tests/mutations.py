"""Damage for files: what a bad copy or a bad disk does, drawn at random."""

from __future__ import annotations

import random


def mutated(model: bytes, rng: random.Random) -> bytes:
    """Cut off, with one bit flipped, or with eight bytes replaced."""
    kind = rng.randrange(3)
    if kind == 0:
        return model[: rng.randrange(len(model))]
    data = bytearray(model)
    if kind == 1:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    else:
        for _ in range(8):
            data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
    return bytes(data)
