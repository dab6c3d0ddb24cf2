"""Small cases that ask a port for every rule of the decision, at the very limits of one bundle.

Not in the paper; docs/bundle.md, "Golden decisions", says what each group asks. Photographs come near few of the rules:
on a good capture no row disagrees and no limit is missed, so that a port that forgot them would replay it all the same.
Here are numbers alone: what was measured, what the plan calls for, what the model said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any, Final

import numpy as np

from sdk_reference.manifest import Manifest

Row = tuple[float, ...]
Rows = tuple[Row, ...]

LEAST: Final[Mapping[str, str]] = {
    "face_width_px": "min_face_width_px",
    "flash_to_ambient": "min_flash_to_ambient",
    "flash_snr": "min_flash_snr",
}
"""Measurement → limit that it must not be below."""
MOST: Final[Mapping[str, str]] = {"motion_px": "max_motion_px", "clipped_fraction": "max_clipped_fraction"}
"""Measurement → limit that it must not be above."""
DRIFT, DROP = "exposure_drift", "max_exposure_drop"
"""A measurement that must not be below minus its limit."""
MEASUREMENTS: Final = ("face_width_px", "motion_px", "clipped_fraction", DRIFT, "flash_to_ambient", "flash_snr")
"""In the order of their codes."""

SHOWN: Final[Rows] = (
    (1.0, 0.0, -1.0),
    (-1.0, 1.0, 0.0),
    (0.0, -1.0, 1.0),
    (-1.0, 0.0, 1.0),
    (1.0, -1.0, 0.0),
    (0.0, 1.0, -1.0),
)
"""(R−G, G−B, B−R) of red, green, blue and their opposites."""
ZEROS: Final[Row] = (0.0, 0.0, 0.0)
ACROSS: Final[Row] = (1 / math.sqrt(6), -2 / math.sqrt(6), 1 / math.sqrt(6))
"""At right angles to SHOWN[0], of length 1."""

TYPES: Final[Row] = (0.2, 0.5, 0.3)
DEPTH: Final = 0.5
NAN: Final = math.nan
BEYOND: Final = 1e-6  # relative, how far a measurement misses its limit: float32 tells it apart as well
COSINE_STEP: Final = 0.02  # beside the cosine limit, and far above rounding
LEAST_COSINE: Final = -0.9  # a cosine limit below it lets (almost) everything agree: nothing to ask
GREY, COLOURED = 0.199, 0.201  # lengths of expected rows beside 0.2
DIGITS: Final = 9


@dataclass(frozen=True)
class Case:
    """What a decision rests on. Any number may be NaN, where the case is about that."""

    name: str
    """What it is about."""
    quality: Mapping[str, float]
    """By measurement, all six."""
    expected: Rows
    """What the plan calls for, N rows of three where the case is not about another number."""
    flash_response: Rows
    """(N,3), as the model gave it."""
    score: float
    type: Row
    """In the order of `species_order`."""
    depth: float
    """Stands for every value of the map."""
    threshold: float


def cases_of(manifest: Manifest) -> tuple[Case, ...]:
    """Every case that the limits of `manifest` and the threshold of its first artifact allow to ask.

    The threshold is rounded to float32, so that a score, which is one, can be equal to it.
    """
    well = all_well(manifest)
    groups = (score_cases, refused_outputs, response_cases, refused_expectations, quality_cases, order_cases)
    return (well, *(case for group in groups for case in group(well, manifest)))


def all_well(manifest: Manifest) -> Case:
    """The case that the others differ from in what they are about; its answer is live."""
    limits = vars(manifest.quality_limits)
    quality = {name: 2 * limits[limit] + 1 for name, limit in LEAST.items()}
    quality |= {name: limits[limit] / 2 for name, limit in MOST.items()} | {DRIFT: 0.0}
    expected = tuple(islice(cycle(SHOWN), len(manifest.differential_rows)))
    threshold = as_float32(manifest.artifacts[0].operating_point.threshold)
    return Case("all well", quality, expected, expected, (1 + threshold) / 2, TYPES, DEPTH, threshold)


def score_cases(well: Case, manifest: Manifest) -> Iterator[Case]:
    """The threshold, rounding beyond 0 and 1, and the likeliest species."""
    below = float(np.nextafter(np.float32(well.threshold), np.float32(0)))
    low = replace(well, score=well.threshold / 2)
    yield replace(well, name="score exactly at the threshold", score=well.threshold)
    yield replace(well, name="score one float32 below the threshold", score=below)
    yield replace(well, name="score above 1 by rounding", score=1 + 5e-6)
    yield replace(well, name="score below 0 by rounding", score=-5e-6)
    yield replace(well, name="type adds up to 1 but for rounding", type=(0.2, 0.5, 0.3005))
    for species, types in zip(manifest.species_order, ((0.6, 0.3, 0.1), (0.1, 0.6, 0.3), (0.3, 0.1, 0.6)), strict=True):
        yield replace(low, name=f"likeliest species {species}", type=types)
    yield replace(low, name="first two types equal and largest", type=(0.4, 0.4, 0.2))
    yield replace(low, name="last two types equal and largest", type=(0.2, 0.4, 0.4))


def refused_outputs(well: Case, manifest: Manifest) -> Iterator[Case]:
    """What no runtime may decide by, also where a limit was missed."""
    changes: dict[str, dict[str, Any]] = {
        "score above 1": {"score": 1 + 2e-5},
        "score below 0": {"score": -2e-5},
        "score is not a number": {"score": NAN},
        "type adds up to less than 1": {"type": (0.2, 0.5, 0.29)},
        "type adds up to more than 1": {"type": (0.2, 0.5, 0.31)},
        "type below 0 and above 1": {"type": (1.1, -0.1, 0.0)},
        "type with a value that is not a number": {"type": (NAN, 0.5, 0.5)},
        "depth above 1": {"depth": 1.1},
        "depth is not a number": {"depth": NAN},
        "flash response with a value that is not a number": {
            "flash_response": with_row(well.flash_response, 0, (NAN, 0.0, 0.0))
        },
        "threshold of 0": {"threshold": 0.0},
        "threshold below 0": {"threshold": -1.0},
        "threshold above 1": {"threshold": 1.5, "score": 1.0},
        "threshold is not a number": {"threshold": NAN},
    }
    for name, change in changes.items():
        yield replace(well, name=name, **change)
    missed = {**well.quality, "motion_px": beyond(manifest, "motion_px")}
    yield replace(well, name="score is not a number and a limit missed", score=NAN, quality=missed)


def response_cases(well: Case, manifest: Manifest) -> Iterator[Case]:
    """Which rows disagree, and how many may."""
    rule, n = manifest.response_rule, len(well.expected)
    some = min(rule.max_disagreeing_rows + 1, n)
    scaled = tuple(scale(row, 0.01) for row in well.expected)
    yield replace(well, name="only the direction of a row counts", flash_response=scaled)
    zeros = (ZEROS,) * some + well.expected[some:]
    yield replace(well, name="predicted rows of zeros have cosine 0", flash_response=zeros)
    if rule.cosine_limit < LEAST_COSINE:
        return
    opposed = tuple(opposite(row) for row in well.expected)

    def opposing(count: int) -> Rows:
        return opposed[:count] + well.expected[count:]

    most = min(rule.max_disagreeing_rows, n)
    yield replace(well, name="as many rows disagree as may", flash_response=opposing(most))
    if rule.max_disagreeing_rows < n:
        yield replace(well, name="one row more disagrees than may", flash_response=opposing(most + 1))
        last = well.expected[: n - most - 1] + opposed[n - most - 1 :]
        yield replace(well, name="the last rows disagree", flash_response=last)
    yield replace(well, name="every row disagrees", flash_response=opposed)
    turned = tuple((*row[1:], row[0]) for row in well.expected)
    yield replace(well, name="columns in another order", flash_response=turned)
    for name, length in (("too grey to disagree", GREY), ("just coloured enough to disagree", COLOURED)):
        faint = tuple(scale(row, length / math.hypot(*row)) for row in well.expected[1:])
        yield replace(well, name=f"expected rows {name}", expected=(well.expected[0], *faint), flash_response=opposed)
    for name, step in (("just inside", COSINE_STEP), ("just outside", -COSINE_STEP)):
        if abs(rule.cosine_limit + step) <= 1:
            row = at_cosine(rule.cosine_limit + step)
            rows = (SHOWN[0],) * n
            yield replace(well, name=f"rows {name} the cosine limit", expected=rows, flash_response=(row,) * n)


def refused_expectations(well: Case, manifest: Manifest) -> Iterator[Case]:
    """Rows that whoever is given them must refuse: they would agree with anything."""
    rows = well.expected
    changes: dict[str, Rows] = {
        "expected rows with a value that is not a number": with_row(rows, len(rows) - 1, (NAN, 0.0, 0.0)),
        "expected rows that are all zero": (ZEROS,) * len(rows),
        "expected rows that are all too grey": tuple(scale(row, GREY / math.hypot(*row)) for row in rows),
        "expected rows one too few": rows[:-1],
        "expected rows one too many": (*rows, rows[0]),
        "no expected rows": (),
    }
    for name, expected in changes.items():
        yield replace(well, name=name, expected=expected)


def quality_cases(well: Case, manifest: Manifest) -> Iterator[Case]:
    """Each measurement at its limit, just beyond, and not a number."""
    for name in MEASUREMENTS:
        values = {
            "exactly at its limit": at_limit(manifest, name),
            "just beyond its limit": beyond(manifest, name),
            "is not a number": NAN,
        }
        for what, value in values.items():
            yield replace(well, name=f"{name} {what}", quality={**well.quality, name: value})
    yield replace(well, name="a background that gets brighter", quality={**well.quality, DRIFT: 1000.0})
    for name, chosen in (
        ("both flash limits missed", ("flash_to_ambient", "flash_snr")),
        ("two limits missed", (DRIFT, "motion_px")),
        ("every limit missed", MEASUREMENTS),
    ):
        missed = {one: beyond(manifest, one) for one in chosen}
        yield replace(well, name=name, quality={**well.quality, **missed})
    yield replace(well, name="no measurement is a number", quality=dict.fromkeys(MEASUREMENTS, NAN))


def order_cases(well: Case, manifest: Manifest) -> Iterator[Case]:
    """Which reasons come together, and in what order."""
    bad = replace(well, score=well.threshold / 2, flash_response=tuple(opposite(row) for row in well.expected))
    yield replace(bad, name="every row disagrees and the score is low")
    missed = {name: beyond(manifest, name) for name in ("clipped_fraction", "flash_snr")}
    quality = {**well.quality, **missed}
    yield replace(bad, name="limits missed, every row disagrees and the score is low", quality=quality)


def at_limit(manifest: Manifest, name: str) -> float:
    """The worst value of a measurement that does not miss its limit."""
    limits = vars(manifest.quality_limits)
    return float(-limits[DROP] if name == DRIFT else limits[{**LEAST, **MOST}[name]])


def beyond(manifest: Manifest, name: str) -> float:
    """A value that misses the limit of a measurement by a millionth."""
    limit = at_limit(manifest, name)
    step = BEYOND * (abs(limit) or 1.0)
    return limit + step if name in MOST else limit - step


def as_float32(threshold: float) -> float:
    """The nearest float32 above 0."""
    return max(float(np.float32(threshold)), float(np.finfo(np.float32).tiny))


def at_cosine(cosine: float) -> Row:
    """A row of length 1 at that cosine to SHOWN[0]."""
    along, aside = cosine / math.sqrt(2), math.sqrt(1 - cosine**2)
    return tuple(rounded(along * one + aside * other) for one, other in zip(SHOWN[0], ACROSS, strict=True))


def opposite(row: Row) -> Row:
    return tuple(0.0 - value for value in row)  # no −0.0


def scale(row: Row, factor: float) -> Row:
    return tuple(rounded(factor * value) for value in row)


def rounded(value: float) -> float:
    """`value` to the digits that bring a float32 back; no −0.0."""
    return float(f"{value:.{DIGITS}g}") + 0.0


def with_row(rows: Rows, place: int, row: Row) -> Rows:
    """`rows` with another row at `place`."""
    return (*rows[:place], row, *rows[place + 1 :])
