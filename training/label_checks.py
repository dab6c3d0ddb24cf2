"""Labels that cannot all be true, found before any face is sought: a wrong label costs hours and is never seen again.

`instrument` names a kind of attack, by the simulator's table or, for attacks of one's own, beginning with its species
(`print_magazine`). A live person holds none; the simulator calls that `face`.
"""

from __future__ import annotations

from sdk_reference.labels import SPECIES, Labels
from simulator.instruments import INSTRUMENTS
from training.errors import LabelsContradict, LabelsMissing

SPECIES_OF = {instrument: species for species, names in INSTRUMENTS.items() for instrument in names}


def require_labels(name: str, labels: Labels | None, simulated: bool | None = None) -> Labels:
    """Return the labels when they name species and subject and agree with each other.

    `simulated` is what the data set says of all its captures, if it says anything. Raises `LabelsMissing` or
    `LabelsContradict`.
    """
    missing = [key for key in ("species", "subject") if labels is None or not getattr(labels, key)]
    if labels is None or missing:
        attack = f" (though its instrument is {labels.instrument})" if labels and labels.instrument else ""
        raise LabelsMissing(
            found=f"{name} without {' and '.join(missing)}{attack}",
            expected="a species (live, print, replay or mask) and a subject in every capture's labels",
            remedy="label the capture or take it out of the data set",
        )
    contradiction = contradiction_in(labels, simulated)
    if contradiction:
        raise LabelsContradict(
            found=f"{name} with {contradiction}",
            expected="labels that can all be true",
            remedy="correct the labels or take the capture out of the data set",
        )
    return labels


def contradiction_in(labels: Labels, simulated: bool | None) -> str | None:
    """Return which labels contradict, or None."""
    instrument, species = labels.instrument, labels.species
    if species == "live" and instrument is not None and instrument not in INSTRUMENTS["live"]:
        return f"species live and an instrument of attack, {instrument}"
    if instrument is not None and species_of_instrument(instrument) not in (None, species):
        return f"species {species} and the instrument {instrument}, which is a {species_of_instrument(instrument)}"
    if labels.seed is not None and not labels.simulated:
        return f"simulated false and a simulator's seed, {labels.seed}"
    if simulated is not None and labels.simulated != simulated:
        return f"simulated {labels.simulated} in a data set that says simulated {simulated}".lower()
    return None


def species_of_instrument(instrument: str) -> str | None:
    """Return the species that an instrument's name tells, or None."""
    first = instrument.partition("_")[0]
    return SPECIES_OF.get(instrument, first if first in SPECIES else None)
