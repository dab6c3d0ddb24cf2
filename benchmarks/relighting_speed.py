"""How long a relit capture takes: one by one on a processor, where photographs serve several draws, and in batches on
a GPU (without one, on the processor).

    python benchmarks/relighting_speed.py [--captures 32] [--serves 3] [--rounds 9] [--json relighting.json]

All ways go from a scene's stored layers to the network's input and draw the same looks (`--looks` of `flashproof
train`). Scenes are rendered first and not timed. The processor's ways are one thread of `training.relight`,
`training.photographs` and `sdk_reference.preprocess`; the batch's is `training.batch_relight`, drawing and sending
included. They take turns; nothing else should run meanwhile: the load average is in the result.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import torch
import typer
from lightning.fabric.utilities import move_data_to_device
from side_by_side import Estimate, estimate, machine, milliseconds, print_table
from torch.utils.data import default_collate

from sdk_reference.preprocess import PreprocessSettings, aligned_to_input
from simulator.instruments import INSTRUMENTS, SPECIES
from simulator.stage import set_stage
from training.augment import LOOKS, AugmentSettings
from training.batch_relight import develop_batch, sheet_of
from training.layer_store import LayerStore, add_layers_line, begin_layers, write_layers
from training.photographs import PhotographStore, show_again
from training.relight import Relit, relit
from training.shooting import draw_shooting

FRAME_PX = 256
FLAT_DEPTH = np.full((64, 64), 0.5, np.float32)
ONE_BY_ONE, SERVED, IN_BATCHES = "one by one on one thread", "a photograph serves", "in batches on"


def main(
    captures: Annotated[int, typer.Option(min=1, help="Captures of a batch.")] = 32,
    serves: Annotated[int, typer.Option(min=2, help="How many draws share a photograph.")] = 3,
    rounds: Annotated[int, typer.Option(min=3, help="Batches each way.")] = 9,
    looks: Annotated[str, typer.Option(help="As of `flashproof train`.")] = "wide",
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write all figures.")] = None,
) -> None:
    """Print a table; write the figures as JSON if asked."""
    load_before = os.getloadavg()[0]
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        ways = contestants(rendered(Path(folder)), LOOKS[looks], captures, serves, device)
        times = {name: np.empty(rounds) for name in ways}
        for number in range(-1, rounds):  # the first round compiles and warms up
            for name in ways if number % 2 else reversed(list(ways)):
                took = milliseconds(ways[name]) / captures
                if number >= 0:
                    times[name][number] = took
    show(report(times, captures, looks, load_before), json_file)


def rendered(folder: Path) -> LayerStore:
    """A store of one scene per species."""
    begin_layers(folder, len(SPECIES), [])
    for row, species in enumerate(SPECIES):
        stage = set_stage(row, row, species, INSTRUMENTS[species][0], FRAME_PX, ambient_lux=60.0)
        add_layers_line(folder, write_layers(folder, row, stage, np.eye(2, 3)))
    return LayerStore(folder)


def contestants(
    store: LayerStore, settings: AugmentSettings, captures: int, serves: int, device: torch.device
) -> dict[str, Callable[[], None]]:
    """All ways to make a batch, by name; every call draws anew."""
    numbers, preprocess = iter(range(1 << 40)), PreprocessSettings()
    photographs, generations = PhotographStore(store.place / "photographs"), count()

    def generators() -> list[np.random.Generator]:
        return [np.random.default_rng(next(numbers)) for _ in range(captures)]

    def anew(place: int, rng: np.random.Generator) -> Relit:
        return relit(store.layers(place % len(SPECIES)), FLAT_DEPTH, settings, rng)

    def one_by_one() -> None:
        for place, rng in enumerate(generators()):
            aligned_to_input(anew(place, rng).aligned, preprocess)

    def served() -> None:
        generation = next(generations)
        for place, rng in enumerate(generators()):
            position, shown = divmod(place, serves)
            photograph = photographs.take(position, generation, partial(anew, position, rng))
            aligned_to_input((show_again(photograph, settings, rng) if shown else photograph).aligned, preprocess)

    def in_batches() -> None:
        sheets = []
        for place, rng in enumerate(generators()):
            stored = store.stored(place % len(SPECIES))
            sheets.append(sheet_of(stored, draw_shooting(stored.phone, settings, rng), rng))
        develop_batch(move_data_to_device(default_collate(sheets), device), preprocess).cpu()

    return {ONE_BY_ONE: one_by_one, f"{SERVED} {serves} draws": served, f"{IN_BATCHES} {device.type}": in_batches}


def report(times: dict[str, np.ndarray], captures: int, looks: str, load_before: float) -> dict[str, Any]:
    """All figures."""
    first = next(iter(times.values()))
    return {
        "captures": captures,
        "looks": looks,
        "ways": [
            {
                "name": name,
                "ms_a_capture": estimate(values).to_dict(),
                "times_as_fast_as_the_first": estimate(first / values).to_dict(),
            }
            for name, values in times.items()
        ],
        "rounds": len(first),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "machine": {**machine(load_before), "torch": torch.__version__},
    }


def show(result: dict[str, Any], json_file: Path | None) -> None:
    """Print the table and write the file."""
    print_table(
        f"Relit captures in batches of {result['captures']}, looks {result['looks']}",
        ("way", "ms a capture (95 % interval)", "times as fast"),
        (
            (way["name"], *(Estimate(**way[name]).text(2) for name in ("ms_a_capture", "times_as_fast_as_the_first")))
            for way in result["ways"]
        ),
    )
    found = result["machine"]
    typer.echo(f"{found['processor']}; {result['gpu'] or 'no GPU'}; load average {found['load_average_before']} before")
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
