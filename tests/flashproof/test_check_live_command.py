"""`flashproof check --camera`: what is refused before anybody is filmed, and a whole session in a real window."""

from __future__ import annotations

import io
import json
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console
from virtual_screen import virtual_screen

from flashproof.app import EXIT_USAGE, run
from flashproof.commands.check_live import ATTEMPTS_NAME, NONCES_NAME, opened_books, wait_out
from sdk_reference.attempts import Attempts
from sdk_reference.nonce_book import NonceBook
from sdk_reference.record_signature import read_signed, verify
from sdk_reference.session_clock import NS_PER_S, VirtualClock
from sdk_reference.signing_keys import load_public_key, new_key

NONCE = "00112233445566778899aabbccddeeff"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--camera", "sim:ghost"], 3, "sim:live"),
        (["--camera", "sim:live", "--nonce", "xyz"], 3, "copy it whole"),
        (["--camera", "sim:live", "--record", "r.json"], 3, "--key"),
        (["--camera", "sim:live", "--report", f"{__file__}/page.html"], 3, "Not a directory"),
        (["--camera", "sim:live", "--report", str(Path(__file__).parent)], 3, "Is a directory"),
        (["--camera", "sim:live", "--state", __file__], 3, "Not a directory"),
        (["--camera", "sim:live", "--key", "k.pem"], 3, "--key without --record"),
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


@pytest.fixture()
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a session that begins after all ends with status 5."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.mark.usefixtures("no_display")
def test_folders_are_made_for_what_is_to_be_written_and_a_record_is_never_taken_for_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, record = tmp_path / "key.pem", tmp_path / "records" / "one.json"
    new_key(key)
    arguments = ["check", "--camera", "sim:live", "--record", str(record), "--key", str(key)]
    assert run([*arguments, "--report", str(tmp_path / "new" / "page.html")]) == 5
    assert list((tmp_path / "new").iterdir()) == list(record.parent.iterdir()) == []
    record.write_bytes(b"of an earlier session")
    assert run(arguments) == 3
    assert "is there already" in capsys.readouterr().err
    assert record.read_bytes() == b"of an earlier session"


def spent_attempts(state: Path, count: int) -> None:
    """Let so many attempts have ended as spoofs."""
    now_ns = iter(range(0, 10**15, 60 * NS_PER_S))
    with closing(Attempts(lambda: next(now_ns), path=state / ATTEMPTS_NAME)) as attempts:
        for _ in range(count):
            attempts.begin()
            attempts.end("spoof")


@pytest.mark.usefixtures("no_display")
def test_a_nonce_that_an_earlier_session_used_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["check", "--camera", "sim:live", "--nonce", NONCE, "--state", str(tmp_path)]
    assert run(arguments) == 5  # without a display it comes to no flash
    with closing(NonceBook(path=tmp_path / NONCES_NAME)) as nonces:
        nonces.use(NONCE)
    assert run(arguments) == 3
    assert "a used nonce" in capsys.readouterr().err


@pytest.mark.usefixtures("no_display")
def test_attempts_of_earlier_sessions_are_not_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASHPROOF_STATE", str(tmp_path))
    assert run(["check", "--camera", "sim:live"]) == 5
    spent_attempts(tmp_path, 5)
    capsys.readouterr()
    assert run(["check", "--camera", "sim:live", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "attempts_used_up"
    (tmp_path / ATTEMPTS_NAME).write_bytes(b"")
    assert run(["check", "--camera", "sim:live"]) == 3
    assert "count of attempts" in capsys.readouterr().err


def test_the_pause_after_an_earlier_session_is_waited_for(tmp_path: Path) -> None:
    spent_attempts(tmp_path, 3)
    clock, said = VirtualClock(), io.StringIO()
    with opened_books(tmp_path, clock) as (_, attempts):
        wait_out(attempts, clock, Console(file=said))
        assert attempts.may_start()
    assert "pause after earlier attempts: 8 s" in said.getvalue()
    assert 7 * NS_PER_S < clock.now_ns() - NS_PER_S <= 8 * NS_PER_S


def test_without_a_folder_nothing_is_remembered() -> None:
    clock = VirtualClock()
    for _ in range(2):
        with opened_books(None, clock) as (nonces, attempts):
            nonces.use(nonces.accept(NONCE))
            assert attempts.begin() == 1


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
