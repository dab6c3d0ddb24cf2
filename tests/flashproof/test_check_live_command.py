"""`flashproof check --camera`: what is refused before anybody is filmed, and a whole session in a real window."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from virtual_screen import virtual_screen

from flashproof.app import EXIT_USAGE, run
from sdk_reference.record_signature import read_signed, verify
from sdk_reference.signing_keys import load_public_key, new_key

NONCE = "00112233445566778899aabbccddeeff"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--camera", "sim:ghost"], 3, "sim:live"),
        (["--camera", "sim:live", "--nonce", "xyz"], 3, "nonce"),
        (["--camera", "sim:live", "--record", "r.json"], 3, "--key"),
        (["--camera", "sim:live", "--report", "no/such/folder/page.html"], 3, "cannot be written"),
        (["--camera", "sim:live", "--profile", "bright"], 3, "gentle"),
        (["--camera", "sim:live", "--language", "tlh"], 3, "tlh"),
        (["--camera", "0", "--rotate", "45"], EXIT_USAGE, "--rotate"),
        (["capture", "--camera", "0"], EXIT_USAGE, "one of"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_filmed(
    arguments: list[str], status: int, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    assert run(["check", *arguments]) == status
    assert says in capsys.readouterr().err


def test_without_a_screen_the_error_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert run(["check", "--camera", "sim:live", "--json"]) == 5
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "display_lost"


def test_a_simulated_attack_before_a_real_window_is_judged_and_signed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In real time: the window shows the colours, the simulated camera is lit by them. A slow machine gives a retry."""
    key, report, record = tmp_path / "key.pem", tmp_path / "page.html", tmp_path / "record.json"
    public = new_key(key)
    with virtual_screen() as display:
        monkeypatch.setenv("DISPLAY", display)
        place = ["--report", str(report), "--record", str(record), "--key", str(key)]
        who = ["--camera", "sim:print", "--seed", "1", "--lux", "30", "--attempts", "1", "--nonce", NONCE]
        status = run(["check", *who, *place, "--json"])
    said = json.loads(capsys.readouterr().out)
    attempt = said["session"]["attempts"][0]
    assert (said["verdict"], status) in (("spoof", 1), ("retry", 2))
    assert attempt["presented_safely"] and attempt["states_ms"][0][0] == "warning"
    assert "<svg" in report.read_text(encoding="utf-8")
    if attempt["plan_hash"] is not None:
        signed = verify(read_signed(record), load_public_key(public), expected_nonce=NONCE)
        assert (signed.verdict, signed.nonce) == (said["verdict"], attempt["nonce"])
