"""A signed record is accepted as it is and refused when anything at all is different."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_records import KEY, NONCE, PUBLIC, later, made_up_record

from sdk_reference.decision_record import canonical
from sdk_reference.errors import RecordRefused
from sdk_reference.record_signature import sign, verify
from sdk_reference.signing_keys import key_id

RECORD = made_up_record()
SIGNED = sign(RECORD, KEY)
BYTES = SIGNED.encode("ascii")


def refusal(text: str | bytes, **how: Any) -> RecordRefused:
    with pytest.raises(RecordRefused) as caught:
        verify(text, how.pop("public_key", PUBLIC), **how)
    assert caught.value.found and caught.value.expected and caught.value.remedy
    return caught.value


def signed_content(content: dict[str, Any], key: Ed25519PrivateKey = KEY) -> str:
    """Anything, signed: what a device in an attacker's hands may send."""
    signature = key.sign(canonical(content).encode()).hex()
    return canonical({"key": key_id(key.public_key()), "record": content, "signature": signature})


def changed(**changes: Any) -> str:
    return signed_content({**json.loads(RECORD.canonical_json()), **changes})


def test_a_signed_record_comes_back_as_it_was() -> None:
    assert verify(SIGNED, PUBLIC) == RECORD
    assert verify(BYTES, PUBLIC, NONCE.upper(), later(10), 60) == RECORD
    assert SIGNED == changed()


def test_the_worked_example_of_the_documentation_is_genuine() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "records.md").read_text(encoding="utf-8")
    (text,) = [line for line in page.splitlines() if line.startswith('{"key":"')]
    assert verify(text, PUBLIC, NONCE).capture_hash == "cd" * 32
    assert text == sign(made_up_record(capture_hash="cd" * 32), KEY)
    assert PUBLIC.public_bytes_raw().hex() in page


def test_signing_is_deterministic_and_names_no_algorithm() -> None:
    assert sign(RECORD, KEY) == SIGNED
    assert set(json.loads(SIGNED)) == {"key", "record", "signature"}


@pytest.mark.slow()
def test_every_single_bit_flip_is_refused() -> None:
    for place in range(len(BYTES)):
        for bit in range(8):
            damaged = bytearray(BYTES)
            damaged[place] ^= 1 << bit
            refusal(bytes(damaged))


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(BYTES) - 1), st.integers(0, 255))
def test_every_change_of_one_byte_is_refused(place: int, value: int) -> None:
    damaged = bytearray(BYTES)
    if damaged[place] != value:
        damaged[place] = value
        refusal(bytes(damaged))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(BYTES)), st.binary(min_size=1, max_size=3))
def test_every_insertion_is_refused(place: int, more: bytes) -> None:
    refusal(BYTES[:place] + more + BYTES[place:])


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(BYTES) - 1), st.integers(1, 5))
def test_every_deletion_is_refused(place: int, count: int) -> None:
    refusal(BYTES[:place] + BYTES[place + count :])


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_noise_is_refused(noise: bytes | str) -> None:
    refusal(noise)


@pytest.mark.parametrize(
    "text",
    [
        SIGNED + "\n",
        " " + SIGNED,
        json.dumps(json.loads(SIGNED), sort_keys=True),
        json.dumps(dict(reversed(json.loads(SIGNED).items())), separators=(",", ":")),
        SIGNED.replace(json.loads(SIGNED)["signature"], json.loads(SIGNED)["signature"].upper()),
        SIGNED.replace('"live"', '"\\u006cive"'),
        SIGNED.replace('"attempt":1', '"attempt":1.0'),
        SIGNED.replace('"attempt":1', '"attempt":1,"attempt":1'),
    ],
)
def test_the_same_record_in_another_form_is_refused(text: str) -> None:
    assert text != SIGNED
    refusal(text)


def test_another_key_is_refused_and_both_are_named() -> None:
    other = Ed25519PrivateKey.generate()
    error = refusal(sign(RECORD, other))
    assert key_id(other.public_key()) in error.found
    assert key_id(PUBLIC) in error.expected


def test_another_key_under_our_name_is_refused() -> None:
    forged = json.loads(sign(RECORD, Ed25519PrivateKey.generate()))
    assert "signature" in refusal(canonical({**forged, "key": key_id(PUBLIC)})).found


@pytest.mark.parametrize("signature", ["", "00" * 64, "zz" * 64, None, 7, "é", ["00"]])
def test_what_is_no_signature_is_refused(signature: object) -> None:
    assert "signature" in refusal(canonical({**json.loads(SIGNED), "signature": signature})).found


def test_another_nonce_is_refused() -> None:
    assert NONCE in refusal(SIGNED, expected_nonce="f" * 32).found
    assert "to compare with" in refusal(SIGNED, expected_nonce="f").found


@pytest.mark.parametrize(("age_s", "found"), [(60.001, "60 s ago"), (1e6, "s ago"), (-60.001, "60 s after now")])
def test_too_old_and_too_new_are_refused(age_s: float, found: str) -> None:
    assert found in refusal(SIGNED, now=later(age_s), max_age_s=60).found


@pytest.mark.parametrize("age_s", [0, 60, -60])
def test_an_age_at_the_limit_passes(age_s: float) -> None:
    assert verify(SIGNED, PUBLIC, now=later(age_s), max_age_s=60) == RECORD


def test_without_a_clock_the_present_counts() -> None:
    assert "s ago" in refusal(SIGNED, max_age_s=60).found  # these records are of early 2026


@pytest.mark.parametrize("version", [2, 0, "1", True, 1.0, None])
def test_another_version_is_refused_with_its_own_remedy(version: object) -> None:
    error = refusal(canonical({**json.loads(SIGNED), "record": {"format": "flashproof-decision", "version": version}}))
    assert "version" in error.found
    assert "install a release" in error.remedy


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"comment": "hello"}, "comment"),
        ({"score": "0.100000"}, "score"),
        ({"plan_hash": "0" * 64}, "plan"),
        ({"profile": "gentle"}, "plan"),
        ({"reasons": ["moved"]}, "reasons"),
        ({"attempt": 1e300}, "attempt"),
        ({"score": 0.9}, "score"),
        ({"frames": [{"timestamp_ns": "1", "png": "AAAA"}]}, ""),
        ({"format": "flashproof-plan"}, "format"),
        ({"bundle": None}, "bundle"),
    ],
)
def test_a_good_signature_does_not_excuse_a_senseless_record(changes: dict[str, Any], found: str) -> None:
    assert found in refusal(changed(**changes)).found


def test_a_missing_field_is_refused_though_signed() -> None:
    content = json.loads(RECORD.canonical_json())
    for name in list(content):
        refusal(signed_content({key: value for key, value in content.items() if key != name}))


def test_deep_and_long_texts_are_refused_quickly() -> None:
    refusal("[" * 100_000)
    refusal('{"key":1,"record":{"format":' + "[" * 50_000)
