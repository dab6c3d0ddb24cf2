"""`flashproof train`: from data sets to a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    out: Annotated[Path, typer.Argument(help="New folder of the run, or one begun with the same settings.")],
    preset: Annotated[str, typer.Option(help="mobile or paper: the network's sizes and the recipe.")],
    data: Annotated[list[Path], typer.Option(help="A data set, e.g. of `flashproof simulate`; may be repeated.")],
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Captures per step, instead of the recipe's.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest, instead of the recipe's.")] = None,
    looks: Annotated[
        str | None,
        typer.Option(
            help="Relit captures, not the recipe's: `simulated`; `wide` or `patchy`, looks beyond what is simulated."
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from", help="A finished run of the same preset, or a pretraining, whose weights to begin with."
        ),
    ] = None,
    precision: Annotated[str, typer.Option(help="32-true or bf16-mixed.")] = "32-true",
    seed: Annotated[int, typer.Option(help="Draws first weights, order and augmentation.")] = 0,
    accelerator: Annotated[str, typer.Option(help="cpu, gpu, or auto for a GPU where there is one.")] = "auto",
    devices: Annotated[int, typer.Option(help="Training processes per node, one per GPU; 0: all GPUs there are.")] = 1,
    nodes: Annotated[int, typer.Option(help="Machines that train together; run the same command on each.")] = 1,
    strategy: Annotated[str, typer.Option(help="ddp, or auto: ddp for several processes.")] = "auto",
    threads: Annotated[int, typer.Option(help="Threads of torch; 0 shares the processors among the devices.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that align captures; 0 takes one per processor.")] = 0,
    loader_workers: Annotated[int, typer.Option(help="Processes that make batches; 0: none besides this one.")] = 0,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object; no progress bar.")] = False,
) -> None:
    """Train a network, by one process or several; killed and started again it goes on where it last saved itself."""
    import json
    from dataclasses import replace

    from training.augment import LOOKS
    from training.errors import require_choice
    from training.machine import Machine, is_first_process
    from training.settings import RECIPES
    from training.train import train as run_training
    from training.workers import default_workers

    require_choice("preset", preset, tuple(RECIPES))
    if looks is not None:
        require_choice("looks", looks, tuple(LOOKS))
    recipe = RECIPES[preset]
    serves = recipe.augment.photograph_serves
    settings = replace(
        recipe,
        epochs=recipe.epochs if epochs is None else epochs,
        batch_size=recipe.batch_size if batch_size is None else batch_size,
        learning_rate=recipe.learning_rate if learning_rate is None else learning_rate,
        precision=precision,
        seed=seed,
        augment=recipe.augment if looks is None else replace(LOOKS[looks], photograph_serves=serves),
    )
    machine = Machine(
        threads=threads or max(default_workers() // max(devices, 1), 1),
        workers=workers or default_workers(),
        loader_workers=loader_workers,
        quiet=json_output,
        accelerator=accelerator,
        devices=devices,
        nodes=nodes,
        strategy=strategy,
    )
    record = run_training(out, data, settings, machine, start=start)
    if not is_first_process():
        return
    if json_output:
        print(json.dumps(record))
        return
    point = record["operating_point"]
    origin = "simulated" if point["simulated"] else "real"
    print(f"{out}: {record['parameters']:,} parameters, best epoch {record['best_epoch']} of {settings.epochs}")
    print(
        f"threshold {point['threshold']:.4f}, fixed on {point['captures']} {origin} captures of the validation split:"
    )
    for name, rate in point["rates"].items():
        print(f"  {name:14} {rate['value']:7.2%}  ({rate['low']:.2%} to {rate['high']:.2%})  {origin}")
