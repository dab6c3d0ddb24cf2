"""`flashproof evaluate`: the error rates of a run or a bundle on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[Path, typer.Argument(help="A run folder of `flashproof train`, or a bundle (folder or zip).")],
    data: Annotated[list[Path], typer.Option(help="A data set; may be repeated.")],
    split: Annotated[str, typer.Option(help="train, val, test or all, by a hash of the subject.")] = "test",
    artifact: Annotated[str | None, typer.Option(help="Of a bundle: the model file; by default its first.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of the model; 0 takes one per processor.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that align captures; 0 takes one per processor.")] = 0,
    json_output: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write one JSON object to FILE; - is standard output.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for report.html, its figures and a JSON file.")] = None,
) -> None:
    """Measure the error rates at the threshold that was fixed on the validation split, with 95 % intervals."""
    import json

    from sdk_reference.atomic_files import write_json
    from training.evaluate import evaluate as run_evaluation
    from training.evaluate import table
    from training.evaluation_report import write_report
    from training.machine import Machine
    from training.workers import default_workers

    for_machines = json_output == Path("-")
    machine = Machine(threads=threads or default_workers(), workers=workers or default_workers(), quiet=for_machines)
    result = run_evaluation(model, data, split=split, machine=machine, artifact=artifact)
    if report is not None:
        write_report(result, report)
    if for_machines:
        print(json.dumps(result.to_dict()))
        return
    if json_output is not None:
        write_json(json_output, result.to_dict())
    from rich.console import Console

    Console().print(table(result))
