"""What was new to the model in the test: people, devices and scenes (the paper's intra-type protocol, section 6.1).

The paper keeps attack types and changes the acquisition conditions; people who are in one split only are our addition.
Which people, devices and scenes the training had comes from the run's own record. A bundle and an older run have none:
then the train split of the data given is taken, for devices and scenes in any case (the statement is certain only when
that is the data of the training), for people only when it is: names that fall into a training split were not for that
reason trained on.
The validation split fixed the threshold: a device that only it had is unseen in training, and named all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.data import PreparedData, person_code
from training.evaluated_model import Model
from training.outcomes import Outcome, examples_of

PLACES = {"devices": "device", "scenes": "scene"}  # key in JSON → label
TRAIN, VALIDATION = "train", "val"
Places = dict[str, dict[str, set[str]]]
"""Split → `devices` or `scenes` → names."""


def protocol(model: Model, data: PreparedData, split: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what was seen in training and what was not."""
    known, source, certain = known_places(model, data)
    tested = {person_code(outcome.record.subject) for outcome in outcomes}
    trained = known_people(model, data)
    unseen = {key: [o.label(label) not in known[TRAIN][key] for o in outcomes] for key, label in PLACES.items()}
    return {
        "split": split,
        "source": source,
        "certain": certain,
        **{key: _compared(outcomes, key, known) for key in PLACES},
        "subjects": {"evaluated": len(tested), "overlap": None if trained is None else len(tested & trained)},
        "captures": {
            "all": len(outcomes),
            "unseen_device": sum(unseen["devices"]),
            "unseen_scene": sum(unseen["scenes"]),
            "unseen_both": sum(a and b for a, b in zip(unseen["devices"], unseen["scenes"], strict=True)),
        },
    }


def known_people(model: Model, data: PreparedData) -> set[str] | None:
    """The codes of those that the model was trained on; None where nobody knows."""
    recorded = model.trained_on.get("led_to_by", {}).get("people")
    if recorded is not None:
        return set(recorded)
    if model.trained_on.get("began_with_unknown"):
        return None
    if model.trained_on.get("sha256") == data.sha256:
        return {person_code(example.record.subject) for example in examples_of(data, TRAIN)}
    return None


def known_places(model: Model, data: PreparedData) -> tuple[Places, str, bool]:
    """Return devices and scenes of training and validation, where that is known from, and whether it is certain."""
    recorded = model.trained_on.get("splits", {})
    if all(key in recorded.get(split, {}) for split in (TRAIN, VALIDATION) for key in PLACES):
        found = {split: {key: set(recorded[split][key]) for key in PLACES} for split in (TRAIN, VALIDATION)}
        led_to_by = model.trained_on.get("led_to_by", {})
        for key in PLACES:
            found[TRAIN][key] |= set(led_to_by.get(key, ()))
        return found, "the run's record", not model.trained_on.get("began_with_unknown", False)
    found = {
        split: {key: set(data.places(split, label)) for key, label in PLACES.items()} for split in (TRAIN, VALIDATION)
    }
    if model.trained_on.get("sha256") == data.sha256:
        return found, "the train split of the data given, which is the data of the training", True
    return found, "the train split of the data given, which is not the data of the training", False


def _compared(outcomes: Sequence[Outcome], key: str, known: Places) -> dict[str, list[str]]:
    here = {outcome.label(PLACES[key]) for outcome in outcomes}
    trained = known[TRAIN][key]
    return {
        "unseen": sorted(here - trained),
        "shared": sorted(here & trained),
        "only_in_validation": sorted((here - trained) & known[VALIDATION][key]),
        "training": sorted(trained),
    }
