"""``flashproof plan``: what it prints for machines and for people."""

from __future__ import annotations

import json

import pytest

from flash_sequencer.plan import FlashPlan, PlanError, challenge, default_plan
from flashproof.commands.plan import plan, safety_lines

NONCE = "00112233445566778899aabbccddeeff"


def test_json_is_one_object_from_which_the_plan_can_be_rebuilt(capsys: pytest.CaptureFixture[str]) -> None:
    plan(n0=6, nonce=NONCE, profile="gentle", as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"plan", "hash", "entropy_bits", "safety"}
    rebuilt = FlashPlan.from_dict(printed["plan"])
    assert rebuilt == challenge(NONCE, 6, "gentle")
    assert (printed["hash"], printed["entropy_bits"]) == (rebuilt.canonical_hash(), rebuilt.entropy_bits)
    assert printed["safety"]["ok"] is True


def test_without_a_nonce_the_default_plan_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    plan()
    out = capsys.readouterr().out
    assert (
        out.index("#ffffff") < out.index("#ff0000") < out.index("#00ff00") < out.index("#0000ff") < out.index("#000000")
    )
    assert "no challenge (0 bits of entropy)" in out
    assert default_plan().canonical_hash() in out
    assert "general flashes (WCAG 2.3.1): 2 (limit 3)" in out


def test_a_challenge_states_its_entropy(capsys: pytest.CaptureFixture[str]) -> None:
    plan(nonce=NONCE)
    assert "one of 2400 equally likely plans (11.23 bits of entropy)" in capsys.readouterr().out


def test_the_safety_lines_name_every_rule() -> None:
    text = "\n".join(safety_lines(default_plan().safety))
    assert all(name in text for name in ("general", "red", "BT.1702", "2 or more flashes a second", "WCAG 2.3.1"))


@pytest.mark.parametrize("arguments", [{"n0": 2}, {"nonce": "xyz"}, {"profile": "fast"}])
def test_bad_options_are_plan_errors(arguments: dict[str, object]) -> None:
    with pytest.raises(PlanError, match=r"found .*; expected"):
        plan(**arguments)  # type: ignore[arg-type]
