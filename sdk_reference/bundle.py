"""A model bundle on disk: a folder or the same files in one zip, with nothing in it that the manifest does not list.

Not in the paper. Everything is checked before anything is used, and each file once more as it is read, so that a bundle
exchanged in between is noticed: names, sizes and kinds of entries first, contents and their sha256 last. Hostile files
(links, paths that lead out, archives that unpack to terabytes) are refused by limits before their contents are touched.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from sdk_reference import manifest as manifests
from sdk_reference.container import ENCRYPTED_FLAG, ZIP_ERRORS, ZIP_METHODS, is_small_zip
from sdk_reference.errors import BundleFileMissing, BundleHashMismatch, BundleMalformed, BundleNotFound
from sdk_reference.manifest import Artifact, FileEntry, Manifest

MANIFEST_NAME: Final = "manifest.json"
SHIPPED_BUNDLE: Final = Path(__file__).parent / "bundles" / "flashproof-mobile"
"""The bundle that comes with the package."""

MAX_FILES: Final = 2_000
MAX_FILE_BYTES: Final = 256 * 2**20
MAX_TOTAL_BYTES: Final = 2**30
MAX_COMPRESSION: Final = 1_100
"""Deflate cannot shrink more than 1,032 to 1: an entry that claims more lies about its size."""

ZIP_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""Date of every entry that we write (the earliest a zip can hold): the same files give the same bytes."""


class Store(Protocol):
    """Where the files of a bundle lie."""

    def sizes(self) -> dict[str, int]:
        """Return path → bytes of every file; raises BundleMalformed for anything that is not a plain file."""

    def read(self, path: str, limit: int) -> bytes:
        """Return the contents of a file, refusing more than `limit` bytes."""


@dataclass(frozen=True)
class FolderStore:
    """The files under a folder."""

    root: Path

    def sizes(self) -> dict[str, int]:
        paths = list(islice(self.files(self.root), MAX_FILES + 1))  # enough to refuse them all
        check_count(len(paths))
        return {path.relative_to(self.root).as_posix(): path.lstat().st_size for path in paths}

    def files(self, folder: Path) -> Iterator[Path]:
        """Every plain file below `folder`; links and devices are refused, not followed."""
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
                raise manifests.malformed(f"{entry.name}, which is a link or a device", "plain files and folders")
            if entry.is_dir():
                yield from self.files(Path(entry.path))
            else:
                yield Path(entry.path)

    def read(self, path: str, limit: int) -> bytes:
        with (self.root / PurePosixPath(path)).open("rb") as file:
            return at_most(file.read(limit + 1), limit, path)


@dataclass(frozen=True)
class ZipStore:
    """The files of a zip archive, whose entries sit at its top as they would in the folder."""

    archive: Path

    def sizes(self) -> dict[str, int]:
        if not is_small_zip(self.archive, MAX_FILES):
            raise manifests.malformed("a zip with too long a table of contents", f"at most {MAX_FILES} files")
        with zipfile.ZipFile(self.archive) as archive:
            entries = archive.infolist()
        check_count(len(entries))
        for folder in (entry for entry in entries if entry.is_dir()):
            manifests.check_path(folder.filename.removesuffix("/"))
        members = [entry for entry in entries if not entry.is_dir()]
        for member in members:
            check_member(member)
        if len({member.filename for member in members}) != len(members):
            raise manifests.malformed("an archive with two entries of one name", "each file once")
        return {member.filename: member.file_size for member in members}

    def read(self, path: str, limit: int) -> bytes:
        with zipfile.ZipFile(self.archive) as archive, archive.open(path) as file:
            return at_most(file.read(limit + 1), limit, path)


def check_member(member: zipfile.ZipInfo) -> None:
    """Raise BundleMalformed for an archive entry that is not a plain, honestly sized, unencrypted file."""
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise manifests.malformed(f"{member.filename!r}, which is a link or a device", "plain files")
    if member.flag_bits & ENCRYPTED_FLAG or member.compress_type not in ZIP_METHODS:
        raise manifests.malformed(f"{member.filename!r}, encrypted or packed unusually", "stored or deflated files")
    if member.file_size > MAX_COMPRESSION * max(member.compress_size, 1):
        raise manifests.malformed(
            f"{member.filename!r}, {member.file_size} bytes out of {member.compress_size}", "a possible compression"
        )


def at_most(data: bytes, limit: int, path: str) -> bytes:
    """Hand `data` on unless it is longer than `limit`."""
    if len(data) > limit:
        raise BundleHashMismatch(
            found=f"{path} with more bytes than stated", expected=str(limit), remedy="fetch or export the bundle again"
        )
    return data


@dataclass(frozen=True)
class Bundle:
    """A bundle that has been verified against its manifest."""

    manifest: Manifest
    sha256: str
    """Hash of the manifest's bytes: since the manifest holds every other file's hash, it identifies the bundle."""

    path: Path
    store: Store

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def identity(self) -> str:
        """Name, version and the first 12 digits of the hash, as reports print it."""
        return f"{self.manifest.name} {self.manifest.version} ({self.sha256[:12]})"

    def read(self, path: str) -> bytes:
        """Return the verified contents of a file named relative to the manifest, with `/` between parts.

        Raises BundleFileMissing for a path that the manifest does not list, BundleHashMismatch for changed contents.
        """
        entry = self.manifest.files.get(path)
        if entry is None:
            raise missing(path, "a file that the manifest lists")
        return read_verified(self.store, path, entry)


@contextmanager
def unpacked(bundle: Bundle, artifact: Artifact) -> Iterator[Path]:
    """One artifact on disk, a file or a Core ML package's folder, verified as it is written and removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="flashproof-") as folder:
        for path in bundle.manifest.files:
            if artifact.holds(path):
                target = Path(folder, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(bundle.read(path))
        yield Path(folder, artifact.file)


def load_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Open and verify a bundle: a folder with `manifest.json`, or a zip of one.

    Raises BundleNotFound, BundleMalformed, BundleSchemaUnsupported, BundleFileMissing or BundleHashMismatch.
    """
    place = Path(path)
    store = open_store(place)
    try:
        return verified_bundle(place, store)
    except ZIP_ERRORS as error:  # also what it raises for odd names and unreadable files
        raise manifests.malformed(f"{place.name}, which cannot be read ({error})", "a readable bundle") from error


def open_store(path: Path) -> Store:
    """Choose how to read `path`; raises BundleNotFound or BundleMalformed."""
    if path.is_dir():
        return FolderStore(path)
    if not path.is_file():
        raise BundleNotFound(
            found=f"no bundle at {path}",
            expected="a folder with manifest.json, or a zip of one",
            remedy="give --bundle the path of one",
        )
    if not zipfile.is_zipfile(path):
        raise manifests.malformed(f"the file {path.name}, which is no zip archive", "a bundle folder or zip")
    return ZipStore(path)


def verified_bundle(path: Path, store: Store) -> Bundle:
    """Check everything about the bundle in `store`, cheapest first."""
    sizes = store.sizes()
    check_limits(sizes)
    if MANIFEST_NAME not in sizes:
        raise missing(MANIFEST_NAME, "a bundle with a manifest at its top")
    data = store.read(MANIFEST_NAME, manifests.MAX_MANIFEST_BYTES)
    manifest = manifests.from_json(data)
    manifests.check_runtime_agrees(manifest)
    check_listing(manifest, sizes)
    bundle = Bundle(manifest, hashlib.sha256(data).hexdigest(), path, store)
    for name in manifest.files:
        bundle.read(name)
    return bundle


def check_count(files: int) -> None:
    """Raise BundleMalformed for more than MAX_FILES."""
    if files > MAX_FILES:
        raise manifests.malformed(f"{files} files or more", f"at most {MAX_FILES}")


def check_limits(sizes: dict[str, int]) -> None:
    """Raise BundleMalformed when files are too large."""
    if sizes.get(MANIFEST_NAME, 0) > manifests.MAX_MANIFEST_BYTES:
        raise manifests.malformed(
            f"a manifest of {sizes[MANIFEST_NAME]} bytes", f"at most {manifests.MAX_MANIFEST_BYTES}"
        )
    largest = max(sizes, key=lambda path: sizes[path], default=None)
    if largest is not None and sizes[largest] > MAX_FILE_BYTES:
        raise manifests.malformed(f"{largest!r} of {sizes[largest]} bytes", f"at most {MAX_FILE_BYTES}")
    if sum(sizes.values()) > MAX_TOTAL_BYTES:
        raise manifests.malformed(f"{sum(sizes.values())} bytes in all", f"at most {MAX_TOTAL_BYTES}")


def check_listing(manifest: Manifest, sizes: dict[str, int]) -> None:
    """Raise unless exactly the listed files are there, with their sizes."""
    for path, entry in manifest.files.items():
        if path not in sizes:
            raise missing(path, "every file that the manifest lists")
        if sizes[path] != entry.bytes:
            raise changed(path, f"{sizes[path]} bytes", f"{entry.bytes}")
    strangers = sorted(sizes.keys() - manifest.files.keys() - {MANIFEST_NAME})
    if strangers:
        raise BundleMalformed(
            found=f"{manifests.shortened(repr(strangers[0]))}, which the manifest does not list",
            expected="only files that the manifest vouches for",
            remedy="remove it, or export the bundle again",
        )


def read_verified(store: Store, path: str, entry: FileEntry) -> bytes:
    """Read one file and compare it with its entry in the manifest."""
    try:
        data = store.read(path, entry.bytes)
    except (FileNotFoundError, KeyError) as error:
        raise missing(path, "every file that the manifest lists") from error
    except ZIP_ERRORS as error:
        raise changed(path, f"contents that cannot be read ({manifests.shortened(error)})", "a whole file") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry.sha256:
        raise changed(path, f"sha256 {digest[:12]}…", f"{entry.sha256[:12]}…")
    return data


def missing(path: str, expected: str) -> BundleFileMissing:
    return BundleFileMissing(found=f"no {path}", expected=expected, remedy="fetch or export the bundle again")


def changed(path: str, found: str, expected: str) -> BundleHashMismatch:
    return BundleHashMismatch(
        found=f"{path} with {found}", expected=expected, remedy="fetch or export the bundle again"
    )


def hash_files(folder: Path) -> dict[str, FileEntry]:
    """Return the manifest's `files` for a folder about to become a bundle: every plain file but `manifest.json`."""
    store = FolderStore(folder)
    entries = {}
    for path, size in store.sizes().items():
        if path != MANIFEST_NAME:
            digest = hashlib.sha256(store.read(path, size)).hexdigest()
            entries[path] = FileEntry(sha256=digest, bytes=size)
    return entries


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write `manifest.json` in its canonical form; returns its path."""
    path = folder / MANIFEST_NAME
    path.write_bytes(manifests.to_json(manifest))
    return path


def zip_bundle(folder: Path, archive: Path) -> Path:
    """Write the files of a bundle folder into one zip, with the same bytes for the same files; returns its path."""
    store = FolderStore(folder)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path, size in sorted(store.sizes().items()):
            target.writestr(zipfile.ZipInfo(path, ZIP_DATE), store.read(path, size), zipfile.ZIP_DEFLATED)
    return archive
