"""`flashproof record`: makes keys, tells genuine records from others, and ends with 3 for the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_up_records import NONCE, made_up_record

from flashproof.app import EXIT_USAGE, run
from sdk_reference.record_signature import sign
from sdk_reference.signing_keys import load_private_key


@pytest.fixture()
def key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run(["record", "new-key", str(tmp_path / "signing.pem")]) == 0
    assert "signing.pub.pem" in capsys.readouterr().out
    return tmp_path / "signing.pub.pem"


@pytest.fixture()
def signed(key: Path) -> Path:
    path = key.with_name("record.json")
    path.write_text(sign(made_up_record(), load_private_key(key.with_name("signing.pem"))))
    return path


def test_a_genuine_record_is_told_and_what_it_does_not_prove(
    key: Path, signed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["record", "verify", str(signed), "--key", str(key)]) == 0
    out = capsys.readouterr().out
    for part in ("genuine", "verdict: live", "not compared", "not proven"):
        assert part in out


def test_json_is_the_record_itself(key: Path, signed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["record", "verify", str(signed), "--key", str(key), "--nonce", NONCE, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(made_up_record().canonical_json())


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    ("change", "options", "code"),
    [
        (lambda text: text.replace('"live"', '"lime"'), [], "record_refused"),
        (lambda text: text, ["--nonce", "f" * 32], "record_refused"),
        (lambda text: text, ["--max-age", "1"], "record_refused"),
        (lambda text: "", [], "record_refused"),
    ],
)
def test_anything_else_is_refused(
    key: Path,
    signed: Path,
    change: object,
    options: list[str],
    code: str,
    as_json: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert callable(change)
    signed.write_text(change(signed.read_text()))
    status = run(["record", "verify", str(signed), "--key", str(key), *options, *(["--json"] if as_json else [])])
    captured = capsys.readouterr()
    assert status == 3
    if as_json:
        assert json.loads(captured.out)["error"]["code"] == code
    else:
        assert captured.err.startswith("flashproof: found ")
        assert "genuine" not in captured.out


def test_missing_files_and_keys_are_errors(key: Path, signed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["record", "verify", str(signed) + "x", "--key", str(key)]) == 3
    assert run(["record", "verify", str(signed), "--key", str(key) + "x", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "key_refused"
    assert run(["record", "new-key", str(key.with_name("signing.pem"))]) == 3
    assert run(["record", "verify", str(signed)]) == EXIT_USAGE
