"""How many captures a second one training step of a preset takes in: precision, memory layout, threads side by side.

    python benchmarks/training_speed.py [--preset mobile] [--rounds 5] [--json training.json]

A step is what `training.lightning_module` does for one batch of the recipe: forward, losses, backward, clipping,
optimiser, moving average. Captures are random numbers, so reading and augmenting them is not in it; `log.csv` of a run
has the rate with all of that. Every variant takes one step per round. Nothing else should run meanwhile: the load
average is in the result, and the ratios to the first variant are what to compare with another machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from side_by_side import Estimate, estimate, machine, milliseconds, print_table

from training.lightning_module import moving_average
from training.losses import Targets, total_loss
from training.network import ATRFAS, PRESETS
from training.settings import RECIPES, TrainSettings

WARM_UP_ROUNDS = 1


@dataclass(frozen=True)
class Variant:
    """One way to take a step."""

    precision: str
    channels_last: bool
    threads: int

    @property
    def name(self) -> str:
        """For people."""
        layout = "channels last" if self.channels_last else "channels first"
        return f"{self.precision}, {layout}, {self.threads} thread{'s' * (self.threads > 1)}"


def main(
    preset: Annotated[str, typer.Option(help="Network and recipe.")] = "mobile",
    rounds: Annotated[int, typer.Option(help="Steps of each variant.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write all figures.")] = None,
) -> None:
    """Print a table; write the figures as JSON if asked."""
    load_before = os.getloadavg()[0]
    settings = RECIPES[preset]
    threads = sorted({1, min(2, os.cpu_count() or 1)})
    variants = [Variant(*choice) for choice in product(("fp32", "bf16"), (True, False), threads)]
    times = measure(variants, settings, rounds)
    result = report(variants, times, settings, load_before)
    show(result)
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=2) + "\n")


def measure(variants: Sequence[Variant], settings: TrainSettings, rounds: int) -> dict[Variant, list[float]]:
    """Return milliseconds per step, by variant and round."""
    steps = {
        (precision, layout): step_of(settings, precision, layout)
        for precision, layout in {(variant.precision, variant.channels_last) for variant in variants}
    }
    times: dict[Variant, list[float]] = {variant: [] for variant in variants}
    for number in range(-WARM_UP_ROUNDS, rounds):
        for variant in variants if number % 2 else list(reversed(variants)):
            torch.set_num_threads(variant.threads)
            took = milliseconds(steps[variant.precision, variant.channels_last])
            if number >= 0:
                times[variant].append(took)
    return times


def step_of(settings: TrainSettings, precision: str, channels_last: bool) -> Callable[[], None]:
    """Return a function that takes one step of the recipe on the same batch of random captures."""
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = ATRFAS(PRESETS[settings.preset]).to(memory_format=layout).train()  # type: ignore[call-overload]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimiser]
    optimiser = kind(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    averaged = torch.optim.swa_utils.AveragedModel(network, avg_fn=moving_average(settings.ema_decay), use_buffers=True)
    inputs, targets = random_batch(network, settings.batch_size)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext():
            total = total_loss(network(inputs), targets, settings.loss).total
        optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
        optimiser.step()
        if settings.ema_decay:
            averaged.update_parameters(network)

    return step


def random_batch(network: ATRFAS, captures: int) -> tuple[torch.Tensor, Targets]:
    """Return inputs and targets of so many captures, half of them live."""
    s = network.settings
    live = torch.arange(captures) % 2
    targets = Targets(
        live=live,
        species=torch.where(live == 1, -1, torch.arange(captures) // 2 % 3),
        depth=torch.rand(captures, s.map_size, s.map_size),
        response=torch.rand(captures, s.n_frames, 3) - 0.5,
    )
    return torch.rand(captures, s.n_frames, 3, s.input_size, s.input_size) * 2 - 1, targets


def report(
    variants: Sequence[Variant], times: dict[Variant, list[float]], settings: TrainSettings, load_before: float
) -> dict[str, Any]:
    """Return all figures."""
    arrays = {variant: np.array(values, np.float64) for variant, values in times.items()}
    first = arrays[variants[0]]
    return {
        "preset": settings.preset,
        "batch_size": settings.batch_size,
        "variants": [
            {
                "name": variant.name,
                "captures_per_second": estimate(settings.batch_size * 1e3 / arrays[variant]).to_dict(),
                "times_the_first": estimate(first / arrays[variant]).to_dict(),
            }
            for variant in variants
        ],
        "rounds": len(first),
        "machine": {**machine(load_before), "torch": torch.__version__},
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print_table(
        f"Training step of {result['preset']}, batches of {result['batch_size']}",
        ("variant", "captures/s (95 % interval)", "times the first"),
        (
            (entry["name"], *(Estimate(**entry[name]).text(2) for name in ("captures_per_second", "times_the_first")))
            for entry in result["variants"]
        ),
    )
    found = result["machine"]
    typer.echo(
        f"{found['processor']}, {found['processors']} processors; load average {found['load_average_before']} before"
    )


if __name__ == "__main__":
    typer.run(main)
