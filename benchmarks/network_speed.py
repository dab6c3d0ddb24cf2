"""How long the networks take on one thread, side by side in ONNX Runtime: `mobile`, `paper`, and a frame-wise rival.

    python benchmarks/network_speed.py [--rounds 60] [--paper-rounds 6] [--json speed.json]

The rival is what a pair of MiniFASNet's size does on the same capture: one network (plain) and another (with
squeeze-and-excitation) on a crop each, on every one of the capture's five frames, ten passes in all. Weights and code
of MiniFASNet are not ours: `minifasnet_stand_in` has its layer shapes. Time depends on shapes, not on weights, so all
networks here have random ones. The rival is also measured in forms that are faster than what its authors ship: all
frames in one batch, and ReLU in PReLU's place (a lower bound, for ONNX Runtime is slow at PReLU).

Sizes are counted, not quoted, and the stand-in's must be what MiniFASNet's authors state, or this stops. FLOP are
counted for all in the authors' way: multiplications and additions, two for each MAC, of convolutions and linear layers.
Cropping, aligning and the like are in none of the times.

What matters of the machine: nothing else may run (the load average is in the result), and its clock should stand
still. The networks take turns in every round, so that a slow minute hits all of them, and ratios are taken within
rounds; their medians and intervals are what to compare with another machine, not the milliseconds.
"""

from __future__ import annotations

import io
import json
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
import typer
from minifasnet_stand_in import CROP_SIZE, V1SE, V2, multiply_adds, stand_in, without_prelu
from side_by_side import Estimate, estimate, machine, milliseconds, print_table

from export.onnx import export_onnx
from sdk_reference.manifest import INPUT_NAME
from sdk_reference.runtime import open_session
from training.network import ATRFAS, PRESETS

FRAMES = 5
STATED_PARAMETERS = 0.43e6
STATED_FLOP = 81e6
TOLERANCE = 0.03  # the stated figures are rounded, and V1SE has its excitation on top
GOAL_RATIO = 0.5
"""Of `mobile`'s time to the rival's on five frames."""
WARM_UP_ROUNDS = 3
RIVAL = "rival"


@dataclass(frozen=True)
class Contestant:
    """One way to judge a capture."""

    name: str
    parameters: int
    flop: int
    """Per capture: multiplications and additions of all passes."""
    passes: int
    """Calls of ONNX Runtime per capture."""
    run: Callable[[], object]


def main(
    rounds: Annotated[int, typer.Option(help="In each round every network takes its turn.")] = 60,
    paper_rounds: Annotated[int, typer.Option(help="Rounds in which `paper`, which takes seconds, takes part.")] = 6,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write all figures.")] = None,
) -> None:
    """Print a table; write the figures as JSON if asked."""
    load_before = os.getloadavg()[0]
    contestants = [ours("mobile"), ours("paper"), *rivals()]
    times = measure(contestants, rounds, paper_rounds)
    result = report(contestants, times, load_before)
    show(result)
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=2) + "\n")


def ours(preset: str) -> Contestant:
    """Return a preset's network with random weights, exported as it ships."""
    network = ATRFAS(PRESETS[preset]).eval()
    settings = network.settings
    shape = (settings.n_frames, 3, settings.input_size, settings.input_size)
    session = open_session(export_onnx(network), threads=1)
    values = random_values(shape)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    flop = 2 * multiply_adds(network, torch.zeros(1, *shape))
    return Contestant(preset, parameters, flop, 1, lambda: session.run(None, {INPUT_NAME: values}))


def rivals() -> list[Contestant]:
    """Return the pair of stand-ins: frame by frame, with all frames in one batch, and the same with ReLU for PReLU."""
    networks = [stand_in(widths) for widths in (V2, V1SE)]
    one = torch.zeros(1, 3, CROP_SIZE, CROP_SIZE)
    sizes = [(sum(p.numel() for p in network.parameters()), 2 * multiply_adds(network, one)) for network in networks]
    for parameters, flop in sizes:
        require_stated(parameters, STATED_PARAMETERS, "parameters")
        require_stated(flop, STATED_FLOP, "FLOP per crop")
    parameters, flop = sum(p for p, _ in sizes), FRAMES * sum(f for _, f in sizes)
    bounds = [without_prelu(network) for network in networks]
    fewer = sum(p.numel() for network in bounds for p in network.parameters())
    return [
        Contestant(RIVAL, parameters, flop, FRAMES * 2, passes(networks, 1)),
        Contestant(f"{RIVAL}, frames in a batch", parameters, flop, 2, passes(networks, FRAMES)),
        Contestant(f"{RIVAL}, ReLU for PReLU", fewer, flop, FRAMES * 2, passes(bounds, 1)),
        Contestant(f"{RIVAL}, both", fewer, flop, 2, passes(bounds, FRAMES)),
    ]


def require_stated(found: float, stated: float, what: str) -> None:
    """End the benchmark unless the stand-in has the size that MiniFASNet's authors state."""
    if abs(found / stated - 1.0) > TOLERANCE:
        raise SystemExit(f"the stand-in has {found:,.0f} {what}, but {stated:,.0f} are stated: it stands for nothing")


def passes(networks: Sequence[torch.nn.Module], batch: int) -> Callable[[], object]:
    """Return a function that judges a capture's frames, `batch` at a time, by each network."""
    sessions = [open_session(plain_onnx(network, batch), threads=1) for network in networks]
    values = random_values((batch, 3, CROP_SIZE, CROP_SIZE))
    return lambda: [session.run(None, {"crop": values}) for _ in range(FRAMES // batch) for session in sessions]


def plain_onnx(network: torch.nn.Module, batch: int) -> bytes:
    """Return a stand-in as an ONNX file."""
    example = torch.zeros(batch, 3, CROP_SIZE, CROP_SIZE)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # else it says that torchvision is not there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network, (example,), input_names=["crop"], opset_version=18, dynamo=True, verbose=False
        )
    assert program is not None
    content = io.BytesIO()
    program.save(content)
    return content.getvalue()


def random_values(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return values in −1..1."""
    return np.random.default_rng(0).uniform(-1.0, 1.0, shape).astype(np.float32)


def measure(contestants: Sequence[Contestant], rounds: int, paper_rounds: int) -> dict[str, list[float]]:
    """Return milliseconds per capture, by name and round; NaN in rounds without a turn."""
    times: dict[str, list[float]] = {entry.name: [] for entry in contestants}
    paper_every = max(rounds // max(paper_rounds, 1), 1)
    for number in range(-WARM_UP_ROUNDS, rounds):
        order = contestants if number % 2 else list(reversed(contestants))
        for entry in order:
            turn = entry.name != "paper" or number % paper_every == 0
            took = milliseconds(entry.run) if turn else float("nan")
            if number >= 0:
                times[entry.name].append(took)
    return times


def report(contestants: Sequence[Contestant], times: dict[str, list[float]], load_before: float) -> dict[str, Any]:
    """Return all figures."""
    arrays = {name: np.array(values, np.float64) for name, values in times.items()}
    against = {name: estimate(arrays["mobile"] / values) for name, values in arrays.items() if name.startswith(RIVAL)}
    return {
        "networks": [
            {
                "name": entry.name,
                "parameters": entry.parameters,
                "mflop_per_capture": round(entry.flop / 1e6, 1),
                "passes_per_capture": entry.passes,
                "milliseconds": estimate(arrays[entry.name]).to_dict(),
                "mobile_takes_of_it": estimate(arrays["mobile"] / arrays[entry.name]).to_dict(),
            }
            for entry in contestants
        ],
        "goal": {
            "mobile_to_rival": GOAL_RATIO,
            "met": against[RIVAL].high <= GOAL_RATIO,
            "met_against_its_fastest_form": max(ratio.high for ratio in against.values()) <= GOAL_RATIO,
        },
        "rounds": {name: int((~np.isnan(values)).sum()) for name, values in arrays.items()},
        "threads": 1,
        "machine": {**machine(load_before), "onnxruntime": onnxruntime.__version__},
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print_table(
        "One capture, one thread, ONNX Runtime, random weights",
        ("network", "parameters", "MFLOP", "passes", "ms (95 % interval)", "mobile takes of it"),
        (
            (
                entry["name"],
                f"{entry['parameters']:,}",
                f"{entry['mflop_per_capture']:,.0f}",
                str(entry["passes_per_capture"]),
                Estimate(**entry["milliseconds"]).text(2),
                Estimate(**entry["mobile_takes_of_it"]).text(3),
            )
            for entry in result["networks"]
        ),
    )
    goal, found = result["goal"], result["machine"]
    verdicts = ["met" if goal[name] else "missed" for name in ("met", "met_against_its_fastest_form")]
    typer.echo(
        f"Goal, mobile at most {goal['mobile_to_rival']} of the rival's time on {FRAMES} frames: {verdicts[0]}; "
        f"against the rival's fastest form: {verdicts[1]}."
    )
    typer.echo(
        f"{found['processor']}; load average {found['load_average_before']} before, "
        f"{found['load_average_after']} after (1 is this benchmark itself)"
    )


if __name__ == "__main__":
    typer.run(main)
