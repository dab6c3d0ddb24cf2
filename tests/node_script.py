"""Runs a few lines of JavaScript with the modules of docs/reader."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

READER = Path(__file__).resolve().parents[1] / "docs" / "reader"

needs_any_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def from_reader(names: str, module: str) -> str:
    """The line that imports `names`, as JavaScript lists them, from a module of docs/reader."""
    return f"import {{ {names} }} from {json.dumps((READER / module).as_uri())};"


def run_node(script: str, folder: Path, *arguments: object) -> str:
    """Run `script` as a module that lies in `folder`; returns what it printed."""
    (folder / "script.mjs").write_text(script, encoding="utf-8")
    command = ["node", "script.mjs", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, check=True, timeout=120, stdout=subprocess.PIPE, encoding="utf-8").stdout
