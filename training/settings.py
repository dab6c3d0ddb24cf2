"""How a network is trained: everything but its sizes (`training.network`) and the data.

`paper` is the paper's recipe where it states one: Adam, learning rate 1e-4 with exponential decay, batch 4; weight
decay and 64 epochs are the authors' released code's. `mobile` reaches a small network's floor in far fewer steps, which
counts on two processors: AdamW, one cycle of the learning rate up to 1.5e-3, a moving average of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from training.augment import WIDE, AugmentSettings
from training.errors import require_choice, require_range
from training.losses import LossSettings
from training.network import PRESETS as NETWORKS

PRECISIONS = ("32-true", "bf16-mixed")
SCHEDULES = ("one_cycle", "exponential")
OPTIMISERS = ("adam", "adamw")


@dataclass(frozen=True)
class TrainSettings:
    """What decides the result of a training, given network sizes and data."""

    preset: str
    """Name of the network's sizes and of this recipe."""
    epochs: int
    """Passes over as many captures as the training split holds."""
    batch_size: int
    """Captures per step."""
    optimiser: str
    learning_rate: float
    """Highest learning rate."""
    weight_decay: float
    schedule: str
    """`one_cycle`: up over `warm_up` of all steps, then down a cosine to 0. `exponential`: times `decay` per epoch."""
    warm_up: float = 0.15
    decay: float = 0.95
    ema_decay: float = 0.0
    """Per step; validation and the saved weights are the moving average. 0: none."""
    gradient_clip: float = 1.0
    """Largest norm of a step's gradient."""
    precision: str = "32-true"
    seed: int = 0
    """Draws the first weights, the order of captures and the augmentation."""
    started_from: str | None = None
    """SHA-256 of the weights of another run that this one begins with; None: with those that the seed draws."""
    mask_weight: float = 1.0
    """How often a mask is drawn for one print or replay: of all attacks they are the hardest to tell."""
    use_refused: bool = False
    """Also train on captures that miss a quality limit, which a phone would refuse to judge."""
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    loss: LossSettings = field(default_factory=LossSettings)

    def __post_init__(self) -> None:
        require_choice("preset", self.preset, tuple(NETWORKS))
        require_range("epochs", self.epochs, 1, 10_000)
        require_range("batch size", self.batch_size, 1, 4096)
        require_choice("optimiser", self.optimiser, OPTIMISERS)
        require_range("learning rate", self.learning_rate, 1e-8, 1.0)
        require_range("weight decay", self.weight_decay, 0.0, 1.0)
        require_choice("schedule", self.schedule, SCHEDULES)
        require_range("warm_up", self.warm_up, 0.01, 0.9)
        require_range("decay", self.decay, 0.01, 1.0)
        require_range("ema_decay", self.ema_decay, 0.0, 0.99999)
        require_range("gradient_clip", self.gradient_clip, 1e-6, 1e6)
        require_choice("precision", self.precision, PRECISIONS)
        require_range("mask_weight", self.mask_weight, 0.01, 100.0)
        require_range("seed", self.seed, 0, 2**63 - 1)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainSettings:
        """Return the settings that `to_dict` gave; raises TypeError for missing or unknown names."""
        missing = {entry.name for entry in fields(cls)} - set(values)
        if missing:
            raise TypeError(f"training settings without {sorted(missing)}")
        rest = {name: value for name, value in values.items() if name not in ("augment", "loss")}
        return cls(**rest, augment=AugmentSettings(**values["augment"]), loss=LossSettings(**values["loss"]))


RECIPES = {
    "paper": TrainSettings(
        preset="paper",
        epochs=64,
        batch_size=4,
        optimiser="adam",
        learning_rate=1e-4,
        weight_decay=1e-4,
        schedule="exponential",
    ),
    "mobile": TrainSettings(
        preset="mobile",
        epochs=30,
        batch_size=16,
        optimiser="adamw",
        learning_rate=1.5e-3,
        weight_decay=1e-2,
        schedule="one_cycle",
        ema_decay=0.995,
        mask_weight=2.0,
        augment=replace(WIDE, photograph_serves=3),
    ),
}
