"""A full disk refuses what real ones refuse, and what was refused is left neither half written nor usable."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from stub_filmer import StubFilmer

from flashproof import full_disk
from flashproof.full_disk import FILLER, MountedDisk, SmallDisk, small_disk
from sdk_reference.atomic_files import require_place, write_atomically
from sdk_reference.collecting import collect, order_for
from sdk_reference.consent import require_consent
from sdk_reference.errors import OutputNotWritable
from sdk_reference.nonce_book import NonceBook

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is neither mount nor RLIMIT_FSIZE")


@pytest.fixture(params=["as this user", "without root"])
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallDisk]:
    if request.param == "without root":
        monkeypatch.setattr(full_disk, "mounted", lambda folder: False)
    with small_disk(tmp_path) as made:
        yield made


def left(disk: SmallDisk) -> set[str]:
    return {path.name for path in disk.folder.iterdir()} - {FILLER}


def test_a_full_disk_says_what_the_system_says_until_it_is_taken_away(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        (disk.folder / "before").write_bytes(b"whole")
        disk.fill()
        with pytest.raises(OSError) as caught:
            (disk.folder / "after").write_bytes(bytes(8192))
        assert caught.value.errno == (errno.ENOSPC if isinstance(disk, MountedDisk) else errno.EFBIG)
        assert (disk.folder / "before").read_bytes() == b"whole"
    (tmp_path / "afterwards").write_bytes(bytes(8192))


def test_a_nonce_that_cannot_be_noted_as_used_is_not_usable_and_not_lost(disk: SmallDisk) -> None:
    book = NonceBook(path=disk.folder / "nonces.sqlite")
    nonce = book.issue()
    disk.fill()
    says = r"does not open or write \((disk I/O error|database or disk is full)"
    for call in (lambda: book.use(nonce), book.issue, lambda: book.accept("00" * 16)):
        with pytest.raises(OutputNotWritable, match=says):
            call()
    book.close()
    if isinstance(disk, MountedDisk):
        (disk.folder / FILLER).unlink()
        with closing(NonceBook(path=disk.folder / "nonces.sqlite")) as again:
            assert again.use(nonce) == nonce


def test_a_book_on_a_full_disk_gives_no_challenge(disk: SmallDisk) -> None:
    disk.fill()
    with pytest.raises(OutputNotWritable, match="book of nonces"):
        NonceBook(path=disk.folder / "nonces.sqlite").issue()


def test_a_small_file_is_whole_or_absent(disk: SmallDisk) -> None:
    write_atomically(disk.folder / "old.json", b"old")
    disk.fill()
    for name in ("new.json", "old.json"):
        with pytest.raises(OutputNotWritable, match="room left"):
            write_atomically(disk.folder / name, bytes(8192))
    assert left(disk) == {"old.json"} and (disk.folder / "old.json").read_bytes() == b"old"


def test_a_place_without_room_is_found_before_the_work(disk: SmallDisk) -> None:
    require_place(disk.folder / "page.html")
    disk.fill()
    with pytest.raises(OutputNotWritable, match="room left"):
        require_place(disk.folder / "page.html")
    assert left(disk) == set()


def test_a_recording_that_finds_no_room_leaves_nothing(disk: SmallDisk) -> None:
    order = order_for("ann", "live", simulated=False)
    require_consent(disk.folder, "ann", lambda: datetime.now(timezone.utc), signed_form=True, ask=lambda text: "")
    before = left(disk)

    class FillingFilmer(StubFilmer):
        def film(self, plan: Any) -> Any:
            disk.fill()
            return super().film(plan)

    with pytest.raises(OutputNotWritable):
        collect(
            disk.folder,
            order,
            FillingFilmer(),
            count=1,
            new_nonce=lambda: bytes(16),
            free_bytes=lambda folder: 2**40,
        )
    assert left(disk) == before
