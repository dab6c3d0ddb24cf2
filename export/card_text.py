"""Numbers of a model card in words: rates that say SIMULATED, cells that say how few they are, and the summary.

The summary comes first in the card and holds what somebody who reads nothing else must know. What was not measured is
said there, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from export.card_figures import LIVE, Cell, Evaluation, Group, Name, Rate, Rates, counted
from export.card_files import CardFigures
from export.card_real import RealPair
from sdk_reference.manifest import ErrorRate, Manifest

NO_CAPTURES: Final = "no captures"
FEW_MARK: Final = "†"
RATE_NAMES: Final = {
    "eer": "EER: both error rates where they are equal",
    "hter": "HTER: their mean at the threshold",
    "far": "FAR: attacks accepted, all species together",
    "frr": "FRR: live faces rejected",
    "bpcer": "BPCER: live faces rejected",
    "apcer_max": "APCER, worst species: attacks accepted",
}
SPLIT_NAMES: Final = {"train": "training", "val": "validation"}
SPECIES_NAMES: Final = {"live": "live faces", "print": "prints", "replay": "replays", "mask": "masks"}
GROUPINGS: Final = {
    "lux": "ambient light, lux",
    "skin_tone": "skin tone, Monk scale",
    "device": "device",
    "scene": "scene",
    "distance_cm": "distance, cm",
}
LIMIT_NAMES: Final = {
    "min_face_width_px": "width of the face in the frame, pixels, at least",
    "max_motion_px": "movement between frames, template pixels, at most",
    "max_clipped_fraction": "overexposed part of the face, at most",
    "max_exposure_drop": "share of the background's light that is lost, at most",
    "min_flash_to_ambient": "screen light over ambient light on the face, at least",
    "min_flash_snr": "screen light over its noise, at least",
}


def percent(share: float) -> str:
    """A share in percent."""
    return f"{share:.2%}"


def label(simulated: bool) -> str:
    """What a rate's captures were; stands beside every rate."""
    return "SIMULATED" if simulated else "recorded"


def spread(rate: Rate | ErrorRate | Cell | None) -> str:
    """The interval of a rate."""
    if rate is None or rate.low is None or rate.high is None:
        return NO_CAPTURES
    return f"{percent(rate.low)} to {percent(rate.high)}"


def value(rate: Rate | ErrorRate | None) -> str:
    """A rate, or that there is none."""
    return NO_CAPTURES if rate is None else percent(rate.value)


def cell(found: Cell) -> str:
    """A share with its counts; a dagger where they are few."""
    if found.value is None:
        return NO_CAPTURES
    return f"{percent(found.value)} ({found.events:,} of {found.trials:,}){FEW_MARK if found.few else ''}"


def counts(numbers: Mapping[Name, int]) -> str:
    """Counts by name; those of nothing are left out."""
    return ", ".join(f"{number:,} {name}" for name, number in numbers.items() if number)


def names(found: Iterable[str]) -> str:
    """Names in a row, or that there are none."""
    return ", ".join(f"`{name}`" for name in found) or "none"


def rate_name(name: str) -> str:
    """A rate's name in words; `apcer_print` and the like by their species."""
    return RATE_NAMES.get(name) or f"APCER {name.removeprefix('apcer_')}: attacks of this species accepted"


def species_name(name: str) -> str:
    """A species in the plural."""
    return SPECIES_NAMES.get(name, name)


def split_name(split: str) -> str:
    """A split in words."""
    return SPLIT_NAMES.get(split, split)


def flat_rates(rates: Rates | None) -> dict[str, Rate]:
    """Rates by name: those over all, then APCER by species, the worst last."""
    if rates is None:
        return {}
    by_species = {f"apcer_{species}": rate for species, rate in rates.apcer.items()}
    return {"eer": rates.eer, "hter": rates.hter, "bpcer": rates.bpcer, **by_species, "apcer_max": rates.apcer_max}


def breakdowns(evaluation: Evaluation) -> list[tuple[str, tuple[Group, ...]]]:
    """The groupings in the card's order with their headings."""
    return [(heading, getattr(evaluation.breakdowns, name)) for name, heading in GROUPINGS.items()]


def pair_scores(pair: RealPair) -> str:
    """The lowest and the highest score of a real pair."""
    return f"{pair.scores[0]:.4f} to {pair.scores[-1]:.4f}" if pair.scores else "no face found"


def pair_default(pair: RealPair) -> str:
    """What the model said of a real pair under the default plan."""
    answer = pair.default
    if answer is None:
        return "not asked"
    return f"{answer.verdict}, {'no score' if answer.score is None else format(answer.score, '.4f')}"


def summary(manifest: Manifest, figures: CardFigures) -> list[str]:
    """What matters, one sentence or three per point."""
    said = [
        "**Use**: research, integration work, tests of ports. Not for deciding who gets at money, devices, buildings "
        "or identities. Not certified and never tested by a laboratory.",
        *(tested(figures.evaluation) if figures.evaluation else ["**Error rates of a test: not measured.**"]),
        screen_off(figures.screen_off),
        real(figures),
    ]
    if manifest.training.simulated:
        said.append("**What it does to real people is not known**: no real capture took part in training.")
    return said


def tested(e: Evaluation) -> list[str]:
    """The headline of an evaluation, its goals, the people it turns away and where it is weakest."""
    word = label(e.simulated)
    return [headline(e, word), goals_met(e, word), turned_away(e, word), *weakest(e, word)]


def headline(e: Evaluation, word: str) -> str:
    """The four rates of the captures that a phone would judge."""
    where = f"{e.protocol.captures.all:,} {word} captures of {e.protocol.subjects.evaluated:,} people"
    if e.rates is None:
        return f"**Errors: none computed.** Of {where} the quality gates leave {counts(e.counts) or NO_CAPTURES}."
    figures = {"EER": e.rates.eer, "HTER": e.rates.hter, "BPCER": e.rates.bpcer, "worst APCER": e.rates.apcer_max}
    rates = ", ".join(f"{name} {percent(rate.value)} ({spread(rate)})" for name, rate in figures.items())
    return (
        f"**Errors, {word}**: {rates}. Captures that the quality gates accept, of {where} "
        f"({split_name(e.split)} split); intervals are 95 %."
    )


def goals_met(e: Evaluation, word: str) -> str:
    """Which goals were reached; those without a limit by their value."""
    lines = [
        f"{goal.name}: {percent(goal.value)}, "
        + (goal.outcome if goal.limit is None else f"{goal.relation} {percent(goal.limit)}: {goal.outcome}")
        for goal in e.goals
        if goal.value is not None
    ]
    return f"**Goals, {word}**: {'; '.join(lines) or 'none could be measured'}."


def turned_away(e: Evaluation, word: str) -> str:
    """How many live people a phone does not call live."""
    live = e.verdicts[LIVE]
    return (
        f"**Live people, {word}**: gates, flash response and score together call {cell(live.live)} live, ask "
        f"{cell(live.retry)} to try again and call {cell(live.spoof)} a spoof."
    )


def weakest(e: Evaluation, word: str) -> list[str]:
    """The instrument and the groups that are judged worst, of those with captures enough to say so."""
    by_group = [(f"{heading} {group.group}", group) for heading, groups in breakdowns(e) for group in groups]
    attacks = [(f"{species_name(n)} at {where}", c) for where, g in by_group for n, c in counted(g.apcer)]
    found = {
        "the instrument most often accepted is": worst(counted(e.apcer_by_instrument)),
        "attacks are accepted most often as": worst(attacks),
        "live faces are rejected most often at": worst((where, group.bpcer) for where, group in by_group),
    }
    said = [f"{what} {name}: {cell(share)}" for what, (name, share) in found.items() if share is not None]
    return [f"**Weakest, {word}**, of groups of 20 captures and more: {'; '.join(said)}."] if said else []


def worst(cells: Iterable[tuple[str, Cell]]) -> tuple[str, Cell | None]:
    """The cell with the largest share of those that are not few; none where no share is above 0."""
    enough = [(name, found) for name, found in cells if found.events and not found.few]
    return max(enough, key=lambda item: (item[1].value or 0.0, item[1].trials), default=("", None))


def screen_off(e: Evaluation | None) -> str:
    """The control without light, or that it was not made."""
    if e is None:
        return (
            "**Screen off: not measured.** Whether live people are refused when the screen shows nothing is not known."
        )
    live = e.verdicts[LIVE].not_live
    return f"**Screen off, {label(e.simulated)}**: never called live are {cell(live)} captures of live people."


def real(figures: CardFigures) -> str:
    """What real photographs say, or that there were none."""
    if figures.real is None:
        return "**Real photographs: none given.**"
    pairs = figures.real.pairs
    asked, right = len(figures.real.answers), sum(pair.right for pair in pairs)
    wrong = f"; **wrong or without a score in {asked - right}**" if right < asked else ""
    return (
        f"**Real photographs**: {len(pairs)} pairs, asked {asked} times under different plans; the score is on its "
        f"side of the threshold in {right} of {asked}{wrong}. So few pairs are a check and no error rate."
    )
