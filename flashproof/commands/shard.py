"""`flashproof shard`: a prepared data set as tar files that move, stream and train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def shard(
    data: Annotated[Path, typer.Argument(help="A data set: captures, recordings or both.")],
    out: Annotated[Path, typer.Option(help="New folder of shards, or one begun from the same data set.")],
    captures_per_shard: Annotated[int, typer.Option(help="About 1 MB each.")] = 256,
    workers: Annotated[int, typer.Option(help="Processes that align captures; 0 takes one per processor.")] = 0,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object; no progress bar.")] = False,
) -> None:
    """Align a data set and write it as WebDataset shards, which `train` and `evaluate` take as --data."""
    import json

    from training.shard_writing import shard_dataset
    from training.workers import default_workers

    done = shard_dataset(
        data, out, captures_per_shard=captures_per_shard, workers=workers or default_workers(), quiet=json_output
    )
    result = done.to_dict()
    if json_output:
        print(json.dumps(result))
        return
    splits = ", ".join(f"{number} {split}" for split, number in result["splits"].items())
    print(
        f"{result['captures'] - result['refused']['refused']} captures ({splits}) in {result['shards']} shards of "
        f"{out}, {result['bytes'] / 1e9:.2f} GB, {result['written']} new; {result['refused']['refused']} refused"
    )
