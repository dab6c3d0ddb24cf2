"""`flashproof simulate`: writes simulated captures with labels and exact depth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def simulate(
    out: Annotated[Path, typer.Argument(help="New folder, or one begun with the same settings.")],
    count: Annotated[int, typer.Option(help="Captures to make.")],
    seed: Annotated[int, typer.Option(help="Draws people, scenes and attacks.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes; 0 takes one per processor.")] = 0,
    mix: Annotated[
        str, typer.Option(help="paper: 6620 live to 2120 print, 2120 replay, 1800 mask; balanced: half live.")
    ] = "paper",
    size: Annotated[int, typer.Option(help="Width and height of the frames in pixels.")] = 256,
    screen_off: Annotated[
        bool, typer.Option("--screen-off", help="The control set: the screen lights nothing.")
    ] = False,
    cues: Annotated[
        bool, typer.Option("--cues", help="Let attacks show moiré, halftone, borders and bezels, to measure that.")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Keep the rendered scenes, to be photographed again (2 MB each).")
    ] = False,
    lux: Annotated[float | None, typer.Option(help="Illuminance of every room; by default scenes are drawn.")] = None,
    distance_cm: Annotated[float | None, typer.Option(help="Camera to face; by default drawn.")] = None,
    same_conditions: Annotated[
        bool, typer.Option("--same-conditions", help="Let test subjects meet the phones and rooms of training, too.")
    ] = False,
    split: Annotated[
        str | None, typer.Option(help="Only people of this split, e.g. test: a test set of new people at less cost.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object; no progress bar.")] = False,
) -> None:
    """Write simulated captures, labelled, in parallel; killed and started again it goes on where it stopped."""
    import json

    from training.progress import progress_bar
    from training.synthesis import SimulationSettings, write_simulated_dataset
    from training.workers import default_workers

    settings = SimulationSettings(
        count=count,
        seed=seed,
        mix=mix,
        size=size,
        screen_off=screen_off,
        cues=cues,
        layers=layers,
        lux=lux,
        distance_cm=distance_cm,
        unseen_conditions=not same_conditions,
        split=split,
    )
    with progress_bar("Simulating", quiet=json_output) as progress:
        made = write_simulated_dataset(out, settings, workers or default_workers(), progress)
    if json_output:
        print(json.dumps(made.to_dict()))
        return
    species = ", ".join(f"{number} {name}" for name, number in made.species.items())
    print(
        f"{made.captures} simulated captures of {made.subjects} subjects in {made.folder} ({species}; {made.made} new)"
    )
