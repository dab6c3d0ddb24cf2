"""docs/plan.md defines `challenge`: its examples and tables are the code's, and a reader written from it agrees."""

from __future__ import annotations

import hashlib
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from node_script import from_reader, needs_any_node, run_node

from flash_sequencer.draw import CONTEXTS
from flash_sequencer.palette import GENTLE, GENTLE_LADDER, MAX_N0, MIN_N0, PROFILES, SATURATED_HUES, STANDARD
from flash_sequencer.plan import FlashPlan, challenge

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "plan.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(
    r"^nonce (?P<nonce>[0-9a-f\s]+)\nplan  (?P<profile>\w+), n0 (?P<n0>\d)\n"
    r"steps (?P<steps>.+?)\nhash  (?P<hash>\w{64})$",
    re.MULTILINE | re.DOTALL,
)
STEP = re.compile(r"(\d) #([0-9a-f]{6}) (\d+)")
TRIPLE = re.compile(r"\| (\d+), (\d+), (\d+)(?= \|)")

Steps = list[tuple[int, str, int]]


def steps_of(plan: FlashPlan) -> Steps:
    return [(step.rank, bytes(step.srgb).hex(), step.duration_ms) for step in plan.steps]


def examples() -> list[tuple[str, int, str, Steps, str]]:
    """(nonce, n0, profile, steps, hash) of every worked example of the page."""
    return [
        (
            "".join(found["nonce"].split()),
            int(found["n0"]),
            found["profile"],
            [(int(rank), colour, int(ms)) for rank, colour, ms in STEP.findall(found["steps"])],
            found["hash"],
        )
        for found in EXAMPLE.finditer(PAGE)
    ]


def colours_in(rows: str) -> list[tuple[int, ...]]:
    return [tuple(map(int, triple)) for triple in TRIPLE.findall(rows)]


@pytest.mark.parametrize("example", examples(), ids=lambda example: f"{example[2]}-{example[1]}-{example[0][:8]}")
def test_a_worked_example_is_what_the_code_draws(example: tuple[str, int, str, Steps, str]) -> None:
    nonce, n0, profile, steps, expected = example
    plan = challenge(nonce, n0, profile)
    assert (steps_of(plan), plan.canonical_hash()) == (steps, expected)


def test_every_profile_has_examples_of_several_sizes() -> None:
    assert PAGE.count("\nhash ") == len(examples())
    for profile in PROFILES:
        sizes = [n0 for _, n0, name, _, _ in examples() if name == profile]
        assert sizes.count(5) >= 2 and max(sizes) == MAX_N0 and len(set(sizes)) >= 3


def test_the_canonical_text_and_the_byte_by_byte_draw_are_the_first_examples() -> None:
    nonce, n0, profile, _, expected = examples()[0]
    (text,) = re.findall(r'^\{"format".*\}$', PAGE, re.MULTILINE)
    assert text == challenge(nonce, n0, profile).canonical_json()
    assert hashlib.sha256(text.encode()).hexdigest() == expected
    block = hashlib.sha256(f"{CONTEXTS[profile]}|{profile}|{n0}".encode() + b"\0" + bytes.fromhex(nonce) + bytes(4))
    assert f"`{block.hexdigest()}`" in PAGE
    rows = re.findall(r"^\| ([0-9a-f]{2}) = (\d+) \| (\d) \| (\d+) \| (\d) \|", PAGE, re.MULTILINE)
    assert bytes.fromhex("".join(row[0] for row in rows)) == block.digest()[: len(rows)]
    for digits, *numbers in rows:
        value, limit, usable, drawn = map(int, numbers)
        assert (value, usable, drawn) == (int(digits, 16), 256 - 256 % limit, value % limit)


def test_contexts_palettes_and_durations_are_the_codes() -> None:
    for profile, context in CONTEXTS.items():
        assert f"`{context}|{profile}|5`" in PAGE
    (hues,) = re.findall(r"^\| (\| 255, 0, 0 .*)$", PAGE, re.MULTILINE)
    assert colours_in(hues) == list(SATURATED_HUES)
    ladder = re.findall(r"^\| (\d) (\| \d+, \d+, \d+ .*)$", PAGE, re.MULTILINE)
    assert [int(row) for row, _ in ladder] == list(range(len(GENTLE_LADDER)))
    assert [tuple(colours_in(rows)) for _, rows in ladder] == list(GENTLE_LADDER)
    for profile in (STANDARD, GENTLE):
        (ends,) = re.findall(rf"^\| `{profile.name}` (\| \d.*)$", PAGE, re.MULTILINE)
        assert colours_in(ends) == [profile.brightest, profile.darkest]
    assert f"every step lasts {STANDARD.step_ms} ms" in PAGE
    assert f"0 is {GENTLE.drawn_steps_ms[0]} ms, 1 is {GENTLE.drawn_steps_ms[1]} ms. The last step\n" in PAGE
    assert f"lasts {GENTLE.step_ms} ms, and nothing is drawn" in PAGE


def drawn_by_node(calls: list[tuple[Any, ...]], folder: Path) -> list[Any]:
    """What docs/reader/plan.mjs answers to each call of `challenge`: [text, hash], or the name of its error."""
    (folder / "calls.json").write_text(json.dumps(calls), encoding="utf-8")
    script = (
        "import { readFileSync } from 'node:fs';"
        f"{from_reader('canonicalJson, challenge, planHash', 'plan.mjs')}"
        "const answers = JSON.parse(readFileSync('calls.json')).map((call) => {"
        "  try { const plan = challenge(...call); return [canonicalJson(plan), planHash(plan)]; }"
        "  catch (error) { return error.constructor.name; } });"
        "console.log(JSON.stringify(answers));"
    )
    answers: list[Any] = json.loads(run_node(script, folder))
    return answers


@needs_any_node
def test_the_reader_written_from_the_page_draws_the_same_plans(tmp_path: Path) -> None:
    rng = random.Random(20)
    calls = [
        (rng.randbytes(rng.choice((16, 17, 32, 64))).hex(), n0, profile)
        for profile in PROFILES
        for n0 in (*range(MIN_N0, MAX_N0 + 1), 5, 5)
        for _ in range(7)
    ]
    calls += [(nonce, n0, profile) for nonce, n0, profile, _, _ in examples()]
    calls.append(("0123456789ABCDEF" * 2, 5, "standard"))
    plans = [challenge(*call) for call in calls]
    assert len(calls) > 100
    assert drawn_by_node(calls, tmp_path) == [[plan.canonical_json(), plan.canonical_hash()] for plan in plans]


@needs_any_node
def test_the_reader_refuses_what_gives_no_plan(tmp_path: Path) -> None:
    nonce = "0123456789abcdef" * 2
    wrong = [
        *((bad, 5, "standard") for bad in ("", nonce[:-2], nonce[:-1], "0x" + nonce, nonce * 4 + "00", f"{nonce} ", 5)),
        *((nonce, bad, "standard") for bad in (2, 9, 5.5, "5", None)),
        *((nonce, 5, bad) for bad in ("", "Standard", "toString", None)),
    ]
    assert drawn_by_node(wrong, tmp_path) == ["PlanError"] * len(wrong)
