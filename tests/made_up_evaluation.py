"""The JSON of an evaluation of captures made up by hand: the tables are evaluation's own, only the captures are not."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from made_up_outcomes import outcome

from training import rate_tables
from training.breakdown import ORDERS, breakdowns
from training.counted import FEWEST, count
from training.evaluation_goals import evaluation_goals
from training.outcomes import Outcome

THRESHOLD = 0.01
INSTRUMENTS = ("print_hd", "replay_phone", "mask_latex", "mask_silicone")


def made_up_evaluation(name: str = "tiny", *, screen_off: bool = False, **changes: Any) -> dict[str, Any]:
    """What `flashproof evaluate RUN --json` would say of `made_up_captures`; `changes` replaces keys."""
    outcomes = made_up_captures(screen_off)
    rates = rate_tables.rates_of(outcomes, THRESHOLD)
    at_bpcer = rate_tables.at_bpcer(outcomes)
    ungated = rate_tables.rates_without_gates(outcomes, THRESHOLD)
    return {
        **rate_tables.rates_dict(rates, outcomes, THRESHOLD),
        "simulated": True,
        "screen_off": screen_off,
        "split": "all" if screen_off else "test",
        "model": {"kind": "run", "name": name},
        "data_sha256": "12" * 32,
        "intervals": "95 %, made up here as evaluation says it.",
        "protocol": made_up_protocol(outcomes),
        "goals": [asdict(goal) for goal in evaluation_goals(rates, at_bpcer, outcomes, screen_off)],
        "apcer_by_instrument": rate_tables.instruments(outcomes),
        "refusals": rate_tables.refusals(outcomes),
        "without_gates": None if ungated is None else ungated.to_dict(),
        "at_bpcer_1_percent": at_bpcer,
        "verdicts": rate_tables.verdicts(outcomes),
        "breakdowns": breakdowns(outcomes),
        "flash_response": made_up_response(),
    } | changes


def made_up_captures(screen_off: bool) -> list[Outcome]:
    """120 live faces and 30 attacks with each of four instruments; every sixth capture is refused, or all of them."""
    kinds = [("live", "none")] * 120 + [(name.split("_")[0], name) for name in INSTRUMENTS for _ in range(30)]
    return [captured(k, species, instrument, screen_off or k % 6 == 0) for k, (species, instrument) in enumerate(kinds)]


def captured(k: int, species: str, instrument: str, refused: bool) -> Outcome:
    """One capture; every 40th live face is rejected, every tenth silicone mask accepted."""
    wrong = k % 40 == 7 if species == "live" else instrument == "mask_silicone" and k % 10 == 1
    return outcome(
        species,
        0.5 if (species == "live") != wrong else 0.001,
        "flash_too_weak" if refused else None,
        threshold=THRESHOLD,
        subject=f"person {k % 12}",
        instrument=instrument,
        scene=("office", "sun|light")[k % 2],
        device=("sim-oled", "sim-lcd")[k % 3 == 0],
        ambient_lux=(5.0, 20.0, 200.0)[k % 3],
        skin_tone=1 + k % 10,
        distance_cm=30.0,
    )


def made_up_protocol(outcomes: list[Outcome]) -> dict[str, Any]:
    """A test under new conditions, but for one scene."""
    total = len(outcomes)
    return {
        "split": "test",
        "source": "the run's record",
        "certain": True,
        "devices": {"unseen": ["sim-lcd", "sim-oled"], "shared": [], "only_in_validation": ["sim-lcd"], "training": []},
        "scenes": {"unseen": ["sun|light"], "shared": ["office"], "only_in_validation": [], "training": ["office"]},
        "subjects": {"evaluated": 12, "overlap": 0},
        "captures": {"all": total, "unseen_device": total, "unseen_scene": total // 2, "unseen_both": total // 2},
    }


def made_up_response() -> dict[str, Any]:
    """Live captures under their own plan and others; the band of the brightest light has none."""
    captures = {"all": 100, **dict.fromkeys(ORDERS["lux"], 0), "0-10": 90, "10-30": 10}
    return {
        "rule": {"answer": "head", "cosine_limit": 0.6, "max_disagreeing": 2},
        "wrong_plans": 20,
        "same_colours_one_in": 20,
        "by_lux": {"judged": [{"lux": lux, **answered(number)} for lux, number in captures.items()]},
        "curve": [],
    }


def answered(captures: int) -> dict[str, Any]:
    """How so many live captures answered."""
    head = {
        "right_passes": count(k > 0 for k in range(captures)).to_dict(),
        "wrong_caught": {"value": 0.7272, "low": 0.7171, "high": 0.7373} if captures else None,
    }
    return {"captures": captures, "few": captures < FEWEST, "head": head}


def made_up_real_pairs(threshold: float = THRESHOLD) -> dict[str, Any]:
    """Two pairs under two plans each; one answer is wrong, one without a face."""
    said = [
        ("ada_lovelace_live", True, "default", "live", 0.9311, ()),
        ("ada_lovelace_live", True, "0", "spoof", 0.0021, ("score_below_threshold",)),
        ("grace_print", False, "default", "spoof", 0.0033, ("score_below_threshold",)),
        ("grace_print", False, "0", "retry", None, ("no_face",)),
    ]
    keys = ("pair", "live", "plan", "verdict", "score", "reasons")
    return {"threshold": threshold, "answers": [dict(zip(keys, one, strict=True)) for one in said]}
