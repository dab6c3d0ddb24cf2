"""The folder of a training run: what is saved, and how a network is rebuilt from it.

    RUN/settings.json        everything that decides the result; written first, compared when a run is taken up again
        log.csv              one line per epoch
        checkpoints/         last.ckpt to take the training up again, best.safetensors of the best epoch so far
        photographs/         what waits for its next draw (`training.photographs`); gone when the run is finished
        model.safetensors    the weights that the run ends with
        run.json             the record; written last: a run without it is not finished

Weights are safetensors and settings JSON: nothing that is loaded here can execute code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from sdk_reference.atomic_files import write_atomically, write_json
from sdk_reference.manifest import ResponseRule
from sdk_reference.preprocess import PreprocessSettings
from sdk_reference.quality import QualityLimits
from training.errors import RunInvalid
from training.network import ATRFAS, NetworkSettings

RUN_FORMAT = "flashproof-run"
RUN_VERSION = 1
RUN_FILE = "run.json"
WEIGHTS_FILE = "model.safetensors"
SETTINGS_FILE = "settings.json"
LOG_FILE = "log.csv"
CHECKPOINTS_FOLDER = "checkpoints"
PHOTOGRAPHS_FOLDER = "photographs"
LAST_FILE = f"{CHECKPOINTS_FOLDER}/last.ckpt"
BEST_FILE = f"{CHECKPOINTS_FOLDER}/best.safetensors"
CHECKPOINT_STAMP = "flashproof"  # key of last.ckpt under which our own part stands
CHECKPOINT_VERSION = 1


@dataclass(frozen=True)
class Run:
    """A finished training, ready to be used."""

    folder: Path
    settings: NetworkSettings
    preprocess: PreprocessSettings
    limits: QualityLimits
    """A capture beyond these is not judged; set from the validation split (`training.gates`)."""
    response_rule: ResponseRule
    """From how many differences that answer another colour on a capture is an attack; set likewise."""
    network: ATRFAS
    """In evaluation mode, on the CPU, float32."""
    record: dict[str, Any]
    """All of run.json."""

    @property
    def threshold(self) -> float:
        """The score from which on a capture counts as live, chosen on the validation split."""
        return float(self.record["operating_point"]["threshold"])


def save_weights(network: ATRFAS, path: Path, metadata: Mapping[str, str] | None = None) -> str:
    """Write the network's parameters and buffers as safetensors, atomically; returns the file's sha256."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    content = save(tensors, dict(metadata or {}))
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def load_weights(network: ATRFAS, path: Path, sha256: str | None = None) -> str:
    """Fill `network` with the weights at `path`; returns the file's sha256.

    Raises `RunInvalid` unless all are there, fit and are finite, and the file is the one with `sha256`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _invalid(f"no {path} ({error.strerror})", "the weights of a finished run") from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise _invalid(f"{path} with sha256 {found}", f"{sha256}, as {RUN_FILE} says")
    try:
        tensors = load(content)
        network.load_state_dict(tensors, strict=True)
    except (SafetensorError, RuntimeError, ValueError, KeyError) as error:
        raise _invalid(f"{path} that does not fit: {str(error)[:400]}", "the tensors of this architecture") from error
    broken = sorted(name for name, tensor in tensors.items() if not _is_finite(tensor))
    if broken:
        raise _invalid(f"{path} with values that are not finite in {', '.join(broken[:3])}", "finite weights")
    return found


def require_same_tensors(path: Path, found: Mapping[str, Sequence[int]], network: Mapping[str, Tensor]) -> None:
    """Raise `RunInvalid` unless a file's tensors ({name: shape}) are those of `network` (its state_dict)."""
    wanted = {name: list(tensor.shape) for name, tensor in network.items()}
    shapes = {name: list(shape) for name, shape in found.items()}
    for name in sorted(wanted.keys() | shapes.keys()):
        if wanted.get(name) != shapes.get(name):
            raise _invalid(
                f"{path} of another architecture: {name} is {shapes.get(name, 'missing')}",
                f"{wanted.get(name, 'no such tensor')}, as in the network to be trained",
            )


def require_resumable(path: Path, state: Mapping[str, Tensor]) -> None:
    """Raise `RunInvalid` unless last.ckpt can be read and holds the tensors of `state` (the training's state_dict)."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        version = content[CHECKPOINT_STAMP]["version"]
        shapes = {name: tensor.shape for name, tensor in content["state_dict"].items()}
    except Exception as error:  # torch and pickle raise whatever they stumble over
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise _invalid(f"{path} that cannot be read ({reason[:200]})", "a checkpoint of this version") from error
    if version != CHECKPOINT_VERSION:
        raise _invalid(f"{path} of version {version}", f"a checkpoint of version {CHECKPOINT_VERSION}")
    require_same_tensors(path, shapes, state)


def require_best(path: Path, network: ATRFAS) -> None:
    """Raise `RunInvalid` unless the best weights so far are those of such a network."""
    try:
        with safe_open(str(path), framework="pt") as weights:
            shapes = {name: weights.get_slice(name).get_shape() for name in weights.keys()}
    except (SafetensorError, OSError) as error:
        raise _invalid(f"{path} that cannot be read ({error})", "the best weights so far") from error
    require_same_tensors(path, shapes, network.state_dict())


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def save_run(folder: Path, network: ATRFAS, record: Mapping[str, Any]) -> None:
    """Write weights and record; `record` holds all keys but those of the file format itself."""
    sha256 = save_weights(network, folder / WEIGHTS_FILE)
    head = {"format": RUN_FORMAT, "version": RUN_VERSION, "name": folder.resolve().name}
    write_json(folder / RUN_FILE, {**head, **record, "weights": {"file": WEIGHTS_FILE, "sha256": sha256}})


def load_run(path: str | Path) -> Run:
    """Rebuild a finished run from its folder; raises `RunInvalid` when it is missing, unfinished or changed."""
    folder = Path(path)
    record = read_record(folder)
    try:
        settings = NetworkSettings.from_dict(record["network"])
        preprocess = PreprocessSettings.from_dict(record["preprocess"])
        limits = QualityLimits(**record["quality_limits"])
        rule = ResponseRule.model_validate({name: record["response_rule"][name] for name in ResponseRule.model_fields})
        sha256, threshold = record["weights"]["sha256"], record["operating_point"]["threshold"]
    except (KeyError, TypeError, ValueError) as error:
        raise _invalid(
            f"{folder / RUN_FILE} with unusable settings ({error})", "the record of a finished run"
        ) from error
    if not (isinstance(threshold, float) and 0.0 < threshold <= 1.0):
        raise _invalid(f"{folder / RUN_FILE} with threshold {threshold!r}", "a threshold above 0 and at most 1")
    network = ATRFAS(settings).eval()
    load_weights(network, folder / WEIGHTS_FILE, sha256)
    return Run(folder, settings, preprocess, limits, rule, network.requires_grad_(False), record)


def read_record(folder: Path) -> dict[str, Any]:
    """Return run.json; raises `RunInvalid`."""
    path = folder / RUN_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        state = (
            "unfinished (take it up again with the same command)" if (folder / SETTINGS_FILE).is_file() else "no run"
        )
        raise _invalid(f"no {path}: {state}", "the folder of a finished run") from error
    except (OSError, ValueError) as error:
        raise _invalid(f"{path} that cannot be read ({error})", "the record of a finished run") from error
    if not isinstance(record, dict) or (record.get("format"), record.get("version")) != (RUN_FORMAT, RUN_VERSION):
        raise _invalid(f"{path} of another format", f"format {RUN_FORMAT}, version {RUN_VERSION}")
    return record


def _invalid(found: str, expected: str) -> RunInvalid:
    return RunInvalid(found=found, expected=expected, remedy="check the path, copy the run again or train anew")
