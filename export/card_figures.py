"""The error rates that a model card quotes: what `flashproof evaluate` wrote, as types.

Not in the paper. A file that lacks a figure is refused here, whole, so that a card cannot come out with a hole in it or
with figures of an older kind of evaluation. Keys that the card does not quote are left alone. The files themselves are
read and matched to the model by `export.card_files`; answers to real photographs are in `export.card_real`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

LIVE: Final = "live"


def one_line(text: str) -> str:
    """A name as it can stand in a Markdown table: no bars, no line breaks, no code marks."""
    return " ".join(text.translate(str.maketrans("|`<>", "    ")).split())


Name = Annotated[str, AfterValidator(one_line)]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class Figure(BaseModel):
    """Common ground: immutable, no silent conversions, no NaN; keys that nobody quotes may stand beside."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Rate(Figure):
    """A rate with its 95 % interval."""

    value: Probability
    low: Probability
    high: Probability

    @model_validator(mode="after")
    def ordered(self) -> Rate:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"the rate {self.value} lies outside its interval {self.low} to {self.high}")
        return self


class Cell(Figure):
    """A share of captures with its counts; of no captures it has no rate."""

    events: Count
    trials: Count
    few: bool
    """Whether there are too few captures to prove anything."""
    value: Probability | None
    low: Probability | None
    high: Probability | None

    @model_validator(mode="after")
    def counted(self) -> Cell:
        if self.events > self.trials:
            raise ValueError(f"{self.events} of {self.trials} captures")
        if (self.value is None) != (self.trials == 0):
            raise ValueError(f"the share {self.value} of {self.trials} captures")
        return self


class Instrument(Cell):
    """How many attacks with one instrument were accepted."""

    species: Name


class Goal(Figure):
    """What an evaluation was to reach."""

    name: Name
    value: Probability | None
    low: Probability | None
    high: Probability | None
    relation: str
    limit: Probability | None
    ok: bool | None

    @property
    def outcome(self) -> str:
        """Met, met without proof (the interval reaches beyond the limit), missed, or that nothing was to be reached."""
        if self.value is None:
            return "not measured"
        if self.limit is None or self.ok is None:
            return "reported, no limit"
        if not self.ok:
            return "**missed**"
        worst = self.high if self.relation == "at most" else self.low
        proven = worst is not None and (worst <= self.limit if self.relation == "at most" else worst >= self.limit)
        return "met" if proven else "met, not proven: the interval reaches beyond the limit"


class Places(Figure):
    """Devices or scenes of an evaluation, by what the training knew of them."""

    unseen: tuple[Name, ...]
    shared: tuple[Name, ...]
    only_in_validation: tuple[Name, ...]


class People(Figure):
    """Who was evaluated."""

    evaluated: Count
    overlap: Count | None
    """On how many of them the model was trained; None where that is not known."""


class Captures(Figure):
    """How much of an evaluation was under new conditions."""

    all: Count
    unseen_device: Count
    unseen_scene: Count
    unseen_both: Count


class Protocol(Figure):
    """What was new to the model in an evaluation."""

    source: str
    certain: bool
    devices: Places
    scenes: Places
    subjects: People
    captures: Captures


class Rates(Figure):
    """The error rates of some captures."""

    eer: Rate
    hter: Rate
    apcer: Mapping[Name, Rate]
    apcer_max: Rate
    bpcer: Rate


class AtBpcer(Figure):
    """The attacks accepted at a threshold that was chosen on the evaluated split."""

    threshold: Probability
    bpcer: Rate
    apcer: Mapping[Name, Rate]
    apcer_max: Rate


class Refusals(Figure):
    """Captures that nobody should judge."""

    all: Cell
    by_species: Mapping[Name, Cell]
    by_reason: Mapping[Name, Mapping[Name, Count]]
    bona_fide_by_scene: Mapping[Name, Cell]


class Verdicts(Figure):
    """What a phone says of one species, everything together."""

    live: Cell
    spoof: Cell
    retry: Cell
    not_live: Cell


class Group(Figure):
    """The captures of one group of a breakdown."""

    group: Name
    captures: Count
    bona_fide_refused: Cell
    bpcer: Cell
    apcer: Mapping[Name, Cell]

    @property
    def worst(self) -> tuple[str, Cell] | None:
        """The species most often accepted, the one with more captures where two tie; None without any attack."""
        return max(counted(self.apcer), key=lambda item: (item[1].value, item[1].trials), default=None)


class Breakdowns(Figure):
    """Errors by condition, for the model's own threshold."""

    lux: tuple[Group, ...]
    skin_tone: tuple[Group, ...]
    device: tuple[Group, ...]
    scene: tuple[Group, ...]
    distance_cm: tuple[Group, ...]


class Rule(Figure):
    """From where on a flash response contradicts the plan."""

    cosine_limit: float
    max_disagreeing: Count


class Answered(Figure):
    """How captures answered."""

    right_passes: Cell
    wrong_caught: Rate | None


class Responses(Figure):
    """Captures of one band of light under their own plan and under others."""

    lux: Name
    captures: Count
    few: bool
    head: Answered


class ResponsesByLux(Figure):
    """Live captures that the gates accept, all bands together first."""

    judged: tuple[Responses, ...]


class FlashResponse(Figure):
    """How well right plans are told from wrong ones."""

    rule: Rule
    wrong_plans: Count
    same_colours_one_in: Count
    by_lux: ResponsesByLux


class ModelName(Figure):
    """Which model was evaluated."""

    kind: Literal["run", "bundle"]
    name: str


class Evaluation(Figure):
    """The JSON of `flashproof evaluate`, see docs/evaluation.md; no rates where the gates leave one class only."""

    model: ModelName
    split: Name
    simulated: bool
    screen_off: bool
    data_sha256: str
    intervals: str
    threshold: float
    counts: Mapping[Name, Count]
    refused: Mapping[Name, Count]
    eer: Rate | None
    hter: Rate | None
    apcer: Mapping[Name, Rate]
    apcer_max: Rate | None
    bpcer: Rate | None
    protocol: Protocol
    goals: tuple[Goal, ...]
    apcer_by_instrument: Mapping[Name, Instrument]
    refusals: Refusals
    without_gates: Rates | None
    at_bpcer_1_percent: AtBpcer | None
    verdicts: Mapping[Name, Verdicts]
    breakdowns: Breakdowns
    flash_response: FlashResponse

    @model_validator(mode="after")
    def whole(self) -> Evaluation:
        if LIVE not in self.verdicts or LIVE not in self.refusals.by_species:
            raise ValueError("no live captures")
        if not self.flash_response.by_lux.judged:
            raise ValueError("no flash response of all light together")
        if len({rate is None for rate in (self.eer, self.hter, self.apcer_max, self.bpcer)}) != 1:
            raise ValueError("some headline rates and not others")
        return self

    @property
    def rates(self) -> Rates | None:
        """The headline rates; None where there are none."""
        if self.eer is None or self.hter is None or self.apcer_max is None or self.bpcer is None:
            return None
        return Rates(eer=self.eer, hter=self.hter, apcer=self.apcer, apcer_max=self.apcer_max, bpcer=self.bpcer)


def counted(cells: Mapping[str, Cell]) -> Iterable[tuple[str, Cell]]:
    """The cells that have a rate."""
    return [(name, cell) for name, cell in cells.items() if cell.value is not None]
