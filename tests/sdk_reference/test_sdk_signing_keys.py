"""Keys that can be used are read; all others are refused with the reason."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_reference.errors import KeyRefused, OutputNotWritable
from sdk_reference.signing_keys import MAX_KEY_BYTES, key_id, load_private_key, load_public_key, new_key, public_path_of

PLAIN = pem.NoEncryption()


def write(path: Path, key: Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, hidden: bool) -> Path:
    lock = pem.BestAvailableEncryption(b"secret") if hidden else PLAIN
    path.write_bytes(key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, lock))
    path.chmod(0o600)
    return path


def private_refusal(path: Path, password: bytes | None = None) -> str:
    with pytest.raises(KeyRefused) as caught:
        load_private_key(path, password)
    return str(caught.value)


def public_refusal(path: Path) -> str:
    with pytest.raises(KeyRefused) as caught:
        load_public_key(path)
    return str(caught.value)


def test_a_new_key_signs_and_its_public_half_checks(tmp_path: Path) -> None:
    public = new_key(tmp_path / "deep" / "signing.pem")
    assert public == tmp_path / "deep" / "signing.pub.pem"
    key = load_private_key(tmp_path / "deep" / "signing.pem")
    load_public_key(public).verify(key.sign(b"text"), b"text")
    assert key_id(load_public_key(public)) == key_id(key.public_key())


@pytest.mark.skipif(os.name != "posix", reason="file modes are of POSIX systems")
def test_a_new_private_key_is_for_its_owner_only(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        new_key(tmp_path / "signing.pem")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "signing.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize("taken", ["signing.pem", "signing.pub.pem"])
def test_no_key_is_overwritten(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("precious")
    with pytest.raises(OutputNotWritable, match="exists already"):
        new_key(tmp_path / "signing.pem")
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "precious"


def test_keys_are_never_the_same(tmp_path: Path) -> None:
    publics = [load_public_key(new_key(tmp_path / f"{number}.pem")) for number in range(3)]
    assert len({key_id(key) for key in publics}) == 3


@pytest.mark.skipif(os.name != "posix", reason="file modes are of POSIX systems")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    new_key(tmp_path / "signing.pem")
    (tmp_path / "signing.pem").chmod(mode)
    refused = private_refusal(tmp_path / "signing.pem")
    assert f"mode {mode:o}" in refused
    assert "chmod 600" in refused


def test_an_encrypted_key_needs_its_password(tmp_path: Path) -> None:
    path = write(tmp_path / "locked.pem", Ed25519PrivateKey.generate(), hidden=True)
    assert "password" in private_refusal(path)
    assert "does not open" in private_refusal(path, b"wrong")
    assert load_private_key(path, b"secret").sign(b"text")


def test_a_password_for_a_plain_key_is_refused(tmp_path: Path) -> None:
    assert "password" in private_refusal(write(tmp_path / "plain.pem", Ed25519PrivateKey.generate(), False), b"secret")


def test_the_other_half_of_the_pair_is_refused_by_name(tmp_path: Path) -> None:
    public = new_key(tmp_path / "signing.pem")
    assert "a public key" in private_refusal(public)
    assert "a private key" in public_refusal(tmp_path / "signing.pem")


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())], ids=["rsa", "ec"]
)
def test_keys_of_another_kind_are_refused(tmp_path: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    path = write(tmp_path / "other.pem", key, hidden=False)
    public = key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "other.pub.pem").write_bytes(public)
    assert "a key of type" in private_refusal(path)
    assert "a key of type" in public_refusal(tmp_path / "other.pub.pem")


@pytest.mark.parametrize("content", [b"", b"no key", b"\xff" * 100, b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    assert "does not open" in private_refusal(path)
    path.write_bytes(content.replace(b"PRIVATE", b"PUBLIC"))
    assert "does not open" in public_refusal(path)


def test_missing_folders_and_huge_files_are_refused(tmp_path: Path) -> None:
    huge = tmp_path / "huge.pem"
    huge.write_bytes(b"A" * (MAX_KEY_BYTES + 1))
    for path, found in ((tmp_path / "none.pem", "No such file"), (tmp_path, "cannot be read"), (huge, "over")):
        assert found in private_refusal(path)
        assert found in public_refusal(path)


def test_the_public_file_stands_beside_the_private_one() -> None:
    assert public_path_of("keys/signing.pem") == Path("keys/signing.pub.pem")
    assert public_path_of("keys/signing") == Path("keys/signing.pub.pem")
