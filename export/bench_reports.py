"""What the export found out about a bundle's artifacts, read from the reports that the bundle carries.

Only what `flashproof bench` shows is asked for; a report may hold more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sdk_reference.bundle import Bundle
from sdk_reference.errors import BundleMalformed

PARITY_OUTPUTS: Final = ("score", "depth")
Report = TypeVar("Report", bound=BaseModel)


class Read(BaseModel):
    """Common ground of what is read from reports: what is not asked for is passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class GateRead(Read):
    """A gate of the export."""

    name: str
    value: float


class ParityRead(Read):
    """What the export says of one artifact."""

    ran_by: str | None = None
    gates: tuple[GateRead, ...] = ()


class ParityReport(Read):
    """`reports/parity.json`."""

    artifacts: Mapping[str, ParityRead] = {}


class RateRead(Read):
    """A rate, 0..1, with its 95 % interval."""

    value: float
    low: float
    high: float


class DecisionsRead(Read):
    """What the decision gate found of one artifact."""

    eer: RateRead | None = None


class DecisionsReport(Read):
    """`reports/decisions.json`."""

    artifacts: Mapping[str, DecisionsRead] = {}


def differences(found: ParityRead) -> dict[str, float] | None:
    """The export's differences of score and depth, by the gate's name; None when there are none."""
    named = {gate.name: gate.value for gate in found.gates}
    kept = {
        name: value
        for name, value in named.items()
        if name.split(":")[0] in PARITY_OUTPUTS and name.endswith(" difference")
    }
    return kept or None


def read_report(bundle: Bundle, path: str, kind: type[Report]) -> Report:
    """Read one of the bundle's reports, empty when it has none; raises BundleMalformed."""
    if path not in bundle.manifest.files:
        return kind()
    try:
        return kind.model_validate_json(bundle.read(path))
    except ValidationError as error:
        raise BundleMalformed(
            found=f"{path}, which cannot be read ({error.errors(include_url=False)[0]['msg']})",
            expected="a report of this release",
            remedy="fetch or export the bundle again",
        ) from error
