"""Weights that a training begins with: of a finished run, or of a pretraining (`training.pretrain`).

    PRETRAINED/model.safetensors    the network's weights
               pretrained.json      its sizes, how its input is made, the weights' hash, what it was trained on

Whoever a model's first weights were trained on, the model was trained on: a run that begins with them keeps their names
in its record (`begun_with`), and an evaluation asks for them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdk_reference.preprocess import PreprocessSettings
from training.checkpoint import load_run, load_weights
from training.errors import RunInvalid
from training.network import ATRFAS, NetworkSettings
from training.run_folder import differences

PRETRAINED_FILE, PRETRAINED_WEIGHTS = "pretrained.json", "model.safetensors"
TRAINED_ON = ("people", "devices", "scenes")
"""Codes of people (`training.data.person_code`) and names of phones and rooms, each sorted."""
PRETRAINED_FORMAT, PRETRAINED_VERSION = "flashproof-pretrained", 1


@dataclass(frozen=True, eq=False)
class FirstWeights:
    """Where they come from, and the network that has them."""

    folder: Path
    settings: NetworkSettings
    preprocess: PreprocessSettings
    network: ATRFAS
    sha256: str
    trained_on: dict[str, Any]
    """`TRAINED_ON` of all trainings that led to them; without those of which nobody knows."""

    def to_dict(self) -> dict[str, Any]:
        """Return what a run's record says of them."""
        return {"sha256": self.sha256, **self.trained_on}


def pretrained_record(
    network: NetworkSettings,
    preprocess: PreprocessSettings,
    sha256: str,
    trained_on: Mapping[str, Collection[str]],
    made: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of pretrained.json; `trained_on` has `TRAINED_ON`, `made` says how."""
    return {
        "format": PRETRAINED_FORMAT,
        "version": PRETRAINED_VERSION,
        "network": network.to_dict(),
        "preprocess": preprocess.to_dict(),
        "weights": {"file": PRETRAINED_WEIGHTS, "sha256": sha256},
        **made,
        "trained_on": {name: sorted(trained_on[name]) for name in TRAINED_ON},
    }


def load_first_weights(folder: Path) -> FirstWeights:
    """Read the weights of a run's folder or a pretraining's; raises `RunInvalid` when they are missing or changed."""
    if not (folder / PRETRAINED_FILE).is_file():
        run = load_run(folder)
        sha256, trained_on = run.record["weights"]["sha256"], of_record(run.record)
        return FirstWeights(folder, run.settings, run.preprocess, run.network, sha256, trained_on)
    try:
        record = json.loads((folder / PRETRAINED_FILE).read_text(encoding="utf-8"))
        if (record["format"], record["version"]) != (PRETRAINED_FORMAT, PRETRAINED_VERSION):
            raise ValueError(f"format {record['format']!r}, version {record['version']!r}")
        settings = NetworkSettings.from_dict(record["network"])
        preprocess = PreprocessSettings.from_dict(record["preprocess"])
        sha256 = str(record["weights"]["sha256"])
        trained_on = {name: sorted(map(str, record["trained_on"][name])) for name in TRAINED_ON}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunInvalid(
            found=f"{folder / PRETRAINED_FILE} that cannot be used ({error})",
            expected=f"a {PRETRAINED_FORMAT} file of version {PRETRAINED_VERSION}",
            remedy="copy the folder again, or pretrain anew with python -m training.pretrain",
        ) from error
    network = ATRFAS(settings).eval()
    load_weights(network, folder / PRETRAINED_WEIGHTS, sha256)
    return FirstWeights(folder, settings, preprocess, network.requires_grad_(False), sha256, trained_on)


def require_same_network(first: FirstWeights, network: NetworkSettings, preprocess: PreprocessSettings) -> None:
    """Raise `RunInvalid` unless the weights fit the network, and its input is made in the same way."""
    found = {"network": first.settings.to_dict(), "preprocess": first.preprocess.to_dict()}
    wanted = {"network": network.to_dict(), "preprocess": preprocess.to_dict()}
    differing = list(differences(found, wanted))
    if differing:
        raise RunInvalid(
            found=f"{first.folder} with the weights of another network or for another input: "
            + ", ".join(f"{name} {a!r}" for name, a, _ in differing[:4]),
            expected=", ".join(f"{name} {b!r}" for name, _, b in differing[:4]),
            remedy="begin with a run or a pretraining of the same preset and number of frames, or without --from",
        )


def began_with_unknown(record: Mapping[str, Any]) -> bool:
    """Whether a run began with weights of which its record does not say what they had seen, as older records do not."""
    began = record.get("training", {}).get("started_from") is not None
    return began and not set(TRAINED_ON) <= set(record.get("begun_with") or {})


def of_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was trained on by its record, its first weights included; a key is missing where nobody knows."""
    own = record.get("data", {}).get("splits", {}).get("train", {})
    if began_with_unknown(record):
        return {}
    first = record.get("begun_with")
    parts = [own] if first is None else [own, first]
    known = [name for name in TRAINED_ON if all(name in part for part in parts)]
    return {name: sorted({value for part in parts for value in part[name]}) for name in known}
