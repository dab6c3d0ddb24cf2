"""How long the states of a live session may take; the numbers of `docs/protocol.md`."""

from __future__ import annotations

from dataclasses import dataclass

from flash_sequencer.palette import profile_named


@dataclass(frozen=True)
class SessionSettings:
    """How long the states may take, and what is shown."""

    profile: str = "standard"
    """`standard` or `gentle`."""
    attempts: int = 3
    """Most tries of one session; only after `retry` there is another."""
    warning_s: float = 2.5
    """How long the photosensitivity warning stands before the first attempt; 0: the app has warned already."""
    positioning_s: float = 30.0
    lighting_s: float = 30.0
    """For all tries to find better light, positioning included; the last one that began is finished."""
    metering_s: float = 0.5
    """A grey screen, under which exposure and white balance settle and are held."""
    light_step_s: float = 0.6
    """Each of the two steps, bright and dark, that tell how strong the flash will be."""
    light_settling_s: float = 0.3
    """Left out of the beginning of each of these steps: the longest lag of screen and camera."""
    hint_s: float = 2.0
    """How long a hint about the light stands before the light is tried again."""
    result_s: float = 2.5

    def __post_init__(self) -> None:
        profile_named(self.profile)
