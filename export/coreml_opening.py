"""Opens a Core ML package with what this machine has: Core ML itself on macOS, the evaluator of its program elsewhere.

The two prove different things, so whoever reports a figure must say which of them gave it: the text comes along.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from export.converted import Precision
from export.mil import Activations, MilBackend
from sdk_reference.coreml_backend import CoreMLBackend
from sdk_reference.runtime import Backend

EVALUATED: Final = "MIL program evaluated by export/mil.py; the Neural Engine was not involved"
PREDICTED: Final = "Core ML's predictor on macOS, all compute units allowed"


def activations_of(precision: Precision) -> Activations:
    """How the evaluator stores what is between the operations of a package."""
    return "fp32" if precision == "fp32" else "fp16"


def open_coreml(package: Path, activations: Activations = "fp32") -> tuple[Backend, str]:
    """Open the .mlpackage folder `package`; returns what runs it and a text for reports that says what that is.

    `activations` is for the evaluator: how results are stored between operations. The folder may go once this returns.
    Raises BackendMissing or ModelFailed.
    """
    if sys.platform == "darwin":
        return CoreMLBackend(package), PREDICTED
    return MilBackend(package, activations), f"{EVALUATED}; results stored in {activations}"
