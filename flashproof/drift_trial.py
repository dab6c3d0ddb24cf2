"""Does undoing a camera's drift help the verdict? Films of cameras that react to the flash, judged with and without it.

    python -m flashproof.drift_trial OUT.jsonl [--people 120] [--first 0] [--json SUMMARY.json]

Every person or attack is filmed under one challenge by the same camera four times: with an exposure that does not
follow the light, and with one that goes a tenth, four tenths and nine tenths of its way in a quarter of a second, white
balance half of that. Each film is made as a session makes it, from metering to the choice of frames; rooms of 3 to 200
lux, so that the screen gives from little to nearly all of the light. Its chosen frames are then judged by the shipped
model

- as filmed,
- divided by the gain that the background alone shows, its mean in each frame over that in the first,
- divided by the gain that the face tells (`flash_sequencer.drift`), and by the one that both tell together,
- divided by the camera's true gain, which no real camera would tell: the most that could be had.

What a session does, `shipped`, is `both` where the drift is clear and `as_filmed` elsewhere. Simulated rates.

One JSON line per film; what is there already is not done again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import typer

from flash_sequencer.drift import estimate_drift, exposure_change
from flash_sequencer.plan import FlashPlan, challenge
from flash_sequencer.presentation import Presentation
from flashproof.headless import HeadlessDisplay
from flashproof.live_trial import KINDS, whole_lines
from flashproof.simulated_webcam import SimulatedWebcam
from sdk_reference.compensation import compensated, factors_against, is_clear
from sdk_reference.display import FlashScreen
from sdk_reference.errors import UserFailure
from sdk_reference.flash_take import film
from sdk_reference.flash_watch import FlashWatch
from sdk_reference.frame_choice import FaceTrack, FrameChoice, choose_frames
from sdk_reference.landmarks import LandmarkDetector, find_single_face
from sdk_reference.rig import Rig
from sdk_reference.session_clock import NS_PER_MS, VirtualClock
from sdk_reference.session_states import METERING_GREY, TRAILING_NS
from training.auc import auc_within_folds
from training.metrics import LIVE

if TYPE_CHECKING:
    from sdk_reference.checker import Checker

FloatArray = npt.NDArray[np.float64]

REACTIONS: Final = (0.0, 0.1, 0.4, 0.9)
LUX: Final = (3.0, 200.0)
METERING_NS: Final = 500 * NS_PER_MS
WAYS: Final = ("as_filmed", "background", "face", "both", "true")
SHIPPED: Final = "shipped"
EDGES: Final = (1.0, 1.05, 1.2, 1.4, float("inf"))
"""True change of exposure among the chosen frames, brightest over darkest, by which films are counted."""


@dataclass(frozen=True)
class Answer:
    """How one way of correcting a film's frames was judged."""

    score: float | None
    verdict: str
    reasons: list[str]
    gain_error: float
    """Root mean square, over frames and channels, of the logarithm of measured over true gain, up to a factor per
    channel."""


@dataclass(frozen=True)
class Line:
    """One film, as it is kept."""

    number: int
    kind: str
    ambient_lux: float
    reaction: float
    failed_as: str | None = None
    """Why the film did not come to a choice of frames."""
    true_change: float = 1.0
    """Of exposure, brightest over darkest of the chosen frames."""
    clear: bool = False
    """Whether a session would undo the drift that it found."""
    answers: dict[str, Answer] = field(default_factory=dict)
    """By the names in WAYS; `background` is left out where there is none."""

    @classmethod
    def of(cls, values: dict[str, Any]) -> Line:
        """A line as it was read."""
        return cls(**{**values, "answers": {way: Answer(**answer) for way, answer in values["answers"].items()}})

    def answer(self, way: str) -> Answer:
        """How the film was judged in this way, or in that which `shipped` comes to."""
        if way == SHIPPED:
            way = "both" if self.clear else "as_filmed"
        return self.answers.get(way, self.answers["as_filmed"])


def lines_of(number: int, checker: Checker, detector: LandmarkDetector) -> Iterator[Line]:
    """Film person or attack `number` by the cameras of all reactions; everything random follows from the number."""
    kind, rng = KINDS[number % len(KINDS)], np.random.default_rng([number, 67])
    lux = float(np.exp(rng.uniform(*np.log(LUX))))
    clock, presentation = VirtualClock(), Presentation()
    webcam = SimulatedWebcam(clock.now_ns, presentation.colour_at, kind=kind, seed=number, ambient_lux=lux)
    plan = challenge(rng.bytes(16), checker.bundle.manifest.n0)
    for reaction in REACTIONS:
        webcam.settings = replace(webcam.settings, reaction=reaction)
        line = Line(number, kind, round(lux, 1), reaction)
        try:
            choice, track = filmed(Rig(webcam, HeadlessDisplay(clock), clock, presentation), plan, detector)
        except UserFailure as failure:
            yield replace(line, failed_as=failure.code)
            continue
        gain_at = {frame.timestamp_ns: frame.gains for frame in webcam.log}
        true = np.array([gain_at[at_ns] for at_ns in choice.capture.timestamps_ns])
        ways = gains_by_way(choice, track) | {"true": true}
        answers = {way: answer_of(choice, gains, true, checker) for way, gains in ways.items()}
        yield replace(line, true_change=exposure_change(true), clear=is_clear(ways["both"]), answers=answers)


def filmed(rig: Rig, plan: FlashPlan, detector: LandmarkDetector) -> tuple[FrameChoice, FaceTrack]:
    """Meter and flash as a session does, and choose the frames, as filmed. Raises UserFailure."""
    with rig.opened():
        rig.show(FlashScreen(METERING_GREY))
        *_, last = rig.frames_until(rig.now_ns() + METERING_NS)
        rig.lock_camera()
        face = find_single_face(detector.detect(last.image), last.image.shape)
        track = FaceTrack(face)
        take = film(rig, plan, track.see, FlashWatch(rig, detector, face))
        trailing = list(rig.frames_until(rig.now_ns() + TRAILING_NS))
        for frame in trailing:
            track.see(frame)
        return choose_frames(take.with_frames(trailing), track, rig.exposure_ns, held=True), track


def gains_by_way(choice: FrameChoice, track: FaceTrack) -> dict[str, FloatArray]:
    """The gains (N0,3) of the chosen frames by the names in WAYS, up to one factor; all but the true ones."""
    chosen = list(choice.matching.frame_index_by_rank)
    face = estimate_drift(
        choice.take.presented,
        [frame.timestamp_ns for frame in choice.take.frames],
        [choice.face_linear],
        lag_ns=choice.lag.lag_ns,
        exposure_ns=choice.lag.exposure_ns,
    )
    gains = {"as_filmed": np.ones((len(chosen), 3)), "face": face[chosen], "both": choice.drift[chosen]}
    return gains if track.background is None else gains | {"background": track.background[chosen]}


def answer_of(choice: FrameChoice, gains: FloatArray, true: FloatArray, checker: Checker) -> Answer:
    """Judge the chosen frames, divided by these gains."""
    frames = choice.capture.frames
    steady = frames if (gains == 1.0).all() else compensated(frames, factors_against(gains))
    decision = checker.check(replace(choice.capture, frames=steady)).decision
    wrong = np.log(gains / true)
    return Answer(
        score=decision.score,
        verdict=decision.verdict,
        reasons=[reason.code for reason in decision.reasons],
        gain_error=float((wrong - wrong.mean(axis=0)).std()),
    )


def summary(lines: Sequence[Line]) -> dict[str, Any]:
    """Counts over all films, and by how far the true exposure moved; every rate is simulated."""
    judged = [line for line in lines if line.failed_as is None]
    strata = {
        f"{low:g} to {high:g}": [line for line in judged if low <= line.true_change < high]
        for low, high in pairwise(EDGES)
    }
    return {
        "simulated": True,
        "films": len(lines),
        "not_judged": dict(Counter(line.failed_as for line in lines if line.failed_as is not None)),
        "undone_of_those_that_do_not_react": _share([line for line in judged if line.reaction == 0.0]),
        "by_true_change_of_exposure": {
            name: {"films": len(some), "undone": _share(some), **{way: _outcome(some, way) for way in (*WAYS, SHIPPED)}}
            for name, some in {"all": judged, **strata}.items()
        },
    }


def _share(lines: Sequence[Line]) -> float | None:
    """Of films whose drift a session would undo, were the camera not held."""
    return round(float(np.mean([line.clear for line in lines])), 4) if lines else None


def _outcome(lines: Sequence[Line], way: str) -> dict[str, Any]:
    """Verdicts, the area under the ROC curve, and how wrong the gains were."""
    answers = [(line, line.answer(way)) for line in lines]
    scored = [(line, answer.score) for line, answer in answers if answer.score is not None]
    auc = auc_within_folds(
        np.array([score for _, score in scored]),
        np.array([line.kind == LIVE for line, _ in scored], bool),
        np.zeros(len(scored), np.int64),
        np.array([str(line.number) for line, _ in scored], str),
        np.random.default_rng(0),
    )
    errors = [answer.gain_error for _, answer in answers]
    return {
        "verdicts": {
            kind: dict(Counter(answer.verdict for line, answer in answers if line.kind == kind))
            for kind in dict.fromkeys(KINDS)
        },
        "auc": None if auc is None else {name: round(value, 4) for name, value in auc.to_dict().items()},
        "gain_error": {"median": _quantile(errors, 0.5), "of_one_in_ten": _quantile(errors, 0.9)},
    }


def _quantile(values: Sequence[float], share: float) -> float | None:
    return round(float(np.quantile(values, share)), 4) if values else None


def read_lines(path: Path) -> list[Line]:
    """The films that are there already."""
    return list(map(Line.of, whole_lines(path)))


def main(
    out: Annotated[Path, typer.Argument(help="JSON lines, one per film.")],
    people: Annotated[int, typer.Option(min=1, help="Half of them live; four films of each.")] = 120,
    first: Annotated[int, typer.Option(min=0, help="Number of the first.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the summary here.")] = None,
) -> None:
    """Film simulated people with cameras that drift and count what undoing it does to the verdicts."""
    from flashproof.commands.check import new_detector
    from sdk_reference.atomic_files import write_json
    from sdk_reference.bundle import SHIPPED_BUNDLE, load_bundle
    from sdk_reference.checker import Checker

    detector = new_detector()
    checker = Checker(load_bundle(SHIPPED_BUNDLE), detector)
    numbers = range(first, first + people)
    done = {line.number for line in read_lines(out)}
    for number in numbers:
        if number not in done:
            lines = list(lines_of(number, checker, detector))
            with out.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(asdict(line)) + "\n" for line in lines))
            print(f"{number:4} {lines[0].kind}", flush=True)
    found = summary([line for line in read_lines(out) if line.number in numbers])
    print(json.dumps(found, indent=1))
    if json_file is not None:
        write_json(json_file, found)


if __name__ == "__main__":
    typer.run(main)
