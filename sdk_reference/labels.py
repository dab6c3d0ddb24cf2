"""What is known about a capture besides its pixels: who, what attack, where, and whether it was simulated."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sdk_reference.strict_values import is_int, malformed, short

SPECIES = ("live", "print", "replay", "mask")
MAX_SEED = 2**64 - 1
MAX_TEXT = 200

TEXT_LABELS = ("subject", "species", "instrument", "detail", "scene", "device")
NUMBER_LABELS = ("distance_cm", "ambient_lux", "flash_to_ambient", "flash_snr")


@dataclass(frozen=True)
class Labels:
    """What is known about a capture; everything is optional but whether it was simulated.

    Raises CaptureMalformed for NaN, negative or oversized values and for unknown species.
    """

    simulated: bool
    """True for rendered captures: their error rates must never pass for real ones."""
    subject: str | None = None
    """Who was photographed (a pseudonym); training splits by it."""
    species: str | None = None
    """`live`, `print`, `replay` or `mask`."""
    instrument: str | None = None
    """The kind of attack within the species, for example `print_holes`."""
    detail: str | None = None
    """What the instrument's name leaves open, for example a mask's material."""
    scene: str | None = None
    device: str | None = None
    distance_cm: float | None = None
    ambient_lux: float | None = None
    flash_to_ambient: float | None = None
    """Mean over the face of screen light over ambient light, linear."""
    flash_snr: float | None = None
    """Screen light on the face over the noise of one pixel of the sensor."""
    skin_tone: str | float | None = None
    """A name or a number ≥ 0 on the scale of whoever labelled it."""
    seed: int | None = None
    """Seed of a simulated capture."""

    def __post_init__(self) -> None:
        if not isinstance(self.simulated, bool):
            malformed(f"label simulated = {short(self.simulated)}", "true or false")
        for name in TEXT_LABELS:
            _check_text(name, getattr(self, name))
        for name in NUMBER_LABELS:
            _check_number(name, getattr(self, name))
        if isinstance(self.skin_tone, str):
            _check_text("skin_tone", self.skin_tone)
        else:
            _check_number("skin_tone", self.skin_tone)
        if self.species is not None and self.species not in SPECIES:
            malformed(f"label species = {short(self.species)}", f"one of {', '.join(SPECIES)}")
        if self.seed is not None and not is_int(self.seed, MAX_SEED):
            malformed(f"label seed = {short(self.seed)}", f"an integer from 0 to {MAX_SEED}")

    @property
    def is_live(self) -> bool | None:
        """Whether the capture shows a live person; None when the species is not known."""
        return None if self.species is None else self.species == "live"


def _check_text(name: str, value: object) -> None:
    if value is not None and not (isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable()):
        malformed(f"label {name} = {short(value)}", f"1 to {MAX_TEXT} printable characters, or nothing")


def _check_number(name: str, value: object) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 <= value < math.inf):  # type: ignore[operator]
        malformed(f"label {name} = {short(value)}", "a finite number from 0 on, or nothing")
