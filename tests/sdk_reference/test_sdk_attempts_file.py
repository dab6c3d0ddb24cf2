"""Starting the app again forgives nothing: the count survives, and damage, clocks and kills never cheapen it."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flashproof.full_disk import LimitedProcess, small_disk, unlimited
from sdk_reference.attempts import NS_PER_S, Attempts
from sdk_reference.decide import Verdict
from sdk_reference.errors import AttemptsUsedUp, OutputNotWritable
from sdk_reference.nonce_book import NonceBook

REPOSITORY = Path(__file__).resolve().parents[2]
WALL_S = 1_800_000_000.0


class Machine:
    """A computer with a monotonic clock, a wall clock that may be set, and a file; `started` starts the app."""

    def __init__(self, path: Path) -> None:
        self.path, self.wall_s, self.now_ns = path, WALL_S, 7 * NS_PER_S

    @contextmanager
    def started(self) -> Iterator[Attempts]:
        attempts = Attempts(lambda: self.now_ns, path=self.path, clock_s=lambda: self.wall_s)
        try:
            yield attempts
        finally:
            attempts.close()

    def wait(self, seconds: float) -> None:
        self.wall_s += seconds
        self.now_ns += math.ceil(seconds * NS_PER_S)

    def attempt(self, verdict: Verdict, *reasons: str) -> float:
        """Start the app, wait, try once, and return the pause that follows."""
        with self.started() as attempts:
            self.wait(attempts.pause_left_s())
            attempts.begin()
            attempts.end(verdict, reasons)
            return attempts.pause_left_s()


@pytest.fixture()
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "state" / "attempts.sqlite")


def pause_left_s(machine: Machine) -> float:
    with machine.started() as attempts:
        return attempts.pause_left_s()


def test_attempts_and_pauses_go_on_when_the_app_is_started_again(machine: Machine) -> None:
    assert [machine.attempt("spoof") for _ in range(5)] == [2.0, 4.0, 8.0, 16.0, math.inf]
    machine.wait(1e6)
    with machine.started() as attempts:
        assert attempts.used_up and attempts.number == 5
        with pytest.raises(AttemptsUsedUp):
            attempts.begin()


def test_what_is_left_of_a_pause_is_waited_for_after_a_restart(machine: Machine) -> None:
    machine.attempt("spoof")
    machine.wait(0.5)
    machine.now_ns = 3 * NS_PER_S  # the machine itself was started again: its monotonic clock is another
    assert pause_left_s(machine) == pytest.approx(1.5)
    machine.wait(1.4)
    with machine.started() as attempts:
        assert not attempts.may_start()
        machine.now_ns += NS_PER_S // 5
        assert attempts.may_start()


def test_a_quarter_is_kept_as_a_quarter_and_live_forgives_all(machine: Machine) -> None:
    assert machine.attempt("retry", "no_face") == pytest.approx(2 * 2**-0.75)
    assert machine.attempt("spoof") == pytest.approx(2 * 2**0.25)
    assert machine.attempt("live") == 0.0
    assert machine.attempt("spoof") == 2.0


def test_a_clock_set_back_starts_the_whole_pause_again_and_only_once(machine: Machine) -> None:
    machine.attempt("spoof")
    machine.attempt("spoof")
    machine.wait(3.0)
    machine.wall_s -= 3600.0
    assert pause_left_s(machine) == 4.0
    machine.wait(1.0)
    assert pause_left_s(machine) == pytest.approx(3.0)


def test_a_clock_set_back_by_less_than_has_passed_never_shortens_the_pause(machine: Machine) -> None:
    machine.attempt("spoof")
    machine.wait(1.0)
    machine.wall_s -= 0.4
    assert pause_left_s(machine) == pytest.approx(1.4)


def test_a_clock_set_far_forward_gives_no_attempt_back(machine: Machine) -> None:
    for _ in range(5):
        machine.attempt("spoof")
    machine.wall_s += 1e9
    assert pause_left_s(machine) == math.inf


@pytest.mark.parametrize("says_s", [math.nan, math.inf])
def test_a_clock_that_tells_no_time_gives_no_attempt(machine: Machine, says_s: float) -> None:
    machine.attempt("spoof")
    machine.wall_s = says_s
    with pytest.raises(OutputNotWritable, match="a clock that says"):
        pause_left_s(machine)


def test_a_process_that_is_killed_during_an_attempt_has_spent_it(machine: Machine) -> None:
    script = (
        "import os, sys; from sdk_reference.attempts import Attempts\n"
        "Attempts(lambda: 0, path=sys.argv[1], clock_s=lambda: float(sys.argv[2])).begin(); os._exit(9)"
    )
    arguments = [str(machine.path), str(machine.wall_s)]
    killed = subprocess.run([sys.executable, "-c", script, *arguments], cwd=REPOSITORY, check=False)
    assert killed.returncode == 9
    with machine.started() as attempts:
        assert attempts.number == 1 and attempts.pause_left_s() == 2.0


def test_two_processes_never_count_from_the_same_number(machine: Machine) -> None:
    with machine.started():
        script = "import sys; from sdk_reference.attempts import Attempts; Attempts(lambda: 0, path=sys.argv[1])"
        other = subprocess.run(
            [sys.executable, "-c", script, str(machine.path)], cwd=REPOSITORY, capture_output=True, check=False
        )
        assert b"OutputNotWritable" in other.stderr and b"end other sessions" in other.stderr
    assert machine.attempt("spoof") == 2.0


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2048])


def write_text(path: Path) -> None:
    path.write_text("used: 0\n" * 1000, encoding="utf-8")


def put_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_a_nonce_book(path: Path) -> None:
    path.unlink()
    NonceBook(path=path).close()


def sql(text: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        database = sqlite3.connect(path)
        with database:
            database.execute(text)
        database.close()

    return change


@pytest.mark.parametrize(
    "damage",
    [
        *(empty, cut, write_text, put_a_folder, put_a_nonce_book),
        *(sql("DELETE FROM attempts"), sql("UPDATE attempts SET used = 0"), sql("UPDATE attempts SET number = -1")),
        *(sql("UPDATE attempts SET paused_at_s = 0"), sql("DROP TABLE attempts")),
    ],
)
def test_damage_is_an_error_and_stays_one(machine: Machine, damage: Callable[[Path], None]) -> None:
    machine.attempt("spoof")
    damage(machine.path)
    for _ in range(2):
        with pytest.raises(OutputNotWritable, match="count of attempts"):
            pause_left_s(machine)


def test_no_flipped_byte_gives_an_attempt_back(machine: Machine) -> None:
    for _ in range(3):
        machine.attempt("spoof")
    whole = machine.path.read_bytes()
    row = [place for place, value in enumerate(whole) if value]  # most of the file is zeros that nobody reads
    refused = 0
    for place in row:
        machine.path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        try:
            with machine.started() as attempts:
                assert attempts.number == 3 and attempts.pause_left_s() == 8.0
        except OutputNotWritable:
            refused += 1
    assert refused > 64  # at least the values and their hash


def test_where_nothing_can_be_written_no_attempt_begins_and_one_that_began_counts_in_full(machine: Machine) -> None:
    with machine.started() as attempts:
        attempts.begin()
        with unlimited():
            LimitedProcess(machine.path.parent).fill()
            with pytest.raises(OutputNotWritable, match="count of attempts"):
                attempts.end("live")
            assert attempts.pause_left_s() == 2.0
            machine.wait(2.0)
            with pytest.raises(OutputNotWritable):
                attempts.begin()
        assert attempts.number == 1
    assert machine.attempt("spoof") == 4.0


def test_a_full_disk_gets_no_file_rather_than_an_empty_one(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        disk.fill()
        with pytest.raises(OutputNotWritable, match="count of attempts"):
            Attempts(lambda: 0, path=disk.folder / "attempts.sqlite")
        assert not list(disk.folder.glob("attempts*"))
