"""The latest photographs of a pretraining, on its device, where each serves several draws.

The first draw shows a photograph as it is, later ones mirrored or not and shifted by whole pixels, which leaves detail
and noise as they are: what `training.photographs` does on a disk, in memory. The paper states no augmentation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sdk_reference.align import TEMPLATE
from training.distillation import Answer

SIDE = TEMPLATE.size


@dataclass(frozen=True)
class Photographs:
    """M captures and their targets, on one device."""

    frames: Tensor
    """(M, N0, 3, 256, 256) uint8 by rank."""
    depth: Tensor
    """(M, s, s) float32."""
    response: Tensor
    """(M, N, 3) float32."""
    species: Tensor
    """(M,) int64: 0 print, 1 replay, 2 mask, −1 live."""
    answer: Answer | None = None
    """A teacher's; None where it has not been asked."""

    def __len__(self) -> int:
        return len(self.species)

    def each(self, change: Callable[..., Tensor], *others: Photographs) -> Photographs:
        """All tensors changed alike, each together with the same one of the others."""
        whole = (self, *others)
        answers = [one.answer for one in whole if one.answer is not None]
        return Photographs(
            frames=change(*(one.frames for one in whole)),
            depth=change(*(one.depth for one in whole)),
            response=change(*(one.response for one in whole)),
            species=change(*(one.species for one in whole)),
            answer=Answer(
                score_logits=change(*(answer.score_logits for answer in answers)),
                frame_depth_logits=change(*(answer.frame_depth_logits for answer in answers)),
            )
            if answers
            else None,
        )

    def at(self, places: Tensor) -> Photographs:
        """The photographs at these places."""
        return self.each(lambda values: values[places])


class PhotographBuffer:
    """A ring of the latest photographs; a draw takes some that nobody has seen and the rest from all of them."""

    def __init__(self, capacity: int, reach_px: int) -> None:
        """`reach_px`: largest shift of a photograph that is shown again."""
        self.capacity, self.reach_px = capacity, reach_px
        self._kept: Photographs | None = None
        self.unseen = self.filled = self._next = 0

    def put(self, taken: Photographs) -> None:
        """Add photographs; the oldest give way. The first ones say of what shapes all are, and on which device."""
        if self._kept is None:
            self._kept = taken.each(lambda values: values.new_empty((self.capacity, *values.shape[1:])))  # fills later
        places = (self._next + torch.arange(len(taken), device=taken.species.device)) % self.capacity
        self._kept.each(lambda kept, values: kept.index_copy_(0, places, values), taken)
        self._next = (self._next + len(taken)) % self.capacity
        self.unseen = min(self.unseen + len(taken), self.capacity)
        self.filled = min(self.filled + len(taken), self.capacity)

    def draw(self, fresh: int, again: int, generator: torch.Generator) -> Photographs:
        """Return `fresh` unseen photographs as they are, oldest first, and `again` drawn from all, shown anew."""
        assert self._kept is not None, "nothing to draw from"
        device = self._kept.species.device
        oldest = (self._next - self.unseen + torch.arange(fresh, device=device)) % self.capacity
        self.unseen -= fresh
        chosen = torch.randint(self.filled, (again,), generator=generator, device=device)
        shown = show_again(self._kept.at(chosen), self.reach_px, generator)
        return self._kept.at(oldest).each(lambda *values: torch.cat(values), shown)


def show_again(photographs: Photographs, reach_px: int, generator: torch.Generator) -> Photographs:
    """Mirror half of the photographs and shift each by up to ± `reach_px` whole pixels, their edges repeated outwards.

    The depth map, and a teacher's, are mirrored with them; a shift is a fraction of one of their pixels and leaves them
    as they are.
    """
    count, device = len(photographs), photographs.species.device
    shifts = torch.randint(-reach_px, reach_px + 1, (2, count), generator=generator, device=device)
    mirrored = torch.rand(count, generator=generator, device=device) < 0.5
    line = torch.arange(SIDE, device=device)
    rows, columns = ((line - shift[:, None]).clamp(0, SIDE - 1) for shift in shifts)
    columns = torch.where(mirrored[:, None], SIDE - 1 - columns, columns)
    which = torch.arange(count, device=device)[:, None, None]
    moved = photographs.frames[which, :, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 4, 1, 2)
    answer = photographs.answer
    if answer is not None:
        answer = replace(answer, frame_depth_logits=_mirrored(answer.frame_depth_logits, mirrored))
    return replace(photographs, frames=moved, depth=_mirrored(photographs.depth, mirrored), answer=answer)


def _mirrored(maps: Tensor, which: Tensor) -> Tensor:
    return torch.where(which.view(-1, *[1] * (maps.ndim - 1)), maps.flip(-1), maps)
