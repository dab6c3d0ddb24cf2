"""Reading and writing the images of a capture: lossless PNG frames, 16-bit depth, and photographs from a camera roll.

Everything that can be refused is refused *before* an image library sees the bytes: format, size, bit depth, channels,
truncation and checksums are read from the file's own headers, so that a hostile file can neither fill the memory nor
raise an error of another library. OpenCV's BGR order stays inside this file: all arrays here are RGB.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sdk_reference.errors import CaptureNotFound, FrameFormatUnsupported, FrameUnreadable

MIN_SIDE = 64  # below this no face can be found
MAX_SIDE = 8192
MAX_IMAGE_BYTES = 256 * 2**20  # 8192×8192 RGB, stored without compression, and room for metadata

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
PNG_GREY, PNG_RGB, PNG_PALETTE, PNG_GREY_ALPHA, PNG_RGBA = 0, 2, 3, 4, 6
PNG_COLOUR_NAMES = {
    PNG_GREY: "grey",
    PNG_RGB: "RGB",
    PNG_PALETTE: "palette",
    PNG_GREY_ALPHA: "grey with alpha",
    PNG_RGBA: "RGB with alpha",
}
# Chunks that would change what a decoder returns: transparency, animation.
PNG_REFUSED_CHUNKS = {b"tRNS": "transparency", b"acTL": "animation"}

JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length
JPEG_START_OF_FRAME = frozenset(set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC})
JPEG_END = b"\xff\xd9"

FRAME_REMEDY = "save the frame as 8-bit RGB without alpha"
DAMAGE_REMEDY = "copy or record it again"


@dataclass(frozen=True)
class ImageHeader:
    """What a file says about itself before any pixel is decoded."""

    width: int
    height: int
    bits: int
    """Bits per channel."""
    channels: str
    """`grey`, `RGB`, `RGB with alpha`, …"""


def encode_frame(frame: npt.NDArray[np.uint8]) -> bytes:
    """Encode an HWC uint8 RGB frame as PNG; the same pixels give the same bytes."""
    return _encode_png(frame[..., ::-1])


def encode_depth(depth_mm: npt.NDArray[np.uint16]) -> bytes:
    """Encode an HW uint16 depth map in millimetres as 16-bit grey PNG."""
    return _encode_png(depth_mm)


def decode_frame(data: bytes, name: str) -> npt.NDArray[np.uint8]:
    """Decode PNG bytes to HWC uint8 RGB; `name` is for the message.

    Raises FrameUnreadable for damaged files and FrameFormatUnsupported for anything but 8-bit RGB PNG.
    """
    header = read_png_header(data, name)
    _require_rgb8(header, name)
    return _decode(data, name, header)


def decode_depth(data: bytes, name: str) -> npt.NDArray[np.uint16]:
    """Decode PNG bytes to HW uint16 millimetres; raises as `decode_frame`, for anything but 16-bit grey PNG."""
    header = read_png_header(data, name)
    if (header.channels, header.bits) != ("grey", 16):
        raise FrameFormatUnsupported(
            found=f"{header.bits}-bit {header.channels} in {name}",
            expected="16-bit grey",
            remedy="save depth as 16-bit grey PNG in millimetres",
        )
    pixels = _call_decoder(data, name)
    if pixels.shape != (header.height, header.width) or pixels.dtype != np.uint16:
        raise _damaged(name, "pixels that do not fit its header")
    return np.ascontiguousarray(pixels, dtype=np.uint16)


def read_image(path: str | Path) -> npt.NDArray[np.uint8]:
    """Read a PNG or JPEG photograph as HWC uint8 RGB, as stored: orientation tags are not applied.

    Raises CaptureNotFound (no such file), FrameUnreadable (truncated, damaged) and FrameFormatUnsupported (grey,
    16-bit, alpha, another file format, a side outside 64..8192).
    """
    path = Path(path)
    data = _read_bytes(path)
    if data.startswith(PNG_SIGNATURE):
        return decode_frame(data, path.name)
    if data.startswith(JPEG_SIGNATURE):
        header = read_jpeg_header(data, path.name)
        _require_rgb8(header, path.name)
        return _decode(data, path.name, header)
    raise FrameFormatUnsupported(
        found=f"{path.name}, which is neither PNG nor JPEG" if data else f"{path.name}, which is empty",
        expected="a PNG or JPEG photograph",
        remedy="convert the photograph",
    )


def read_png_header(data: bytes, name: str) -> ImageHeader:
    """Check a PNG's whole chunk structure, checksums included, and return its header."""
    if not data.startswith(PNG_SIGNATURE):
        raise FrameFormatUnsupported(found=f"{name}, which is not PNG", expected="lossless PNG", remedy=FRAME_REMEDY)
    kinds = []
    header = b""
    for kind, content in _png_chunks(data, name):
        header = content if kind == b"IHDR" else header
        kinds.append(kind)
        if kind in PNG_REFUSED_CHUNKS:
            raise FrameFormatUnsupported(
                found=f"{PNG_REFUSED_CHUNKS[kind]} in {name}", expected="one opaque image", remedy=FRAME_REMEDY
            )
    if kinds[:1] != [b"IHDR"] or kinds[-1:] != [b"IEND"] or b"IDAT" not in kinds or len(header) != 13:
        raise _damaged(name, "a PNG without header, pixels or end")
    width, height, bits, colour = struct.unpack(">IIBB", header[:10])
    return _checked_size(ImageHeader(width, height, bits, PNG_COLOUR_NAMES.get(colour, f"colour {colour}")), name)


def _png_chunks(data: bytes, name: str) -> Iterator[tuple[bytes, bytes]]:
    position = len(PNG_SIGNATURE)
    while position < len(data):
        if position + 12 > len(data):
            raise _damaged(name, "a truncated PNG")
        length = int.from_bytes(data[position : position + 4], "big")
        kind, end = data[position + 4 : position + 8], position + 8 + length
        if end + 4 > len(data):
            raise _damaged(name, "a truncated PNG")
        content = data[position + 8 : end]
        if zlib.crc32(content, zlib.crc32(kind)) != int.from_bytes(data[end : end + 4], "big"):
            raise _damaged(name, "a PNG chunk whose checksum is wrong")
        yield kind, content
        position = end + 4


def read_jpeg_header(data: bytes, name: str) -> ImageHeader:
    """Walk a JPEG's segments up to its start of frame; a file without its end marker counts as truncated."""
    if JPEG_END not in data[-1024:]:  # some cameras pad the end
        raise _damaged(name, "a truncated JPEG")
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF or marker in JPEG_STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker in JPEG_START_OF_FRAME:
            return _jpeg_frame_header(data[position + 4 : position + 2 + length], name)
        position += 2 + length
    raise _damaged(name, "a JPEG without image data")


def _jpeg_frame_header(content: bytes, name: str) -> ImageHeader:
    if len(content) < 6:
        raise _damaged(name, "a truncated JPEG")
    bits, height, width, components = struct.unpack(">BHHB", content[:6])
    channels = {1: "grey", 3: "RGB"}.get(components, f"{components} components")
    return _checked_size(ImageHeader(width, height, bits, channels), name)


def _checked_size(header: ImageHeader, name: str) -> ImageHeader:
    if not (MIN_SIDE <= header.width <= MAX_SIDE and MIN_SIDE <= header.height <= MAX_SIDE):
        raise FrameFormatUnsupported(
            found=f"{header.width}×{header.height} pixels in {name}",
            expected=f"sides of {MIN_SIDE} to {MAX_SIDE} pixels",
            remedy="scale the image",
        )
    return header


def _require_rgb8(header: ImageHeader, name: str) -> None:
    if (header.channels, header.bits) != ("RGB", 8):
        raise FrameFormatUnsupported(
            found=f"{header.bits}-bit {header.channels} in {name}", expected="8-bit RGB", remedy=FRAME_REMEDY
        )


def _decode(data: bytes, name: str, header: ImageHeader) -> npt.NDArray[np.uint8]:
    pixels = _call_decoder(data, name)
    if pixels.shape != (header.height, header.width, 3) or pixels.dtype != np.uint8:
        raise _damaged(name, "pixels that do not fit its header")
    return np.ascontiguousarray(pixels[..., ::-1], dtype=np.uint8)


def _call_decoder(data: bytes, name: str) -> npt.NDArray[np.generic]:
    try:
        # UNCHANGED: no conversion of depth or channels, no rotation by orientation tags
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise _damaged(name, "an image that does not decode") from error
    if pixels is None:
        raise _damaged(name, "an image that does not decode")
    return np.asarray(pixels)


def _encode_png(pixels: npt.NDArray[np.generic]) -> bytes:
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(pixels))
    assert done, "OpenCV encodes every uint8 and uint16 array"
    return bytes(encoded.tobytes())


def _read_bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_IMAGE_BYTES:
            raise FrameFormatUnsupported(
                found=f"{path.stat().st_size} bytes in {path.name}",
                expected=f"at most {MAX_IMAGE_BYTES}",
                remedy="scale the photograph",
            )
        return path.read_bytes()
    except OSError as error:
        raise CaptureNotFound(
            found=f"no readable file at {path} ({error.strerror or error})",
            expected="a PNG or JPEG photograph",
            remedy="check the path",
        ) from error


def _damaged(name: str, what: str) -> FrameUnreadable:
    return FrameUnreadable(found=f"{what} ({name})", expected="a whole image file", remedy=DAMAGE_REMEDY)
