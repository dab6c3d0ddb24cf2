"""`python -m training.controls`: does only the flash tell live from attack in the simulated data?

Trains one small classifier on flash differences and on four inputs that know less, writes how well each separates the
species at every ambient light, and says which goals are met. Not in the paper; the questions are in
docs/simulator_controls.md.

    OUT/controls.json, OUT/controls.md, OUT/controls.png

Exit status: 0 when every goal that could be measured is met, 1 when not, 2 for a command line that makes no sense, 3
and above for errors (`sdk_reference.errors`).

Keys of controls.json:

    format, version, simulated    `simulated` is always true: none of these rates is a real one
    simulation                    `settings`, `simulator_sha256`, `preprocessing`
    training                      settings
    captures                      `made`, `usable`, `accepted`, `subjects`, `left_out` by reason, `counts` by lux and
                                  species
    auc                           a list of `control`, `species`, `lux`, `accepted_only`, `live`, `attacks` and `auc`
                                  (`value`, `low`, `high`; null when there are too few captures)
    goals                         a list of `name`, `value`, `low`, `high`, `relation`, `limit`, `ok` (null when it
                                  could not be measured)
    ok                            whether every goal that could be measured is met
    seconds                       `crops`, `training`
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sdk_reference.atomic_files import write_atomically, write_json
from sdk_reference.errors import FlashproofError, InvalidInput
from simulator.errors import SimulationError
from training.controls_data import Crops, crops_record, make_crops
from training.controls_model import CONTROLS, TrainingSettings, cross_validate
from training.controls_report import (
    ATTACKS,
    REPORT_FORMAT,
    REPORT_VERSION,
    Cell,
    all_met,
    goals,
    measure,
    scene_counts,
)
from training.controls_tables import TITLES, fade_figure, markdown
from training.figures import save_figure
from training.progress import progress_bar
from training.synthesis import SimulationSettings
from training.workers import default_workers

DEFAULT_COUNT = 2400  # 200 subjects; under 30 minutes on two cores
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def controls(
    data: Annotated[Path, typer.Option(help="Folder of the crops: new, or begun with the same settings.")],
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("docs/generated"),
    count: Annotated[int, typer.Option(help="Scenes to simulate, each photographed twice.")] = DEFAULT_COUNT,
    seed: Annotated[int, typer.Option(help="Draws people, scenes and attacks.")] = 0,
    training_seed: Annotated[int, typer.Option(help="Draws folds, weights, batches and permutations.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes, one thread each; 0 takes one per processor.")] = 0,
    cues: Annotated[bool, typer.Option("--cues", help="Let attacks show moiré, borders and bezels.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Train one small classifier on flash differences and on controls that know less; 0 when all goals are met."""
    settings = SimulationSettings(count, seed, mix="balanced", cues=cues, unseen_conditions=False)
    report = run_controls(data, out, settings, TrainingSettings(training_seed), workers or default_workers(), quiet)
    print_summary(report)
    raise typer.Exit(0 if report["ok"] else 1)


def run_controls(
    data: Path, out: Path, settings: SimulationSettings, training: TrainingSettings, workers: int, quiet: bool
) -> dict[str, Any]:
    """Make the crops that are missing, train, write the report and return it."""
    start = time.monotonic()
    with progress_bar("Simulating and aligning", quiet) as progress:
        crops = make_crops(data, settings, workers, progress)
    simulated = time.monotonic()
    with progress_bar("Training classifiers", quiet) as progress:
        scores = cross_validate(crops, training, workers, progress)
    seconds = {"crops": round(simulated - start, 1), "training": round(time.monotonic() - simulated, 1)}
    cells = measure(crops.usable, scores, training.seed)
    report = to_report(crops, crops_record(settings), training, cells, seconds)
    write_json(out / "controls.json", report)
    write_atomically(out / "controls.md", markdown(report).encode())
    save_figure(fade_figure(cells, len(crops.usable)), out / "controls.png")
    return report


def to_report(
    crops: Crops, simulation: dict[str, Any], training: TrainingSettings, cells: list[Cell], seconds: dict[str, float]
) -> dict[str, Any]:
    """Return the content of controls.json; its keys are in this module's docstring."""
    found = goals(cells)
    captures = {
        "made": len(crops.scenes),
        "usable": len(crops.usable),
        "accepted": sum(scene.accepted for scene in crops.usable),
        "subjects": len({scene.subject for scene in crops.usable}),
        "left_out": dict(sorted(Counter(scene.left_out for scene in crops.scenes if scene.left_out).items())),
        "counts": scene_counts(crops.scenes),
    }
    return {
        "format": REPORT_FORMAT,
        "version": REPORT_VERSION,
        "simulated": True,
        "simulation": {key: simulation[key] for key in ("settings", "simulator_sha256", "preprocessing")},
        "training": asdict(training),
        "captures": captures,
        "auc": [cell.to_dict() for cell in cells],
        "goals": [asdict(goal) for goal in found],
        "ok": all_met(found),
        "seconds": seconds,
    }


def print_summary(report: dict[str, Any], console: Console | None = None) -> None:
    """Print the AUC of every control up to 300 lux and over all light, then the goals."""
    console = console or Console()
    captures = report["captures"]
    table = Table(title=f"AUC of live against each species, {captures['usable']} simulated captures", box=None)
    for name in ("control", "lux", *ATTACKS):
        table.add_column(name)
    for control in CONTROLS:
        for lux in ("up to 300", "all"):
            table.add_row(TITLES[control], lux, *(_auc_of(report, control, attack, lux) for attack in ATTACKS))
    console.print(table)
    for goal in report["goals"]:
        console.print(_goal_line(goal), highlight=False)


def _auc_of(report: dict[str, Any], control: str, attack: str, lux: str) -> str:
    wanted = {"control": control, "species": attack, "lux": lux, "accepted_only": False}
    cell = next(cell for cell in report["auc"] if wanted.items() <= cell.items())
    rate = cell["auc"]
    return "–" if rate is None else f"{rate['value']:.3f} ({rate['low']:.3f} to {rate['high']:.3f})"


def _goal_line(goal: dict[str, Any]) -> str:
    if goal["ok"] is None:
        return f"not measured  {goal['name']}"
    said = "met    " if goal["ok"] else "MISSED "
    return f"{said} {goal['name']}: simulated AUC {goal['value']:.3f}, {goal['relation']} {goal['limit']:.3f}"


def main() -> None:
    """Run the command line; errors become one line and their exit status."""
    try:
        app(prog_name="python -m training.controls")
    except FlashproofError as error:
        print(f"controls: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except SimulationError as error:
        print(f"controls: {error}", file=sys.stderr)
        sys.exit(InvalidInput.exit_status)


if __name__ == "__main__":
    main()
