"""From prepared stores to batches: which captures are used, in what order, and as what tensors.

Batches are made by `sdk_reference.preprocess.aligned_to_input`, the function that the phone side runs, so that training
cannot drift from it. Live captures and attacks are drawn equally often, and so are the species among the attacks.
Everything random follows from (seed, epoch, place in the epoch): a training taken up again draws the same.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import lightning
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from sdk_reference.align import TEMPLATE
from sdk_reference.preprocess import PreprocessSettings, aligned_to_input
from sdk_reference.quality import Quality, QualityLimits, failures
from sdk_reference.response import expected_response
from training.augment import NO_AUGMENTATION, AugmentSettings, augment, place_depth
from training.batch_relight import collate_sheets, develop_ready, sheet_of
from training.depth_labels import area_average
from training.errors import SettingOutOfRange
from training.layer_store import LayerStore
from training.losses import LIVE_SPECIES
from training.network import DOWNSAMPLING, TYPES
from training.photographs import PhotographStore, show_again
from training.relight import Relit, relit
from training.sampling import EVEN, NO_AUGMENTATION_DRAW, BalancedSampler, Draw, InOrder, ShareOfSteps
from training.shooting import draw_shooting
from training.splits import SPLITS, require_both_classes, require_disjoint, split_of
from training.store import PreparedStore, StoredCapture

PHOTOGRAPH_STREAM = 1  # apart from the draws' own
UNKNOWN = "unknown"  # stands for a label that a capture lacks


@dataclass(frozen=True)
class Example:
    """A capture that can be scored."""

    store: int
    """Which store it lies in."""
    record: StoredCapture
    failures: tuple[str, ...]
    """Codes of the quality limits that it misses; a phone asks for another capture then."""

    @property
    def species_index(self) -> int:
        """0 print, 1 replay, 2 mask, −1 live."""
        species = self.record.species
        return LIVE_SPECIES if species == "live" else TYPES.index(species)


@dataclass(frozen=True)
class PreparedData:
    """All captures of all data sets, by split."""

    stores: tuple[PreparedStore, ...]
    limits: QualityLimits
    by_split: dict[str, tuple[Example, ...]]
    """`train`, `val`, `test` → captures with an aligned face, those that miss a quality limit included."""

    @property
    def simulated(self) -> bool:
        """Whether any capture was simulated."""
        return any(store.simulated for store in self.stores)

    @property
    def sha256(self) -> str:
        """Hash over the bytes of all captures."""
        return hashlib.sha256("\n".join(store.sha256 for store in self.stores).encode()).hexdigest()

    def usable(self, split: str) -> tuple[Example, ...]:
        """Return the captures of a split that a phone would judge."""
        return tuple(example for example in self.by_split[split] if not example.failures)

    @cached_property
    def relightable(self) -> int:
        """How many captures to train on have their scenes' layers of light kept, and can be photographed anew."""
        kept = [LayerStore(store.folder) for store in self.stores]
        return sum(example.record.row in kept[example.store] for example in self.usable("train"))

    def to_dict(self) -> dict[str, Any]:
        """Return what a run records about its data."""
        records = [record for store in self.stores for record in store.records]
        return {
            "sha256": self.sha256,
            "captures": len(records),
            "subjects": len({record.subject for record in records}),
            "simulated": self.simulated,
            "relightable": self.relightable,
            "folders": [store.describe() for store in self.stores],
            "refused": dict(sorted(Counter(code for _, _, code in self.refused_captures()).items())),
            "splits": {split: self._describe(split) for split in SPLITS},
        }

    def refused_captures(self) -> Iterator[tuple[str, str, str]]:
        """Yield (split, species, code) of each capture without a usable face or beyond a limit; one reason each."""
        for store in self.stores:
            for record in store.records:
                if record.refused is not None:
                    yield split_of(record.subject), record.species, record.refused["code"]
        for split in SPLITS:
            for example in self.by_split[split]:
                if example.failures:
                    yield split, example.record.species, example.failures[0]

    def _describe(self, split: str) -> dict[str, Any]:
        usable = self.usable(split)
        return {
            "captures": len(usable),
            "subjects": len({example.record.subject for example in usable}),
            "people": sorted({person_code(example.record.subject) for example in self.by_split[split]}),
            "species": dict(sorted(Counter(example.record.species for example in usable).items())),
            "devices": self.places(split, "device"),
            "scenes": self.places(split, "scene"),
        }

    def places(self, split: str, label: str) -> list[str]:
        """Return the names under a text label of a split, captures beyond a quality limit included, sorted."""
        return sorted({str(example.record.labels.get(label) or UNKNOWN) for example in self.by_split[split]})


def person_code(subject: str) -> str:
    """Sixteen hexadecimal digits that stand for a subject's name in a record: names are nobody else's business."""
    return hashlib.sha256(subject.encode()).hexdigest()[:16]


def join_stores(stores: Sequence[PreparedStore], limits: QualityLimits) -> PreparedData:
    """Put the captures of all stores into splits; subjects are in one split each."""
    by_split: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for number, store in enumerate(stores):
        for record in store.usable:
            by_split[split_of(record.subject)].append(Example(number, record, missed_limits(record, limits)))
    require_disjoint({split: [e.record.subject for e in examples] for split, examples in by_split.items()})
    return PreparedData(tuple(stores), limits, {split: tuple(examples) for split, examples in by_split.items()})


def missed_limits(record: StoredCapture, limits: QualityLimits) -> tuple[str, ...]:
    """Return the codes of the quality limits that a capture misses."""
    if record.quality is None:
        return ()
    return tuple(failure.code for failure in failures(Quality(**record.quality), limits))


class CaptureDataset(Dataset[dict[str, Any]]):
    """Captures as the tensors of one training example each."""

    def __init__(
        self,
        stores: Sequence[PreparedStore],
        examples: Sequence[Example],
        preprocess: PreprocessSettings,
        augmentation: AugmentSettings,
        seed: int,
        in_batches: bool = False,
        photographs: PhotographStore | None = None,
        map_size: int | None = None,
    ) -> None:
        """`in_batches`: leave relit captures to be photographed on a GPU, a whole batch at once. `photographs`: where
        those wait that serve several draws; without it each draw makes its own again, to the same bits. `map_size`:
        side of the network's depth map; None for a quarter of its input's."""
        self.stores = tuple(stores)
        self.examples = tuple(examples)
        self.preprocess = preprocess
        self.augmentation = augmentation
        self.seed = seed
        self.in_batches = in_batches
        self.photographs = photographs
        self.map_size = map_size or preprocess.input_size // DOWNSAMPLING
        self.layers = tuple(LayerStore(store.folder) for store in self.stores)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, draw: Draw | tuple[int, int]) -> dict[str, Any]:
        """Return input (N,3,S,S), depth (s,s) of side `map_size`, response (N,3), all float32, live and species (int).

        `in_batches` a relit capture has a `sheet` (`training.batch_relight`) in place of the input.
        """
        draw = Draw(*draw)
        position = draw.position
        example = self.examples[position]
        if draw.number == NO_AUGMENTATION_DRAW:
            aligned, depth = self.arrays(position)
            shown, response = self._input(aligned), self.response(position)
        else:
            shown, depth, response = self._drawn(draw)
        return {
            **shown,
            "depth": torch.from_numpy(area_average(depth, self.map_size)),
            "response": torch.from_numpy(response),
            "live": int(example.species_index == LIVE_SPECIES),
            "species": example.species_index,
        }

    def _drawn(self, draw: Draw) -> tuple[dict[str, Any], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return input or sheet, depth label and expected response of a draw: photographed anew, or changed."""
        position = draw.position
        row, layers = self.examples[position].record.row, self.layers[self.examples[position].store]
        rng = np.random.default_rng([self.seed, draw.number, position])
        if row in layers and self.in_batches and rng.random() < self.augmentation.relit_share:
            stored = layers.stored(row)
            shooting = draw_shooting(stored.phone, self.augmentation, rng)
            depth = place_depth(self.depth(position), shooting.crop, TEMPLATE.size)
            return {"sheet": sheet_of(stored, shooting, rng)}, depth, expected_response(shooting.plan)
        if row in layers and not self.in_batches:
            anew = self._photograph(layers, row, draw, rng)
            if anew is not None:
                return self._input(anew.aligned), anew.depth, anew.response
        aligned, depth = augment(*self.arrays(position), self.augmentation, rng)
        return self._input(aligned), depth, self.response(position)

    def _photograph(self, layers: LayerStore, row: int, draw: Draw, rng: np.random.Generator) -> Relit | None:
        """What a draw shows of a capture whose layers are kept; None where it shows the capture itself."""
        generation, shown = divmod(draw.turn, self.augmentation.photograph_serves)
        alone = self.augmentation.photograph_serves == 1
        own = rng if alone else np.random.default_rng([self.seed, generation, draw.position, PHOTOGRAPH_STREAM])
        if own.random() >= self.augmentation.relit_share:
            return None

        def make() -> Relit:
            return relit(layers.layers(row), self.depth(draw.position), self.augmentation, own)

        if alone or self.photographs is None:
            photograph = make()
        else:
            photograph = self.photographs.take(draw.position, generation, make)
        return photograph if shown == 0 else show_again(photograph, self.augmentation, rng)

    def _input(self, aligned: npt.NDArray[np.uint8]) -> dict[str, Any]:
        return {"input": torch.from_numpy(aligned_to_input(aligned, self.preprocess))}

    def arrays(self, position: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Return the aligned frames (N0,3,256,256) uint8 and the depth label (64,64) float32 of an example."""
        example = self.examples[position]
        store, row = self.stores[example.store], example.record.row
        return np.array(store.aligned_row(row)), self.depth(position)

    def depth(self, position: int) -> npt.NDArray[np.float32]:
        """Return the depth label (64,64) float32 of an example."""
        example = self.examples[position]
        return np.asarray(self.stores[example.store].depth_row(example.record.row), np.float32)

    def response(self, position: int) -> npt.NDArray[np.float32]:
        """Return the response (N,3) that an example's own plan calls for."""
        return np.asarray(self.examples[position].record.response, np.float32)


class CaptureData(lightning.LightningDataModule):
    """Loaders of the training and validation splits. Raises `ClassMissing` when either lacks a class."""

    def __init__(
        self,
        data: PreparedData,
        preprocess: PreprocessSettings,
        augmentation: AugmentSettings,
        *,
        batch_size: int,
        seed: int,
        loader_workers: int = 0,
        use_refused: bool = False,
        weights: Mapping[str, float] = EVEN,
        in_batches: bool = False,
        photographs: PhotographStore | None = None,
        map_size: int | None = None,
    ) -> None:
        """`in_batches`: relit captures are photographed on the training's device (`training.batch_relight`).
        `photographs`: where photographs wait that serve several draws. `map_size`: side of the network's depth map;
        None for a quarter of its input's."""
        super().__init__()
        self.data = data
        self.weights = weights
        self.batch_size = batch_size
        self.loader_workers = loader_workers
        training = data.by_split["train"] if use_refused else data.usable("train")
        self.training_set = CaptureDataset(
            data.stores, training, preprocess, augmentation, seed, in_batches, photographs, map_size
        )
        self.validation_set = CaptureDataset(
            data.stores, data.usable("val"), preprocess, augmentation, seed, map_size=map_size
        )
        require_both_classes("train", species_of(self.training_set))
        require_both_classes("val", species_of(self.validation_set))

    def all_of(self, split: str) -> CaptureDataset:
        """Return all captures of a split with an aligned face, those beyond a quality limit included, as they are."""
        known = self.training_set
        return CaptureDataset(
            known.stores,
            self.data.by_split[split],
            known.preprocess,
            NO_AUGMENTATION,
            known.seed,
            map_size=known.map_size,
        )

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        return max(len(self.training_set) // self.batch_size, 1)

    def require_enough_for(self, processes: int) -> None:
        """Raise `SettingOutOfRange` unless each of several processes has something to do."""
        fewest = max(self.batch_size, processes) if processes > 1 else 1
        if len(self.training_set) < fewest or len(self.validation_set) < processes:
            raise SettingOutOfRange(
                found=f"{processes} processes for {len(self.training_set)} captures to train on and "
                f"{len(self.validation_set)} to validate",
                expected="a whole batch to train on and a capture to validate for each process",
                remedy="train with fewer processes, smaller batches or more captures",
            )

    def order(self) -> BalancedSampler:
        """Return all processes' draws."""
        return BalancedSampler(species_of(self.training_set), self.training_set.seed, self.weights)

    def drawn(self, epoch: int, step: int) -> list[str]:
        """Return the names of the captures of a step, in the order in which they are drawn."""
        order = self.order()
        order.set_epoch(epoch)
        draws = islice(order, step * self.batch_size, (step + 1) * self.batch_size)
        return [self.training_set.examples[draw.position].record.name for draw in draws]

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return this process' share of augmented, balanced batches, from the step on that the training stands at."""
        process, processes = self._place()
        steps_done = self.trainer.global_step if self.trainer is not None else 0
        begin = divmod(steps_done, self.steps_per_epoch)
        return self._loader(
            self.training_set, ShareOfSteps(self.order(), self.batch_size, process, processes, begin), processes
        )

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return this process' share of the validation split as it is."""
        process, processes = self._place()
        return self._loader(self.validation_set, InOrder(len(self.validation_set), process, processes), processes)

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Photograph what was left to be photographed on this device."""
        return develop_ready(batch, self.training_set.preprocess)

    def _place(self) -> tuple[int, int]:
        """Which process this is, of how many."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _loader(self, dataset: CaptureDataset, sampler: Sampler[Draw], processes: int) -> DataLoader[dict[str, Any]]:
        workers = self.loader_workers
        return DataLoader(
            dataset,
            batch_size=max(self.batch_size // processes, 1),
            sampler=sampler,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
            persistent_workers=workers > 0,
            collate_fn=collate_sheets,
            pin_memory=dataset.in_batches and torch.cuda.is_available(),
            generator=torch.Generator(),  # else each epoch would draw from torch's own
        )


def require_equal_shares(batch_size: int, processes: int) -> None:
    """Raise `SettingOutOfRange` unless so many processes can share a batch equally."""
    if batch_size % processes:
        raise SettingOutOfRange(
            found=f"batches of {batch_size} captures for {processes} processes",
            expected="a batch size that the number of processes divides, for each takes an equal share",
            remedy="choose another number of devices and nodes, or another --batch-size",
        )


def species_of(dataset: CaptureDataset) -> list[str]:
    """Return the species of each example."""
    return [example.record.species for example in dataset.examples]
