"""The capture's hash is what the documentation says, computed here byte by byte, and moves with every part."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
from stub_capture import stub_capture

from flash_sequencer.plan import challenge
from sdk_reference.capture_hash import capture_hash, hash_of_frames
from sdk_reference.labels import Labels

NONCE = "0123456789abcdef0123456789abcdef"
CAPTURE = stub_capture(challenge(NONCE))


def test_the_hash_is_that_of_the_documented_bytes() -> None:
    digest = hashlib.sha256(b"flashproof-capture-hash 1\n")
    digest.update(CAPTURE.plan.canonical_hash().encode())
    digest.update(struct.pack(">I", 5))
    for frame, timestamp in zip(CAPTURE.frames, CAPTURE.timestamps_ns, strict=True):
        digest.update(struct.pack(">qII", timestamp, frame.shape[0], frame.shape[1]))
        digest.update(bytes(int(value) for value in frame.flat))
    assert capture_hash(CAPTURE) == digest.hexdigest()


def test_the_worked_example_of_the_documentation() -> None:
    """Small enough for another language's test: two frames of one row."""
    frames = [np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8), np.array([[[7, 8, 9], [10, 11, 12]]], np.uint8)]
    text = b"flashproof-capture-hash 1\n" + b"00" * 32 + b"\x00\x00\x00\x02"
    text += b"\x00" * 7 + b"\x05" + b"\x00\x00\x00\x01\x00\x00\x00\x02" + bytes([1, 2, 3, 4, 5, 6])
    text += b"\x00" * 6 + b"\x01\x00" + b"\x00\x00\x00\x01\x00\x00\x00\x02" + bytes([7, 8, 9, 10, 11, 12])
    expected = hashlib.sha256(text).hexdigest()
    assert hash_of_frames(frames, [5, 256], "00" * 32) == expected
    assert expected in (Path(__file__).resolve().parents[2] / "docs" / "records.md").read_text(encoding="utf-8")


def test_pixel_time_and_plan_each_change_the_hash() -> None:
    frames = CAPTURE.frames.copy()
    frames[3, 200, 17, 2] ^= 1
    late = list(CAPTURE.timestamps_ns)
    late[late.index(max(late))] += 1
    hashes = {
        capture_hash(CAPTURE),
        capture_hash(replace(CAPTURE, frames=frames)),
        capture_hash(replace(CAPTURE, timestamps_ns=tuple(late))),
        hash_of_frames(list(CAPTURE.frames), CAPTURE.timestamps_ns, "00" * 32),
    }
    assert len(hashes) == 4


def test_labels_and_memory_layout_do_not() -> None:
    labelled = replace(CAPTURE, labels=Labels(simulated=True))
    fortran = replace(CAPTURE, frames=np.asfortranarray(CAPTURE.frames))
    assert capture_hash(labelled) == capture_hash(fortran) == capture_hash(CAPTURE)
