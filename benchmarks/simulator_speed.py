"""How fast captures are simulated, and how much faster a kept scene is photographed again.

    python benchmarks/simulator_speed.py [--count 120] [--workers 2]

Everything is measured in one run on one machine, side by side; compare the ratios, not the rates, with another machine.
Nothing else should run meanwhile. Peak memory is that of the largest worker, for two counts: it must not grow.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from flash_sequencer.plan import challenge
from simulator.stage_file import load_stage
from training.synthesis import SimulationSettings, photograph_stage, stage_path, write_simulated_dataset

GOAL_PER_SECOND = 8.0
"""Captures of five frames of 256 × 256 on two cores: the paper's 12,660 in less than half an hour."""
RELIT_VARIANTS = 60


def main(
    count: Annotated[int, typer.Option(help="Captures of the longer run; the shorter has a quarter.")] = 120,
    workers: Annotated[int, typer.Option(help="Processes of the parallel runs.")] = 2,
) -> None:
    """Print one JSON object."""
    typer.echo(json.dumps(measure(count, workers), indent=2))


def measure(count: int, workers: int) -> dict[str, object]:
    """Simulate a warm-up, then `count` / 4 and `count` captures, then relight kept scenes."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _run(folder / "warm", 2 * workers, workers)  # compiles what is compiled once
        start_s, _ = _run(folder / "start", workers, workers)
        short_s, short_mb = _run(folder / "short", count // 4, workers)
        long_s, long_mb = _run(folder / "long", count, workers)
        rendered_s, relit_s = _relighting(folder / "kept")
    steady = (count - count // 4) / (long_s - short_s)
    return {
        "captures": count,
        "workers": workers,
        "captures_per_second": round(count / long_s, 2),
        "captures_per_second_after_start": round(steady, 2),
        "goal_per_second": GOAL_PER_SECOND,
        "seconds_to_start": round(start_s, 1),
        "peak_memory_mb": {str(count // 4): round(short_mb), str(count): round(long_mb)},
        "one_thread": {
            "rendered_and_photographed_per_second": round(1 / rendered_s, 2),
            "photographed_again_per_second": round(1 / relit_s, 1),
            "ratio": round(rendered_s / relit_s, 1),
        },
    }


def _run(out: Path, count: int, workers: int) -> tuple[float, float]:
    """Seconds and peak memory of the largest process of one `flashproof simulate`."""
    command = [sys.executable, "-m", "flashproof", "simulate", str(out), "--json", "--mix", "balanced"]
    script = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script, *command, "--count", str(count), "--workers", str(workers)],
        check=True,
        capture_output=True,
        text=True,
    )
    kilobytes = int(done.stdout.split()[-1])
    return time.perf_counter() - begin, kilobytes / 1024


def _relighting(folder: Path) -> tuple[float, float]:
    """Seconds per capture that is rendered, and per variant of a kept scene, one thread each."""
    import cv2

    cv2.setNumThreads(1)
    write_simulated_dataset(folder, SimulationSettings(6, mix="balanced", layers=True))
    begin = time.perf_counter()
    write_simulated_dataset(folder.with_name("again"), SimulationSettings(12, seed=1, mix="balanced"))
    rendered = (time.perf_counter() - begin) / 12
    stages = [load_stage(stage_path(folder, index)) for index in range(6)]
    begin = time.perf_counter()
    for variant in range(RELIT_VARIANTS):
        photograph_stage(stages[variant % 6], challenge(f"{variant:032x}"), variant)
    return rendered, (time.perf_counter() - begin) / RELIT_VARIANTS


if __name__ == "__main__":
    typer.run(main)
