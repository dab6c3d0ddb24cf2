"""The latest photographs of a pretraining, on its device, where each serves several draws.

The first draw shows a photograph as it is, later ones mirrored or not and shifted by whole pixels, which leaves detail
and noise as they are: what `training.photographs` does on a disk, for a GPU. The paper states no augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdk_reference.align import TEMPLATE

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

    def __len__(self) -> int:
        return len(self.species)

    def at(self, places: Tensor) -> Photographs:
        """The photographs at these places."""
        return Photographs(self.frames[places], self.depth[places], self.response[places], self.species[places])


class PhotographBuffer:
    """A ring of the latest photographs; a draw takes some that nobody has seen and the rest from all of them."""

    def __init__(self, capacity: int, n0: int, rows: int, map_size: int, device: torch.device, reach_px: int) -> None:
        """`rows`: differences per capture. `reach_px`: largest shift of a photograph that is shown again."""
        self.capacity, self.reach_px = capacity, reach_px
        self.kept = Photographs(
            torch.zeros((capacity, n0, 3, SIDE, SIDE), dtype=torch.uint8, device=device),
            torch.zeros((capacity, map_size, map_size), device=device),
            torch.zeros((capacity, rows, 3), device=device),
            torch.zeros(capacity, dtype=torch.long, device=device),
        )
        self.unseen = self.filled = self._next = 0

    def put(self, taken: Photographs) -> None:
        """Add photographs; the oldest give way."""
        places = (self._next + torch.arange(len(taken), device=taken.species.device)) % self.capacity
        for name, kept in vars(self.kept).items():
            kept[places] = getattr(taken, name)
        self._next = (self._next + len(taken)) % self.capacity
        self.unseen = min(self.unseen + len(taken), self.capacity)
        self.filled = min(self.filled + len(taken), self.capacity)

    def draw(self, fresh: int, again: int, generator: torch.Generator) -> Photographs:
        """Return `fresh` unseen photographs as they are, oldest first, and `again` drawn from all, shown anew."""
        device = self.kept.species.device
        oldest = (self._next - self.unseen + torch.arange(fresh, device=device)) % self.capacity
        self.unseen -= fresh
        chosen = torch.randint(self.filled, (again,), generator=generator, device=device)
        shown = show_again(self.kept.at(chosen), self.reach_px, generator)
        first = self.kept.at(oldest)
        return Photographs(**{name: torch.cat([value, getattr(shown, name)]) for name, value in vars(first).items()})


def show_again(photographs: Photographs, reach_px: int, generator: torch.Generator) -> Photographs:
    """Mirror half of the photographs and shift each by up to ± `reach_px` whole pixels, their edges repeated outwards.

    The depth map is mirrored with them; a shift is a fraction of one of its pixels and leaves it as it is.
    """
    count, device = len(photographs), photographs.species.device
    shifts = torch.randint(-reach_px, reach_px + 1, (2, count), generator=generator, device=device)
    mirrored = torch.rand(count, generator=generator, device=device) < 0.5
    line = torch.arange(SIDE, device=device)
    rows, columns = ((line - shift[:, None]).clamp(0, SIDE - 1) for shift in shifts)
    columns = torch.where(mirrored[:, None], SIDE - 1 - columns, columns)
    which = torch.arange(count, device=device)[:, None, None]
    moved = photographs.frames[which, :, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 4, 1, 2)
    depth = torch.where(mirrored[:, None, None], photographs.depth.flip(-1), photographs.depth)
    return Photographs(moved, depth, photographs.response, photographs.species)
