"""Opens the artifact that a user names, by whatever runs it on this machine.

The runtime opens ONNX and LiteRT files itself, and Core ML packages on Apple systems. Elsewhere the export stage's
evaluator runs a Core ML program, where that stage is installed: good for trying, not what a phone computes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sdk_reference.errors import BackendMissing

if TYPE_CHECKING:
    from sdk_reference.bundle import Bundle
    from sdk_reference.manifest import Artifact
    from sdk_reference.runtime import Backend

RUNTIMES = {"onnx": "ONNX Runtime", "litert": "LiteRT"}


@contextmanager
def opened(bundle: Bundle, artifact: Artifact, threads: int = 1) -> Iterator[tuple[Backend, str]]:
    """The artifact's backend with a word on what runs it; raises BackendMissing, ModelFailed."""
    from sdk_reference.backends import open_backend
    from sdk_reference.bundle import unpacked

    if artifact.format != "coreml":
        yield open_backend(bundle, artifact.file, threads), RUNTIMES[artifact.format]
        return
    try:
        from export.formats import open_artifact
    except ImportError as error:
        raise BackendMissing(
            found=f"a Core ML package, and no package to run it with ({error})",
            expected="the export stage, which evaluates Core ML programs off Apple systems",
            remedy="pip install 'flashproof[export]', or choose an ONNX or LiteRT artifact",
        ) from error
    with unpacked(bundle, artifact) as path:
        yield open_artifact(artifact.format, artifact.precision, path, threads)
