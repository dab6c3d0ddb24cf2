"""``flashproof``: puts the sub-commands together and turns every error into one clear line and an exit status.

Exit status: what a command itself returns (``check``: 0 live, 1 spoof, 2 retry; ``verify``: 0 sound, 1 not); 3 and
above are errors, by kind (``sdk_reference.errors``); 64 is a command line that makes no sense. Typer's own status for
that is 2, which would read as *retry*.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import typer

from flash_sequencer.errors import FlashSequenceError, PlanError
from flashproof.commands.bench import bench
from flashproof.commands.check import check
from flashproof.commands.collect import collect
from flashproof.commands.demo import demo
from flashproof.commands.evaluate import evaluate
from flashproof.commands.export import export
from flashproof.commands.plan import plan
from flashproof.commands.record import record
from flashproof.commands.shard import shard
from flashproof.commands.simulate import simulate
from flashproof.commands.train import train
from flashproof.commands.verify import verify
from sdk_reference.errors import FlashproofError
from simulator.errors import SimulationError

EXIT_INVALID_INPUT = 3  # as sdk_reference.errors.InvalidInput
EXIT_MISSING_EXTRA = 6
EXIT_USAGE = 64  # EX_USAGE of sysexits.h
EXIT_DEFECT = 70  # EX_SOFTWARE; Python's own status for an exception is 1, which would read as *spoof*
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

# Modules of the optional installs, and the extra that brings them.
EXTRA_OF_MODULE = {
    "filelock": "train",
    "lightning": "train",
    "matplotlib": "train",
    "safetensors": "train",
    "scipy": "train",
    "torch": "train",
    "torchmetrics": "train",
    "onnx": "export",
    "onnxscript": "export",
}

app = typer.Typer(
    name="flashproof",
    help="Tells a live face from a photograph, a screen or a mask by how it answers the phone's own screen light.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (demo, plan, simulate, shard, train, evaluate, export, verify, bench, check, collect):
    app.command()(command)
app.add_typer(record)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and leaves the interpreter with its exit status."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line, e.g. ``run(["plan", "--n0", "5"])``; returns the exit status and never raises."""
    try:
        result = app(list(arguments), prog_name="flashproof", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except typer.Exit as leaving:
        return leaving.exit_code
    except typer.TyperException as error:  # an option that does not exist, a value of the wrong type, ...
        return complain(f"{error.format_message()} See: flashproof --help", EXIT_USAGE)
    except FlashproofError as error:
        return complain(str(error), error.exit_status)
    except (PlanError, FlashSequenceError, SimulationError) as error:
        return complain(str(error), EXIT_INVALID_INPUT)
    except ModuleNotFoundError as error:
        return complain_of_missing_extra(error)
    except (typer.Abort, KeyboardInterrupt):
        return complain("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:  # `flashproof plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        return complain("this is a defect of flashproof; please report it with the lines above", EXIT_DEFECT)


def complain(message: str, status: int) -> int:
    """Prints ``message`` on standard error and hands ``status`` back."""
    print(f"flashproof: {message}", file=sys.stderr)
    return status


def complain_of_missing_extra(error: ModuleNotFoundError) -> int:
    """A missing optional package is the user's to install; any other missing module is our defect and is raised."""
    extra = EXTRA_OF_MODULE.get((error.name or "").partition(".")[0])
    if extra is None:
        raise error
    return complain(
        f"this command needs {error.name}, which is not installed; install it with: pip install 'flashproof[{extra}]'",
        EXIT_MISSING_EXTRA,
    )
