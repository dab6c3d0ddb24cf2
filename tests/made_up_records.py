"""Records of sessions that never were, and a key for them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from stub_capture import stub_capture

from flash_sequencer.plan import challenge
from sdk_reference.capture_hash import capture_hash
from sdk_reference.decision_record import BundleUsed, DecisionRecord, Presented

NONCE = "0123456789abcdef0123456789abcdef"
PLAN = challenge(NONCE)
DECIDED = datetime(2026, 1, 31, 12, 0, 5, 250_000, tzinfo=timezone.utc)
DURATIONS_NS = {
    "warning": 2_505_000_000,
    "positioning": 517_000_000,
    "metering": 507_000_000,
    "lighting": 1_272_000_000,
    "flashing": 2_051_000_000,
    "matching": 80_000_000,
    "deciding": 61_000_000,
}
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()


@lru_cache(maxsize=1)
def _capture_hash() -> str:
    return capture_hash(stub_capture(PLAN))


def made_up_record(**changes: Any) -> DecisionRecord:
    """A live decision on the stub capture; `changes` replaces fields."""
    fields: dict[str, Any] = {
        "format": "flashproof-decision",
        "version": 1,
        "nonce": NONCE,
        "profile": "standard",
        "n0": 5,
        "plan_hash": PLAN.canonical_hash(),
        "capture_hash": _capture_hash(),
        "bundle": BundleUsed(name="stub", version="1.0.0", sha256="ab" * 32, artifact="models/stub.onnx"),
        "verdict": "live",
        "score": "0.912345",
        "threshold": "0.500000",
        "species": None,
        "reasons": (),
        "attempt": 1,
        "started_at": "2026-01-31T11:59:55.700Z",
        "decided_at": "2026-01-31T12:00:05.250Z",
        "durations_ns": dict(DURATIONS_NS),
        "presented": Presented(
            safe=True, general_flashes="2.0", red_flashes="1.0", luminance_flashes="2.5", longest_train_ms=0
        ),
        "lag_ns": 45_000_000,
        "compensation": None,
        "frames": None,
    }
    return DecisionRecord(**{**fields, **changes})


def later(seconds: float) -> datetime:
    """So many seconds after the decision."""
    return DECIDED + timedelta(seconds=seconds)
