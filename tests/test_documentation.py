"""What the README and the docs tell people to type exists: commands, options, make targets and linked files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from test_architecture import ROOMS
from typer.core import TyperCommand, TyperGroup

from flashproof.app import app, run

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
CODE_BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
MAKE_TARGET = re.compile(r"`make ([a-z]+)`")
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def documented_calls(text: str) -> Iterator[tuple[str, list[str]]]:
    """(sub-command, its long options) for every line of a code block that calls ``flashproof``."""
    for block in CODE_BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            call = re.match(r"(?:\$ )?(?:\.venv/bin/)?flashproof ([a-z]+)([^#|]*)", line)
            if call:
                yield call[1], re.findall(r"--[a-z0-9-]+", call[2])


def known_options() -> dict[str, set[str]]:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return {name: {"--help", *options_of(command)} for name, command in group.commands.items()}


def options_of(command: TyperCommand | TyperGroup) -> Iterator[str]:
    """The options of a command; of a command with commands of its own, those of all of them."""
    for below in command.commands.values() if isinstance(command, TyperGroup) else ():
        yield from options_of(below)
    yield from (option for parameter in command.params for option in parameter.opts)


def unknown_calls(text: str) -> list[str]:
    known = known_options()
    return [
        f"flashproof {command} {' '.join(options)}"
        for command, options in documented_calls(text)
        if command not in known or not set(options) <= known[command]
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_documented_command_and_option_exists(document: Path) -> None:
    assert unknown_calls(document.read_text(encoding="utf-8")) == []


def test_the_readme_calls_the_command_at_all() -> None:
    assert {command for command, _ in documented_calls((REPOSITORY / "README.md").read_text(encoding="utf-8"))} >= {
        "check",
        "plan",
        "demo",
    }


@pytest.mark.parametrize("call", ["flashproof polish", "flashproof plan --no-such-option"])
def test_the_command_check_can_fail(call: str) -> None:
    assert unknown_calls(f"```\n{call}\n```\n") != []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_and_linked_files_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    missing_targets = [name for name in MAKE_TARGET.findall(text) if name not in targets]
    missing_files = [link for link in LINK.findall(text) if not (document.parent / link).exists()]
    assert (missing_targets, missing_files) == ([], [])


def test_no_document_or_source_names_an_absolute_path_of_a_machine() -> None:
    pattern = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/\w+")
    suffixes = {".py", ".md", ".toml", ".txt", ".json", ".html"}
    folders = ("docs", "benchmarks", *ROOMS)
    files = [path for folder in folders for path in (REPOSITORY / folder).rglob("*") if path.suffix in suffixes]
    offenders = [
        str(path.relative_to(REPOSITORY))
        for path in [*DOCUMENTS, *files]
        if pattern.search(path.read_text(encoding="utf-8"))
    ]
    assert offenders == []


def test_the_readme_shows_what_plan_prints_today(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    call = re.search(r"^flashproof (plan --nonce [0-9a-f]+)$", readme, re.MULTILINE)
    assert call is not None
    monkeypatch.setenv("COLUMNS", "100")
    assert run(call[1].split()) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.strip().splitlines()]
    assert len(printed) > 10
    assert "\n".join(printed[1:]) in readme  # the first line is padded to the table's width
