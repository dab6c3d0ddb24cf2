"""A training on tiny captures as a program of its own, for tests that start it several times or kill it.

    python training_script.py DATA OUT '{"devices": 2, ...}'

The JSON object holds fields of `Machine`; beside them `epochs`, `batch_size`, `double`, and what shall go wrong:
`fail_in_process`, `slow_s` (a rest after each step).
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from tiny_captures import KnowingDetector
from tiny_network import TINY

from training import settings as settings_module
from training.machine import Machine, is_first_process
from training.network import PRESETS
from training.settings import RECIPES
from training.train import train

WIDEN = torch.Tensor.float


class Watch(Callback):
    """Writes the mean losses after each step; does what shall go wrong."""

    def __init__(self, out: Path, wishes: dict[str, Any]) -> None:
        self.path = out.with_name(f"{out.name}.steps")
        self.wishes = wishes

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        """Let what widens half precision widen it to double, where asked."""
        if self.wishes.get("double"):
            torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]

    def on_fit_end(self, trainer: Any, module: Any) -> None:
        """The finished network is judged in single precision, as any."""
        torch.Tensor.float = WIDEN  # type: ignore[method-assign]

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Append one line: {"epoch", "step", "total"}; then rest or fail."""
        if trainer.is_global_zero:
            entry = {"epoch": trainer.current_epoch, "step": batch_idx, "total": module.training_means.sums["total"]}
            with self.path.open("a") as handle:
                handle.write(json.dumps(entry) + "\n")
        time.sleep(self.wishes.get("slow_s", 0.0))
        if trainer.global_rank == self.wishes.get("fail_in_process"):
            raise OSError("this process fails, as the test wants it to")


DOUBLE = "64-true"
"""With the wish `double` a training is in double precision, which no recipe offers: what one process and two sum up in
another order then differs by so little that limits can be tight on any processor. In single precision rounding is
amplified, step by step, where normalisation divides by next to nothing, and more on one processor than on another."""


def main() -> None:
    """Train, and print the record in the first process."""
    settings_module.PRECISIONS = (*settings_module.PRECISIONS, DOUBLE)  # type: ignore[assignment]
    data, out, wishes = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    PRESETS["mobile"] = TINY
    names = Machine.__dataclass_fields__
    chosen = {name: value for name, value in wishes.items() if name in names}
    machine = Machine(**{"quiet": True, "accelerator": "cpu", **chosen})
    batch_size = wishes.get("batch_size", 8)
    epochs = wishes.get("epochs", 2)
    settings = replace(RECIPES["mobile"], epochs=epochs, batch_size=batch_size, seed=4)
    if wishes.get("double"):
        settings = replace(settings, precision=DOUBLE)
    record = train(out, [data], settings, machine, detector_factory=KnowingDetector, callbacks=[Watch(out, wishes)])
    if is_first_process():
        print(json.dumps(record))


if __name__ == "__main__":
    main()
