"""The folder of a training: begun once, gone on with under the same settings alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sdk_reference.atomic_files import write_json
from training.checkpoint import SETTINGS_FILE
from training.errors import RunInvalid, SettingsMismatch


def begin_folder(out: Path, settings: Mapping[str, Any]) -> None:
    """Write settings.json into a new or empty folder, or check that the one found there says the same.

    Raises `RunInvalid` for a folder that holds something else, `SettingsMismatch` for other settings, or
    `OutputNotWritable`.
    """
    wanted = json.loads(json.dumps(settings))
    path = out / SETTINGS_FILE
    if path.exists():
        _require_same(path, wanted)
        return
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise RunInvalid(
            found=f"{out}, which holds something else",
            expected="a new or empty folder, or a run of the same settings",
            remedy="choose another folder",
        )
    write_json(path, wanted)


def _require_same(path: Path, wanted: dict[str, Any]) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunInvalid(
            found=f"{path} that cannot be read ({error})", expected="a run's settings", remedy="choose another folder"
        ) from error
    if found != wanted:
        differing = list(differences(found, wanted))
        raise SettingsMismatch(
            found=f"{path} with other settings: " + ", ".join(f"{name} {a!r}" for name, a, _ in differing[:4]),
            expected=", ".join(f"{name} {b!r}" for name, _, b in differing[:4]),
            remedy="repeat the settings and data that the run was begun with, or choose another folder",
        )


def differences(found: Any, wanted: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted name, found, wanted) for every leaf in which two trees of dictionaries differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            yield from differences(found.get(key), wanted.get(key), f"{name}.{key}".lstrip("."))
    elif found != wanted:
        yield name or "content", found, wanted
