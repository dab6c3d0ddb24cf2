"""docs/matching.md defines lag and drift: written anew from the page, in other ways, both come out as the code's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from flash_sequencer import lag, player
from flash_sequencer.colour import srgb8_to_linear
from flash_sequencer.drift import estimate_drift
from flash_sequencer.lag import LagDoubt
from flash_sequencer.lag_trial import MadeUp, answering_another, answering_nothing, estimated, made_up
from flash_sequencer.player import PresentedStep
from sdk_reference import compensation, frame_choice, session_states

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "matching.md").read_text(encoding="utf-8")
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])

Floats = npt.NDArray[np.float64]


class Screen:
    """The section "The light that a frame saw"."""

    def __init__(self, presented: Sequence[PresentedStep]) -> None:
        first_ns = presented[0].shown_at_ns
        self.spans = [((s.shown_at_ns - first_ns) / 1e9, (s.ended_at_ns - first_ns) / 1e9) for s in presented]
        self.colours = [srgb8_to_linear(np.array(s.srgb, np.uint8)).astype(float) for s in presented]
        self.dark = srgb8_to_linear(np.array((32, 32, 32), np.uint8)).astype(float)
        self.first_ns, self.end = first_ns, self.spans[-1][1]

    def parts(self, begins: Floats, e: float) -> Floats:
        return np.array([[max(min(x + e, b) - max(x, a), 0.0) / e for a, b in self.spans] for x in begins])

    def mean(self, begins: Floats, e: float) -> Floats:
        s = self.parts(begins, e)
        return s @ np.array(self.colours) + (1 - s.sum(axis=1))[:, None] * self.dark

    def metered(self, at: Floats, memory: float) -> Floats:
        """The meter's exponential memory as a weighted mean over all that was on the screen before."""
        dark = float(self.dark @ LUMINANCE)
        shown = np.full(len(at), dark)
        for (a, b), colour in zip(self.spans, self.colours, strict=True):
            since_end, since_start = np.maximum(at - b, 0), np.maximum(at - a, 0)
            shown += (float(colour @ LUMINANCE) - dark) * (np.exp(-since_end / memory) - np.exp(-since_start / memory))
        return shown


def ridge_fit(terms: Floats, v: Floats, weights: Floats) -> tuple[float, Floats]:
    """Least squares with a row for each ridge: (minimum, coefficients)."""
    frames = len(v)
    matrix = np.vstack([terms, np.diag(np.sqrt(frames * weights))])
    target = np.concatenate([v, np.zeros(len(weights))])
    coefficients = np.linalg.lstsq(matrix, target, rcond=None)[0]
    return float(((target - matrix @ coefficients) ** 2).sum()), coefficients


class PageFit:
    """The section "The lag", for one sequence."""

    def __init__(self, sequence: MadeUp) -> None:
        self.screen = Screen(sequence.presented)
        t = (np.array(sequence.timestamps_ns) - self.screen.first_ns) / 1e9
        v, kept = sequence.means, []
        for at in range(len(t)):
            later = at == 0 or t[at] > t[:at].max()
            fresh = at == 0 or (v[at] != v[at - 1]).any()
            if later and fresh and -0.1 <= t[at] <= self.screen.end + 0.5:
                kept.append(at)
        self.t, self.v, self.E = t[kept], v[kept], sequence.exposure_ns / 1e9
        self.F, self.S = len(kept), len(sequence.presented)
        self.centred = self.v - self.v.mean(axis=0)
        self.T = float((self.centred**2).sum())
        self.u = np.clip((self.t - self.t.mean()) / ((self.t.max() - self.t.min()) / 2), -1, 1)

    def residual(self, delay: float, e: float, memory: float, kind: str = "plan") -> float:
        return sum(self.channel(delay, e, memory, kind, c, self.centred[:, c])[0] for c in range(3))

    def channel(self, delay: float, e: float, memory: float, kind: str, c: int, v: Floats) -> tuple[float, Floats]:
        light, mu = self.screen.mean(self.t - delay, e), self.screen.metered(self.t - delay, memory) - 0.3
        seen = light @ LUMINANCE if kind == "grey" else light[:, c]
        one = np.ones(self.F)
        columns = [one, seen, mu, mu * seen, self.u, self.u * seen]
        if kind == "free":
            columns[1:1] = list(self.screen.parts(self.t - delay, e).T)
        weights = np.array([1e-9] * (len(columns) - 4) + [0.003] * 4)
        return ridge_fit(np.column_stack(columns), v, weights)

    def scan(self, lags: Floats, shares: Sequence[float]) -> tuple[Floats, tuple[float, float, float]]:
        tried = [(self.E * share, memory) for share in shares for memory in (0.06, 0.2, 0.5)]
        table = np.array([[self.residual(delay, e, memory) for delay in lags] for e, memory in tried])
        which, place = np.unravel_index(int(table.argmin()), table.shape)
        return table.min(axis=0), (float(lags[place]), *tried[int(which)])

    def within(self, lags: Floats, r: Floats, deviations: float) -> tuple[float, float]:
        place = low = high = int(r.argmin())
        limit = r[place] * (1 + deviations**2 / max(self.F - 6, 1))
        while low > 0 and r[low - 1] <= limit:
            low -= 1
        while high < len(r) - 1 and r[high + 1] <= limit:
            high += 1
        return float(lags[low]), float(lags[high])

    def answer(self) -> dict[str, object]:
        coarse = np.arange(101) * 0.005
        r, best = self.scan(coarse, (1, 0.6, 0.3))
        c1, c2 = self.within(coarse, r, 5)
        fine = np.arange(max(c1 - 0.005, best[0] - 0.04), min(c2 + 0.005, best[0] + 0.04), 0.001)
        fr, (_, e, memory) = self.scan(fine, (1, 0.8, 0.6, 0.45, 0.3, 0.2))
        f1, f2 = self.within(fine, fr, 5)
        if c1 < f1 - 0.005 or c2 > f2 + 0.005:
            f1, f2 = c1, c2
        delay = sum(self.within(fine, fr, 1)) / 2
        uncertainty = 0.002 + 0.2 * self.E + max(f2 - delay, delay - f1, 0)
        padded = [np.inf, *r, np.inf]
        others = [
            r[at]
            for at, lag_there in enumerate(coarse)
            if r[at] <= padded[at] and r[at] <= padded[at + 2] and not c1 - 0.04 <= lag_there <= c2 + 0.04
        ]
        x = 1 - fr.min() / self.T
        share = (max(1 - min(others) / self.T, 0) / x if others else 0.0) if x > 0 else 1.0
        plan, grey, free = (self.residual(delay, e, memory, kind) for kind in ("plan", "grey", "free"))
        noise = free / max(3 * (self.F - self.S - 2), 1)
        chance = 3 * (self.S - 1) * noise
        reply, hue_reply = self.T - free - chance, grey - free - chance
        missed = max(plan - free - chance, 0)
        return {
            "lag": delay,
            "uncertainty": uncertainty,
            "exposure": e,
            "share": share,
            "free": 1 - free / self.T,
            "agreement": 1 - missed / reply if reply > 0 else 0.0,
            "hue": 1 - missed / hue_reply if hue_reply > 0 else 0.0,
            "snr": float(np.sqrt(max(reply, 0) / (3 * self.F) / max(noise, 1e-18))),
            "gain": min(self.channel(delay, e, memory, "plan", c, self.v[:, c])[1][1] for c in range(3)),
        }


def doubt_of(found: dict[str, float]) -> str | None:
    if found["free"] < 0.6 or found["snr"] < 2:
        return "no_answer"
    if found["agreement"] < 0.85 or found["hue"] < 0.3 or found["gain"] < 0:
        return "other_colours"
    if found["lag"] <= 0.005 or found["lag"] > 0.3:
        return "out_of_range"
    if found["uncertainty"] > 0.06 or found["share"] > 0.97:
        return "ambiguous"
    return None


def sequences() -> list[MadeUp]:
    """Films of a session, of another plan and of no screen."""
    rng = np.random.default_rng(20)
    own = [made_up(rng, profile) for profile in ("standard", "gentle", "standard", "standard")]
    return [*own, answering_another(own[0], own[2]), answering_nothing(rng, own[3])]


@pytest.mark.parametrize("at", range(6))
def test_the_lag_as_the_page_defines_it_is_the_codes(at: int) -> None:
    sequence = sequences()[at]
    code, page = estimated(sequence), PageFit(sequence).answer()
    assert code.frames == PageFit(sequence).F
    assert doubt_of(page) == (None if code.doubt is None else code.doubt.value)  # type: ignore[arg-type]
    assert page["lag"] == pytest.approx(code.lag_ns / 1e9, abs=1e-6)
    assert page["uncertainty"] == pytest.approx(code.uncertainty_ns / 1e9, abs=1e-6)
    assert page["exposure"] == pytest.approx(code.exposure_ns / 1e9, abs=1e-8)
    told = (code.free_explained, code.agreement, code.hue_agreement, code.signal_to_noise, code.runner_up_explained)
    assert [page[name] for name in ("free", "agreement", "hue", "snr", "share")] == pytest.approx(
        told, rel=1e-4, abs=1e-6
    )


def test_the_sequences_are_believed_and_refused() -> None:
    doubts = [estimated(sequence).doubt for sequence in sequences()]
    assert doubts.count(None) >= 3 and None not in doubts[-2:]


def test_the_page_names_every_doubt() -> None:
    assert {doubt.value for doubt in LagDoubt} <= set(re.findall(r"`(\w+)`", PAGE))


def test_the_limits_on_the_page_are_the_codes() -> None:
    """The table of docs/protocol.md holds all constants; these are the ones that stand in this page's sentences."""
    said = " ".join(PAGE.split())
    for phrase in (
        f"free explained < {lag.MIN_FREE_EXPLAINED:g}, or signal to noise < {lag.MIN_SIGNAL_TO_NOISE:g}",
        f"agreement < {lag.MIN_AGREEMENT:g}, or hue agreement < {lag.MIN_HUE_AGREEMENT:g}, or the least gain < 0",
        f"lag ≤ {1000 * lag.COARSE_S:g} ms, or lag > {lag.MAX_LAG_NS / 1e6:g} ms",
        f"uncertainty > {lag.MAX_UNCERTAINTY_NS / 1e6:g} ms, or the runner-up's share > {lag.MAX_RUNNER_UP:g}",
        f"is {lag.FLOOR_NS / 1e6:g} ms + {lag.FLOOR_SHARE:g}·E",
        f"fewer than S + {lag.SPARE_FRAMES} the answer is",
        f"l = 0, 5, 10 … {1000 * lag.LONGEST_LAG_S:g} ms",
        f"is from {compensation.CLEAR_CHANGE:g} to {compensation.LARGEST_CHANGE:g},",
        f"begins at least {frame_choice.SETTLING_NS / 1e6:g} ms after the light came",
        f"rounded down {frame_choice.MIN_BACKGROUND}, there is none",
        f"soon as {session_states.TRAILING_PIECE_NS / 1e6:g} ms have passed",
        f"{session_states.TRAILING_NS / 1e6:g} ms after the last step a failure stands",
        f"sRGB {player.DARK_SURROUND}",
    ):
        assert phrase in said, phrase


def page_gains(sequence: MadeUp, regions: Sequence[Floats], delay: float, e: float) -> Floats:
    """The section "The drift": the gain of every frame."""
    screen = Screen(sequence.presented)
    x = (np.array(sequence.timestamps_ns) - screen.first_ns) / 1e9 - delay
    used = (x >= -0.1) & (x + e <= screen.end) & np.all([(region > 0).all(axis=1) for region in regions], axis=0)
    explained = np.column_stack([np.ones(used.sum()), screen.mean(x[used], e)])
    beyond = np.eye(int(used.sum())) - explained @ np.linalg.pinv(explained, rcond=1e-6)
    w = [region[used] / region[used].mean(axis=0) for region in regions]
    u = np.clip((x - x[used].mean()) / ((x[used].max() - x[used].min()) / 2), -1, 1)
    best, gains = np.inf, np.ones((len(x), 3))
    for memory in (0.1, 0.2, 0.4, 0.8, 1.6):
        mu = screen.metered(x, memory)
        terms = np.stack([mu - mu[used].mean(), u])
        ab = np.zeros((3, 2))
        for _ in range(6):
            rows, falls = residuals(w, terms[:, used], beyond, ab)
            step = np.linalg.lstsq(falls, rows, rcond=None)[0].reshape(3, 2)
            ab = ab + np.clip(step, -0.5, 0.5)
        minimum = float((residuals(w, terms[:, used], beyond, ab)[0] ** 2).sum())
        if minimum < best:
            best, gains = minimum, np.exp(ab @ terms).T
    return gains / gains[0]


def residuals(w: list[Floats], terms: Floats, beyond: Floats, ab: Floats) -> tuple[Floats, Floats]:
    """All squares of the page's sum as one vector, ridges included, and how it falls with a and b, (…,6)."""
    rows, falls = [], []
    for c in range(3):
        gain = np.exp(ab[c] @ terms)
        for region in w:
            rows.append(beyond @ (region[:, c] / gain))
            fall = np.zeros((len(gain), 6))
            fall[:, 2 * c : 2 * c + 2] = beyond @ (region[:, c] / gain * terms).T
            falls.append(fall)
    apart = np.kron(np.eye(3) - 1 / 3, np.eye(2))
    ridges = np.vstack([np.sqrt(0.05) * np.eye(6), np.sqrt(5) * apart])
    return np.concatenate([*rows, ridges @ ab.ravel()]), np.vstack([*falls, -ridges])


@pytest.mark.parametrize("at", range(4))
def test_the_drift_as_the_page_defines_it_is_the_codes(at: int) -> None:
    sequence = sequences()[at]
    found = estimated(sequence)
    wall = 0.02 + 0.3 * sequence.means @ np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7]])
    for regions in ([sequence.means], [sequence.means, wall]):
        gains = estimate_drift(
            sequence.presented,
            sequence.timestamps_ns,
            regions,
            lag_ns=found.lag_ns,
            exposure_ns=found.exposure_ns,
        )
        page = page_gains(sequence, regions, found.lag_ns / 1e9, found.exposure_ns / 1e9)
        assert np.abs(gains - 1).max() > 0.01
        assert page == pytest.approx(gains, rel=1e-6)
