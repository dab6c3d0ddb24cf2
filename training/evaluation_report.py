"""The HTML page of an evaluation: one file, figures inside it, nothing fetched from anywhere.

It begins in plain language: what was measured, on whom, how often it was wrong and where it is weakest. The layout is
`evaluation_template.html`; this file writes the sentences and turns numbers into text. Everything is escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined

from sdk_reference.atomic_files import write_atomically, write_json
from training.counted import FEWEST
from training.evaluate import EvaluationResult
from training.evaluation_figures import GROUP_NAMES, draw_figures
from training.figures import DPI, png_of

TEMPLATE_FILE: Final = Path(__file__).with_name("evaluation_template.html")
PAGE_FILE, JSON_FILE = "report.html", "evaluation.json"
PNG_SIZE_OFFSET: Final = 16  # of the width in a PNG's header
CSS_PER_INCH: Final = 100
SPECIES_NAMES: Final = {"live": "live faces", "print": "prints", "replay": "replays", "mask": "masks"}
SPLIT_NAMES: Final = {"test": "test split", "val": "validation split", "train": "training split", "all": "all splits"}
Cell = Mapping[str, Any]


def write_report(result: EvaluationResult, folder: Path) -> Path:
    """Write evaluation.json, one PNG per figure and the page into `folder`; returns the page's path."""
    write_json(folder / JSON_FILE, result.to_dict())
    images = {name: png_of(figure) for name, figure in draw_figures(result)}
    for name, content in images.items():
        write_atomically(folder / f"{name}.png", content)
    write_atomically(folder / PAGE_FILE, render(result, images).encode())
    return folder / PAGE_FILE


def render(result: EvaluationResult, images: Mapping[str, bytes]) -> str:
    """Return the page as HTML text; `images` are PNG files by the names of `draw_figures`."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "parts": parts}
    template = environment.from_string(TEMPLATE_FILE.read_text(encoding="utf-8"))
    values = result.to_dict()
    return template.render(
        r=values,
        page={
            "title": f"Flashproof: how often {result.model.name} is wrong",
            "origin": "simulated" if result.data.simulated else "recorded",
            "split": SPLIT_NAMES[result.split],
            "summary": summary(values),
            "attacks": [name for name in values["verdicts"] if name != "live"],
            "group_names": GROUP_NAMES,
            "species_names": SPECIES_NAMES,
            "fewest": FEWEST,
            "limits": vars(result.model.limits),
        },
        figures={name: {"uri": png_uri(content), "width": css_width(content)} for name, content in images.items()},
    )


def png_uri(content: bytes) -> str:
    """A PNG file inside a URI."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def css_width(content: bytes) -> int:
    """How many CSS pixels wide a PNG is shown."""
    width = int.from_bytes(content[PNG_SIZE_OFFSET : PNG_SIZE_OFFSET + 4], "big")
    return round(width / DPI * CSS_PER_INCH)


def percent(value: float | None) -> str:
    """A share as text; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.2f} %".replace(" ", "\u00a0")


def parts(text: str) -> list[tuple[bool, str]]:
    """Cut a sentence at its asterisks into (is bold, text): what stands between two of them is bold."""
    return [(bool(place % 2), part) for place, part in enumerate(text.split("*"))]


def spread(rate: Cell) -> str:
    """A rate and its interval in words."""
    return f"*{percent(rate['value'])}* (between {percent(rate['low'])} and {percent(rate['high'])})"


def summary(r: Mapping[str, Any]) -> list[str]:
    """Everything a reader must know, as sentences; `r` is the result as JSON values."""
    return [*_what_was_measured(r), *(_headline(r) if r["eer"] else _no_rates(r)), *_phone(r), *_weakest(r)]


def _what_was_measured(r: Mapping[str, Any]) -> list[str]:
    total, people = r["protocol"]["captures"]["all"], r["protocol"]["subjects"]
    word = "simulated" if r["simulated"] else "recorded"
    species = ", ".join(
        f"{verdict['not_live']['trials']:,} {SPECIES_NAMES[name]}" for name, verdict in r["verdicts"].items()
    )
    known = {
        None: "and whether the model was trained on any of them is *not known*",
        0: "none of whom the model was trained on",
    }.get(people["overlap"], f"on *{people['overlap']} of whom the model was trained*: such rates flatter")
    said = [f"*{total:,} {word} captures* ({species}) of *{people['evaluated']} {word} people*, {known}."]
    if r["simulated"]:
        said.append(
            "*Everything here is simulated*: rendered people, attacks, rooms and cameras. Every rate below is a "
            "simulated one. What the model does to real people is not known from this page."
        )
    if r["screen_off"]:
        said.append("*The screen was off*: a control. Nobody should be called live, whoever it is.")
    return said


def _headline(r: Mapping[str, Any]) -> list[str]:
    worst = _worst_species(r)
    return [
        f"Of the captures that the quality gates accept, the threshold rejects {spread(r['bpcer'])} of the live faces "
        f"and accepts {spread(r['apcer_max'])} of the {SPECIES_NAMES[worst]}, the worst kind of attack.",
        f"Both errors are equal (EER) at {spread(r['eer'])}; their mean at the threshold (HTER): {spread(r['hter'])}.",
    ]


def _worst_species(r: Mapping[str, Any]) -> str:
    return max(r["apcer"], key=lambda name: (r["apcer"][name]["value"], r["apcer"][name]["high"]))


def _no_rates(r: Mapping[str, Any]) -> list[str]:
    left = ", ".join(f"{number} {SPECIES_NAMES[name]}" for name, number in r["counts"].items()) or "no capture"
    return [f"The quality gates leave {left}: *no error rate can be computed* from that, only what a phone would say."]


def _phone(r: Mapping[str, Any]) -> list[str]:
    live = r["verdicts"]["live"]
    refused = r["refusals"]["by_species"]["live"]
    said = [f"The gates ask {spread(refused)} of the live people for another try ({_of(refused)})."]
    if r["screen_off"]:
        said.append(f"A phone calls {spread(live['not_live'])} of the live people spoof or retry, as it should.")
        if r["without_gates"]:
            said.append(f"The score alone, without gates, rejects {spread(r['without_gates']['bpcer'])} of them.")
        return said
    return [
        *said,
        f"Gates, flash response and score together: a phone says live to {spread(live['live'])} of the live people.",
    ]


def _weakest(r: Mapping[str, Any]) -> list[str]:
    """The worst instrument and the worst groups, of those with captures enough to say so."""
    instruments = r["apcer_by_instrument"]
    found = [
        _worst_cell("The instrument most often accepted is", instruments.items()),
        _worst_cell("Live faces are rejected most often at", _group_cells(r, lambda g: [("", g["bpcer"])])),
        _worst_cell("Attacks are accepted most often at", _group_cells(r, lambda g: list(g["apcer"].items()))),
        _worst_cell(
            "The gates refuse live faces most often at", _group_cells(r, lambda g: [("", g["bona_fide_refused"])])
        ),
    ]
    said = [sentence for sentence in found if sentence]
    if instruments and all(cell["few"] for cell in instruments.values()):
        said.append(
            f"No single instrument has {FEWEST} captures judged: which one is worst cannot be told from so few."
        )
    return said


def _worst_cell(what: str, cells: Iterable[tuple[str, Cell]]) -> str | None:
    enough = [(name, cell) for name, cell in cells if not cell["few"] and cell["events"]]
    if not enough:
        return None
    name, cell = max(enough, key=lambda item: (item[1]["value"], item[1]["trials"]))
    return f"{what} *{name}*: {spread(cell)}, {_of(cell)}."


def _group_cells(
    r: Mapping[str, Any], choose: Callable[[Mapping[str, Any]], list[tuple[str, Cell]]]
) -> list[tuple[str, Cell]]:
    return [
        (f"{GROUP_NAMES[grouping]}: {group['group']}" + (f", {SPECIES_NAMES[species]}" if species else ""), cell)
        for grouping, groups in r["breakdowns"].items()
        for group in groups
        for species, cell in choose(group)
    ]


def _of(cell: Cell) -> str:
    return f"{cell['events']:,} of {cell['trials']:,}"
