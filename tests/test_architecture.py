"""The rooms of the house: imports run one way, and what ships never loads torch. Both guards are shown to fail."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
# Each may import only the rooms before it.
ROOMS = ("flash_sequencer", "simulator", "sdk_reference", "training", "export", "flashproof")
STANDARD_LIBRARY = set(sys.stdlib_module_names)

# What each room may import from outside the standard library, besides earlier rooms.
PHONE_SIDE = {"numpy", "cv2", "mediapipe", "onnxruntime", "pydantic", "jinja2", "rich", "coremltools"}
TRAINING_SIDE = PHONE_SIDE | {"torch", "lightning", "torchmetrics", "safetensors", "scipy", "matplotlib"}
ALLOWED_PACKAGES = {
    "flash_sequencer": {"numpy"},
    "simulator": {"numpy", "numba", "cv2"},
    "sdk_reference": PHONE_SIDE | {"ai_edge_litert", "cryptography", "pygame", "screen_brightness_control"},
    "training": TRAINING_SIDE | {"typer", "filelock"},
    "export": TRAINING_SIDE | {"onnx", "onnxscript", "ai_edge_litert", "ai_edge_quantizer", "litert_torch"},
    "flashproof": TRAINING_SIDE | {"typer", "cryptography"},
}
# The phone side never touches the simulator, but for its demo.
FORBIDDEN_ROOMS = {"sdk_reference": {"simulator"}}
EXCEPTIONS = {("sdk_reference/demo.py", "simulator")}


def imported_packages(source: str) -> Iterator[str]:
    """Top-level names of every import in ``source``, those inside functions included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write absolute imports, so that this test can read them"
            yield str(node.module).partition(".")[0]


def violations(files: dict[str, str]) -> list[str]:
    """Breaches of the one-way rule in ``files`` (path from the repository's root → source text)."""
    found = []
    for path, source in files.items():
        room = path.partition("/")[0]
        earlier = set(ROOMS[: ROOMS.index(room) + 1]) - FORBIDDEN_ROOMS.get(room, set())
        allowed = earlier | ALLOWED_PACKAGES[room] | STANDARD_LIBRARY
        for package in imported_packages(source):
            if package not in allowed and (path, package) not in EXCEPTIONS:
                found.append(f"{path} imports {package}")
    return found


def sources() -> dict[str, str]:
    return {
        str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8")
        for room in ROOMS
        for path in sorted((REPOSITORY / room).rglob("*.py"))
    }


def test_imports_run_one_way() -> None:
    files = sources()
    assert {path.partition("/")[0] for path in files} == set(ROOMS)
    assert violations(files) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("sdk_reference/runtime.py", "import torch"),
        ("sdk_reference/runtime.py", "def f():\n    from training.network import ATRFAS"),
        ("sdk_reference/checker.py", "import simulator.scene"),
        ("flash_sequencer/plan.py", "from sdk_reference.errors import FlashproofError"),
        ("simulator/scene.py", "import sdk_reference"),
        ("training/train.py", "import export.onnx"),
        ("export/pack.py", "import flashproof.app"),
        ("simulator/head.py", "import scipy"),
    ],
)
def test_the_import_guard_can_fail(path: str, source: str) -> None:
    assert violations({path: source}) != []


def loaded_modules(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after ``statement``."""
    script = f"import sys\n{statement}\nprint(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


PHONE_MODULES = [f"sdk_reference.{path.stem}" for path in sorted((REPOSITORY / "sdk_reference").glob("*.py"))]


def test_importing_the_phone_side_loads_neither_torch_nor_mediapipe() -> None:
    modules = ["sdk_reference", *(name for name in PHONE_MODULES if not name.endswith("__init__"))]
    loaded = loaded_modules(f"import {', '.join(modules)}")
    assert "sdk_reference" in loaded
    assert loaded.isdisjoint({"torch", "mediapipe", "training", "export", "lightning", "onnxruntime"})
    assert loaded.isdisjoint({"pygame", "screen_brightness_control"})


def test_starting_the_command_line_loads_nothing_heavy() -> None:
    loaded = loaded_modules("import flashproof.app")
    assert "typer" in loaded
    assert loaded.isdisjoint({"torch", "mediapipe", "lightning", "onnx", "onnxruntime", "matplotlib", "numba"})


def test_the_fresh_interpreter_guard_can_fail() -> None:
    assert "json" in loaded_modules("import json")
