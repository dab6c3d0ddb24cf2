"""What evaluation needs to know of a run or a bundle, so that it can treat both alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from sdk_reference.backends import open_backend
from sdk_reference.bundle import load_bundle
from sdk_reference.errors import N0Mismatch
from sdk_reference.preprocess import PreprocessSettings
from sdk_reference.quality import QualityLimits
from sdk_reference.response import COSINE_LIMIT, MAX_DISAGREEING_FRAMES
from training.checkpoint import RUN_FILE, SETTINGS_FILE, Run, load_run
from training.first_weights import began_with_unknown, of_record
from training.network import ATRFAS
from training.scoring import Scorer, backend_scorer, network_scorer

POOLED_SIDE = 8  # a depth map without a network behind it is averaged down to so many pixels a side
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Model:
    """A run or a bundle, ready to be judged."""

    kind: str
    """`run` or `bundle`."""
    name: str
    scorer: Scorer
    n0: int
    preprocess: PreprocessSettings
    limits: QualityLimits
    threshold: float
    features: Callable[[FloatArray], FloatArray]
    """Depth maps (n,h,w) → (n,F), what stands for each capture in the feature scatter."""
    feature_name: str
    """What these features are, in words."""
    trained_on: Mapping[str, Any]
    """What is recorded of the training data: `sha256`, and of a run `splits`, `led_to_by`, all that it and its first
    weights were trained on (`training.first_weights.TRAINED_ON`), and `began_with_unknown`."""
    cosine_limit: float = COSINE_LIMIT
    max_disagreeing: int = MAX_DISAGREEING_FRAMES


def open_model(path: Path, artifact: str | None = None, threads: int = 1) -> Model:
    """Open a run folder, or else a bundle. Raises `RunInvalid` or a bundle error."""
    if (path / RUN_FILE).is_file() or (path / SETTINGS_FILE).is_file():
        return _run_model(path, load_run(path))
    return _bundle_model(path, artifact, threads)


def _run_model(path: Path, run: Run) -> Model:
    return Model(
        kind="run",
        name=path.resolve().name,
        scorer=network_scorer(run.network),
        n0=run.settings.n0,
        preprocess=run.preprocess,
        limits=run.limits,
        threshold=run.threshold,
        features=lambda depth: head_features(run.network, depth),
        feature_name="the network's features before its last linear layer",
        trained_on={
            **run.record.get("data", {}),
            "led_to_by": of_record(run.record),
            "began_with_unknown": began_with_unknown(run.record),
        },
        cosine_limit=run.response_rule.cosine_limit,
        max_disagreeing=run.response_rule.max_disagreeing_rows,
    )


def _bundle_model(path: Path, artifact: str | None, threads: int) -> Model:
    bundle = load_bundle(path)
    manifest = bundle.manifest
    return Model(
        kind="bundle",
        name=bundle.identity,
        scorer=backend_scorer(open_backend(bundle, artifact, threads)),
        n0=manifest.n0,
        preprocess=manifest.preprocess,
        limits=manifest.quality_limits,
        threshold=manifest.artifact(artifact).operating_point.threshold,
        features=pooled,
        feature_name=f"the depth map, averaged to {POOLED_SIDE}×{POOLED_SIDE}",
        trained_on={"sha256": manifest.training.data_sha256},
        cosine_limit=manifest.response_rule.cosine_limit,
        max_disagreeing=manifest.response_rule.max_disagreeing_rows,
    )


def head_features(network: ATRFAS, depth: FloatArray) -> FloatArray:
    """Return (n,F) float32: what the classification head's last linear layer is given for depth maps (n,S/4,S/4).

    The head sees nothing but the depth map (section 1.5), so the maps are all that is needed.
    """
    detail = network.settings.joint_detail  # whose repeated values the head has not seen
    own = np.ascontiguousarray(depth[:, ::detail, ::detail])
    seen: list[torch.Tensor] = []
    hook = network.classification_head.linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        with torch.inference_mode():
            network.classification_head(torch.from_numpy(own)[:, None])
    finally:
        hook.remove()
    return np.asarray(seen[0].float().numpy(), np.float32)


def pooled(depth: FloatArray) -> FloatArray:
    """Return (n,64) float32: depth maps (n,h,w) averaged to 8×8."""
    size = (POOLED_SIDE, POOLED_SIDE)
    small = [cv2.resize(one, size, interpolation=cv2.INTER_AREA).ravel() for one in depth]
    return np.asarray(small, np.float32)


def require_n0(n0: int, model: Model) -> None:
    """Raise `N0Mismatch` unless the data has as many frames per capture as the model takes."""
    if n0 != model.n0:
        raise N0Mismatch(
            found=f"captures of {n0} frames",
            expected=f"{model.n0}, the number that {model.name} was trained for",
            remedy="evaluate on captures of a plan with that many colours",
        )
