"""Rendered scenes on disk, so that training can photograph them again under other colours, exposures and noise.

It belongs to no section of the paper. One file a scene: a NumPy archive with the layers as half floats (a relative
error of at most 2⁻¹¹, below a step of the 8-bit photographs made of them) and all else as JSON. Nothing is pickled.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from simulator.ambient import Ambient, Lighting
from simulator.errors import SimulationError
from simulator.light import ScreenLight
from simulator.phone import Phone
from simulator.scene import LightLayers, View
from simulator.stage import Stage

FORMAT = "flashproof-stage"
VERSION = 1
LARGEST_STORED = 30_000.0
"""Radiance is scaled to this at most before it becomes a half float, whose largest value is 65,504."""
PLAIN = ("species", "instrument", "subject", "seed", "size", "distance_cm", "skin_tone", "detail", "blink_at")


def stage_bytes(stage: Stage) -> bytes:
    """The content of a stage's file; about 2 MB for photographs of 256 pixels."""
    arrays = {"middle_cm": np.asarray(stage.middle_cm, np.float64)}
    arrays.update(_pack("layers", stage.layers))
    if stage.eyes_shut is not None:
        arrays.update(_pack("eyes_shut", stage.eyes_shut))
    head = {
        "format": FORMAT,
        "version": VERSION,
        **{name: getattr(stage, name) for name in PLAIN},
        "view": asdict(stage.view),
        "ambient": asdict(stage.lighting.ambient),
        "screen": asdict(stage.lighting.screen),
        "phone": asdict(stage.phone),
    }
    buffer = BytesIO()
    np.savez(buffer, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)
    return buffer.getvalue()


def load_stage(path: Path) -> Stage:
    """Read a stage; SimulationError for a file that is not one, FileNotFoundError where there is none."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:  # closed even where it is damaged
            arrays = {name: archive[name] for name in archive.files}
        head = json.loads(arrays["head"].tobytes())
        if (head["format"], head["version"]) != (FORMAT, VERSION):
            raise ValueError(f"format {head['format']!r} version {head['version']!r}")
        return Stage(
            **{name: head[name] for name in PLAIN},
            layers=_unpack("layers", arrays),
            eyes_shut=_unpack("eyes_shut", arrays) if "eyes_shut_ambient" in arrays else None,
            view=View(**head["view"]),
            lighting=Lighting(_settings(Ambient, head["ambient"]), _settings(ScreenLight, head["screen"])),
            phone=_settings(Phone, head["phone"]),
            middle_cm=arrays["middle_cm"],
        )
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise SimulationError(
            found=f"{path}: {error}",
            expected=f"a {FORMAT} file of version {VERSION}",
            remedy="render it again with `flashproof simulate --layers`",
        ) from error


def _pack(name: str, layers: LightLayers) -> dict[str, np.ndarray]:
    scale = max(float(layers.ambient.max()) / LARGEST_STORED, 1e-6)
    return {
        f"{name}_ambient": (layers.ambient / np.float32(scale)).astype(np.float16),
        f"{name}_scale": np.array(scale, np.float32),
        f"{name}_screen": layers.screen.astype(np.float16),
        f"{name}_depth_cm": layers.depth_cm.astype(np.float32),
        f"{name}_flags": np.packbits(np.stack([layers.covered, layers.face])),
    }


def _unpack(name: str, arrays: dict[str, np.ndarray]) -> LightLayers:
    shape = arrays[f"{name}_depth_cm"].shape
    flags = np.unpackbits(arrays[f"{name}_flags"], count=2 * shape[0] * shape[1]).reshape(2, *shape).astype(bool)
    return LightLayers(
        ambient=arrays[f"{name}_ambient"].astype(np.float32) * arrays[f"{name}_scale"],
        screen=arrays[f"{name}_screen"].astype(np.float32),
        covered=flags[0],
        depth_cm=arrays[f"{name}_depth_cm"],
        face=flags[1],
    )


def _settings(kind: type[Any], values: dict[str, Any]) -> Any:
    """A frozen dataclass from its JSON form: lists become tuples again, however deep."""
    return kind(**{field.name: _frozen(values[field.name]) for field in fields(kind)})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
