"""How fast prepared captures are read at random, from the store beside a data set and from its shards, side by side.

    python benchmarks/shard_speed.py [--count 2000] [--folder DIR]

The captures are noise of the right size: reading does not look at them. Both are read in the same shuffled order, in
turns, on one thread; `cold` after the system was told to forget the files (Linux only; a disk's own cache remains),
`warm` from its cache. `examples` includes all that training does with a capture on the processor, at 128 pixels with
augmentation. `growth_mb` is the memory that belongs to the process alone (RssAnon, Linux): it must not grow.
"""

from __future__ import annotations

import json
import os
import pickle
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from flash_sequencer.plan import default_plan
from sdk_reference.landmarks import FaceMeshDetector
from sdk_reference.preprocess import PreprocessSettings
from sdk_reference.quality import QualityLimits
from sdk_reference.response import expected_response
from training.augment import AugmentSettings
from training.data import CaptureDataset, join_stores
from training.prepare import preparation_of
from training.shard_checks import open_shards
from training.shard_writing import write_shards
from training.store import (
    ALIGNED_FILE,
    DEPTH_FILE,
    AlignedStore,
    PreparedStore,
    StoredCapture,
    begin_store,
    hash_of_frames,
    open_array,
)

N0, SIZE, MB = 5, 256, 1e6
ROUNDS = 3
EXAMPLES = 200
QUALITY = {
    "flash_snr": 9.0,
    "flash_to_ambient": 1.0,
    "motion_px": 1.0,
    "clipped_fraction": 0.0,
    "face_width_px": 120.0,
    "exposure_drift": 0.0,
}


def main(
    count: Annotated[int, typer.Option(help="Captures; about 1 MB each, twice on disk.")] = 2000,
    folder: Annotated[Path | None, typer.Option(help="Where to write them; by default a temporary folder.")] = None,
) -> None:
    """Print one JSON object."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        typer.echo(json.dumps(measure(Path(place), count), indent=2))


def measure(place: Path, count: int) -> dict[str, Any]:
    """Write a store and its shards, then read both."""
    store = noise_store(place / "data" / "prepared", count)
    preparation = preparation_of(FaceMeshDetector)
    written_s = seconds(lambda: write_shards(fresh(store), place / "shards", preparation))
    begun = time.perf_counter()
    shards = open_shards(place / "shards", preparation)
    checked_s = time.perf_counter() - begun
    size_mb = sum(path.stat().st_size for path in (place / "shards").iterdir()) / MB
    both: dict[str, PreparedStore] = {"memmap": store, "shards": fresh(shards)}
    del shards
    return {
        "captures": count,
        "megabytes": round(size_mb),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "writing_mb_per_second": round(size_mb / written_s),
        "checking_mb_per_second": round(size_mb / checked_s),
        "checking_12660_captures_seconds": round(checked_s * 12_660 / count, 1),
        "read_per_second": {
            "cold": in_turns(both, lambda part, turn: read_seconds(part, turn, place), count),
            "warm": in_turns(both, read_seconds, count),
        },
        "examples_per_second": in_turns(both, example_seconds, EXAMPLES),
        "growth_mb": {name: round(growth(part), 1) for name, part in both.items()},
    }


def fresh(store: PreparedStore) -> PreparedStore:
    """Return the store as a loader's worker gets it, with nothing opened."""
    copied: PreparedStore = pickle.loads(pickle.dumps(store))
    return copied


def noise_store(folder: Path, count: int) -> AlignedStore:
    """Write a prepared store of noise; every fourth capture is an attack."""
    begin_store(folder, {"key": "noise"}, (count, N0, 3, SIZE, SIZE))
    aligned, depth = (open_array(folder / name, writable=True) for name in (ALIGNED_FILE, DEPTH_FILE))
    rng = np.random.default_rng(0)
    response = np.asarray(expected_response(default_plan()), np.float64).tolist()
    records = []
    for row in range(count):
        aligned[row] = rng.integers(0, 256, aligned.shape[1:], np.uint8)
        depth[row] = rng.random(depth.shape[1:], np.float32)
        labels = {"simulated": True, "subject": f"noise-{row % 320}", "species": "live" if row % 4 else "print"}
        name, digest = f"{row:06d}.zip", hash_of_frames(aligned[row])
        records.append(StoredCapture(row, name, 1, digest, labels, None, response, QUALITY, digest))
    for array in (aligned, depth):
        array.flush()
    return AlignedStore(folder, records)


def in_turns(
    stores: dict[str, PreparedStore], work: Callable[[PreparedStore, int], float], count: int
) -> dict[str, float]:
    """How often a second `work` does one of its `count` things: the best of some rounds in which stores take turns."""
    taken: dict[str, list[float]] = {name: [] for name in stores}
    for turn in range(ROUNDS):
        for name, store in stores.items():
            taken[name].append(work(store, turn))
    return {name: round(count / min(times), 1) for name, times in taken.items()}


def read_seconds(store: PreparedStore, seed: int, forgotten: Path | None = None) -> float:
    """Seconds to copy every capture once, in a shuffled order, as a batch would."""
    rows = np.random.default_rng(seed).permutation([record.row for record in store.usable])
    opened = fresh(store)
    if forgotten is not None:  # while nothing is mapped: what a process has mapped is not dropped
        forget(forgotten)

    def read() -> None:
        for row in rows:
            np.array(opened.aligned_row(int(row))), np.asarray(opened.depth_row(int(row)), np.float32)

    return seconds(read)


def example_seconds(store: PreparedStore, seed: int) -> float:
    """Seconds to make some examples as training makes them."""
    data = join_stores([fresh(store)], QualityLimits())
    dataset = CaptureDataset(data.stores, data.usable("train"), PreprocessSettings(), AugmentSettings(), seed=0)
    draws = np.random.default_rng(seed).permutation(len(dataset))[:EXAMPLES]
    return seconds(lambda: [dataset[place, int(position)] for place, position in enumerate(draws)] and None)


def growth(store: PreparedStore) -> float:
    """Megabytes of its own that the process gains by reading everything once more."""
    read_seconds(store, 6)
    before = own_memory_mb()
    read_seconds(store, 7)
    return own_memory_mb() - before


def own_memory_mb() -> float:
    """Memory that belongs to this process and to no file, MB; NaN where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("RssAnon")), float("nan"))


def forget(place: Path) -> None:
    """Ask the system to drop the files from its cache."""
    for path in place.rglob("*"):
        if path.is_file() and hasattr(os, "posix_fadvise"):
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    typer.run(main)
