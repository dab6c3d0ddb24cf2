"""Keys that sign records: Ed25519 (RFC 8032) in PEM files, PKCS #8 for the private half (RFC 5958).

The key is the integrator's; this file reads it, and makes one for those who have none. A private key that others on the
machine could read is refused, as ssh does: what it signed would prove nothing, and a warning would scroll away.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sdk_reference.atomic_files import write_atomically, writing_to
from sdk_reference.errors import KeyRefused, OutputNotWritable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_KEY_BYTES = 65_536
PUBLIC_SUFFIX = ".pub.pem"
NEW_KEY = "make one with `flashproof record new-key OUT`"
PRIVATE_HEADERS = (b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


def new_key(path: str | Path) -> Path:
    """Write a new private key to `path` (readable by its owner only) and its public half beside it.

    Returns the public file: `key.pem` → `key.pub.pem`. Nothing is overwritten. Raises OutputNotWritable.
    """
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path, public_path = Path(path), public_path_of(path)
    if public_path.exists():
        _exists(public_path)
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    public = key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    _write_private(path, private)
    write_atomically(public_path, public)
    return public_path


def public_path_of(path: str | Path) -> Path:
    """Where the public half of the key at `path` goes."""
    return Path(path).with_suffix(PUBLIC_SUFFIX)


def load_private_key(path: str | Path, password: bytes | None = None) -> Ed25519PrivateKey:
    """Read a private key. Raises KeyRefused."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(Path(path))
    if b"PUBLIC KEY-----" in data:
        _refuse(f"a public key in {path}", "the private key", "give the other file of the pair")
    _check_private_to_owner(Path(path))
    try:
        key = load_pem_private_key(data, password)
    except TypeError as error:  # a password is missing, or given for nothing
        _refuse(f"{path}, where {error}".lower().rstrip("."), "a key and its password", "give both or neither", error)
    except (ValueError, UnsupportedAlgorithm) as error:
        _refuse(f"{path} that does not open as a private key", "PKCS #8 in PEM and its password", NEW_KEY, error)
    if not isinstance(key, Ed25519PrivateKey):
        _refuse(f"a key of type {_kind(key)} in {path}", "Ed25519", NEW_KEY)
    return key


def load_public_key(path: str | Path) -> Ed25519PublicKey:
    """Read a public key. Raises KeyRefused, also for a private one: a verifier should not hold it."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read(Path(path))
    if b"PRIVATE KEY-----" in data:
        _refuse(f"a private key in {path}", "the public key", f"give the file that ends in {PUBLIC_SUFFIX}")
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        _refuse(f"{path} that does not open as a public key", "a public key in PEM", NEW_KEY, error)
    if not isinstance(key, Ed25519PublicKey):
        _refuse(f"a key of type {_kind(key)} in {path}", "Ed25519", NEW_KEY)
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """SHA-256 of the 32 raw bytes of a public key, hex: names the key in a record without carrying it."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def _write_private(path: Path, content: bytes) -> None:
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            _exists(path)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        _refuse(f"{path} that cannot be read ({error.strerror or error})", "a key in PEM", NEW_KEY, error)
    if len(data) > MAX_KEY_BYTES:
        _refuse(f"{path} of over {MAX_KEY_BYTES} bytes", "a key in PEM", NEW_KEY)
    return data


def _check_private_to_owner(path: Path) -> None:
    if os.name != "posix":  # Windows has no such bits; access lists there are the integrator's
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        _refuse(f"a private key that others may read (mode {mode:o})", "600", f"chmod 600 {path}, or a new key")


def _exists(path: Path) -> NoReturn:
    raise OutputNotWritable(
        found=f"{path} that exists already", expected="a new file", remedy="keys are never overwritten: choose a name"
    )


def _kind(key: object) -> str:
    return type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey")


def _refuse(found: str, expected: str, remedy: str, cause: BaseException | None = None) -> NoReturn:
    raise KeyRefused(found=found, expected=expected, remedy=remedy) from cause
