"""A teacher for `mobile`: the same network seven times as large, trained beside it on the same batches.

A mask in dim light has a label that its picture hardly bears out. What a larger network makes of the same picture says
how much of the label is to be seen there, and a small one learns faster from both. The paper has no teacher; the
targets are softened ones as in Hinton et al. 2015, at temperature 1. No phone ever runs the teacher.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from training.network import MOBILE, NetworkOutputs, NetworkSettings

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


def distillation_loss(student: NetworkOutputs, teacher: NetworkOutputs) -> Tensor:
    """Cross-entropy of the student's depth bins and of its verdict against the teacher's, means over captures and
    pixels, in nats; no gradient reaches the teacher."""
    depth = _cross_entropy(student.frame_depth_logits, teacher.frame_depth_logits, dim=2)
    return depth + _cross_entropy(student.score_logits, teacher.score_logits, dim=1)


def _cross_entropy(logits: Tensor, target_logits: Tensor, dim: int) -> Tensor:
    target = torch.softmax(target_logits.detach().float(), dim=dim)
    return -(target * torch.log_softmax(logits.float(), dim=dim)).sum(dim=dim).mean()
