"""The numbers in docs/protocol.md are the code's: what attempts cost, and every constant of a live session."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from flash_sequencer import drift, lag, lag_fit, player
from sdk_reference import (
    attempts,
    compensation,
    continuity,
    flash_preview,
    flash_take,
    flash_watch,
    frame_choice,
    head_pose,
    lighting_check,
    nonce_book,
    position_watch,
    positioning,
    rig,
    same_face,
    session_settings,
    session_states,
    turned_picture,
)
from sdk_reference.errors import AttemptsUsedUp
from sdk_reference.landmarks import FACE_OVAL, N_LANDMARKS, Face

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)\.(\w+)` \| ([^|]+?) \|", re.MULTILINE)
MODULES = (
    *(attempts, compensation, continuity, drift, flash_preview, flash_take, flash_watch, frame_choice, head_pose, lag),
    *(lag_fit, lighting_check, nonce_book, player, position_watch, positioning, rig, same_face, session_settings),
    *(session_states, turned_picture),
)
DATACLASSES: dict[str, Any] = {
    "positioning": positioning.PlacementLimits,
    "session_settings": session_settings.SessionSettings,
}
UNITS = {"s": 1.0, "ms": 1e-3, "°": 1.0, "": 1.0}
PER_SECOND = {"NS": 1e9, "MS": 1e3, "S": 1.0}
"""By how a name ends."""
NOT_OF_THE_PROTOCOL = {
    *("NS_PER_S", "NS_PER_MS"),  # units
    *("ACROSS", "DOWN", "INNER"),  # landmarks, written out in the text
    *("DARK", "CLIPPED", "MIN_BACKGROUND"),  # of frame_choice, which computes them from those of quality
}


def short_name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def is_number(value: object) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(map(is_number, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def names_assigned(module: ModuleType) -> set[str]:
    """Constants that a module itself defines; what it imports is another's."""
    tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
    targets: list[ast.expr] = []
    for node in tree.body:
        if isinstance(node, ast.AnnAssign):
            targets.append(node.target)
        elif isinstance(node, ast.Assign):
            targets += node.targets
    inner = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return {part.id for part in inner if isinstance(part, ast.Name) and part.id.isupper()}


def constants() -> dict[str, Any]:
    """`file.NAME` → value, of all modules of a live session."""
    found = {
        f"{short_name(module)}.{name}": getattr(module, name)
        for module in MODULES
        for name in names_assigned(module)
        if is_number(getattr(module, name)) and (name not in NOT_OF_THE_PROTOCOL or module is continuity)
    }
    for name, kind in DATACLASSES.items():
        defaults = {field.name: field.default for field in dataclasses.fields(kind)}
        found |= {f"{name}.{field}": value for field, value in defaults.items() if is_number(value)}
    return found


def numbers(name: str, text: str) -> list[float]:
    """What a cell of the table says, in the unit that the constant's name ends with."""
    found = re.fullmatch(r"([\d., e\-]+?) ?(s|ms|°|)", text)
    assert found is not None, text
    ending = name.upper().rpartition("_")[2]
    timed = ending in PER_SECOND and found[2] in ("s", "ms")
    assert timed == (ending in PER_SECOND), f"{name} without a unit of time"
    factor = UNITS[found[2]] * PER_SECOND[ending] if timed else 1.0
    return [float(number) * factor for number in found[1].split(", ")]


@pytest.mark.parametrize("row", ROW.findall(PAGE), ids=lambda row: ".".join(row[:2]))
def test_a_constant_of_the_table_is_the_codes(row: tuple[str, str, str]) -> None:
    module, name, text = row
    value = constants()[f"{module}.{name}"]
    assert numbers(name, text) == pytest.approx([*value] if isinstance(value, tuple) else [value], rel=1e-12)


def test_every_constant_of_a_live_session_is_in_the_table_once() -> None:
    named = [f"{module}.{name}" for module, name, _ in ROW.findall(PAGE)]
    assert len(named) == len(set(named)) > 80
    assert set(named) == set(constants())


@pytest.mark.parametrize(("name", "text"), [("LIMIT_NS", "5"), ("LIMIT", "many"), ("LIMIT_S", "5°")])
def test_the_reading_of_a_cell_can_fail(name: str, text: str) -> None:
    with pytest.raises(AssertionError):
        numbers(name, text)


def test_costs_are_those_of_the_code_for_every_reason() -> None:
    rows = re.findall(r"^\| `retry` \| (.*?) \| (1(?:/\d)?) \|$", PAGE, re.MULTILINE)
    shares = {"1/4": 1, "1/2": 2, "1": attempts.QUARTERS}
    told = {code: shares[share] for codes, share in rows for code in re.findall(r"`(\w+)`", codes)}
    assert told == {code: cost for code, cost in attempts.COST_OF_REASON.items() if code != AttemptsUsedUp.code}
    assert attempts.cost("retry", ("a_new_code",)) == attempts.cost("spoof") == attempts.QUARTERS
    formula = f"min({attempts.FIRST_PAUSE_S:g} · {attempts.GROWTH:g}^(used − 1), {attempts.LONGEST_PAUSE_S:g}) s"
    assert formula in PAGE
    assert f"a person has {attempts.LIMIT}," in PAGE and f"while `used` is below {attempts.LIMIT}," in PAGE


def pairs_after(text: str) -> tuple[tuple[int, int], ...]:
    (found,) = re.findall(re.escape(text) + r"((?:\s*\(\d+, \d+\),?)+)", PAGE)
    return tuple((int(one), int(other)) for one, other in re.findall(r"\((\d+), (\d+)\)", found))


def test_the_pose_as_written_is_the_codes() -> None:
    across, down = pairs_after("right − left over the pairs"), pairs_after("below − above over")
    assert (across, down) == (head_pose.ACROSS, head_pose.DOWN)
    assert f"yaw   = {head_pose.YAW_SCALE} ·" in PAGE
    assert f"pitch = {head_pose.PITCH_SCALE} ·" in PAGE and f"− {head_pose.PITCH_STRAIGHT_DEG})" in PAGE
    assert f"the {len(same_face.INNER)} landmarks that are not of the oval" in PAGE
    assert f"at most {same_face.SHAPE_LIMIT}," in PAGE


def best_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """The largest Σ a·(b turned), over all turns in space: Horn's quaternion, which needs no decomposition of aᵀb."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = a.T @ b
    quaternions = [
        [xx + yy + zz, yz - zy, zx - xz, xy - yx],
        [yz - zy, xx - yy - zz, xy + yx, zx + xz],
        [zx - xz, xy + yx, yy - xx - zz, yz + zy],
        [xy - yx, zx + xz, yz + zy, zz - xx - yy],
    ]
    return float(np.linalg.eigvalsh(quaternions)[-1])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_shape_as_written_is_the_codes(seed: int, mirrored: bool) -> None:
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(N_LANDMARKS, 3))
    second = first + rng.normal(scale=0.1 + 0.2 * seed, size=first.shape)
    if mirrored:
        second[:, 0] *= -1
    rest = sorted(set(range(N_LANDMARKS)) - set(FACE_OVAL))
    a, b = (points[rest] - points[rest].mean(axis=0) for points in (first, second))
    f = best_overlap(a, b) / np.sqrt((a**2).sum() * (b**2).sum())
    faces = [Face(points[:, :2].astype(np.float32), points[:, 2].astype(np.float32)) for points in (first, second)]
    assert same_face.shape_distance(*faces) == pytest.approx(np.sqrt(max(0, 1 - f**2)), abs=1e-5)
