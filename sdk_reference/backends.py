"""Opens a bundle's artifact with the runtime of its format: ONNX Runtime, LiteRT or Core ML."""

from __future__ import annotations

from sdk_reference.bundle import Bundle
from sdk_reference.coreml_backend import open_coreml_artifact
from sdk_reference.litert_backend import LitertBackend
from sdk_reference.runtime import Backend, OnnxBackend


def open_backend(bundle: Bundle, artifact: str | None = None, threads: int = 1) -> Backend:
    """Open the model at path `artifact` of a bundle (its first for None); raises BackendMissing, ModelFailed."""
    chosen = bundle.manifest.artifact(artifact)
    if chosen.format == "onnx":
        return OnnxBackend(bundle.read(chosen.file), threads, chosen)
    if chosen.format == "litert":
        return LitertBackend(bundle.read(chosen.file), threads, chosen)
    return open_coreml_artifact(bundle, chosen)
