"""What would put one person, or one photograph, both among the trained on and the tested, over all data sets at once.

A split follows from the subject's name alone (`training.splits`), so one name can never be in two. What can: one person
under two spellings, and the same photographs under two names. Copies within a split are no leak, but the same
photographs under two species contradict each other. That one person was given two different names cannot be seen here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence

from training.errors import DatasetInvalid, LabelsContradict, SplitLeaks
from training.splits import split_of
from training.store import PreparedStore, StoredCapture

Found = tuple[str, StoredCapture]
"""(data set and file name, record)."""


def require_no_leaks(stores: Sequence[PreparedStore]) -> None:
    """Raise `SplitLeaks`, `LabelsContradict` or, for one data set given twice, `DatasetInvalid`; both are named."""
    _require_different(stores)
    found = [(f"{store.name}/{record.name}", record) for store in stores for record in store.records]
    for first, second in pairs_alike(found, lambda record: spelling(record.subject)):
        if split_of(first[1].subject) != split_of(second[1].subject):
            raise _leak(first, second, "one person under two spellings", "give one person one spelling")
    for first, second in pairs_alike(found, lambda record: record.frames_sha256):
        if first[1].species != second[1].species:
            raise _contradiction(first, second)
        if split_of(first[1].subject) != split_of(second[1].subject):
            raise _leak(first, second, "the same photographs under two subjects", "keep one of them")


def pairs_alike(found: Sequence[Found], key: Callable[[StoredCapture], str | None]) -> Iterator[tuple[Found, Found]]:
    """Yield the first capture of each key with every later one of the same key; those of key None are left out."""
    firsts: dict[str, Found] = {}
    for capture in found:
        value = key(capture[1])
        if value is not None and firsts.setdefault(value, capture) is not capture:
            yield firsts[value], capture


def spelling(subject: str) -> str:
    """Return a subject's name without case, spaces and ways to write one letter."""
    return "".join(unicodedata.normalize("NFKC", subject).casefold().split())


def _require_different(stores: Sequence[PreparedStore]) -> None:
    names: dict[str, str] = {}
    for store in stores:
        other = names.setdefault(store.sha256, str(store.folder))
        if other != str(store.folder):
            raise DatasetInvalid(
                found=f"the same captures in {other} and {store.folder}",
                expected="each data set once: as a folder or as its shards",
                remedy="leave one of them out",
            )


def _leak(first: Found, second: Found, what: str, remedy: str) -> SplitLeaks:
    places = " and ".join(f"{name} ({record.subject}: {split_of(record.subject)})" for name, record in (first, second))
    return SplitLeaks(
        found=f"{places}: {what}",
        expected="each person in one of the train, val and test splits",
        remedy=remedy,
    )


def _contradiction(first: Found, second: Found) -> LabelsContradict:
    return LabelsContradict(
        found=" and ".join(f"{name} ({record.species})" for name, record in (first, second)) + ", the same photographs",
        expected="one species for one capture",
        remedy="correct the labels or keep one of them",
    )
