"""Answers to real photographs that a model card quotes: what `training.real_pairs` wrote, as types.

Not in the paper. A pair is known by its number alone: its folder may bear a person's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

from export.card_figures import LIVE, Figure, Probability

DEFAULT_PLAN: Final = "default"
KINDS: Final = ("print", "replay", "mask")
"""Endings of a real pair's folder that say more than that it is an attack."""


class Answer(Figure):
    """What a model said of one real pair under one plan."""

    pair: str
    """A folder's name: never printed, since it may be a person's."""
    live: bool
    plan: str
    verdict: Literal["live", "spoof", "retry"]
    score: Probability | None

    @property
    def truth(self) -> str:
        """`live`, the kind of attack where the folder's name ends in it, else `attack`."""
        ending = self.pair.rpartition("_")[2]
        return LIVE if self.live else ending if ending in KINDS else "attack"


@dataclass(frozen=True)
class RealPair:
    """One real pair under all plans, by number."""

    number: int
    answers: tuple[Answer, ...]
    threshold: float

    @property
    def truth(self) -> str:
        """What it was."""
        return self.answers[0].truth

    @property
    def default(self) -> Answer | None:
        """What the model said under the default plan."""
        return next((answer for answer in self.answers if answer.plan == DEFAULT_PLAN), None)

    @property
    def scores(self) -> tuple[float, ...]:
        """Of the plans under which a face was found, lowest first."""
        return tuple(sorted(answer.score for answer in self.answers if answer.score is not None))

    @property
    def right(self) -> int:
        """Under how many plans the score is on its side of the threshold."""
        return sum((score >= self.threshold) == self.answers[0].live for score in self.scores)

    @property
    def verdicts(self) -> dict[str, int]:
        """How often each verdict was given."""
        said = [answer.verdict for answer in self.answers]
        return {verdict: said.count(verdict) for verdict in ("live", "spoof", "retry")}


class RealPairs(Figure):
    """The JSON of `training.real_pairs`."""

    threshold: float
    answers: Annotated[tuple[Answer, ...], Field(min_length=1)]

    @property
    def pairs(self) -> tuple[RealPair, ...]:
        """The pairs in the file's order."""
        names = dict.fromkeys(answer.pair for answer in self.answers)
        found = (tuple(answer for answer in self.answers if answer.pair == name) for name in names)
        return tuple(RealPair(number, answers, self.threshold) for number, answers in enumerate(found, 1))
