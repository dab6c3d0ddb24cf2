"""Signing a record of a decision, and checking one: whatever differs by a single byte is refused.

A signed record is one line of canonical JSON, `{"key": …, "record": {…}, "signature": …}`: the record as
`sdk_reference.decision_record` defines it, the SHA-256 of the public key's 32 raw bytes, and the Ed25519 signature
(RFC 8032) of the record's canonical JSON, both in lower-case hex. No algorithm is named, so that none can be chosen by
the sender. Not in the paper; what a signature does and does not prove stands in `sdk_reference.decision_record`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from pydantic import ValidationError

from flash_sequencer.errors import PlanError
from flash_sequencer.nonce import normalised_nonce
from sdk_reference.decision_record import FORMAT, VERSION, DecisionRecord, canonical
from sdk_reference.errors import CaptureMalformed, InvalidInput, RecordRefused
from sdk_reference.signing_keys import key_id
from sdk_reference.strict_values import short, strict_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_CHARACTERS: Final = 512 * 2**20  # frames of eight photographs included; without, about 1,500
ENVELOPE_KEYS: Final = {"key", "record", "signature"}
CLOCK_SKEW: Final = timedelta(seconds=60)
"""A record may come from a clock that is this much ahead."""
DISTRUST: Final = "do not trust this decision; ask for a new session with a fresh nonce"


def sign(record: DecisionRecord, key: Ed25519PrivateKey) -> str:
    """The signed record: one line of ASCII without a line end, to be stored and sent as it is."""
    text = record.canonical_json()
    return canonical(
        {
            "key": key_id(key.public_key()),
            "record": record.model_dump(mode="json"),
            "signature": key.sign(text.encode("ascii")).hex(),
        }
    )


def read_signed(path: str | Path) -> bytes:
    """The bytes of a signed record, for `verify`. Raises RecordRefused for a file that is missing or far too long."""
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_CHARACTERS + 1)
    except OSError as error:
        raise RecordRefused(
            found=f"{path} that cannot be read ({error.strerror or error})",
            expected="a signed record",
            remedy="give the file as it was written",
        ) from error


def verify(
    text: str | bytes,
    public_key: Ed25519PublicKey,
    expected_nonce: str | None = None,
    now: datetime | None = None,
    max_age_s: float | None = None,
) -> DecisionRecord:
    """Return the record when everything fits, else raise RecordRefused.

    Checked are the form, the key, the signature, that the plan follows from the nonce and that the record does not
    contradict itself; with `expected_nonce`, that it answers this challenge; with `max_age_s`, that it was decided
    within so many seconds before `now` (with an offset; default: the present) and not after it, up to a minute of
    clock skew. That a nonce was issued by this server, and is used up, is the caller's to check: see docs/records.md.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    envelope = _envelope(raw)
    _check_version(envelope["record"])
    _check_signature(envelope, public_key)
    if canonical(envelope).encode("ascii") != raw:
        _refuse("a record in another form than it was signed in", "canonical JSON, byte for byte")
    record = _read(envelope["record"])
    _check_nonce(record, expected_nonce)
    if max_age_s is not None:
        _check_age(record, now or datetime.now(timezone.utc), max_age_s)
    return record


def _envelope(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_CHARACTERS:
        _refuse(f"{len(raw)} bytes", f"at most {MAX_CHARACTERS}")
    try:
        content = strict_json(raw, "a record")
    except CaptureMalformed as error:
        _refuse(error.found, "a signed record", error)
    if not isinstance(content, dict) or set(content) != ENVELOPE_KEYS or not isinstance(content["record"], dict):
        found = sorted(content) if isinstance(content, dict) else content
        _refuse(f"JSON with {short(found)}", f"the keys {', '.join(sorted(ENVELOPE_KEYS))}")
    return content


def _check_version(record: Mapping[str, Any]) -> None:
    if record.get("format") != FORMAT:
        _refuse(f"a record of format {short(record.get('format'))}", FORMAT)
    version = record.get("version")
    if type(version) is not int or version != VERSION:
        raise RecordRefused(
            found=f"a record of version {short(version)}",
            expected=f"version {VERSION}",
            remedy="install a release of flashproof that reads this version",
        )


def _check_signature(envelope: Mapping[str, Any], public_key: Ed25519PublicKey) -> None:
    from cryptography.exceptions import InvalidSignature

    if envelope["key"] != key_id(public_key):
        _refuse(f"a record of the key {short(envelope['key'])}", f"the key {key_id(public_key)}")
    try:
        signature = bytes.fromhex(envelope["signature"])
        if signature.hex() != envelope["signature"]:  # capitals would be a second text of the same record
            raise ValueError("not lower-case hex")
        public_key.verify(signature, canonical(envelope["record"]).encode("ascii"))
    except (TypeError, ValueError, RecursionError, InvalidSignature) as error:
        _refuse("a signature that does not fit the record", "the record as it was signed", error)


def _read(content: Mapping[str, Any]) -> DecisionRecord:
    try:
        return DecisionRecord.model_validate_json(canonical(content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        _refuse(f"{short(first['msg'])} at {place or 'the top'}", "a record that makes sense", error)
    except InvalidInput as error:  # pictures inside that are none
        _refuse(error.found, error.expected, error)


def _check_nonce(record: DecisionRecord, expected: str | None) -> None:
    if expected is None:
        return
    try:
        digits = normalised_nonce(expected)
    except PlanError as error:
        _refuse(f"the nonce {expected!r:.60} to compare with", "32 to 128 hex digits", error)
    if record.nonce != digits:
        _refuse(f"an answer to the nonce {record.nonce}", f"one to {digits}")


def _check_age(record: DecisionRecord, now: datetime, max_age_s: float) -> None:
    age = now - record.decided
    if age < -CLOCK_SKEW:
        _refuse(f"a decision dated {-age.total_seconds():.0f} s after now", "one of the past")
    if not age.total_seconds() <= max_age_s:
        _refuse(f"a decision of {age.total_seconds():.0f} s ago", f"at most {max_age_s:g}")


def _refuse(found: str, expected: str, cause: BaseException | None = None) -> NoReturn:
    raise RecordRefused(found=found, expected=expected, remedy=DISTRUST) from cause
