"""A flat set of small files, kept as a folder or as one zip: the two shapes a capture has on disk.

Reading trusts nothing: names must be flat (no path parts, nothing that leaves the folder), counts and sizes are limited
before a byte is unpacked, and every way in which a zip can be broken becomes CaptureMalformed. Writing is atomic (a
temporary sibling, then a rename) and deterministic (fixed dates, no compression): equal captures are equal bytes.
"""

from __future__ import annotations

import re
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from sdk_reference.errors import CaptureMalformed, CaptureNotFound, OutputNotWritable

MAX_FILES = 16
MAX_TOTAL_BYTES = 512 * 2**20
MAX_NAME_LENGTH = 64
FLAT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that zip can state: files carry no time of their own
UNIX = 3
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED_FLAG = 0x1
DIRECTORY_END = struct.Struct("<4s8xI6x")  # signature, size of the table of contents; 22 bytes without comment
DIRECTORY_END_SIGNATURE = b"PK\5\6"
ZIP64_LOCATOR_SIGNATURE, ZIP64_LOCATOR_BYTES = b"PK\6\7", 20
MAX_COMMENT_BYTES = 2**16 - 1
DIRECTORY_BYTES_PER_MEMBER = 1_024  # 46, the name and what little is added to it
# What zipfile and zlib raise on damaged archives, collected from mutated files
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,  # includes NotImplementedError
    LookupError,
    OverflowError,
)
REMEDY = "record or copy the capture again"


def is_flat_name(name: str) -> bool:
    """Whether `name` has no path parts: letters, digits, `_`, `-` and `.`, not starting with `-` or `.`."""
    return len(name) <= MAX_NAME_LENGTH and FLAT_NAME.fullmatch(name) is not None


def is_small_zip(path: Path, max_files: int) -> bool:
    """Whether the table of contents of the zip at `path` is of a size that `max_files` members explain.

    `zipfile` reads the whole table before anyone can count: a file of 1 GB may hold 20 million members. Its end is
    looked for as `zipfile` does; the 64-bit form, which only larger archives need, is refused. Raises OSError.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - DIRECTORY_END.size - MAX_COMMENT_BYTES - ZIP64_LOCATOR_BYTES, 0))
        tail = file.read()
    place = len(tail) - DIRECTORY_END.size
    if not (tail[place : place + 4] == DIRECTORY_END_SIGNATURE and tail.endswith(b"\0\0")):
        place = tail.rfind(DIRECTORY_END_SIGNATURE)
    if place < 0 or len(tail) - place < DIRECTORY_END.size:
        return False
    _, directory_bytes = DIRECTORY_END.unpack_from(tail, place)
    is_zip64 = tail[max(place - ZIP64_LOCATOR_BYTES, 0) : place].startswith(ZIP64_LOCATOR_SIGNATURE)
    return not is_zip64 and directory_bytes <= max_files * DIRECTORY_BYTES_PER_MEMBER


class FolderOrZip:
    """Read access to the container at `path`; raises CaptureNotFound when nothing is there.

    A zip's table of contents is read and checked once, here; a folder is looked at file by file, and files that nobody
    asks for are left alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._used = 0
        self._is_folder = path.is_dir()
        if not self._is_folder and not path.is_file():
            raise CaptureNotFound(
                found=f"nothing at {path}", expected="a capture folder or a .zip of one", remedy="check the path"
            )
        self._names = frozenset[str]() if self._is_folder else _checked_zip_names(path)

    @property
    def zip_names(self) -> frozenset[str] | None:
        """Names of all members of a zip; None for a folder, which may hold anything besides."""
        return None if self._is_folder else self._names

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Return the bytes of file `name`, or None when it is missing; raises CaptureMalformed beyond `max_bytes`."""
        if not is_flat_name(name):
            raise _malformed(f"the file name {name[:MAX_NAME_LENGTH]!r}", "a plain name without path parts")
        data = self._read_from_folder(name, max_bytes) if self._is_folder else self._read_from_zip(name, max_bytes)
        if data is None:
            return None
        self._used += len(data)
        if len(data) > max_bytes or self._used > MAX_TOTAL_BYTES:
            raise _too_large(name, max_bytes)
        return data

    def _read_from_folder(self, name: str, max_bytes: int) -> bytes | None:
        target = self._path / name
        try:
            if target.resolve().parent != self._path.resolve():
                raise _malformed(f"{name}, a link that leaves the folder", "a file in the folder itself")
            if not target.is_file():
                return None
            with target.open("rb") as handle:
                return handle.read(max_bytes + 1)
        except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself, on Python below 3.13
            raise _malformed(f"{name}, which cannot be read ({error})", "a readable file") from error

    def _read_from_zip(self, name: str, max_bytes: int) -> bytes | None:
        if name not in self._names:
            return None
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(name) as handle:
                return handle.read(max_bytes + 1)
        except ZIP_ERRORS as error:
            raise _malformed(f"a damaged zip ({name}: {error})", "a whole zip file") from error


def _checked_zip_names(path: Path) -> frozenset[str]:
    try:
        if not is_small_zip(path, MAX_FILES):
            raise _malformed("a file that is not a zip, or not a small one", f"a zip of at most {MAX_FILES} members")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except ZIP_ERRORS as error:
        raise _malformed(f"a file that is not a readable zip ({error})", "a capture folder or a .zip of one") from error
    if len(members) > MAX_FILES:
        raise _malformed(f"a zip of {len(members)} members", f"at most {MAX_FILES}")
    if sum(member.file_size for member in members) > MAX_TOTAL_BYTES:
        raise _malformed("a zip that unpacks to too much", f"at most {MAX_TOTAL_BYTES} bytes in all")
    names = [member.filename for member in members]
    for member in members:
        _check_member(member)
    if len(set(names)) != len(names):
        raise _malformed("a zip that holds one name twice", "each name once")
    return frozenset(names)


def _check_member(member: zipfile.ZipInfo) -> None:
    if not is_flat_name(member.filename):
        raise _malformed(f"the zip member {member.filename[:MAX_NAME_LENGTH]!r}", "plain names without path parts")
    if member.compress_type not in ZIP_METHODS or member.flag_bits & ENCRYPTED_FLAG:
        raise _malformed(f"zip member {member.filename}, encrypted or packed unusually", "stored or deflated members")


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` as a new folder at `path`; all of it appears at once. Raises OutputNotWritable."""
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise _not_writable(path, "something is already there")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
        try:
            for name, data in files.items():
                (temporary / name).write_bytes(data)
            temporary.chmod(0o755)  # mkdtemp makes folders that only their owner can open
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise _not_writable(path, error.strerror or str(error)) from error


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` as a zip at `path`, replacing a file that is there; equal files give equal bytes.

    Raises OutputNotWritable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            prefix=f".{path.name}.", suffix=".partial", dir=path.parent, delete=False
        ) as handle:
            temporary = Path(handle.name)
        try:
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
                for name, data in files.items():
                    archive.writestr(_zip_info(name), data)
            temporary.chmod(0o644)  # the temporary file can be read by its owner only
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _not_writable(path, error.strerror or str(error)) from error


def _zip_info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=ZIP_DATE)
    info.create_system = UNIX  # else the bytes depend on the system that writes
    info.external_attr = 0o644 << 16
    return info


def _not_writable(path: Path, why: str) -> OutputNotWritable:
    return OutputNotWritable(
        found=f"{path}: {why}", expected="a place that can be written", remedy="choose another path or free this one"
    )


def _too_large(name: str, max_bytes: int) -> CaptureMalformed:
    return _malformed(f"{name}, which is too large", f"at most {max_bytes} bytes, {MAX_TOTAL_BYTES} in all")


def _malformed(found: str, expected: str) -> CaptureMalformed:
    return CaptureMalformed(found=found, expected=expected, remedy=REMEDY)
