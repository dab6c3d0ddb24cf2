"""How well the flash response tells the right plan from a wrong one (the challenge–response check; not in the paper).

Every capture is held against its own plan and against random challenges that it was not recorded under. A capture that
answers another plan is an attack, so the captures that count are those of live people: an injected recording of one is
all that a score cannot catch. D sees colours by rank: a challenge of the same colours in another order in time looks
the same to it, cannot be caught here, and is left out (one random challenge in `same_colours_one_in`); only the order
of the frames in time, which the camera's timestamps tell, can catch that.

The rule itself is chosen on one set of wrong plans (`training.gates`) and reported on another.

Three answers are compared: the model's response head, the colour measured on the frames, and both, where one that
disagrees is enough. Cosine limit and number of rows allowed are reported as a curve, to be chosen on validation data.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from flash_sequencer.palette import HUE_COUNT
from flash_sequencer.plan import challenge
from sdk_reference.response import cosines, expected_response
from training.breakdown import GROUPINGS, ORDERS
from training.counted import FEWEST, count
from training.metrics import mean_rate
from training.outcomes import Outcome
from training.scoring import Scored

WRONG_PLANS = 20  # per capture
REPORTED, CHOSEN_BY = "reported wrong plan", "wrong plan"  # what the wrong plans of either use are drawn from
POOL = 200  # reported: each capture has its own draw of so many, so that resampling people resamples plans, too
SAME = 1e-3  # two plans whose expectations differ by less show D the same
COSINE_LIMITS = (-0.5, 0.0, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
ANSWERS = ("head", "measured", "both")
BOOTSTRAP_SEED = 0

Cosines = dict[str, npt.NDArray[np.float32]]
"""`head` and `measured` → (n, 1 + WRONG_PLANS, N): against the own plan first, then against each wrong one."""


def response_report(
    scored: Scored, outcomes: Sequence[Outcome], n0: int, cosine_limit: float, max_disagreeing: int
) -> dict[str, Any]:
    """Return how often right plans pass and wrong ones are caught; `outcomes` begin with the captures of `scored`."""
    found = Held(scored, outcomes[: len(scored.examples)], n0)
    judged = np.array([outcome.judged for outcome in found.outcomes], bool)
    live = scored.live
    limit, rows = cosine_limit, max_disagreeing
    return {
        "rule": {"answer": "head", "cosine_limit": limit, "max_disagreeing": rows},
        "wrong_plans": WRONG_PLANS,
        "same_colours_one_in": math.comb(HUE_COUNT, n0 - 2),
        "by_lux": {
            "judged": found.by_lux(live & judged, limit, rows),
            "with_face": found.by_lux(live, limit, rows),
        },
        "by_species": {
            species: found.rates(judged & (np.array(scored.species) == species), limit, rows)
            for species in dict.fromkeys(("live", *sorted(set(scored.species))))
        },
        "curve": found.curve(live & judged, 2 * (n0 - 2)),
    }


class Held:
    """Captures held against their own plan and against wrong ones."""

    def __init__(self, scored: Scored, outcomes: Sequence[Outcome], n0: int, purpose: str = REPORTED) -> None:
        self.outcomes = outcomes
        self.subjects = np.array(scored.subjects)
        rows = 2 * (n0 - 2)
        own = np.array([example.record.response for example in scored.examples], np.float32).reshape(-1, 1, rows, 3)
        wrong = wrong_plans(len(own), n0, purpose)
        self.visible = np.abs(wrong - own).max(axis=(2, 3)) > SAME  # (n, WRONG_PLANS)
        expected = np.concatenate([own, wrong], axis=1)
        predicted = np.array([output.flash_response for output in scored.outputs], np.float32).reshape(-1, rows, 3)
        measured = np.array(scored.measured, np.float32).reshape(-1, rows, 3)
        self.cosines: Cosines = {"head": held(predicted, expected), "measured": held(measured, expected)}

    def refused(self, answer: str, limit: float, max_rows: int) -> npt.NDArray[np.bool_]:
        """(n, 1 + WRONG_PLANS): whether more than `max_rows` rows point elsewhere than the plan's."""
        if answer == "both":
            return self.refused("head", limit, max_rows) | self.refused("measured", limit, max_rows)
        similarity = self.cosines[answer]
        disagreeing = (~np.isnan(similarity) & ~(similarity >= limit)).sum(axis=2)
        return np.asarray(disagreeing > max_rows)

    def caught(self, refused: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """(n,): per capture the share of the wrong plans visible to D that it is refused under; NaN without any."""
        visible = self.visible.sum(axis=1)
        hits = (refused[:, 1:] & self.visible).sum(axis=1).astype(np.float64)
        return np.divide(hits, visible, out=np.full(len(hits), np.nan), where=visible > 0)

    def rates(self, chosen: npt.NDArray[np.bool_], limit: float, max_rows: int) -> dict[str, Any]:
        """Return the number of captures and per answer `right_passes` and `wrong_caught`, with intervals."""
        rates: dict[str, Any] = {"captures": int(chosen.sum()), "few": int(chosen.sum()) < FEWEST}
        for answer in ANSWERS:
            refused = self.refused(answer, limit, max_rows)
            caught = self.caught(refused)
            counted = chosen & ~np.isnan(caught)
            rng = np.random.default_rng(BOOTSTRAP_SEED)
            wrong = mean_rate(caught[counted], self.subjects[counted], rng).to_dict() if counted.any() else None
            passes = count(bool(one) for one in ~refused[chosen, 0])
            rates[answer] = {"right_passes": passes.to_dict(), "wrong_caught": wrong}
        return rates

    def by_lux(self, chosen: npt.NDArray[np.bool_], limit: float, max_rows: int) -> list[dict[str, Any]]:
        """Return the same per band of ambient light, with all bands together first."""
        bands = np.array([GROUPINGS["lux"](outcome) for outcome in self.outcomes])
        named = [("all", chosen), *((name, chosen & (bands == name)) for name in ORDERS["lux"])]
        return [{"lux": name, **self.rates(which, limit, max_rows)} for name, which in named]

    def curve(self, chosen: npt.NDArray[np.bool_], rows: int) -> list[dict[str, Any]]:
        """Return both shares, without intervals, for every answer, cosine limit and number of rows allowed.

        Captures that D cannot tell from any wrong plan are left out.
        """
        return [point for answer in ANSWERS for point in self.points(answer, COSINE_LIMITS, chosen, rows)]

    def points(
        self, answer: str, limits: Sequence[float], chosen: npt.NDArray[np.bool_], rows: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the same for one answer and some cosine limits; `rows` None allows up to all but two to disagree."""
        counted = chosen & self.visible.any(axis=1)
        allowed = range(self.cosines[answer].shape[2] - 1 if rows is None else rows)
        places = product(limits, allowed) if counted.any() else ()
        return [self._point(counted, answer, *place) for place in places]

    def _point(self, counted: npt.NDArray[np.bool_], answer: str, limit: float, max_rows: int) -> dict[str, Any]:
        refused = self.refused(answer, limit, max_rows)[counted]
        caught = self.caught(self.refused(answer, limit, max_rows))[counted]
        return {
            "answer": answer,
            "cosine_limit": limit,
            "max_disagreeing": max_rows,
            "right_passes": round(float((~refused[:, 0]).mean()), 5),
            "wrong_caught": round(float(caught.mean()), 5),
        }


def held(answers: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n,N,3) answers against (n,P,N,3) expectations → (n,P,N) cosines, NaN where a plan expects (almost) grey."""
    repeated = np.broadcast_to(answers[:, None], expected.shape)
    return cosines(repeated.reshape(-1, 3), expected.reshape(-1, 3)).reshape(expected.shape[:-1])


def wrong_plans(captures: int, n0: int, purpose: str) -> npt.NDArray[np.float32]:
    """(captures,WRONG_PLANS,N,3) float32: what the wrong plans expect that each capture is held against.

    The rule is chosen with the same plans for all; for the report every capture draws its own.
    """
    if purpose == CHOSEN_BY:
        chosen = wrong_expectations(n0, purpose, WRONG_PLANS)
        return np.broadcast_to(chosen, (captures, *chosen.shape))
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = [rng.choice(POOL, WRONG_PLANS, replace=False) for _ in range(captures)]
    return wrong_expectations(n0, purpose, POOL)[np.array(drawn, np.intp).reshape(captures, WRONG_PLANS)]


@cache
def wrong_expectations(n0: int, purpose: str, number: int) -> npt.NDArray[np.float32]:
    """(number,N,3) float32: what as many random challenges expect; always the same ones."""
    nonces = [hashlib.sha256(f"flashproof {purpose} {k}".encode()).digest()[:16] for k in range(number)]
    found = np.stack([expected_response(challenge(nonce, n0)) for nonce in nonces])
    found.setflags(write=False)  # shared by all callers
    return found
