"""The photographs of a pretraining: new ones of whatever has been rendered so far, and old ones shown again.

On a GPU photographs are taken on a queue of their own: the processor waits for them again and again, and the networks
learn on meanwhile from those that are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from training.augment import AugmentSettings
from training.distillation import Teacher
from training.errors import SettingOutOfRange
from training.fresh_scenes import SceneSupply
from training.network import NetworkSettings
from training.photograph_buffer import PhotographBuffer, Photographs
from training.photographs import SHIFT_SHARE
from training.pretrain_draws import ScenePool, Sheets, Stream, loader, photograph_judgeable

FIRST_SCENES = 24
"""Of each species, before the first batch is drawn."""


class Aside:
    """A second queue of a GPU's work; on a processor everything is done in turn anyway."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._free: torch.cuda.Event | None = None
        self.release()

    def release(self) -> None:
        """What has been queued so far must be done before anything that is begun aside from now on."""
        if self._stream is not None:
            self._free = torch.cuda.current_stream().record_event()

    @contextmanager
    def work(self) -> Iterator[None]:
        """Queue what is in the block aside, and whatever follows the block after it."""
        if self._stream is None or self._free is None:
            yield
            return
        self._stream.wait_event(self._free)
        with torch.cuda.stream(self._stream):
            yield
            done = self._stream.record_event()
        torch.cuda.current_stream().wait_event(done)


class PhotographStock:
    """Photographs that batches are made of; it grows while scenes are rendered."""

    def __init__(
        self,
        rendered: SceneSupply,
        augmentation: AugmentSettings,
        network: NetworkSettings,
        device: torch.device,
        *,
        kept: int,
        at_once: int,
        loader_workers: int,
        seed: int,
        teacher: Teacher | None = None,
    ) -> None:
        """`kept` photographs at most, a megabyte each, of which `at_once` are taken together. `teacher`: whom to ask
        about each."""
        self.rendered, self.pool = rendered, ScenePool(device)
        self.buffer = PhotographBuffer(kept, reach_px=int(augmentation.shift_px * SHIFT_SHARE))
        self.teacher = teacher
        self.photographed = self.judgeable = 0
        self._aside = Aside(device)
        self._generator = torch.Generator(device=device).manual_seed(seed)
        requests = Stream(self.pool, at_once, seed)
        self._loader = loader(Sheets(augmentation, network.map_size), requests, loader_workers)
        self._drawn: Iterator[dict[str, Any]] | None = None

    def begin(self) -> None:
        """Wait for the first scenes of every species; only then may loaders, which draw ahead, begin.

        Raises `SettingOutOfRange` when all has been rendered and a species is missing.
        """
        while self.pool.scarcest < FIRST_SCENES and not self.rendered.is_exhausted:
            self.fetch(1, wait=True)
        if not self.pool.scarcest:
            raise SettingOutOfRange(
                found=f"{len(self.pool)} scenes, too few to have one of every kind",
                expected="scenes of people, prints, replays and masks",
                remedy="choose more --scenes",
            )
        self._drawn = iter(self._loader)

    def fetch(self, most: int, wait: bool = False) -> None:
        """Take in scenes that have been rendered."""
        scenes = self.rendered.fetch(most, wait)
        with self._aside.work():
            for scene in scenes:
                self.pool.add(scene)

    def draw(self, unseen: int, again: int) -> Photographs:
        """Return `unseen` photographs that no draw has shown, and `again` of all that are kept."""
        assert self._drawn is not None, "begin first"
        while self.buffer.unseen < unseen or self.buffer.filled < unseen + again:
            drawn = next(self._drawn)
            with self._aside.work():
                good = photograph_judgeable(drawn, self.pool)
                if self.teacher is not None and len(good) > 0:
                    good = replace(good, answer=self.teacher.answer(good.frames))
                if len(good) > 0:
                    self.buffer.put(good)
            self.photographed, self.judgeable = self.photographed + len(drawn["place"]), self.judgeable + len(good)
        batch = self.buffer.draw(unseen, again, self._generator)
        self._aside.release()
        return batch
