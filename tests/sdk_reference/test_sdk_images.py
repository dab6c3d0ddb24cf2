"""Reading photographs: what is read is exact, and what cannot be used is refused by name before it is decoded."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from sdk_reference.errors import CaptureNotFound, FlashproofError, FrameFormatUnsupported, FrameUnreadable
from sdk_reference.images import decode_depth, decode_frame, encode_depth, encode_frame, read_image

RGB = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
SMOOTH = cv2.GaussianBlur(RGB, (0, 0), 9)
GREY = RGB[..., 0]
DEEP = RGB.astype(np.uint16) * 257
ALPHA = np.dstack([RGB, GREY])


def encoded(kind: str, pixels: np.ndarray) -> bytes:
    return cv2.imencode(kind, pixels)[1].tobytes()


JPEG = encoded(".jpg", SMOOTH)


def png_of(rows: bytes) -> bytes:
    """A 64×64 RGB PNG, all checksums right, of whatever scan lines."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def test_frames_and_depth_come_back_exactly() -> None:
    np.testing.assert_array_equal(decode_frame(encode_frame(RGB), "x"), RGB)
    np.testing.assert_array_equal(decode_depth(encode_depth(DEEP[..., 0]), "x"), DEEP[..., 0])


def test_a_png_is_read_as_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), RGB[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)


def test_a_jpeg_is_read_as_rgb(tmp_path: Path) -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    cv2.imwrite(str(tmp_path / "a.jpg"), red[..., ::-1])
    pixels = read_image(str(tmp_path / "a.jpg"))
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels.astype(int), red, atol=4)


def test_scan_lines_written_by_hand_are_read_left_to_right_and_top_to_bottom() -> None:
    rows = [bytes([0]) + b"".join(bytes([x, y, 7]) for x in range(64)) for y in range(64)]
    pixels = decode_frame(png_of(b"".join(rows)), "x")
    assert pixels[3, 9].tolist() == [9, 3, 7]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", FrameFormatUnsupported),
        (b"not an image", FrameFormatUnsupported),
        (encoded(".bmp", RGB), FrameFormatUnsupported),
        (encoded(".png", GREY), FrameFormatUnsupported),
        (encoded(".png", DEEP), FrameFormatUnsupported),
        (encoded(".png", ALPHA), FrameFormatUnsupported),
        (encoded(".png", RGB)[:-20], FrameUnreadable),
        (encoded(".png", RGB)[:3000], FrameUnreadable),
        (encoded(".png", RGB[:63]), FrameFormatUnsupported),
        (encoded(".jpg", GREY), FrameFormatUnsupported),
        (encoded(".jpg", RGB[:63]), FrameFormatUnsupported),
        (JPEG[:-2], FrameUnreadable),
        (JPEG[: len(JPEG) // 2], FrameUnreadable),
        (JPEG[:3], FrameUnreadable),
        (b"\xff\xd8\xff\xd9", FrameUnreadable),
        (b"\xff\xd8\xff\xc0\x00\x03\x08\xff\xd9", FrameUnreadable),
        (png_of(b"\0" * 50), FrameUnreadable),
        (png_of((b"\x07" + b"\0" * 192) * 64), FrameUnreadable),
    ],
)
def test_each_unusable_photograph_has_its_error(tmp_path: Path, content: bytes, kind: type[FlashproofError]) -> None:
    (tmp_path / "photograph").write_bytes(content)
    with pytest.raises(kind, match="photograph") as caught:
        read_image(tmp_path / "photograph")
    assert type(caught.value) is kind


@pytest.mark.parametrize("name", ["missing.png", "."])
def test_a_missing_photograph_is_not_found(tmp_path: Path, name: str) -> None:
    with pytest.raises(CaptureNotFound):
        read_image(tmp_path / name)


def test_a_jpeg_with_metadata_and_padding_is_read(tmp_path: Path) -> None:
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 300) + b"c" * 300
    (tmp_path / "a.jpg").write_bytes(JPEG[:2] + comment + JPEG[2:] + b"\0" * 500)
    assert read_image(tmp_path / "a.jpg").shape == SMOOTH.shape


def test_mutated_photographs_raise_errors_of_the_tree_only(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for whole in (JPEG, encoded(".png", RGB)):
        for _ in range(100):
            values = bytearray(whole)
            for place in rng.integers(len(values), size=3):
                values[place] = rng.integers(256)
            (tmp_path / "broken").write_bytes(values[: rng.integers(1, len(values) + 1)])
            try:
                read_image(tmp_path / "broken")
            except FlashproofError as error:
                assert error.exit_status == 3
