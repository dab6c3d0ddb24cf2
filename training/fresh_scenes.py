"""Scenes of ever new people, rendered by all processors while a network trains on them; nothing goes to a disk.

A data set on disk holds some hundred people, and its scenes are met again and again. Here thousands come, each once
rendered, aligned by the truth (`training.true_alignment`) and from then on photographed anew whenever it is drawn
(`training.batch_relight`). The paper has 320 subjects and no simulation.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from simulator.ambient import Ambient
from simulator.capture import millimetres
from simulator.stage import Stage
from simulator.streams import stream
from training.depth_labels import label_from_depth_map, spoof_label
from training.layer_store import StoredLayers, as_read, of_layers
from training.losses import LIVE_SPECIES
from training.network import TYPES
from training.synthesis import Recipe, SimulationSettings, make_stage, recipes
from training.true_alignment import true_affine
from training.workers import run_in_workers

ONE_OF = {"live": 3, "print": 6, "replay": 6, "mask": 2}
"""Of so many captures in the paper's mix one is rendered: 29 of 100 scenes then show a mask, the hardest species."""
HARDEST = {"mask_silicone": 1, "mask_resin": 1}
"""Likewise for what a network takes longest to tell from skin: the one scatters light as skin does, the other carries a
face's colours (docs/log.md). Nearly half of the masks are of these two."""
BRIGHTEST_LUX = 700.0
"""In brighter rooms the flash of a phone at arm's length is too weak to be judged (`sdk_reference.quality`)."""
WAITING = 256
"""Scenes that may wait to be fetched, a megabyte each."""


@dataclass(frozen=True, eq=False)
class FreshScene:
    """A rendered scene as a training needs it."""

    layers: StoredLayers
    depth: npt.NDArray[np.float16]
    """(64,64) label, 0..1."""
    species: int
    """0 print, 1 replay, 2 mask, −1 live."""


def fresh_recipes(settings: SimulationSettings) -> list[Recipe]:
    """Return the recipes of a simulation that are worth their rendering, in order."""
    return [recipe for recipe in recipes(settings) if recipe.index % _one_of(recipe) == 0]


def _one_of(recipe: Recipe) -> int:
    return HARDEST.get(recipe.instrument, ONE_OF[recipe.species])


def render_fresh(recipe: Recipe, settings: SimulationSettings) -> FreshScene | None:
    """Render and align a scene; None where no phone's flash would be seen, or no face."""
    if Ambient.draw(stream(recipe.seed, "room"), recipe.scene, lux=settings.lux).lux > BRIGHTEST_LUX:
        return None
    stage = make_stage(recipe, settings)
    affine = true_affine(stage)
    label = _label(stage, affine)
    if label is None:
        return None
    species = LIVE_SPECIES if recipe.species == "live" else TYPES.index(recipe.species)
    return FreshScene(as_read(stage, affine), label.astype(np.float16), species)


def _label(stage: Stage, affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float32] | None:
    if stage.species != "live":
        return spoof_label()
    return label_from_depth_map(millimetres(stage.layers.depth_cm), of_layers(stage, affine))


class SceneSupply:
    """Renders in worker processes, whether or not anybody fetches; up to `WAITING` scenes wait."""

    def __init__(self, wanted: Sequence[Recipe], settings: SimulationSettings, workers: int) -> None:
        self._scenes: queue.Queue[FreshScene | BaseException | None] = queue.Queue(WAITING)
        self._ended = threading.Event()
        self._exhausted = False
        render = partial(render_fresh, settings=settings)
        self._thread = threading.Thread(target=self._fill, args=(render, wanted, workers), daemon=True)
        self._thread.start()

    def _fill(self, render: partial[FreshScene | None], wanted: Sequence[Recipe], workers: int) -> None:
        try:
            for _, scene in run_in_workers(render, wanted, workers, cut_off=True):
                if scene is not None:
                    self._put(scene)
                if self._ended.is_set():
                    return
            self._put(None)
        except BaseException as error:  # whoever fetches next shall know
            self._put(error)

    def _put(self, item: FreshScene | BaseException | None) -> None:
        while not self._ended.is_set():
            try:
                self._scenes.put(item, timeout=0.2)
            except queue.Full:
                continue
            return

    def fetch(self, most: int, wait: bool = False) -> list[FreshScene]:
        """Return up to `most` scenes that are ready, at least one with `wait` unless all have been fetched.

        Raises what went wrong in a worker.
        """
        found: list[FreshScene] = []
        while len(found) < most and not self._exhausted:
            try:
                item = self._scenes.get(block=wait and not found)
            except queue.Empty:
                break
            if isinstance(item, BaseException):
                raise item
            if item is None:
                self._exhausted = True
            else:
                found.append(item)
        return found

    @property
    def is_exhausted(self) -> bool:
        """Whether all scenes have been fetched."""
        return self._exhausted

    def close(self) -> None:
        """End the workers."""
        self._ended.set()
        self._thread.join()


@contextmanager
def supply(wanted: Sequence[Recipe], settings: SimulationSettings, workers: int) -> Iterator[SceneSupply]:
    """Give a supply whose workers end with the block."""
    opened = SceneSupply(wanted, settings, workers)
    try:
        yield opened
    finally:
        opened.close()
