"""Gate 7, the negative control: with everything in int8 the gate for static int8 must close.

A gate that nothing can miss proves nothing. So each export also quantizes what must not be, the softmax over depth bins
and all that follows, and runs it as it runs the real files. If that file passes, the limits see no harm where there is
some (EXPORT.md measured depths wrong by 0.2), and the export ends.
"""

from __future__ import annotations

from typing import Final

from export.converted import CalibrationSet, Converted
from export.describe import PackSettings
from export.parity import Gate, at_least
from export.precision_gates import LIMITS, limit_gates
from export.proof import References, as_outputs
from sdk_reference.errors import ModelFailed
from sdk_reference.runtime import OnnxBackend
from training.network import ATRFAS

NAME: Final = "negative control, everything int8: gates of static int8 that it misses"


def control_gates(
    network: ATRFAS, fp32: Converted, calibration: CalibrationSet, references: References, settings: PackSettings
) -> tuple[Gate, ...]:
    """The gate of the control made from the ONNX file in `fp32`, open when it misses one of its own; none where nothing
    is quantized statically."""
    if "int8_static" not in settings.precisions:
        return ()
    from export.onnx_formats import convert_control

    try:
        control = convert_control(network, fp32, calibration)
        backend = OnnxBackend(control.files[control.path])
        found = [as_outputs(backend.run(x)) for x in references.inputs]
    except ModelFailed:
        return (at_least(NAME, 1, 1),)  # a file that does not even run is noticed as well
    gates = limit_gates(LIMITS["int8_static"], references.outputs, found)
    return (at_least(NAME, sum(not gate.ok for gate in gates), 1),)
