"""docs/records.md names the states, limits and lifetimes that the code has."""

from __future__ import annotations

import json
import re
from pathlib import Path

from flash_sequencer.lag import COARSE_S, MAX_LAG_NS
from sdk_reference import session, session_states
from sdk_reference.flash_take import LEAD_NS
from sdk_reference.nonce_book import LIFETIME_S
from sdk_reference.session_clock import NS_PER_MS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "records.md").read_text(encoding="utf-8")
(RECORD,) = [json.loads(line)["record"] for line in PAGE.splitlines() if line.startswith('{"key":"')]


def states() -> set[str]:
    """Names of all states that a session times."""
    sources = [Path(module.__file__ or "").read_text(encoding="utf-8") for module in (session, session_states)]
    return set(re.findall(r'\bwith \w+\.state\("(\w+)"\)', "\n".join(sources)))


def test_durations_are_named_after_the_states_of_a_session() -> None:
    (row,) = re.findall(r"^\| `durations_ns` \| .*?: (`.*?`)\. ", PAGE, re.MULTILINE)
    assert len(states()) == 8
    assert set(re.findall(r"`(\w+)`", row)) == states()
    assert set(RECORD["durations_ns"]) < states()


def test_the_worked_record_is_one_that_a_server_would_accept() -> None:
    """Of a standard plan: 1500 ms, and the dark before it."""
    assert RECORD["durations_ns"]["flashing"] >= 1500 * NS_PER_MS + LEAD_NS
    assert COARSE_S * 1e9 < RECORD["lag_ns"] <= MAX_LAG_NS


def test_limits_of_the_lag_and_the_life_of_a_nonce_are_the_codes() -> None:
    assert f"`lag_ns` above {COARSE_S * 1000:g} and at most {MAX_LAG_NS / NS_PER_MS:g} ms" in PAGE
    assert LEAD_NS == 500 * NS_PER_MS and "the half second of dark before it" in PAGE
    assert LIFETIME_S == 120 and "about two minutes" in PAGE
    for name in ("android.md", "ios.md"):
        assert "accepts each nonce once, for two minutes," in (DOCS / name).read_text(encoding="utf-8")
