"""The capture format: what goes in comes out, and every malformation has its own error."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flash_sequencer.plan import FlashPlan, challenge, default_plan
from sdk_reference.capture import Capture, Labels, load_capture, save_capture
from sdk_reference.container import MAX_FILES
from sdk_reference.errors import (
    CaptureMalformed,
    CaptureNotFound,
    FlashproofError,
    FrameCountMismatch,
    FrameFormatUnsupported,
    FrameSizeMismatch,
    FrameUnreadable,
    OutputNotWritable,
    PlanMismatch,
)

SIDE = 64
NONCE = bytes(range(16))
N_MUTATIONS = 200
LABELS = Labels(
    simulated=True,
    subject="sim-000123",
    species="print",
    instrument="print_bent",
    scene="office",
    device="phone A",
    distance_cm=28.5,
    ambient_lux=120.0,
    flash_to_ambient=0.4,
    skin_tone=4,
    seed=17,
)


def a_capture(plan: FlashPlan | None = None, **changes: Any) -> Capture:
    plan = plan or default_plan()
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (plan.n0, SIDE, SIDE, 3), dtype=np.uint8)
    times = tuple(1_000_000_000 + 33_000_000 * plan.time_order().index(rank) for rank in range(plan.n0))
    parts: dict[str, Any] = {"frames": frames, "timestamps_ns": times, "plan": plan, "labels": LABELS}
    return Capture(**(parts | changes))


def a_depth_map() -> np.ndarray:
    return np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "capture"
    save_capture(a_capture(depth_mm=a_depth_map()), path)
    return path


def edit_index(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    index = json.loads((folder / "capture.json").read_text())
    edit(index)
    (folder / "capture.json").write_text(json.dumps(index))


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def png_with_header(width: int, height: int, bits: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG whose header promises what its pixels do not hold."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


@pytest.mark.parametrize("name", ["capture", "capture.zip"])
@pytest.mark.parametrize("plan", [default_plan(), default_plan(3), default_plan(8), challenge(NONCE)])
def test_a_capture_comes_back_as_it_was(tmp_path: Path, name: str, plan: FlashPlan) -> None:
    capture = a_capture(plan, depth_mm=a_depth_map())
    save_capture(capture, tmp_path / name)
    loaded = load_capture(tmp_path / name)
    np.testing.assert_array_equal(loaded.frames, capture.frames)
    np.testing.assert_array_equal(loaded.depth_mm, capture.depth_mm)
    assert loaded.depth_mm is not None and loaded.depth_mm.dtype == np.uint16
    assert (loaded.timestamps_ns, loaded.plan, loaded.labels) == (capture.timestamps_ns, plan, LABELS)
    assert (loaded.n0, loaded.size) == (plan.n0, (SIDE, SIDE))


def test_labels_and_depth_may_be_missing(tmp_path: Path) -> None:
    save_capture(a_capture(labels=None), tmp_path / "capture.zip")
    loaded = load_capture(tmp_path / "capture.zip")
    assert loaded.labels is None
    assert loaded.depth_mm is None


def test_frames_are_stored_as_rgb_for_any_other_reader(folder: Path) -> None:
    capture = load_capture(folder)
    bgr = cv2.imread(str(folder / "frame_0.png"))
    np.testing.assert_array_equal(bgr[..., 2], capture.frames[0, ..., 0])


def test_the_same_capture_gives_the_same_zip(tmp_path: Path) -> None:
    for name in ("one.zip", "two.zip"):
        save_capture(a_capture(), tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_nothing_but_the_capture_is_left_behind(tmp_path: Path) -> None:
    save_capture(a_capture(), tmp_path / "folder")
    save_capture(a_capture(), tmp_path / "packed.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "packed.zip"]


def test_a_folder_with_something_in_it_is_left_alone(folder: Path) -> None:
    with pytest.raises(OutputNotWritable, match="already there"):
        save_capture(a_capture(), folder)
    assert load_capture(folder).depth_mm is not None


def test_a_zip_is_replaced(tmp_path: Path) -> None:
    save_capture(a_capture(), tmp_path / "capture.zip")
    save_capture(a_capture(default_plan(3)), tmp_path / "capture.zip")
    assert load_capture(tmp_path / "capture.zip").n0 == 3


@pytest.mark.parametrize("name", ["folder", "packed.zip"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputNotWritable, match="file"):
        save_capture(a_capture(), tmp_path / "file" / name)


def test_nothing_at_the_path_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(CaptureNotFound):
        load_capture(tmp_path / "nothing.zip")


def frames_of(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"frames": frames_of(4, SIDE, SIDE, 3)}, FrameCountMismatch),
        ({"frames": frames_of(5, SIDE, SIDE)}, FrameFormatUnsupported),
        ({"frames": frames_of(5, SIDE, SIDE, 4)}, FrameFormatUnsupported),
        ({"frames": frames_of(5, SIDE, SIDE, 3, dtype=np.float32)}, FrameFormatUnsupported),
        ({"frames": frames_of(5, 63, SIDE, 3)}, FrameFormatUnsupported),
        ({"frames": np.broadcast_to(np.uint8(0), (5, 64, 8193, 3))}, FrameFormatUnsupported),
        ({"frames": np.broadcast_to(np.uint8(0), (5, 8192, 8192, 3))}, FrameFormatUnsupported),
        ({"timestamps_ns": (1, 2, 3, 4)}, CaptureMalformed),
        ({"timestamps_ns": (1, 2, 3, 4, -5)}, CaptureMalformed),
        ({"timestamps_ns": (1, 2, 3, 4, 5.0)}, CaptureMalformed),
        ({"timestamps_ns": (1, 2, 3, 4, 4)}, PlanMismatch),
        ({"timestamps_ns": (5, 4, 3, 2, 1)}, PlanMismatch),
        ({"depth_mm": np.zeros((SIDE, 65), np.uint16)}, FrameSizeMismatch),
        ({"depth_mm": np.zeros((SIDE, SIDE), np.float32)}, FrameFormatUnsupported),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(changes: dict[str, Any], kind: type[FlashproofError]) -> None:
    with pytest.raises(kind):
        a_capture(**changes)


def test_frames_photographed_in_another_order_than_the_challenge_are_refused() -> None:
    plan = challenge(NONCE)
    assert plan.time_order() != tuple(range(5))
    with pytest.raises(PlanMismatch, match="order"):
        a_capture(plan, timestamps_ns=(1, 2, 3, 4, 5))


@pytest.mark.parametrize(
    "change",
    [
        {"species": "hologram"},
        {"subject": ""},
        {"subject": "x" * 201},
        {"scene": "two\nlines"},
        {"device": 5},
        {"distance_cm": float("nan")},
        {"ambient_lux": -1.0},
        {"flash_to_ambient": float("inf")},
        {"ambient_lux": True},
        {"skin_tone": -2},
        {"skin_tone": [4]},
        {"seed": -1},
        {"seed": 1.5},
        {"simulated": 1},
    ],
)
def test_labels_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(CaptureMalformed):
        replace(LABELS, **change)


def test_labels_know_whether_they_are_live() -> None:
    assert replace(LABELS, species="live").is_live is True
    assert LABELS.is_live is False
    assert Labels(simulated=False).is_live is None


@pytest.mark.parametrize(
    ("edit", "kind"),
    [
        (lambda i: i.update(format="another"), CaptureMalformed),
        (lambda i: i.update(version=2), CaptureMalformed),
        (lambda i: i.update(version=True), CaptureMalformed),
        (lambda i: i.update(extra=1), CaptureMalformed),
        (lambda i: i.pop("labels"), CaptureMalformed),
        (lambda i: i.update(plan=None), CaptureMalformed),
        (lambda i: i.update(plan={"n0": "many"}), CaptureMalformed),
        (lambda i: i.update(plan=[[[1]]]), CaptureMalformed),
        (lambda i: i.update(plan_hash="0" * 64), PlanMismatch),
        (lambda i: i.update(plan=default_plan(5, "gentle").to_dict()), PlanMismatch),
        (lambda i: i["plan"].update(extra=1), CaptureMalformed),
        (lambda i: i.update(frames={}), CaptureMalformed),
        (lambda i: i["frames"].pop(), FrameCountMismatch),
        (lambda i: i["frames"].append(i["frames"][0]), FrameCountMismatch),
        (lambda i: i["frames"].reverse(), CaptureMalformed),
        (lambda i: i["frames"].__setitem__(1, 7), CaptureMalformed),
        (lambda i: i["frames"][1].update(rank=2), CaptureMalformed),
        (lambda i: i["frames"][1].update(extra=2), CaptureMalformed),
        (lambda i: i["frames"][1].update(file="frame_0.png"), CaptureMalformed),
        (lambda i: i["frames"][1].update(file="../frame_1.png"), CaptureMalformed),
        (lambda i: i["frames"][1].update(file="/etc/hostname"), CaptureMalformed),
        (lambda i: i["frames"][1].update(file=""), CaptureMalformed),
        (lambda i: i["frames"][1].update(file=None), CaptureMalformed),
        (lambda i: i["frames"][1].update(file="a\x00b"), CaptureMalformed),
        (lambda i: i["frames"][1].update(file="nothing.png"), FrameUnreadable),
        (lambda i: i["frames"][1].update(timestamp_ns=1.5), CaptureMalformed),
        (lambda i: i["frames"][1].update(timestamp_ns=-1), CaptureMalformed),
        (lambda i: i["frames"][1].update(timestamp_ns=2**63), CaptureMalformed),
        (lambda i: i["frames"][1].update(timestamp_ns=0), PlanMismatch),
        (lambda i: i["frames"][1].update(srgb_shown=[0, 0, 0]), PlanMismatch),
        (lambda i: i["frames"][1].update(srgb_shown=[True, False, False]), PlanMismatch),
        (lambda i: i["frames"][1].update(srgb_shown="red"), PlanMismatch),
        (lambda i: i.update(depth={"file": "depth.png"}), CaptureMalformed),
        (lambda i: i["depth"].update(unit="m"), CaptureMalformed),
        (lambda i: i["depth"].update(file="missing.png"), FrameUnreadable),
        (lambda i: i["depth"].update(file="frame_0.png"), FrameFormatUnsupported),
        (lambda i: i.update(labels=[]), CaptureMalformed),
        (lambda i: i["labels"].update(age=30), CaptureMalformed),
        (lambda i: i["labels"].pop("simulated"), CaptureMalformed),
        (lambda i: i["labels"].update(ambient_lux=-3), CaptureMalformed),
        (lambda i: i["labels"].update(ambient_lux=float("nan")), CaptureMalformed),
    ],
)
def test_each_malformed_index_has_its_error(
    folder: Path, edit: Callable[[dict[str, Any]], Any], kind: type[FlashproofError]
) -> None:
    edit_index(folder, edit)
    with pytest.raises(kind) as caught:
        load_capture(folder)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{",
        b'{"format": "flashproof-capture", "format": "flashproof-capture"}',
        b"[" * 100_000,
        b"1" * 5000,
        b" " * (2**20 + 1),
    ],
)
def test_an_index_that_is_no_index_is_malformed(folder: Path, text: bytes) -> None:
    (folder / "capture.json").write_bytes(text)
    with pytest.raises(CaptureMalformed):
        load_capture(folder)


def test_a_missing_index_is_malformed(folder: Path) -> None:
    (folder / "capture.json").unlink()
    with pytest.raises(CaptureMalformed, match=r"capture\.json"):
        load_capture(folder)


NOISE = np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
WHOLE = png(NOISE[..., :3])


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", FrameFormatUnsupported),
        (b"GIF89a", FrameFormatUnsupported),
        (WHOLE[:-1], FrameUnreadable),
        (WHOLE[: len(WHOLE) // 2], FrameUnreadable),
        (WHOLE[:20], FrameUnreadable),
        (WHOLE[:8], FrameUnreadable),
        (WHOLE + b"more", FrameUnreadable),
        (WHOLE[:200] + b"\0\1\2\3" + WHOLE[204:], FrameUnreadable),
        (png(NOISE[..., 0]), FrameFormatUnsupported),
        (png(NOISE), FrameFormatUnsupported),
        (png(NOISE[..., :3].astype(np.uint16) * 257), FrameFormatUnsupported),
        (cv2.imencode(".jpg", NOISE[..., :3])[1].tobytes(), FrameFormatUnsupported),
        (png(NOISE[:32, :32, :3]), FrameFormatUnsupported),
        (png(np.zeros((SIDE, SIDE + 1, 3), np.uint8)), FrameSizeMismatch),
        (png_with_header(SIDE, SIDE, 8, 2), FrameUnreadable),
        (png_with_header(60_000, 60_000, 8, 2), FrameFormatUnsupported),
        (png_with_header(2**31, 2**31, 8, 2), FrameFormatUnsupported),
        (png_with_header(SIDE, SIDE, 8, 3), FrameFormatUnsupported),
        (png_with_header(SIDE, SIDE, 8, 7), FrameFormatUnsupported),
        (png_with_header(SIDE, SIDE, 8, 2, (b"tRNS", b"\0" * 6)), FrameFormatUnsupported),
        (png_with_header(SIDE, SIDE, 8, 2, (b"acTL", b"\0" * 8)), FrameFormatUnsupported),
    ],
)
def test_each_bad_frame_has_its_error(
    folder: Path, content: bytes, kind: type[FlashproofError], capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "frame_2.png").write_bytes(content)
    with pytest.raises(kind) as caught:
        load_capture(folder)
    assert type(caught.value) is kind
    assert "frame_2.png" in str(caught.value) or kind is FrameSizeMismatch


def test_frames_too_large_together_are_refused_before_any_is_decoded(folder: Path) -> None:
    for rank in range(5):
        (folder / f"frame_{rank}.png").write_bytes(png_with_header(8192, 8192, 8, 2))
    with pytest.raises(FrameFormatUnsupported, match="in all"):
        load_capture(folder)


def test_depth_of_another_size_is_refused(folder: Path) -> None:
    (folder / "depth.png").write_bytes(png(np.zeros((SIDE, SIDE * 2), np.uint16)))
    with pytest.raises(FrameSizeMismatch, match="depth"):
        load_capture(folder)


def test_a_link_that_leaves_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.png").write_bytes((folder / "frame_1.png").read_bytes())
    (folder / "frame_1.png").unlink()
    (folder / "frame_1.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(CaptureMalformed, match="leaves the folder"):
        load_capture(folder)


def test_a_link_to_itself_is_refused(folder: Path) -> None:
    (folder / "frame_1.png").unlink()
    (folder / "frame_1.png").symlink_to(folder / "frame_1.png")
    with pytest.raises(FlashproofError):
        load_capture(folder)


@pytest.mark.parametrize(
    "name", ["../evil.png", "/evil.png", "sub/evil.png", "..", "C:\\evil", "stranger.png", ".hidden"]
)
def test_hostile_and_unknown_zip_members_are_refused(tmp_path: Path, name: str) -> None:
    save_capture(a_capture(), tmp_path / "capture.zip")
    with zipfile.ZipFile(tmp_path / "capture.zip", "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(CaptureMalformed):
        load_capture(tmp_path / "capture.zip")


def test_too_many_zip_members_are_refused(tmp_path: Path) -> None:
    save_capture(a_capture(), tmp_path / "capture.zip")
    with zipfile.ZipFile(tmp_path / "capture.zip", "a") as archive:
        for number in range(MAX_FILES):
            archive.writestr(f"more_{number}", b"x")
    with pytest.raises(CaptureMalformed, match="members"):
        load_capture(tmp_path / "capture.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")  # the archive is meant to be wrong
def test_a_name_twice_in_a_zip_is_refused(tmp_path: Path) -> None:
    save_capture(a_capture(), tmp_path / "capture.zip")
    with zipfile.ZipFile(tmp_path / "capture.zip", "a") as archive:
        archive.writestr("frame_0.png", b"x")
    with pytest.raises(CaptureMalformed, match="twice"):
        load_capture(tmp_path / "capture.zip")


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("capture.json", b" " * (64 * 2**20))
    with pytest.raises(CaptureMalformed, match="too large"):
        load_capture(tmp_path / "bomb.zip")


def test_a_deflated_zip_is_read(tmp_path: Path, folder: Path) -> None:
    with zipfile.ZipFile(tmp_path / "deflated.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    np.testing.assert_array_equal(load_capture(tmp_path / "deflated.zip").frames, a_capture().frames)


def test_an_unusual_compression_is_refused(tmp_path: Path, folder: Path) -> None:
    with zipfile.ZipFile(tmp_path / "lzma.zip", "w", zipfile.ZIP_LZMA) as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    with pytest.raises(CaptureMalformed, match="packed unusually"):
        load_capture(tmp_path / "lzma.zip")


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip a few bytes, cut a piece out, or cut the end off."""
    values = bytearray(data)
    kind = rng.integers(3)
    if kind == 0:
        for place in rng.integers(len(values), size=rng.integers(1, 9)):
            values[place] = rng.integers(256)
    elif kind == 1:
        del values[rng.integers(len(values)) :]
    else:
        start = int(rng.integers(len(values)))
        del values[start : start + int(rng.integers(1, 40))]
    return bytes(values)


def outcome(path: Path) -> str:
    """Load what may be broken: anything but a FlashproofError fails the test."""
    try:
        load_capture(path)
    except FlashproofError as error:
        return error.code
    return "loaded"


def test_mutated_zips_raise_errors_of_the_tree_only(tmp_path: Path) -> None:
    flat = a_capture(frames=np.zeros((5, SIDE, SIDE, 3), np.uint8), depth_mm=a_depth_map())  # small: headers get hit
    save_capture(flat, tmp_path / "whole.zip")
    whole = (tmp_path / "whole.zip").read_bytes()
    rng = np.random.default_rng(3)
    outcomes = set()
    for _ in range(N_MUTATIONS):
        (tmp_path / "broken.zip").write_bytes(mutated(whole, rng))
        outcomes.add(outcome(tmp_path / "broken.zip"))
    assert "capture_malformed" in outcomes


@pytest.mark.parametrize("name", ["capture.json", "frame_3.png", "depth.png"])
def test_mutated_files_raise_errors_of_the_tree_only(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    rng = np.random.default_rng(4)
    outcomes = set()
    for _ in range(N_MUTATIONS):
        (folder / name).write_bytes(mutated(whole, rng))
        outcomes.add(outcome(folder))
    assert len(outcomes - {"loaded"}) >= 1


def test_mutated_members_of_a_sound_zip_raise_errors_of_the_tree_only(folder: Path, tmp_path: Path) -> None:
    """The zip's own checksums are right here, so that what lies inside is reached."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    rng = np.random.default_rng(6)
    for _ in range(N_MUTATIONS):
        name = sorted(files)[rng.integers(len(files))]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for each, data in files.items():
                archive.writestr(each, mutated(data, rng) if each == name else data)
        (tmp_path / "broken.zip").write_bytes(buffer.getvalue())
        outcome(tmp_path / "broken.zip")
