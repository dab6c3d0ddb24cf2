"""Recordings: the chosen frames are the steady ones, videos are lossless, and whatever breaks the format is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_captures import tiny_capture
from tiny_recordings import EXPOSURE_NS, LAG_NS, SETTLING_NS, film, tiny_recording, write_recording

from flash_sequencer.plan import challenge, default_plan
from sdk_reference.capture import Capture
from sdk_reference.errors import (
    CaptureNotFound,
    FlashproofError,
    FrameCountMismatch,
    FrameFormatUnsupported,
    FrameSizeMismatch,
    FrameUnreadable,
    InvalidInput,
    OutputNotWritable,
    PlanMismatch,
    RecordingMalformed,
    StepWithoutFrame,
)
from sdk_reference.recording import RecordingWriter, extract_capture, is_recording, load_recording, save_recording
from sdk_reference.video import read_frames

CAPTURE = tiny_capture(3, "ann", "live", plan=challenge("cd" * 16))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings") / "ann-1"
    write_recording(folder, CAPTURE)
    return folder


@pytest.fixture
def copy(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(recorded, tmp_path / "copy"))


def change(folder: Path, **values: Any) -> None:
    path = folder / "recording.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("video", ["frames", "video.mkv"])
@pytest.mark.parametrize(
    "plan", [default_plan(), challenge("ab" * 16), challenge("01" * 16, n0=4)], ids=["5", "c5", "c4"]
)
def test_the_extracted_frames_are_the_pure_ones_to_the_last_bit(tmp_path: Path, video: str, plan: Any) -> None:
    capture = tiny_capture(1, "ann", "live", plan=plan)
    log = write_recording(tmp_path / "r", capture, video=video)
    found = extract_capture(tmp_path / "r")
    np.testing.assert_array_equal(found.frames, capture.frames)
    assert (found.plan, found.labels) == (capture.plan, capture.labels)
    for step in log.presented:  # each exposure lies within the steady part of its step
        start = found.timestamps_ns[step.rank] - LAG_NS
        assert step.shown_at_ns + SETTLING_NS <= start and start + EXPOSURE_NS <= step.ended_at_ns


def test_frames_chosen_by_a_wrong_lag_are_seen_to_be_wrong() -> None:
    """The film can tell right from wrong."""
    log = tiny_recording(CAPTURE)
    frames = list(film(CAPTURE, log.frame_timestamps_ns))

    def pure(lag_ns: int) -> list[bool]:
        chosen = replace(log, lag_ns=lag_ns).matching().frame_index_by_rank
        return [bool((frames[index] == CAPTURE.frames[rank]).all()) for rank, index in enumerate(chosen)]

    assert all(pure(LAG_NS)) and not any(pure(LAG_NS - 250_000_000))


def test_a_log_survives_the_way_to_disk_and_back(recorded: Path) -> None:
    assert is_recording(recorded)
    assert load_recording(recorded) == tiny_recording(CAPTURE, video="frames")


def test_frames_can_be_added_as_they_come(tmp_path: Path) -> None:
    log = tiny_recording(CAPTURE)
    with RecordingWriter(tmp_path / "live") as writer:
        for time, frame in zip(log.frame_timestamps_ns, film(CAPTURE, log.frame_timestamps_ns), strict=True):
            writer.add(frame, time)
        assert not (tmp_path / "live").exists()
        writer.finish(
            log.plan, log.presented, exposure_ns=EXPOSURE_NS, lag_ns=LAG_NS, settling_ns=SETTLING_NS, labels=log.labels
        )
    assert load_recording(tmp_path / "live") == log
    np.testing.assert_array_equal(extract_capture(tmp_path / "live").frames, CAPTURE.frames)
    assert [path.name for path in tmp_path.iterdir()] == ["live"]


def test_an_abandoned_recording_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RecordingWriter(tmp_path / "r", "frames") as writer:
        writer.add(CAPTURE.frames[0], 0)
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_existing_recording_is_left_alone(copy: Path) -> None:
    before = (copy / "recording.json").read_bytes()
    with pytest.raises(OutputNotWritable, match="already"):
        write_recording(copy, tiny_capture(9, "bob", "print"))
    assert (copy / "recording.json").read_bytes() == before


def test_too_few_frames_are_not_written(tmp_path: Path) -> None:
    log = tiny_recording(CAPTURE)
    with pytest.raises(FrameCountMismatch):
        save_recording(log, tmp_path / "r", list(CAPTURE.frames))
    assert list(tmp_path.iterdir()) == []


def test_frames_of_another_size_are_not_dropped_silently(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "r") as writer:
        writer.add(CAPTURE.frames[0], 0)
        with pytest.raises(FrameSizeMismatch):
            writer.add(CAPTURE.frames[0][:100], 1)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"exposure_ns": 900_000_000}, "rank"),
        ({"settling_ns": 4_000_000_000}, "settling"),
        ({"lag_ns": 1_000_000_000}, "lag"),
    ],
)
def test_a_step_that_no_frame_saw_is_its_own_error_with_a_remedy(
    copy: Path, values: dict[str, int], error: str
) -> None:
    change(copy, **values)
    with pytest.raises(StepWithoutFrame, match=error) as raised:
        extract_capture(copy)
    assert raised.value.found.startswith("no frame for the steps")
    assert raised.value.expected and "longer steps" in raised.value.remedy


STEP = {"rank": 0, "shown_at_ns": 0, "ended_at_ns": 5}


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"format": "film"}, RecordingMalformed),
        ({"version": 2}, RecordingMalformed),
        ({"version": True}, RecordingMalformed),
        ({"surplus": 1}, RecordingMalformed),
        ({"video": "../ann-1/frames"}, RecordingMalformed),
        ({"video": "/etc/passwd"}, RecordingMalformed),
        ({"video": "http://host/video.mkv"}, RecordingMalformed),
        ({"video": "recording.json"}, RecordingMalformed),
        ({"video": ["frames"]}, RecordingMalformed),
        ({"frame_timestamps_ns": [3, 2, 1, 0, 5]}, RecordingMalformed),
        ({"frame_timestamps_ns": [0, 1, 2]}, RecordingMalformed),
        ({"frame_timestamps_ns": list(range(7201))}, RecordingMalformed),
        ({"frame_timestamps_ns": [0.5, 1, 2, 3, 4]}, RecordingMalformed),
        ({"frame_timestamps_ns": [0, 1, 2, 3, 2**63]}, RecordingMalformed),
        ({"frame_timestamps_ns": None}, RecordingMalformed),
        ({"exposure_ns": 0}, RecordingMalformed),
        ({"exposure_ns": 2_000_000_000}, RecordingMalformed),
        ({"lag_ns": 1e6}, RecordingMalformed),
        ({"lag_ns": -2_000_000_000}, RecordingMalformed),
        ({"settling_ns": -1}, RecordingMalformed),
        ({"presented": []}, RecordingMalformed),
        ({"presented": [STEP] * 5}, PlanMismatch),
        ({"presented": [{**STEP, "rank": -1}] * 5}, RecordingMalformed),
        ({"presented": [{**STEP, "srgb": 0}] * 5}, RecordingMalformed),
        ({"plan": {}}, RecordingMalformed),
        ({"plan_hash": "00"}, PlanMismatch),
        ({"plan": default_plan().to_dict(), "plan_hash": default_plan().canonical_hash()}, PlanMismatch),
        ({"labels": {"species": "live"}}, RecordingMalformed),
        ({"labels": {"simulated": False, "species": "alien"}}, RecordingMalformed),
    ],
)
def test_a_log_that_breaks_the_format_is_refused_before_a_frame_is_read(
    copy: Path, values: dict[str, Any], error: type[FlashproofError], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(copy, **values)
    monkeypatch.setattr("sdk_reference.recording.read_frames", lambda *_: pytest.fail("a frame was read"))
    with pytest.raises(error):
        extract_capture(copy)


def test_steps_that_overlap_or_last_no_time_are_refused(copy: Path) -> None:
    presented = json.loads((copy / "recording.json").read_text())["presented"]
    for values in ({"ended_at_ns": presented[0]["shown_at_ns"]}, {"ended_at_ns": presented[1]["shown_at_ns"] + 1}):
        change(copy, presented=[{**presented[0], **values}, *presented[1:]])
        with pytest.raises(RecordingMalformed, match="follow each other"):
            load_recording(copy)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"\xff", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"[" * 100_000, b" " * 2**21]
)
def test_a_log_of_any_bytes_is_one_clear_error(copy: Path, content: bytes) -> None:
    (copy / "recording.json").write_bytes(content)
    with pytest.raises(RecordingMalformed):
        load_recording(copy)


@given(st.binary(max_size=60), st.integers(0, 2000))
@settings(max_examples=40, deadline=None)
def test_mutated_logs_raise_nothing_but_our_errors(
    tmp_path_factory: pytest.TempPathFactory, put: bytes, at: int
) -> None:
    folder = tmp_path_factory.mktemp("mutated")
    text = json.dumps(tiny_recording(CAPTURE).to_dict()).encode()
    (folder / "recording.json").write_bytes(text[:at] + put + text[at + len(put) :])
    try:
        load_recording(folder)
    except InvalidInput:
        pass


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_no_folder_is_no_recording(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CaptureNotFound):
        load_recording(tmp_path / name)


def test_a_missing_or_surplus_frame_is_refused(copy: Path) -> None:
    (copy / "frames" / "000004.png").rename(copy / "frames" / "extra.png")
    with pytest.raises(FrameCountMismatch):
        extract_capture(copy)


def test_links_out_of_the_recording_are_not_followed(copy: Path, recorded: Path) -> None:
    wanted = load_recording(copy).matching().frame_index_by_rank[0]
    frame = copy / "frames" / f"{wanted:06d}.png"
    frame.unlink()
    frame.symlink_to(recorded / "frames" / frame.name)
    with pytest.raises(FrameUnreadable, match="link"):
        extract_capture(copy)
    shutil.rmtree(copy / "frames")
    (copy / "frames").symlink_to(recorded / "frames")
    with pytest.raises(RecordingMalformed, match="link"):
        extract_capture(copy)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    folder = tmp_path_factory.mktemp("filmed")
    log = write_recording(folder / "r", CAPTURE, video="video.mkv")
    return folder / "r" / "video.mkv", len(log.frame_timestamps_ns)


def test_a_video_is_read_as_it_was_written(filmed: tuple[Path, int]) -> None:
    video, count = filmed
    wanted = [5, 2, count - 1]
    frames = list(film(CAPTURE, tiny_recording(CAPTURE).frame_timestamps_ns))
    for found, number in zip(read_frames(video, count, wanted), wanted, strict=True):
        np.testing.assert_array_equal(found, frames[number])


@pytest.mark.parametrize("more", [-1, 1])
def test_a_video_of_another_number_of_frames_is_refused(filmed: tuple[Path, int], more: int) -> None:
    with pytest.raises(FrameCountMismatch):
        read_frames(filmed[0], filmed[1] + more, [0])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9])
def test_a_video_cut_short_is_refused(filmed: tuple[Path, int], tmp_path: Path, share: float) -> None:
    content = filmed[0].read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: int(len(content) * share)])
    with pytest.raises((FrameUnreadable, FrameCountMismatch, FrameFormatUnsupported)):
        read_frames(tmp_path / "cut.mkv", filmed[1], [0])


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/secret.ts\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"<?xml version='1.0'?><MPD></MPD>",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_a_list_of_other_files_is_never_opened_as_a_video(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "video.mkv").write_bytes(content)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: pytest.fail("FFmpeg saw it"))
    with pytest.raises(FrameFormatUnsupported):
        read_frames(tmp_path / "video.mkv", 5, [0])


def test_a_missing_video_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(FrameUnreadable):
        read_frames(tmp_path / "video.mkv", 5, [0])


def test_a_tiny_video_is_refused_by_its_size(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "v.mkv"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"FFV1"), 30.0, (32, 32))
    writer.write(np.zeros((32, 32, 3), np.uint8))
    writer.release()
    with pytest.raises(FrameFormatUnsupported, match="32×32"):
        read_frames(tmp_path / "v.mkv", 1, [0])


def test_an_unknown_suffix_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FrameFormatUnsupported):
        RecordingWriter(tmp_path / "r", "video.mp4")
    assert list(tmp_path.iterdir()) == []


def test_frames_of_two_sizes_are_refused(copy: Path) -> None:
    small = tiny_capture(1, "ann", "live").frames[0][:100]
    wanted = load_recording(copy).matching().frame_index_by_rank[1]
    cv2.imwrite(str(copy / "frames" / f"{wanted:06d}.png"), small)
    with pytest.raises(FrameSizeMismatch):
        extract_capture(copy)


def test_an_extracted_capture_is_a_capture(recorded: Path) -> None:
    assert isinstance(extract_capture(recorded), Capture)
