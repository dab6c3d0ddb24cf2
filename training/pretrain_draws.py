"""What a pretraining draws: scenes from a growing pool, and for each how it is photographed once more.

The numbers of a shooting (`training.shooting`) are drawn in loader processes. On a GPU the scenes' light lies, and is
photographed there a batch at a time (`training.batch_relight`). Without one the light travels to the loaders, which
photograph it picture by picture (`training.relight`): that takes a processor half as long as whole batches would.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sdk_reference.align import TEMPLATE
from sdk_reference.quality import QualityLimits
from sdk_reference.response import expected_response
from training.augment import AugmentSettings, place_depth
from training.batch_quality import judgeable
from training.batch_relight import frames_of, sheet_of
from training.depth_labels import area_average
from training.fresh_scenes import FreshScene
from training.losses import LIVE_SPECIES
from training.network import TYPES
from training.photograph_buffer import Photographs
from training.relight import relit
from training.shooting import draw_shooting

PARTS = {LIVE_SPECIES: 8, TYPES.index("print"): 1, TYPES.index("replay"): 1, TYPES.index("mask"): 6}
"""Of sixteen draws: as many live as attacks, and three of four attacks masks, for the others are told soon."""
NOTHING = np.zeros(0, np.float16)
Depth = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Request:
    """One capture to be drawn."""

    place: int
    """Of the scene in the pool."""
    scene: FreshScene
    """Without its light where that lies on a GPU."""
    seed: int


class ScenePool:
    """All scenes that have been rendered; their light lies on one device, a megabyte each."""

    def __init__(self, device: torch.device, light_travels: bool | None = None) -> None:
        """`light_travels`: whether requests bring it along; None for wherever there is no GPU."""
        self.device = device
        self.light_travels = device.type == "cpu" if light_travels is None else light_travels
        self._scenes: list[FreshScene] = []
        self._light: list[Tensor] = []
        self._places: dict[int, list[int]] = {species: [] for species in PARTS}

    def __len__(self) -> int:
        return len(self._scenes)

    @property
    def scarcest(self) -> int:
        """How many scenes there are of the species with fewest."""
        return min(map(len, self._places.values()))

    def add(self, scene: FreshScene) -> None:
        """Take a scene in."""
        self._places[scene.species].append(len(self))
        if self.light_travels:
            self._scenes.append(scene)
        else:
            self._light.append(torch.from_numpy(scene.layers.planes).to(self.device))
            self._scenes.append(replace(scene, layers=replace(scene.layers, planes=NOTHING)))

    def request(self, place: int, rng: np.random.Generator) -> Request:
        """A draw of one scene."""
        return Request(place, self._scenes[place], int(rng.integers(2**62)))

    def requests(self, count: int, rng: np.random.Generator) -> list[Request]:
        """Draws of `count` scenes, by PARTS."""
        parts = np.repeat(list(PARTS), list(PARTS.values()))
        species = rng.permutation(np.resize(parts, count)).tolist()
        return [self.request(int(rng.choice(self._places[kind])), rng) for kind in species]

    def light(self, places: Sequence[int]) -> Tensor:
        """(M, 7, 256, 256) float16 of scenes."""
        return torch.stack([self._light[place] for place in places])


class Sheets(Dataset[dict[str, Any]]):
    """Requests → what is drawn for them, as arrays: frames where a request brings its scene's light, else numbers."""

    def __init__(self, augmentation: AugmentSettings, map_size: int) -> None:
        self.augmentation, self.map_size = augmentation, map_size

    def __getitem__(self, request: Request) -> dict[str, Any]:
        rng, scene = np.random.default_rng(request.seed), request.scene
        shown, depth, response = (self._frames if scene.layers.planes.size else self._numbers)(scene, rng)
        return {
            **shown,
            "place": request.place,
            "depth": area_average(depth, self.map_size),
            "response": np.asarray(response, np.float32),
            "species": scene.species,
        }

    def _numbers(self, scene: FreshScene, rng: np.random.Generator) -> tuple[dict[str, Any], Depth, npt.ArrayLike]:
        shooting = draw_shooting(scene.layers.phone, self.augmentation, rng)
        sheet = sheet_of(scene.layers, shooting, rng)
        del sheet["planes"]
        depth = place_depth(scene.depth.astype(np.float32), shooting.crop, TEMPLATE.size)
        return {"sheet": sheet}, depth, expected_response(shooting.plan)

    def _frames(self, scene: FreshScene, rng: np.random.Generator) -> tuple[dict[str, Any], Depth, npt.ArrayLike]:
        taken = relit(scene.layers.opened(), scene.depth.astype(np.float32), self.augmentation, rng)
        return {"frames": taken.aligned}, taken.depth, taken.response


class Stream:
    """Batches of requests without end, drawn from the pool as it is when a loader asks."""

    def __init__(self, pool: ScenePool, size: int, seed: int) -> None:
        self.pool, self.size, self.rng = pool, size, np.random.default_rng(seed)

    def __iter__(self) -> Iterator[list[Request]]:
        while True:
            yield self.pool.requests(self.size, self.rng)


def loader(sheets: Sheets, batches: Any, workers: int) -> DataLoader[dict[str, Any]]:
    """A loader of batches of requests."""
    return DataLoader(
        sheets, batch_sampler=batches, num_workers=workers, multiprocessing_context="spawn" if workers else None
    )


def photograph(batch: Mapping[str, Any], pool: ScenePool) -> Photographs:
    """Photograph a collated batch on the pool's device, unless loaders have."""
    if "frames" in batch:
        frames = batch["frames"]
    else:
        sheets = moved(batch["sheet"], pool.device)
        sheets["planes"] = pool.light(batch["place"].tolist())
        frames = frames_of(sheets).to(torch.uint8)
    return Photographs(
        frames.to(pool.device),
        batch["depth"].to(pool.device),
        batch["response"].to(pool.device),
        batch["species"].to(pool.device),
    )


def photograph_judgeable(batch: Mapping[str, Any], pool: ScenePool) -> Photographs:
    """The same without photographs that no phone would judge for their light: what is learned from and judged here."""
    taken = photograph(batch, pool)
    return taken.at(judgeable(taken.frames.float(), QualityLimits()).nonzero().flatten())


def moved(values: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """The same tree of tensors on a device."""
    return {
        name: moved(value, device) if isinstance(value, Mapping) else value.to(device) for name, value in values.items()
    }
