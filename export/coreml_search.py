"""Which layers of a Core ML package stay in float besides those that the graph's form says, so that its gates hold.

Whether a layer may be stored or computed with fewer bits hangs on the weights of the day. Each layer's own noise gives
the order: it alone is taken from the coarser program, everything else from the finer one. Then the loudest layers are
kept in float, twice as many each time, and each trial is converted and evaluated; nothing is added up on paper.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from export.converted import Converted, FloatArray
from export.mil import evaluate
from export.mil_file import Operation, Program, Value, read_package
from export.mil_operations import OPERATIONS
from export.parity import Outputs, run_network
from export.precision_gates import LIMITS, limit_gates
from export.sensitivity import Trials, edge_difference
from sdk_reference.manifest import INPUT_NAME
from training.network import ATRFAS

SHARE: Final = 0.4
"""Of each limit that calibration captures may use; the rest is for captures that nobody calibrated on."""

SPARE_DB: Final = 4.0
"""By which signal-to-noise ratios must lie above their limit on calibration captures."""

WEIGHT: Final = "weight"


@dataclass(frozen=True, eq=False)
class Kept:
    """What a search came to."""

    converted: Converted
    kept: tuple[str, ...]
    """Layers kept in float besides those of the graph's form."""


class Judge:
    """The network's answers to the calibration captures, and how far a program is from them."""

    def __init__(self, network: ATRFAS, inputs: Sequence[FloatArray]) -> None:
        self._inputs = inputs
        self._references = [run_network(network, x) for x in inputs]
        self._trials = Trials(inputs, self._references)

    def holds(self, converted: Converted) -> bool:
        """Whether a package passes its gates with a margin; without captures there is nothing to say against it."""
        limits = LIMITS[converted.precision]
        strict = replace(
            limits,
            score=SHARE * limits.score,
            depth=SHARE * limits.depth,
            type=SHARE * limits.type,
            flash_response=SHARE * limits.flash_response,
            min_snr_db=None if limits.min_snr_db is None else limits.min_snr_db + SPARE_DB,
        )

        def accepts(reference: Outputs, found: Outputs) -> bool:
            near = edge_difference(reference, found) <= SHARE * limits.score
            return near and all(gate.ok for gate in limit_gates(strict, [reference], [found]))

        return self._trials.hold(partial(_outputs, program_of(converted)), accepts)

    def loudest_first(self, fine: Converted, coarse: Converted) -> list[str]:
        """The layers that `coarse` does not have as `fine` has them, by the noise in the score of each alone."""
        finer, coarser = program_of(fine), program_of(coarse)
        noise = {
            layer.name: self._noise(one_coarse(finer, coarser, layer.name))
            for layer in layers_of(coarser)
            if layer.name not in coarse.float_layers
        }
        return sorted(noise, key=lambda name: -noise[name])

    def _noise(self, program: Program) -> float:
        """Root of the mean square over captures: the worst capture of a single layer is chance."""
        found = [_outputs(program, x) for x in self._inputs]
        return float(np.sqrt(np.mean(np.square(list(map(edge_difference, self._references, found))))))


def fewest_kept(make: Callable[[Sequence[str]], Converted], fine: Converted, judge: Judge) -> Kept:
    """The package that keeps the fewest layers, of 0, 1, 2, 4 and so on, for `judge` to accept it; or all of them.

    `make` gives the package that keeps the layers named, `fine` is the one it is made from.
    """
    made = make(())
    if judge.holds(made):
        return Kept(made, ())
    loudest = judge.loudest_first(fine, made)
    kept: tuple[str, ...] = ()
    count = 1
    while count < 2 * len(loudest):
        kept, count = tuple(loudest[:count]), 2 * count
        made = make(kept)
        if judge.holds(made):
            break
    return Kept(made, kept)


def _outputs(program: Program, model_input: FloatArray) -> Outputs:
    return evaluate(program, {INPUT_NAME: model_input}, "fp16")[0]


def one_coarse(fine: Program, coarse: Program, name: str) -> Program:
    """The program `fine` with one layer as `coarse` has it: its weights, and fp16 for what it takes and gives."""
    place = [layer.name for layer in layers_of(coarse)].index(name)
    new, old = layers_of(coarse)[place], layers_of(fine)[place]
    weight = f"coarse {WEIGHT}"
    layer = replace(old, arguments={**old.arguments, WEIGHT: (weight,)})
    rounded = {old.name, *old.arguments["x"]} if new.result.dtype == "fp16" else set()
    return replace(
        fine,
        constants={**fine.constants, weight: _weights(coarse, new)},
        operations=tuple(
            _as_fp16(operation) if operation.name in rounded else operation
            for operation in (layer if each.name == old.name else each for each in fine.operations)
        ),
    )


def layers_of(program: Program) -> list[Operation]:
    """The operations with weights, which are the same ones in the same order whatever the precision."""
    return [operation for operation in program.operations if WEIGHT in operation.arguments]


def program_of(converted: Converted) -> Program:
    """The program of a package."""
    with tempfile.TemporaryDirectory() as folder:
        return read_package(converted.write(Path(folder)))


def _weights(program: Program, layer: Operation) -> Value:
    """The weights of a layer as floats, taken out of 8 bits where they are stored so."""
    (name,) = layer.arguments[WEIGHT]
    if name in program.constants:
        return program.constants[name]
    stored = next(operation for operation in program.operations if operation.name == name)
    return OPERATIONS[stored.kind](**{key: program.constants[each] for key, (each,) in stored.arguments.items()})


def _as_fp16(operation: Operation) -> Operation:
    return replace(operation, result=replace(operation.result, dtype="fp16"))
