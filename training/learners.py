"""Networks that learn from the same batches, the first one teaching the others; on a GPU all of a step is one graph.

`mobile` is so small that a GPU would wait for the processor that launches its kernels: captured once as a CUDA graph
and replayed, a step of teacher and student takes a fraction of the time. Nothing here may therefore wait for the GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from sdk_reference.preprocess import PreprocessSettings
from training.batch_relight import to_input
from training.distillation import Answer, distillation_loss
from training.losses import Targets, loss_terms
from training.network import ATRFAS, NetworkOutputs, NetworkSettings, drawn_network

WARM_STEPS = 4
GRADIENT_CLIP = 1.0
FOLLOWING = 0.02  # of the mean of the losses that is reported


class Learner:
    """A network, its optimiser and the moving average of its weights."""

    def __init__(
        self, settings: NetworkSettings, peak: float, weight_decay: float, seed: int, device: torch.device
    ) -> None:
        network = drawn_network(settings, seed)
        self.peak, self.device = peak, device
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = ATRFAS(settings).to(device).eval().requires_grad_(False)
        self.average.load_state_dict(network.state_dict())
        on_gpu = device.type == "cuda"
        self.rate = torch.tensor(0.0, device=device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.rate if on_gpu else 0.0,
            weight_decay=weight_decay,
            fused=on_gpu,
            capturable=on_gpu,
        )
        self.losses = torch.zeros(4, device=device)
        """Running means of classification, depth, gate and response."""
        self._followed = _numbers(self.average, self.network)

    def begin_with(self, weights: Mapping[str, Tensor]) -> None:
        """Learn on from these weights."""
        self.network.load_state_dict(weights)
        self.average.load_state_dict(weights)

    def set_rate(self, rate: float) -> None:
        """Choose the learning rate of the steps that follow."""
        self.rate.fill_(rate)
        if self.device.type != "cuda":
            self.optimiser.param_groups[0]["lr"] = rate

    def answer(self, differences: Tensor) -> NetworkOutputs:
        """The network's outputs, in bf16 where that does no harm."""
        with torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False):
            outputs: NetworkOutputs = self.network(differences)
        return outputs

    def learn(self, outputs: NetworkOutputs, targets: Targets, teacher: Answer | None, share: float) -> None:
        """Take one step; `share` is the part of the weights that their average takes over."""
        terms = loss_terms(outputs, targets)
        total = terms.total if teacher is None else terms.total + distillation_loss(outputs, teacher)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_CLIP)
        self.optimiser.step()
        parts = torch.stack([terms.classification, terms.depth, terms.gate, terms.response]).detach()
        self.losses.lerp_(parts, FOLLOWING)
        averages, weights = self._followed
        torch._foreach_lerp_(averages, weights, share)

    def state(self) -> dict[str, object]:
        """What `restore` goes on from."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, dict[str, object]]) -> None:
        """Go on from a `state`."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.device.type == "cuda":
            self.optimiser.param_groups[0]["lr"] = self.rate


def _numbers(average: nn.Module, network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """All that is averaged, statistics of normalisation included, and what it follows."""
    followed, followers = network.state_dict(), average.state_dict()
    names = [name for name, value in followed.items() if value.is_floating_point()]
    return [followers[name] for name in names], [followed[name].detach() for name in names]


class Steps:
    """Steps of several learners on batches of one shape; a teacher's answers, or the first one's, teach the others."""

    def __init__(self, learners: Sequence[Learner], share: float, preprocess: PreprocessSettings) -> None:
        """`share`: what each step adds of the weights to their moving average."""
        self.learners, self.share, self.preprocess = tuple(learners), share, preprocess
        self._batch: tuple[Tensor, Targets, Answer | None] | None = None
        self._graph: torch.cuda.CUDAGraph | None = None

    def take(self, frames: Tensor, targets: Targets, teacher: Answer | None = None) -> None:
        """Let all learners take one step on a batch of (M, N0, 3, 256, 256) levels 0..255 by rank.

        `teacher`: the answer of one that does not learn; without it the first learner teaches the others.
        """
        if frames.device.type != "cuda":
            self._all(frames, targets, teacher)
            return
        if self._batch is None:
            self._batch = frames.clone(), _copy(targets), None if teacher is None else _copy(teacher)
            self._capture()
        shown, wanted, taught = self._batch
        shown.copy_(frames)
        _fill(wanted, targets)
        if taught is not None and teacher is not None:
            _fill(taught, teacher)
        assert self._graph is not None
        self._graph.replay()

    def _all(self, frames: Tensor, targets: Targets, teacher: Answer | None) -> None:
        differences = to_input(frames.float(), self.preprocess)
        for learner in self.learners:
            outputs = learner.answer(differences)
            learner.learn(outputs, targets, teacher, self.share)
            teacher = teacher or Answer.of(outputs)

    def _capture(self) -> None:
        """Record a step as a graph, after some steps that let CUDA choose its kernels."""
        assert self._batch is not None
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARM_STEPS):
                self._all(*self._batch)
        torch.cuda.current_stream().wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._all(*self._batch)


Tensors = TypeVar("Tensors", Targets, Answer)


def _copy(tensors: Tensors) -> Tensors:
    return type(tensors)(**{name: value.clone() for name, value in vars(tensors).items()})


def _fill(places: Tensors, values: Tensors) -> None:
    for name, place in vars(places).items():
        place.copy_(getattr(values, name))
