"""What can go wrong in this room.

    ValueError
    └── PlanError                a plan, a nonce or plan JSON breaks a rule
        └── UnsafePlanError      the plan would flash more than the photosensitivity limits allow
    FlashSequenceError(Exception)
    ├── PlayerError              the player was asked out of turn
    └── MatchingError            camera frames do not cover every step of the plan, or cannot be judged

Each message says what was found, what was expected and what to do.
"""

from __future__ import annotations


class PlanError(ValueError):
    """A plan, a nonce or plan JSON breaks a rule."""


class UnsafePlanError(PlanError):
    """The plan flashes too often or too long; the message names the window, the count and the limit."""


class FlashSequenceError(Exception):
    """Playing or matching a plan failed."""


class PlayerError(FlashSequenceError):
    """The player was asked for something out of turn, such as the result of a presentation that still runs."""


class MatchingError(FlashSequenceError):
    """The camera frames do not give one usable frame for every step of the plan."""
