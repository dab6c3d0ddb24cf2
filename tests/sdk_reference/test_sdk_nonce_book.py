"""A nonce works once: whoever asks, however often, from however many processes, whatever the clock does."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk_reference.errors import NonceRefused, OutputNotWritable
from sdk_reference.nonce_book import FORGET_AFTER_S, MAX_LIFETIME_S, NonceBook

REPOSITORY = Path(__file__).resolve().parents[2]
SERVERS = "00112233445566778899AABBCCDDEEFF"


class Clock:
    """Says what it is told."""

    def __init__(self, now_s: float = 1_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(NonceRefused) as caught:
        call()
    return str(caught.value)


def test_a_nonce_is_32_hex_digits_and_never_the_same() -> None:
    book = NonceBook()
    nonces = {book.issue() for _ in range(200)}
    assert len(nonces) == 200
    assert all(len(bytes.fromhex(nonce)) == 16 and nonce == nonce.lower() for nonce in nonces)


def test_a_nonce_works_once() -> None:
    book = NonceBook()
    nonce = book.issue()
    assert book.use(nonce.upper()) == nonce
    assert "a used nonce" in refusal(lambda: book.use(nonce))
    assert "a used nonce" in refusal(lambda: book.accept(nonce))


@pytest.mark.parametrize("nonce", ["", "00", "zz" * 16, "0" * 33, "0x" + "0" * 32, " " + "0" * 32, None, 7, b"0" * 16])
def test_a_malformed_nonce_is_refused_as_such(nonce: object) -> None:
    book = NonceBook()
    assert "malformed" in refusal(lambda: book.use(nonce))  # type: ignore[arg-type]
    assert "malformed" in refusal(lambda: book.accept(nonce))  # type: ignore[arg-type]


def test_an_unknown_nonce_is_refused_as_such() -> None:
    assert "unknown" in refusal(lambda: NonceBook().use(SERVERS))


def test_a_nonce_expires_at_the_end_of_its_life() -> None:
    clock = Clock()
    book = NonceBook(clock, lifetime_s=10.0)
    early, late = book.issue(), book.issue()
    clock.now_s += 9.9
    book.use(early)
    clock.now_s += 0.1
    assert "expired 0 s ago" in refusal(lambda: book.use(late))


def test_a_clock_that_goes_back_revives_nothing() -> None:
    clock = Clock()
    book = NonceBook(clock, lifetime_s=10.0)
    nonce, used = book.issue(), book.issue()
    book.use(used)
    clock.now_s += 11.0
    refusal(lambda: book.use(nonce))
    clock.now_s = 0.0
    assert "expired" in refusal(lambda: book.use(nonce))
    assert "used" in refusal(lambda: book.use(used))


def test_a_servers_nonce_is_good_until_its_expiry() -> None:
    clock = Clock(1_700_000_000.0)  # 2023-11-14T22:13:20Z
    book = NonceBook(clock)
    assert book.accept(SERVERS, "2023-11-14T22:14:20Z") == SERVERS.lower()
    assert book.accept(SERVERS, "2023-11-15T00:00:00Z") == SERVERS.lower()  # keeps its first expiry
    clock.now_s += 60
    assert "expired" in refusal(lambda: book.use(SERVERS))
    other = "ab" * 32
    book.accept(other, clock.now_s + 5)
    assert book.use(other) == other


@pytest.mark.parametrize(
    "expires",
    ["2023-11-14T22:14:20", "soon", "", float("nan"), float("inf"), True, 1_700_000_000.0 + MAX_LIFETIME_S + 1],
)
def test_an_expiry_that_cannot_be_meant_is_refused(expires: float | str) -> None:
    book = NonceBook(Clock(1_700_000_000.0))
    refusal(lambda: book.accept(SERVERS, expires))
    assert "unknown" in refusal(lambda: book.use(SERVERS))


def test_an_expired_nonce_of_a_server_is_not_even_noted() -> None:
    book = NonceBook(Clock(100.0))
    assert "expired" in refusal(lambda: book.accept(SERVERS, 99.0))
    assert len(book) == 0


@pytest.mark.parametrize("source", [lambda n: bytes(n - 1), lambda n: bytes(n + 1), lambda n: b""])
def test_a_source_that_gives_too_little_is_refused(source: Callable[[int], bytes]) -> None:
    assert "from the source" in refusal(NonceBook(source=source).issue)


def test_a_source_that_repeats_is_refused() -> None:
    book = NonceBook(source=bytes)
    book.issue()
    assert "drawn twice" in refusal(book.issue)


@pytest.mark.parametrize("lifetime_s", [0.0, -1.0, float("nan"), MAX_LIFETIME_S + 1])
def test_an_impossible_lifetime_is_refused(lifetime_s: float) -> None:
    with pytest.raises(ValueError, match="lifetime_s"):
        NonceBook(lifetime_s=lifetime_s)


def test_the_book_on_disk_outlives_its_process(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "deep" / "nonces.sqlite"
    first = NonceBook(clock, path=path)
    used, left = first.issue(), first.issue()
    first.use(used)
    clock.now_s += 30
    assert "used" in refusal(lambda: NonceBook(clock, path=path).use(used))  # the first was never closed, as in a crash
    clock.now_s = 0.0
    later = NonceBook(clock, path=path)
    assert later.use(left) == left


def test_a_kill_right_after_use_loses_nothing(tmp_path: Path) -> None:
    script = (
        "import os, sys; from sdk_reference.nonce_book import NonceBook\n"
        "book = NonceBook(path=sys.argv[1]); nonce = book.use(book.issue()); print(nonce, flush=True); os._exit(9)"
    )
    path = tmp_path / "nonces.sqlite"
    command = [sys.executable, "-c", script, str(path)]
    nonce = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout.strip()
    assert "a used nonce" in refusal(lambda: NonceBook(path=path).use(nonce))


def test_of_two_processes_only_one_gets_each_nonce(tmp_path: Path) -> None:
    path = tmp_path / "nonces.sqlite"
    book = NonceBook(path=path)
    nonces = [book.issue() for _ in range(20)]
    script = (
        "import sys; from sdk_reference.nonce_book import NonceBook; from sdk_reference.errors import NonceRefused\n"
        "book = NonceBook(path=sys.argv[1])\n"
        "for nonce in sys.argv[2:]:\n"
        "    try: print(book.use(nonce))\n"
        "    except NonceRefused: pass\n"
    )
    command = [sys.executable, "-c", script, str(path), *nonces]
    racers = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    won = [line for racer in racers for line in racer.communicate()[0].split()]
    assert sorted(won) == sorted(nonces)


def test_of_many_threads_only_one_gets_the_nonce() -> None:
    book = NonceBook()
    nonce = book.issue()
    outcomes: list[str] = []

    def race() -> None:
        try:
            outcomes.append(book.use(nonce))
        except NonceRefused:
            outcomes.append("refused")

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == sorted([nonce] + ["refused"] * 7)


def test_what_expired_long_ago_is_forgotten_and_still_refused() -> None:
    clock = Clock()
    book = NonceBook(clock)
    old = book.use(book.issue())
    clock.now_s += FORGET_AFTER_S
    book.issue()
    assert len(book) == 2
    clock.now_s += 200.0
    book.issue()
    assert len(book) == 2  # the old one went; the two younger ones are still remembered
    clock.now_s = 1_000_000.0
    assert "unknown" in refusal(lambda: book.use(old))


def test_a_damaged_or_unwritable_book_gives_no_challenge(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"this is no database" * 100)
    for place in (damaged, tmp_path, damaged / "below"):
        with pytest.raises(OutputNotWritable, match="book of nonces"):
            NonceBook(path=place).issue()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("iuux"), st.floats(-300, 300), st.integers(0, 5)), max_size=40))
def test_whatever_the_clock_does_no_nonce_works_twice(steps: list[tuple[str, float, int]]) -> None:
    clock, issued, used = Clock(), [], set()
    book = NonceBook(clock)
    latest = float("-inf")
    deadline: dict[str, float] = {}
    for action, jump_s, which in steps:
        clock.now_s += jump_s
        reads_the_clock = action == "i" or (action == "u" and bool(issued))
        latest = max(latest, clock.now_s) if reads_the_clock else latest
        if action == "i":
            issued.append(book.issue())
            deadline[issued[-1]] = latest + 120.0
        elif action == "u" and issued:
            nonce = issued[which % len(issued)]
            try:
                book.use(nonce)
            except NonceRefused:
                assert nonce in used or latest >= deadline[nonce]
            else:
                assert nonce not in used and latest < deadline[nonce]
                used.add(nonce)
