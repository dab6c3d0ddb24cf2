"""The error tree: names, exit status and messages that people and machines can rely on."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from sdk_reference import errors
from sdk_reference.errors import (
    BundleError,
    BundleHashMismatch,
    CameraLost,
    FlashproofError,
    InvalidInput,
    NoFace,
    PlanMismatch,
    RuntimeFailure,
    UserFailure,
)

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, FlashproofError)]


def an_error(kind: type[FlashproofError]) -> FlashproofError:
    return kind(found="two frames", expected="five", remedy="record again")


def test_message_says_what_was_found_expected_and_what_to_do() -> None:
    assert str(an_error(NoFace)) == "found two frames; expected five; record again"


@pytest.mark.parametrize(
    ("kind", "parent", "status"),
    [
        (NoFace, UserFailure, 2),
        (PlanMismatch, InvalidInput, 3),
        (BundleHashMismatch, BundleError, 4),
        (CameraLost, RuntimeFailure, 5),
    ],
)
def test_branches_of_the_tree_have_their_exit_status(
    kind: type[FlashproofError], parent: type[FlashproofError], status: int
) -> None:
    assert issubclass(kind, parent)
    assert kind.exit_status == status


def test_codes_are_the_class_names_in_snake_case() -> None:
    for kind in KINDS:
        assert kind.code == re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()


def test_the_drawn_tree_shows_every_error() -> None:
    assert len(KINDS) > 20
    for kind in KINDS:
        assert kind.__name__ in (errors.__doc__ or "")


def test_no_error_has_the_exit_status_of_live_or_spoof() -> None:
    assert all(kind.exit_status >= 2 for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_errors_survive_the_way_back_from_a_worker_process(kind: type[FlashproofError]) -> None:
    error = an_error(kind)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (
        copy.to_dict()
        == error.to_dict()
        == {
            "code": kind.code,
            "found": "two frames",
            "expected": "five",
            "remedy": "record again",
        }
    )


def test_positional_arguments_are_refused() -> None:
    with pytest.raises(TypeError):
        NoFace("no face")  # type: ignore[call-arg, misc]
