"""What a pretraining begins with: weights of an earlier one, and a teacher that learns beside it or only teaches.

The paper has no such stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sdk_reference.preprocess import PreprocessSettings
from training.checkpoint import load_weights
from training.distillation import Teacher, teacher_of
from training.errors import RunInvalid
from training.first_weights import TRAINED_ON, FirstWeights, load_first_weights, require_same_network
from training.learners import Learner
from training.network import ATRFAS, NetworkSettings

TEACHER_FILE = "teacher.safetensors"
TEACHER, STUDENT = "teacher", "student"


@dataclass(frozen=True, eq=False)
class Beginning:
    """Weights of an earlier pretraining, or of a run."""

    first: FirstWeights
    teacher: dict[str, Tensor] | None
    """None where that folder has none, and a teacher begins anew."""
    teacher_sha256: str | None = None
    """Of the file."""

    def hand_out(self, learners: Mapping[str, Learner]) -> None:
        """Let learners go on from here, by name."""
        for name, weights in self._of(learners).items():
            learners[name].begin_with(weights)

    def half_way_back(self, learners: Mapping[str, Learner], share: float) -> None:
        """Move the averages of all that went on from here by this share of the way back."""
        for name, weights in self._of(learners).items():
            towards(learners[name].average, weights, share)

    def _of(self, learners: Mapping[str, Learner]) -> dict[str, Mapping[str, Tensor]]:
        known = {STUDENT: self.first.network.state_dict(), TEACHER: self.teacher}
        return {name: weights for name, weights in known.items() if name in learners and weights is not None}


def read_beginning(folder: Path, network: NetworkSettings, preprocess: PreprocessSettings) -> Beginning:
    """Read weights to begin with. Raises `RunInvalid` for those of another network or of people nobody knows."""
    first = load_first_weights(folder)
    require_same_network(first, network, preprocess)
    if not set(TRAINED_ON) <= set(first.trained_on):
        raise RunInvalid(
            found=f"{folder} with weights of which it does not say what they had seen",
            expected="the people, phones and rooms of their training",
            remedy="begin with a pretraining of this version, or without --from",
        )
    if not (folder / TEACHER_FILE).is_file():
        return Beginning(first, None)
    teacher = ATRFAS(teacher_of(network))
    sha256 = load_weights(teacher, folder / TEACHER_FILE)
    return Beginning(first, teacher.state_dict(), sha256)


def only_teaching(
    beginning: Beginning | None, network: NetworkSettings, preprocess: PreprocessSettings, device: torch.device
) -> Teacher:
    """The teacher of a beginning, which learns no more. Raises `RunInvalid` where there is none."""
    if beginning is None or beginning.teacher is None:
        where = "no folder to begin with" if beginning is None else f"{beginning.first.folder} without {TEACHER_FILE}"
        raise RunInvalid(
            found=f"{where}, for a teacher that only teaches",
            expected="a pretraining's folder with its teacher's weights",
            remedy="begin with one by --from, or let a teacher learn: --teacher-learning-rate above 0",
        )
    teacher = ATRFAS(teacher_of(network))
    teacher.load_state_dict(beginning.teacher)
    return Teacher(teacher.to(device, memory_format=torch.channels_last), preprocess)  # type: ignore[call-overload]


def towards(network: ATRFAS, weights: Mapping[str, Tensor], share: float) -> None:
    """Move all weights and statistics of a network by this share of the way to others."""
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(weights[name].to(value.device), share)
