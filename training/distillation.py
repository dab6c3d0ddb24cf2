"""A teacher for `mobile`: the same network seven times as large, which learns beside it or has learned before.

A mask in dim light has a label that its picture hardly bears out. What a larger network makes of the same picture says
how much of the label is to be seen there, and a small one learns faster from both. The paper has no teacher; the
targets are softened ones as in Hinton et al. 2015, at temperature 1. No phone ever runs the teacher.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sdk_reference.preprocess import PreprocessSettings
from training.batch_relight import to_input
from training.network import ATRFAS, MOBILE, NetworkOutputs, NetworkSettings

TEACHER = replace(
    MOBILE,
    stem_widths=(32, 32),
    expert_input_width=128,
    expert_encoder_widths=(128, 192, 192),
    expert_decoder_widths=(128, 96),
    joint_widths=(64, 96, 192),
    type_gate_widths=(32, 64, 96),
)


def teacher_of(student: NetworkSettings) -> NetworkSettings:
    """The teacher's sizes for the input and the depth map of a student; ValueError where it cannot have them."""
    teacher = replace(TEACHER, n0=student.n0, input_size=student.input_size, depth_bins=student.depth_bins)
    if teacher.map_size != student.map_size:
        raise ValueError(
            f"found a student whose depth map is {student.map_size} pixels wide; expected {teacher.map_size}, the "
            "teacher's for that input; give both the same joint_detail"
        )
    return teacher


@dataclass(frozen=True, eq=False)
class Answer:
    """What a teacher makes of M captures."""

    score_logits: Tensor
    """(M, 2), spoof and live."""
    frame_depth_logits: Tensor
    """(M, 1 or N, bins, s, s)."""

    @classmethod
    def of(cls, outputs: NetworkOutputs) -> Answer:
        """What is learned from of a network's outputs; no gradient goes back through it."""
        return cls(outputs.score_logits.detach(), outputs.frame_depth_logits.detach())


class Teacher:
    """A network that has learned and only teaches: its answer to a photograph is the same however often it is shown."""

    def __init__(self, network: ATRFAS, preprocess: PreprocessSettings) -> None:
        self.network = network.eval().requires_grad_(False)
        self.preprocess = preprocess

    def answer(self, frames: Tensor) -> Answer:
        """Answer to aligned frames (M, N0, 3, 256, 256) by rank, levels 0..255; in float16, to be kept."""
        with torch.no_grad(), torch.autocast(frames.device.type, torch.bfloat16):
            outputs = self.network(to_input(frames.float(), self.preprocess))
        return Answer(outputs.score_logits.half(), outputs.frame_depth_logits.half())


def distillation_loss(student: NetworkOutputs, teacher: Answer) -> Tensor:
    """Cross-entropy of the student's depth bins and of its verdict against the teacher's, means over captures and
    pixels, in nats."""
    depth = _cross_entropy(student.frame_depth_logits, teacher.frame_depth_logits, dim=2)
    return depth + _cross_entropy(student.score_logits, teacher.score_logits, dim=1)


def _cross_entropy(logits: Tensor, target_logits: Tensor, dim: int) -> Tensor:
    target = torch.softmax(target_logits.float(), dim=dim)
    return -(target * torch.log_softmax(logits.float(), dim=dim)).sum(dim=dim).mean()
