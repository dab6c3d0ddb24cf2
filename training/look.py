"""The look of the simulator: contact sheets, and statistics beside those of real photographs (not in the paper).

    python -m training.look --out reports/look [--real DIR] [--count 60] [--per 4] [--seed 0] [--workers 1]

    OUT/sheets/live-face.jpg      per species and instrument: all frames, difference, depth
    OUT/sheets/scene-office.jpg   per scene, the species in turn
    OUT/real/NAME.jpg             a real pair above simulated captures of a like flash/ambient ratio (with --real)
    OUT/look.md, OUT/look.json    statistics: median and range per species, real values, what still differs
    OUT/captures.json             labels and statistics of every simulated capture

Real photographs are written below OUT and nowhere else; they belong into no commit and no document.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from sdk_reference.atomic_files import write_atomically, write_json
from sdk_reference.errors import FlashproofError, InvalidInput
from sdk_reference.landmarks import FaceMeshDetector, LandmarkDetector
from simulator.errors import SimulationError
from training import look_report
from training.contact_sheet import PANEL_COLUMNS, STRIP_COLUMNS, write_sheet
from training.errors import SettingOutOfRange, require_range
from training.look_captures import Look, look_at, look_at_real, real_pairs, recipes
from training.progress import progress_bar
from training.workers import MAX_WORKERS, Progress, default_workers, no_progress, run_in_workers

MAX_COUNT, MAX_PER, MAX_SEED = 10_000, 64, 2**63 - 1
MIN_SIZE, MAX_SIZE = 128, 1024  # pixels of a frame
SHEETS, REAL, JSON_FILE, MARKDOWN_FILE, CAPTURES_FILE = "sheets", "real", "look.json", "look.md", "captures.json"
OURS = {SHEETS, REAL, JSON_FILE, MARKDOWN_FILE, CAPTURES_FILE}


@dataclass(frozen=True)
class LookSettings:
    """What decides a look."""

    count: int = 60
    """Simulated captures per species."""
    per: int = 4
    """Captures on each contact sheet."""
    seed: int = 0
    """Draws rooms, phones and people."""
    size: int = 256
    """Width and height of the frames, pixels."""

    def __post_init__(self) -> None:
        require_range("count", self.count, 1, MAX_COUNT)
        require_range("per", self.per, 1, MAX_PER)
        require_range("seed", self.seed, 0, MAX_SEED)
        require_range("size", self.size, MIN_SIZE, MAX_SIZE)


@dataclass(frozen=True)
class LookResult:
    """What `take_look` found."""

    simulated: list[Look]
    """By index, then species."""
    real: dict[str, Look]
    """By the name of the pair's folder."""


def take_look(
    out: Path,
    settings: LookSettings,
    real: Path | None = None,
    workers: int = 1,
    progress: Progress = no_progress,
    detector: LandmarkDetector | None = None,
) -> LookResult:
    """Simulate, measure, compare and write everything below `out`; `detector` looks at the real photographs.

    Raises SettingOutOfRange, CaptureNotFound (no real pair), InvalidInput (`out` holds something else) or
    OutputNotWritable.
    """
    _require_ours(out)
    pairs = real_pairs(real) if real is not None else {}
    detector = detector or FaceMeshDetector()
    seen = {name: look_at_real(name, species, folder, detector) for name, (species, folder) in pairs.items()}
    result = LookResult(simulated_looks(settings, workers, progress), seen)
    write_look(out, settings, result)
    return result


def simulated_looks(settings: LookSettings, workers: int, progress: Progress) -> list[Look]:
    """Return a Look per recipe, in the order of recipes whatever the number of workers."""
    wanted = recipes(settings.count, settings.seed, settings.size)
    found = {}
    for recipe, look in run_in_workers(look_at, wanted, workers):
        found[recipe] = look
        progress(len(found), len(wanted))
    return [found[recipe] for recipe in wanted]


def write_look(out: Path, settings: LookSettings, result: LookResult) -> None:
    """Write sheets, tables and values."""
    write_sheets(out / SHEETS, result.simulated, settings.per)
    for name, pair in result.real.items():
        beside = [pair, *look_report.nearest(pair, result.simulated, settings.per)]
        rows = [(look.title, look.panel) for look in beside]
        write_sheet(out / REAL / f"{name}.jpg", f"{name}: real above simulated {pair.species}", PANEL_COLUMNS, rows)
    values = [{"labels": look.labels, "statistics": look_report.finite(look.statistics)} for look in result.simulated]
    write_json(out / CAPTURES_FILE, values)
    write_json(out / JSON_FILE, look_report.to_json(asdict(settings), result.simulated, result.real))
    write_atomically(out / MARKDOWN_FILE, look_report.to_markdown(result.simulated, result.real).encode())


def write_sheets(folder: Path, looks: Sequence[Look], per: int) -> None:
    """Write all sheets of simulated captures; those of an earlier look that are none of this one's are removed."""
    sheets = species_sheets(looks) | scene_sheets(looks)
    for name, (title, chosen) in sheets.items():
        rows = [(look.title, look.strip) for look in chosen[:per]]
        write_sheet(folder / f"{name}.jpg", title, STRIP_COLUMNS, rows)
    for stale in set(folder.glob("*.jpg")) - {folder / f"{name}.jpg" for name in sheets}:
        stale.unlink()


def species_sheets(looks: Sequence[Look]) -> dict[str, tuple[str, list[Look]]]:
    """Return file name → (title, captures) of each species and instrument that was drawn."""
    sheets: dict[str, tuple[str, list[Look]]] = {}
    for look in looks:
        kind = look.instrument if look.instrument.startswith(look.species) else f"{look.species}-{look.instrument}"
        sheets.setdefault(kind, (f"simulated {look.species}, {look.instrument}", []))[1].append(look)
    return sheets


def scene_sheets(looks: Sequence[Look]) -> dict[str, tuple[str, list[Look]]]:
    """Return the same of each scene that was drawn: species in turn, so that rows show one room with others in it."""
    sheets: dict[str, tuple[str, list[Look]]] = {}
    for look in looks:
        scene = str(look.labels["scene"])
        sheets.setdefault(f"scene-{scene}", (f"simulated, scene {scene}", []))[1].append(look)
    return sheets


def _require_ours(out: Path) -> None:
    others = [out.name] if out.is_file() else sorted(p.name for p in out.iterdir()) if out.is_dir() else []
    strange = [name for name in others if name not in OURS]
    if strange:
        raise InvalidInput(
            found=f"{', '.join(strange[:3])} in {out}",
            expected="a new or empty folder, or one of an earlier look",
            remedy="choose another folder",
        )


def look(
    out: Annotated[Path, typer.Option(help="Folder for sheets and tables; new, empty or of an earlier look.")],
    real: Annotated[
        Path | None, typer.Option(help="Folder of real pairs: NAME_live/background.jpg, flash.jpg.")
    ] = None,
    count: Annotated[int, typer.Option(help="Simulated captures per species.")] = 60,
    per: Annotated[int, typer.Option(help="Captures per contact sheet.")] = 4,
    seed: Annotated[int, typer.Option(help="Draws rooms, phones and people.")] = 0,
    size: Annotated[int, typer.Option(help="Width and height of the frames in pixels.")] = 256,
    workers: Annotated[int, typer.Option(help="Processes; 0 takes one per processor.")] = 1,
) -> None:
    """Draw contact sheets of the simulator and compare its statistics with real photographs."""
    settings = LookSettings(count, per, seed, size)
    require_range("workers", workers, 0, MAX_WORKERS)
    with progress_bar("Looking") as progress:
        result = take_look(out, settings, real, workers or default_workers(), progress)
    for name, pair in result.real.items():
        print(f"## What still differs: {name} ({pair.species})\n")
        print("\n".join(look_report.differences_table(pair, result.simulated)) + "\n")
    refused = sum(bool(x.refused) for x in result.simulated)
    print(f"{len(result.simulated)} simulated captures, {refused} without a usable face; see {out / MARKDOWN_FILE}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; errors are one line on standard error and an exit status."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(look)
    try:
        app(list(sys.argv[1:] if arguments is None else arguments), prog_name="look", standalone_mode=False)
    except typer.Exit as leaving:
        return leaving.exit_code
    except typer.TyperException as error:
        return _complain(f"{error.format_message()} See: python -m training.look --help", 64)
    except FlashproofError as error:
        return _complain(str(error), error.exit_status)
    except SimulationError as error:
        return _complain(str(error), SettingOutOfRange.exit_status)
    return 0


def _complain(message: str, status: int) -> int:
    print(f"look: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
