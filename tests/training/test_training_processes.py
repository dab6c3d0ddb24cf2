"""Trainings in processes of their own: two learn as one, a kill costs nothing, no process waits for a dead one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_captures import KnowingDetector, subjects_of, tiny_capture
from torch import nn

from flash_sequencer.plan import challenge
from sdk_reference.capture import save_capture
from training.errors import SettingOutOfRange
from training.lightning_module import in_turns
from training.machine import Machine
from training.prepare import prepare_dataset
from training.processes import SharedBatchNorm2d, share_statistics
from training.run_keeper import read_log
from training.sampling import BalancedSampler, ShareOfSteps
from training.splits import split_of
from training.store import DEPTH_FILE, INDEX_FILE, open_array

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "training_script.py"
STEPS_PER_EPOCH = 3
pytestmark = pytest.mark.slow


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))), "OMP_NUM_THREADS": "1"}


def start(data: Path, out: Path, **wishes: Any) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), str(data), str(out), json.dumps(wishes)]
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def run(data: Path, out: Path, **wishes: Any) -> dict[str, Any]:
    process = start(data, out, **wishes)
    printed, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert not errors, "a training that goes well says nothing in quiet mode"
    lines = printed.splitlines()
    assert len(lines) == 1, "only the first process prints"
    record: dict[str, Any] = json.loads(lines[0])
    return record


def steps(out: Path) -> list[dict[str, Any]]:
    path = out.with_name(f"{out.name}.steps")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def curve(out: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if "second" not in k} for row in read_log(out)]


def kill_after(process: subprocess.Popen[str], out: Path, count: int) -> None:
    """Kill the first process, and it alone, once so many steps are done."""
    deadline = time.monotonic() + 60
    while len(steps(out)) < count:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=60)  # ends only when no process of the group holds the pipes: none is left behind
    assert process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captures of many plans; some have differences that the flash-response loss does not judge, as grey steps are."""
    folder = tmp_path_factory.mktemp("data")
    people = [*subjects_of("train", 13), *subjects_of("val", 4), *subjects_of("test", 1)]
    for turn, person in enumerate(people):
        for kind, species in enumerate(("live", ("print", "replay", "mask")[turn % 3])):
            index = 2 * turn + kind
            capture = tiny_capture(index, person, species, plan=challenge(f"{index:032x}"))
            save_capture(capture, folder / "captures" / f"{index:06d}.zip")
    prepare_dataset(folder, detector_factory=KnowingDetector)
    index, lines = index_of(folder)
    for line in lines[::3]:
        line["response"][:3] = [[0.0] * 3] * 3
    index.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def index_of(data: Path) -> tuple[Path, list[dict[str, Any]]]:
    (index,) = data.glob(f"prepared-*/{INDEX_FILE}")
    return index, [json.loads(line) for line in index.read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    run(dataset, out)
    return out


@pytest.fixture(scope="module")
def together(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("together") / "run"
    run(dataset, out, devices=2)
    return out


@pytest.fixture(scope="module")
def in_double(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The run of one process and that of two, in double precision."""
    folder = tmp_path_factory.mktemp("in_double")
    for name, devices in (("alone", 1), ("together", 2)):
        run(dataset, folder / name, devices=devices, double=True)
    return folder / "alone", folder / "together"


def test_two_processes_show_the_same_losses_as_one_step_by_step(in_double: tuple[Path, Path]) -> None:
    one, two = map(steps, in_double)
    assert [(s["epoch"], s["step"]) for s in one] == [(e, s) for e in range(2) for s in range(STEPS_PER_EPOCH)]
    assert [(s["epoch"], s["step"]) for s in two] == [(s["epoch"], s["step"]) for s in one]
    assert [s["total"] for s in two] == pytest.approx([s["total"] for s in one], rel=1e-9)


def test_two_processes_show_the_same_validation_and_operating_point_as_one(in_double: tuple[Path, Path]) -> None:
    for one, two in zip(*map(curve, in_double), strict=True):
        assert one["val_eer"] == two["val_eer"]
        assert {k: float(v) for k, v in two.items()} == pytest.approx({k: float(v) for k, v in one.items()}, rel=2e-5)
    one, two = (json.loads((out / "run.json").read_text()) for out in in_double)
    assert two["operating_point"]["captures"] == one["operating_point"]["captures"] == 8
    assert two["operating_point"]["threshold"] == pytest.approx(one["operating_point"]["threshold"], rel=1e-4)
    assert two["network"] == one["network"] and two["parameters"] == one["parameters"]


@pytest.mark.parametrize(("devices", "loader_workers"), [(1, 1), (2, 0)])
def test_a_killed_training_goes_on_within_the_epoch_to_the_same_curve(
    dataset: Path, tmp_path: Path, request: pytest.FixtureRequest, devices: int, loader_workers: int
) -> None:
    whole = request.getfixturevalue("alone" if devices == 1 else "together")
    out = tmp_path / "run"
    machine = {"devices": devices, "loader_workers": loader_workers, "checkpoint_every_s": 0.0}
    kill_after(start(dataset, out, slow_s=0.3, **machine), out, STEPS_PER_EPOCH + 2)
    before = len(steps(out))
    run(dataset, out, **machine)
    assert curve(out) == curve(whole)
    again = steps(out)
    assert {tuple(s.values()) for s in again} == {tuple(s.values()) for s in steps(whole)}
    assert len(again) <= len(steps(whole)) + 1, "at most the step under way is repeated"
    assert again[before]["step"] > 0, "the epoch is not begun anew"
    records = [json.loads((folder / "run.json").read_text()) for folder in (out, whole)]
    assert records[0]["weights"] == records[1]["weights"]


def test_a_process_that_fails_ends_the_others(dataset: Path, tmp_path: Path) -> None:
    process = start(dataset, tmp_path / "run", devices=2, fail_in_process=1)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "this process fails, as the test wants it to" in errors
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_value_that_is_no_number_is_the_same_error_in_both_processes(dataset: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(dataset, data)
    (depth,) = data.glob(f"prepared-*/{DEPTH_FILE}")
    labels = open_array(depth, writable=True)
    spoilt = next(line for line in index_of(data)[1] if split_of(line["labels"]["subject"]) == "train")
    labels[spoilt["row"], 30, 30] = np.nan
    labels.flush()
    process = start(data, tmp_path / "run", devices=2)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert f"depth label with NaN or infinite values of {spoilt['name']}" in errors
    assert "ProcessLost" not in errors


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"devices": 3}, "batches of 8 captures for 3 processes"),
        ({"devices": 2, "batch_size": 64}, "2 processes for 26 captures"),
        ({"accelerator": "gpu"}, "cannot train so"),
    ],
)
def test_a_machine_that_does_not_fit_is_refused_before_the_training(
    dataset: Path, tmp_path: Path, wishes: dict[str, Any], message: str
) -> None:
    if wishes.get("accelerator") == "gpu" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    process = start(dataset, tmp_path / "run", **wishes)
    _, errors = process.communicate(timeout=60)
    assert SettingOutOfRange.__name__ in errors and message in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wrong", [{"devices": -1}, {"nodes": 0}, {"strategy": "fsdp"}, {"accelerator": "abacus"}])
def test_a_senseless_machine_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingOutOfRange):
        Machine(**wrong)


@pytest.mark.parametrize("affine", [True, False])
def test_shared_normalisation_is_batch_normalisation(affine: bool) -> None:
    torch.manual_seed(0)
    plain = nn.BatchNorm2d(5, eps=1e-4, affine=affine)
    x = (torch.randn(4, 5, 6, 7) * 3 + 10).requires_grad_()
    shared = share_statistics(nn.Sequential(plain), on_gpu=False)[0]
    assert isinstance(shared, SharedBatchNorm2d) and shared.state_dict().keys() == plain.state_dict().keys()
    weights = torch.randn(4, 5, 6, 7)
    results = []
    for norm in (plain, shared):
        x.grad = None
        (norm(x) * weights).sum().backward()
        results.append((norm(x).detach(), x.grad, norm.running_mean, norm.running_var, norm.num_batches_tracked))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(plain.eval()(x), shared.eval()(x))


@pytest.mark.parametrize("begin", [(0, 0), (1, 2)])
def test_the_shares_of_a_step_are_the_draws_of_one_process(begin: tuple[int, int]) -> None:
    species = ["live", "print", "mask"] * 9  # 27 captures: three steps of 8, three left out
    shares = []
    for process in range(4):
        sampler = ShareOfSteps(BalancedSampler(species, seed=3), 8, process, 4, begin)
        sampler.set_epoch(1)
        assert len(sampler) == 6
        shares.append(list(sampler))
    order = BalancedSampler(species, seed=3)
    order.set_epoch(1)
    expected = list(order)[8 * begin[1] if begin[0] == 1 else 0 : 24]
    for step in range(len(expected) // 8):
        drawn = [draw for share in shares for draw in share[2 * step : 2 * step + 2]]
        assert sorted(drawn) == sorted(expected[8 * step : 8 * step + 8])


def test_rows_of_all_processes_come_back_in_order() -> None:
    rows = torch.arange(14, dtype=torch.float64).reshape(7, 2).numpy()
    assert (in_turns([rows[0::3], rows[1::3], rows[2::3]]) == rows).all()
