"""Worker processes: every item answered, errors passed on, a lost worker noticed; files whole or absent."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest

from sdk_reference.atomic_files import write_atomically, write_json
from sdk_reference.errors import OutputNotWritable
from training.errors import SettingOutOfRange
from training.workers import ONE_THREAD, WorkerLost, run_in_workers


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_gets_its_answer(workers: int) -> None:
    assert dict(run_in_workers(math.factorial, list(range(30)), workers)) == {n: math.factorial(n) for n in range(30)}


def test_no_items_need_no_workers() -> None:
    assert list(run_in_workers(math.sqrt, [], 2)) == []


def test_an_error_in_a_worker_arrives_as_it_was_raised() -> None:
    with pytest.raises(ValueError, match="math domain error"):
        list(run_in_workers(math.sqrt, [4.0, -1.0, 9.0], 2))


def test_workers_have_one_thread_and_the_parent_keeps_its_environment() -> None:
    before = dict(os.environ)
    found = dict(run_in_workers(os.getenv, list(ONE_THREAD), 2))
    assert found == ONE_THREAD
    assert dict(os.environ) == before


def test_a_worker_that_dies_is_an_error_and_not_a_wait_for_ever() -> None:
    with pytest.raises(WorkerLost, match="fewer workers"):
        list(run_in_workers(os._exit, [3, 3], 2))


def nap_or_fail(seconds: float) -> float:
    if seconds < 0:
        raise ValueError("an item that fails")
    time.sleep(seconds)
    return seconds


def test_work_that_may_be_cut_off_is_when_another_item_fails() -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match="an item that fails"):
        list(run_in_workers(nap_or_fail, [600.0, -1.0], 2, cut_off=True))
    assert time.monotonic() - began < 300  # starting two processes on a busy machine


@pytest.mark.parametrize("workers", [0, -1, 257])
def test_a_senseless_number_of_workers_is_refused(workers: int) -> None:
    with pytest.raises(SettingOutOfRange, match="workers"):
        list(run_in_workers(math.sqrt, [1.0], workers))


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": math.nan})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert [entry.name for entry in tmp_path.iterdir()] == ["value.json"]


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputNotWritable, match="file"):
        write_atomically(tmp_path / "file" / "inside.json", b"")
