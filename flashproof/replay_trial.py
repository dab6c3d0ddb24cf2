"""A recording of an earlier session, played against a new challenge: how often is it refused?

    python -m flashproof.replay_trial [--films 50] [--tries 20] [--profile standard] [--json FILE]

The worst attacker who does not know the new plan: the film of a live person answering another plan is fed in instead of
the camera (no screen is filmed, nothing is lost), its first step in time with the new plan's first. Each film is tried
against several new challenges; one in thousands is the film's own plan again, as the entropy says. Simulated people at
20 to 300 lux, each a session that was judged live under its own plan.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

from flash_sequencer.plan import FlashPlan, challenge
from flash_sequencer.player import PresentedStep
from flash_sequencer.presentation import Presentation
from flashproof.headless import HeadlessDisplay
from flashproof.simulated_people import draw_settings
from flashproof.simulated_webcam import SimulatedWebcam
from sdk_reference.checker import Checker
from sdk_reference.errors import UserFailure
from sdk_reference.flash_take import FlashTake
from sdk_reference.frame_choice import FaceTrack, choose_frames
from sdk_reference.landmarks import Face, LandmarkDetector
from sdk_reference.session_clock import VirtualClock

LUX: Final = (20.0, 300.0)
NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, eq=False)
class Film:
    """A session that was judged live."""

    take: FlashTake
    face: Face
    exposure_ns: int


def films(checker: Checker, detector: LandmarkDetector, profile: str, count: int) -> list[Film]:
    """Hold sessions with live people until `count` were judged live."""
    found: list[Film] = []
    number = 0
    while len(found) < count:
        number += 1
        film = filmed(number, checker, detector, profile)
        if film is not None:
            found.append(film)
            print(f"film {len(found)} of {count}", flush=True)
    return found


def filmed(number: int, checker: Checker, detector: LandmarkDetector, profile: str) -> Film | None:
    """Hold one session; None when it was not judged live."""
    from sdk_reference.nonce_book import NonceBook
    from sdk_reference.rig import Rig
    from sdk_reference.session import LiveSession
    from sdk_reference.session_settings import SessionSettings

    rng = np.random.default_rng([number, 65])
    clock, presentation = VirtualClock(), Presentation()
    webcam = SimulatedWebcam(
        clock.now_ns,
        presentation.colour_at,
        kind="live",
        seed=number,
        settings=draw_settings(number),
        ambient_lux=float(np.exp(rng.uniform(*np.log(LUX)))),
    )
    rig = Rig(webcam, HeadlessDisplay(clock), clock, presentation)
    settings = SessionSettings(profile=profile, attempts=1, warning_s=0.5, lighting_s=10.0)
    last = LiveSession(rig, checker, detector, NonceBook(source=rng.bytes), settings).run().last
    if last.verdict != "live" or last.choice is None or last.result.preprocessed is None:
        return None
    return Film(last.choice.take, last.result.preprocessed.faces[0], rig.exposure_ns)


def replayed(film: Film, plan: FlashPlan) -> FlashTake:
    """The film's frames under a new plan that was shown without any delay from the film's first step on."""
    shown_ns = film.take.presented[0].shown_at_ns
    presented = []
    for step in plan.steps:
        ended_ns = shown_ns + step.duration_ms * NS_PER_MS
        presented.append(PresentedStep(step.rank, step.srgb, shown_ns, ended_ns))
        shown_ns = ended_ns
    return replace(film.take, plan=plan, presented=tuple(presented), ended_ns=shown_ns)


def answer(film: Film, plan: FlashPlan, checker: Checker) -> str:
    """`live`, or the first reason against it."""
    take, track = replayed(film, plan), FaceTrack(film.face)
    for frame in take.frames:
        track.see(frame)
    try:
        decision = checker.check(choose_frames(take, track, film.exposure_ns).capture).decision
    except UserFailure as failure:
        return failure.code
    return decision.verdict if decision.verdict == "live" else decision.reasons[0].code


def main(
    films_wanted: Annotated[int, typer.Option("--films", min=1)] = 50,
    tries: Annotated[int, typer.Option(min=1, help="New challenges per film.")] = 20,
    profile: Annotated[str, typer.Option(help="standard or gentle")] = "standard",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the summary here.")] = None,
) -> None:
    """Play recorded sessions against new challenges and count what gets through."""
    from flashproof.commands.check import new_detector
    from sdk_reference.atomic_files import write_json
    from sdk_reference.bundle import SHIPPED_BUNDLE, load_bundle

    detector = new_detector()
    checker = Checker(load_bundle(SHIPPED_BUNDLE), detector)
    rng = np.random.default_rng(66)
    outcomes: Counter[str] = Counter()
    own = 0
    for film in films(checker, detector, profile, films_wanted):
        for _ in range(tries):
            plan = challenge(rng.bytes(16), film.take.plan.n0, profile)
            own += plan.steps == film.take.plan.steps
            outcomes[answer(film, plan, checker)] += 1
    found: dict[str, Any] = {
        "simulated": True,
        "profile": profile,
        "tries": sum(outcomes.values()),
        "accepted": outcomes["live"],
        "same_plan_by_chance": own,
        "refused_share": 1.0 - outcomes["live"] / sum(outcomes.values()),
        "refused_as": {code: count for code, count in outcomes.most_common() if code != "live"},
    }
    print(json.dumps(found, indent=1))
    if json_file is not None:
        write_json(json_file, found)


if __name__ == "__main__":
    typer.run(main)
