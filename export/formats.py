"""Every format and precision that a network is converted to, and how each is run again to be proved.

The converters are imported when they are asked for: each brings a tool chain that takes seconds to load.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast, get_args

from export.converted import MADE, PRECISIONS, CalibrationSet, Converted, Format, Precision
from export.parity import Gate
from sdk_reference.errors import InvalidInput
from sdk_reference.runtime import Backend, OnnxBackend
from training.network import ATRFAS

FORMATS: Final = cast("tuple[Format, ...]", get_args(Format))


class NothingToConvert(InvalidInput):
    """The formats and precisions that were chosen have no artifact in common."""

    code = "nothing_to_convert"


def chosen_formats(formats: Sequence[Format], precisions: Sequence[Precision]) -> list[Format]:
    """The formats to convert to, in the order of `FORMATS`, whatever the order asked for.

    ONNX fp32 is the artifact that golden vectors are replayed with first, so that it cannot be left out: raises
    NothingToConvert.
    """
    if "onnx" not in formats or "fp32" not in precisions:
        raise NothingToConvert(
            found=f"formats {', '.join(formats)} and precisions {', '.join(precisions)}",
            expected="onnx and fp32 among them: every bundle holds that file, which the others stand beside",
            remedy="add them to --formats and --precisions",
        )
    return [name for name in FORMATS if name in formats]


def left_out(
    formats: Sequence[Format], precisions: Sequence[Precision], made: Sequence[Converted]
) -> tuple[tuple[Format, Precision], ...]:
    """What was asked for and is not there, because no layer of it could be computed in int8 within the gates."""
    there = {(converted.format, converted.precision) for converted in made}
    asked = ((name, precision) for name in chosen_formats(formats, precisions) for precision in MADE[name])
    return tuple(pair for pair in asked if pair[1] in precisions and pair not in there)


def convert(
    name: Format, network: ATRFAS, calibration: CalibrationSet, precisions: Sequence[Precision] = PRECISIONS
) -> list[Converted]:
    """Convert a network to one format, fp32 first; files in which nothing could be int8 are left out.

    Raises ParityError for a file whose structure is not as agreed.
    """
    if name == "onnx":
        from export.onnx_formats import convert_onnx

        return convert_onnx(network, calibration, precisions)
    if name == "litert":
        from export.litert import PATHS, convert_litert

        return convert_litert(network, calibration, [name for name in PATHS if name in precisions])
    from export.coreml import convert_coreml

    return [converted for converted in convert_coreml(network, calibration) if converted.precision in precisions]


def open_artifact(name: Format, precision: Precision, path: Path, threads: int = 1) -> tuple[Backend, str]:
    """Open the artifact at `path`, with a word on what runs it; raises BackendMissing, ModelFailed.

    Core ML off a Mac: the evaluator, with results stored as the package declares them; it takes its threads from torch.
    """
    if name == "onnx":
        return OnnxBackend(path.read_bytes(), threads), "ONNX Runtime"
    if name == "litert":
        from sdk_reference.litert_backend import LitertBackend

        return LitertBackend(path.read_bytes(), threads), "LiteRT"
    from export.coreml_opening import activations_of, open_coreml

    return open_coreml(path, activations_of(precision))


def structure_gates(name: Format, precision: Precision, path: Path, input_shape: tuple[int, ...]) -> list[Gate]:
    """Gate 1 for the artifact at `path`: names, static shapes, ranks and operations as agreed."""
    if name == "onnx":
        from export import onnx

        return onnx.structure_gates(path.read_bytes(), input_shape)
    if name == "litert":
        from export.litert_structure import litert_structure_gates

        return litert_structure_gates(path.read_bytes(), input_shape, precision)
    from export.coreml_gates import coreml_structure_gates

    return coreml_structure_gates(path, input_shape)
