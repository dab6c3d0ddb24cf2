"""What a pretraining keeps while it lasts: where it stands, to go on there, and a table of how it went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from sdk_reference.atomic_files import writing_to
from training.errors import RunInvalid
from training.learners import Learner
from training.log_table import read_log, write_log

LAST_FILE = "last.pt"


class Taken(NamedTuple):
    """What lies behind: steps, and the time they took."""

    steps: int = 0
    seconds: float = 0.0


def save(out: Path, taken: Taken, learners: Sequence[Learner]) -> None:
    """Write a checkpoint; the one before stays until this one is whole."""
    with writing_to(out / LAST_FILE):
        beside = out / f".{LAST_FILE}.part"
        torch.save({"taken": taken._asdict(), "learners": [learner.state() for learner in learners]}, beside)
        beside.replace(out / LAST_FILE)


def resume(out: Path, learners: Sequence[Learner]) -> Taken:
    """Let the learners go on where they were saved; return what lies behind, nothing without a checkpoint.

    Raises `RunInvalid` for a checkpoint that cannot be used.
    """
    if not (out / LAST_FILE).is_file():
        return Taken()
    try:
        kept = torch.load(out / LAST_FILE, map_location=learners[0].device, weights_only=True)
        for learner, state in zip(learners, kept["learners"], strict=True):
            learner.restore(state)
        return Taken(int(kept["taken"]["steps"]), float(kept["taken"]["seconds"]))
    except Exception as error:  # torch and pickle raise whatever they stumble over
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RunInvalid(
            found=f"{out / LAST_FILE} that cannot be gone on from ({reason[:200]})",
            expected="the checkpoint of a pretraining of this version",
            remedy="delete the folder and pretrain anew",
        ) from error


def add_line(out: Path, values: Mapping[str, float]) -> None:
    """Add a line to the log; lines of steps that are taken again, after a kill, give way."""
    earlier = [row for row in read_log(out) if float(row["step"]) < values["step"]]
    write_log(out, [*earlier, values], list(values))
