"""Who is trained on, who chooses the threshold and who is tested: by a hash of the subject's name alone.

A person keeps their split in every data set, so that data sets can be joined and runs compared, and no one is ever both
trained on and tested. Subject-disjoint splits are our addition to the paper's protocol.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from training.errors import ClassMissing

SPLITS = ("train", "val", "test")
TEST_DEVICES = ("sim-compact-oled", "sim-midrange-lcd")
"""Simulated phones that film test subjects and nobody else: the paper's intra-type protocol changes the conditions of
acquisition between training and test (section 5.2)."""
TEST_SCENES = ("office", "street_lights")
"""Likewise rooms: a bright one and a dim one."""
SHARES = {"train": 0.70, "val": 0.15, "test": 0.15}  # of the subjects
HASH_VALUES = 2**64


def split_of(subject: str) -> str:
    """Return the split of a subject: `train`, `val` or `test`."""
    place = int.from_bytes(hashlib.sha256(f"flashproof split {subject}".encode()).digest()[:8], "big") / HASH_VALUES
    if place < SHARES["train"]:
        return "train"
    return "val" if place < SHARES["train"] + SHARES["val"] else "test"


def own_conditions(subject: str, names: Iterable[str], tested: Sequence[str]) -> tuple[str, ...]:
    """Return those of `names` (devices or scenes) that a simulated subject may meet: `tested` ones if it is tested."""
    in_test = split_of(subject) == "test"
    return tuple(name for name in names if (name in tested) == in_test)


def require_disjoint(subjects_by_split: Mapping[str, Iterable[str]]) -> None:
    """Raise AssertionError when a subject is in two splits: it would be a defect of ours, never of the data."""
    counted = Counter(subject for subjects in subjects_by_split.values() for subject in set(subjects))
    shared = sorted(subject for subject, times in counted.items() if times > 1)
    assert not shared, f"subjects in more than one split: {shared[:5]}"


def require_both_classes(split: str, species: Iterable[str]) -> None:
    """Raise `ClassMissing` unless the split has a live capture and an attack."""
    counts = Counter(species)
    missing = [
        name for name, there in (("live", counts["live"]), ("attack", counts.total() - counts["live"])) if not there
    ]
    if missing:
        raise ClassMissing(
            found=f"no {' and no '.join(missing)} capture in the {split} split (it has {dict(sorted(counts.items()))})",
            expected="live captures and attacks in every split that is used",
            remedy="add captures of more subjects: each subject belongs to one split, by a hash of its name",
        )
