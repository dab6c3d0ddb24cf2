"""Gate 11 outside Python: the reader of docs/reader replays a bundle under Node with onnxruntime-web.

Not in the paper. The reader was written from docs/bundle.md alone and shares no code with the reference runtime, so
that it sees what a port would see. It is no part of the installed package: it runs where there is a source checkout,
Node 20 or later and the packages of its package.json (in docs/reader/node_modules, or in the folder that the
environment variable FLASHPROOF_NODE_MODULES names). Where one of them is missing, nothing is claimed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from export.parity import Gate
from export.replay import Finding, unmeasured
from sdk_reference.bundle import MANIFEST_NAME, load_bundle
from sdk_reference.manifest import MAX_MANIFEST_BYTES

READER: Final = Path(__file__).parent.parent / "docs" / "reader" / "reader.mjs"
PACKAGES_VARIABLE: Final = "FLASHPROOF_NODE_MODULES"
PACKAGE: Final = "onnxruntime-web"
PREFIX: Final = "Node: "
TIMEOUT_S: Final = 300
MIN_NODE: Final = 20
ANSWERED: Final = (0, 1)  # the exit status of a reader that has judged the bundle


def why_not() -> str | None:
    """Why the reader cannot run here; None where it can."""
    node = shutil.which("node")
    if not READER.is_file():
        return "docs/reader is not there: not a source checkout"
    if node is None:
        return "node is not installed"
    version = node_version(node)
    if version < MIN_NODE:
        return f"node is of version {version}, and {MIN_NODE} is needed"
    if not (packages_folder() / PACKAGE / "package.json").is_file():
        return f"{PACKAGE} is not installed: run `npm ci` in docs/reader, or name the folder in {PACKAGES_VARIABLE}"
    return None


def node_version(node: str) -> int:
    """The major version of the program; 0 when it does not say."""
    try:
        said = subprocess.run(
            [node, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    number = said.strip().removeprefix("v").partition(".")[0]
    return int(number) if number.isdecimal() else 0


def packages_folder() -> Path:
    """Where the reader's packages are looked for, by the reader itself as well."""
    return Path(os.environ.get(PACKAGES_VARIABLE) or READER.parent / "node_modules")


def node_gates(bundle_path: str | os.PathLike[str]) -> list[Gate]:
    """Every gate that the reader checks on the bundle at `bundle_path`, a folder or a zip, named "Node: …".

    Only to be called where `why_not()` is None. A reader that refuses the bundle, breaks off or judges nothing is a
    closed gate.
    """
    name = f"{PREFIX}the reader's answer"
    with as_folder(Path(bundle_path)) as folder:
        try:
            done = subprocess.run(
                ["node", str(READER), str(folder), "--json"],
                capture_output=True,
                encoding="utf-8",
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return [unmeasured(name, 0.0, str(error))]
    if done.returncode not in ANSWERED:
        return [unmeasured(name, 0.0, f"exit status {done.returncode}: {done.stderr.strip()[:300]}")]
    return as_gates(name, done.stdout)


def as_gates(name: str, answer: str) -> list[Gate]:
    """The reader's JSON as gates; an answer that is none, or without gates, is the closed gate `name`."""
    try:
        gates: list[Gate] = [as_gate(record) for record in json.loads(answer)["gates"]]
    except (ValueError, TypeError, KeyError) as error:
        return [unmeasured(name, 0.0, f"not as agreed ({type(error).__name__}: {error})")]
    return gates or [unmeasured(name, 0.0, "no gate was checked")]


def as_gate(record: dict[str, Any]) -> Finding:
    """One gate of the answer, judged by its own figures once more."""
    value, limit = float(record["value"]), float(record["limit"])
    return Finding(
        f"{PREFIX}{record['name']}", bool(record["ok"]) and value <= limit, value, limit, record.get("detail", "")
    )


@contextmanager
def as_folder(path: Path) -> Iterator[Path]:
    """The bundle as a folder, which is what the reader opens; a zip's verified files are laid into a temporary one."""
    if path.is_dir():
        yield path
        return
    bundle = load_bundle(path)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in bundle.manifest.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(bundle.read(name))
        (folder / MANIFEST_NAME).write_bytes(bundle.store.read(MANIFEST_NAME, MAX_MANIFEST_BYTES))
        yield folder
