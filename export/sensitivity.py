"""Which layers of a static int8 file stay in float: found from each layer's own noise, then proved by the gates.

Nothing here knows a file format. A converter makes the layer alone int8 and everything else float, and measures how
far the noise lies below the signal at the network's outputs; a layer that is too loud by itself stays float. Whether
the others can be int8 together is not a matter of arithmetic, as their errors may add up or cancel: the set is grown
from the quietest layer on, and each step is converted and run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from export.parity import FloatArray, Gate, Outputs, snr_db
from export.precision_gates import PrecisionLimits, limit_gates, signal
from sdk_reference.manifest import OUTPUT_NAMES

MIN_LAYER_SNR_DB: Final = 30.0
"""A layer that alone is louder stays float: an error of 3 % of the signal is more than gate 6 gives all of them."""

SURE: Final = 1e-3
"""Scores nearer than this to 0 or 1 say nothing about noise."""

MARGIN: Final = 0.2
"""The share of each limit that calibration captures may use; the rest is for captures that nobody calibrated on."""


def layer_snr_db(references: Sequence[Outputs], found: Sequence[Outputs]) -> float:
    """The smallest signal-to-noise ratio of any output of any capture, in dB; both lists in the same order."""
    return min(
        snr_db(signal(name, reference[name]), signal(name, other[name]))
        for reference, other in zip(references, found, strict=True)
        for name in OUTPUT_NAMES
    )


def edge_difference(reference: Outputs, found: Outputs) -> float:
    """By how much two scores would differ if the capture were as near the edge between live and spoof as can be.

    A sure verdict hides the noise of its score; a capture that nobody calibrated on may not be so sure.
    """
    logits = [np.log(p / (1 - p)) for p in (np.clip(each["score"], SURE, 1 - SURE) for each in (reference, found))]
    return float(np.abs(logits[0] - logits[1]).max()) / 4  # the steepest slope of the logistic function


class Trials:
    """Asks of one file after the other whether it is near enough to the references on every calibration capture.

    A file is refused at the first capture that it misses, and the next file meets that capture first: what breaks one
    choice of layers mostly breaks the next. The answer is the same as if all captures were run.
    """

    def __init__(self, inputs: Sequence[FloatArray], references: Sequence[Outputs]) -> None:
        """`references` are the outputs to be near to, for each of `inputs` in the same order."""
        self._captures = list(zip(inputs, references, strict=True))

    def hold(self, run: Callable[[FloatArray], Outputs], accepts: Callable[[Outputs, Outputs], bool]) -> bool:
        """Whether `accepts` takes the reference and what `run` gives, in this order, for every capture."""
        for place, (model_input, reference) in enumerate(self._captures):
            if not accepts(reference, run(model_input)):
                self._captures.insert(0, self._captures.pop(place))
                return False
        return True


def within_margin(limits: PrecisionLimits) -> Callable[[Outputs, Outputs], bool]:
    """Whether one capture's outputs, second, are within `MARGIN` of the limits of the reference's, first."""
    return lambda reference, found: used_share(limits, [reference], [found]) <= MARGIN


def float_layers(
    snr_by_layer: Mapping[str, float],
    holds: Callable[[frozenset[str]], bool],
    min_snr_db: float = MIN_LAYER_SNR_DB,
) -> tuple[str, ...]:
    """The layers that must stay float, in the order of `snr_by_layer`; all of them where nothing may be int8.

    `holds` says of a set of layers whether the file with just these in int8 passes its gates. It is asked about the
    longest run of quietest layers first, by halving, and then about each louder layer on top of those accepted.
    """
    quietest_first = sorted(snr_by_layer, key=lambda layer: -snr_by_layer[layer])
    candidates = [layer for layer in quietest_first if snr_by_layer[layer] >= min_snr_db]
    count = _longest_run(candidates, holds)
    accepted = set(candidates[:count])
    for layer in candidates[count + 1 :]:  # the one at `count` was found to be too much
        if holds(frozenset(accepted | {layer})):
            accepted.add(layer)
    return tuple(layer for layer in snr_by_layer if layer not in accepted)


def used_share(limits: PrecisionLimits, references: Sequence[Outputs], found: Sequence[Outputs]) -> float:
    """The largest part of any limit that is used up, taking each score to stand at the verdict's edge."""
    shares = [share_of(gate) for gate in limit_gates(limits, references, found)]
    return max(*shares, max(map(edge_difference, references, found)) / limits.score)


def share_of(gate: Gate) -> float:
    """The part of its limit that a gate uses up; of a least signal-to-noise ratio the noise against that allowed."""
    return float(10 ** ((gate.limit - gate.value) / 20)) if gate.name.endswith("dB") else gate.value / gate.limit


def _longest_run(candidates: Sequence[str], holds: Callable[[frozenset[str]], bool]) -> int:
    """How many of the first candidates can be int8 together, taking it that more are never quieter."""
    if not candidates or holds(frozenset(candidates)):
        return len(candidates)
    good, bad = 0, len(candidates)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(frozenset(candidates[:middle])) else (good, middle)
    return good
