"""The errors of the training room: more branches of the tree in `sdk_reference.errors`.

    InvalidInput
    ├── SettingOutOfRange    setting_out_of_range
    ├── DatasetInvalid       dataset_invalid
    │   ├── LabelsMissing    labels_missing
    │   ├── LabelsContradict labels_contradict
    │   ├── SplitLeaks       split_leaks
    │   └── ClassMissing     class_missing
    ├── SettingsMismatch     settings_mismatch
    └── RunInvalid           run_invalid
    RuntimeFailure
    ├── LossNotFinite        loss_not_finite
    └── ProcessLost          process_lost

They stay out of `sdk_reference` because a phone never meets them.
"""

from __future__ import annotations

from sdk_reference.errors import InvalidInput, RuntimeFailure


class SettingOutOfRange(InvalidInput):
    """An option has a value that makes no sense."""

    code = "setting_out_of_range"


class DatasetInvalid(InvalidInput):
    """A folder is not a data set, or its captures do not belong together."""

    code = "dataset_invalid"


class LabelsMissing(DatasetInvalid):
    """A capture lacks a label that training or evaluation needs."""

    code = "labels_missing"


class LabelsContradict(DatasetInvalid):
    """Labels of one capture, or of two captures that show the same, cannot all be true."""

    code = "labels_contradict"


class SplitLeaks(DatasetInvalid):
    """A person or a capture would be both trained on and tested."""

    code = "split_leaks"


class ClassMissing(DatasetInvalid):
    """A split has no live capture or no attack."""

    code = "class_missing"


class SettingsMismatch(InvalidInput):
    """A folder was begun with other settings than those it shall be continued with."""

    code = "settings_mismatch"


class RunInvalid(InvalidInput):
    """A training run's folder is missing, unfinished, damaged or of another architecture."""

    code = "run_invalid"


class LossNotFinite(RuntimeFailure):
    """A training's loss or gradient became infinite or no number at all."""

    code = "loss_not_finite"


class ProcessLost(RuntimeFailure):
    """One of the processes of a training ended, so that the others cannot go on."""

    code = "process_lost"


def require_range(name: str, value: float, lowest: float, highest: float) -> None:
    """Raise `SettingOutOfRange` unless `lowest` <= `value` <= `highest` (which a NaN is not)."""
    if not lowest <= value <= highest:
        raise SettingOutOfRange(
            found=f"{name} {value}",
            expected=f"{name} from {lowest} to {highest}",
            remedy=f"choose another value for {name}",
        )


def require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `SettingOutOfRange` unless `value` is one of `choices`."""
    if value not in choices:
        raise SettingOutOfRange(
            found=f"{name} {value!r}", expected=f"one of {', '.join(choices)}", remedy=f"choose another {name}"
        )
