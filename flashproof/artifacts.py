"""Opens the artifact that a user names, by whatever runs it on this machine.

The runtime opens ONNX and LiteRT files itself, and Core ML packages on Apple systems. Elsewhere the export stage's
evaluator runs a Core ML program, where that stage is installed: good for trying, not what a phone computes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sdk_reference.errors import BackendMissing, BundleMalformed

if TYPE_CHECKING:
    from sdk_reference.bundle import Bundle
    from sdk_reference.manifest import Artifact, Manifest
    from sdk_reference.runtime import Backend

RUNTIMES = {"onnx": "ONNX Runtime", "litert": "LiteRT"}


def artifact_named(manifest: Manifest, name: str | None) -> Artifact:
    """The artifact whose path, or file name without folders, is `name`; the first for None. Raises BundleMalformed."""
    for artifact in manifest.artifacts:
        if name in (None, artifact.file, artifact.file.rsplit("/", 1)[-1]):
            return artifact
    raise BundleMalformed(
        found=f"no artifact {name!r} in the bundle",
        expected=f"one of {', '.join(artifact.file for artifact in manifest.artifacts)}",
        remedy="name one of them with --artifact",
    )


@contextmanager
def opened(bundle: Bundle, artifact: Artifact, threads: int = 1) -> Iterator[tuple[Backend, str]]:
    """The artifact's backend with a word on what runs it; raises BackendMissing, ModelFailed."""
    from sdk_reference.backends import open_backend

    if artifact.format != "coreml":
        yield open_backend(bundle, artifact.file, threads), RUNTIMES[artifact.format]
        return
    try:
        from export.formats import open_artifact
        from export.verify import unpacked
    except ImportError as error:
        raise BackendMissing(
            found=f"a Core ML package, and no package to run it with ({error})",
            expected="the export stage, which evaluates Core ML programs off Apple systems",
            remedy="pip install 'flashproof[export]', or choose an ONNX or LiteRT artifact",
        ) from error
    with unpacked(bundle, artifact) as folder:
        yield open_artifact(artifact.format, artifact.precision, folder / artifact.file, threads)
