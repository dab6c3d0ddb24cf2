"""Real photographs that no model was trained on: pairs without and with screen flash, under the default plan and many.

Not in the paper. Light adds up, so a pair makes a capture under any plan (`sdk_reference.pair`). DIR holds folders that
end in `_live`, `_spoof`, `_print`, `_replay` or `_mask`, each with `background.jpg` and `flash.jpg`. A model that is
right in simulation and wrong here has failed; a few pairs that come out right are no error rate, and where they chose
among several trainings they are no independent check either.

    python -m training.real_pairs MODEL --real DIR [--challenges 20] [--json FILE]

MODEL is a run or a bundle. Ends with status 0 when every score is on its side of the threshold, else 1.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from flash_sequencer.plan import FlashPlan, challenge, default_plan
from sdk_reference.atomic_files import write_json
from sdk_reference.decide import decide
from sdk_reference.errors import FlashproofError, InvalidInput, UserFailure
from sdk_reference.landmarks import FaceMeshDetector, LandmarkDetector
from sdk_reference.pair import blend_pair, read_pair
from sdk_reference.preprocess import preprocess
from sdk_reference.quality import failures, measure_quality
from sdk_reference.response import cosines, disagreements, expected_response
from training.evaluated_model import Model, open_model

LIVE_ENDING = "_live"
ATTACK_ENDINGS = ("_spoof", "_print", "_replay", "_mask")
BACKGROUND, FLASH = "background.jpg", "flash.jpg"


@dataclass(frozen=True)
class Answer:
    """What a model says of one pair under one plan."""

    pair: str
    live: bool
    """The truth."""
    plan: str
    """`default`, or the challenge's number."""
    verdict: str
    score: float | None
    """None where no face could be aligned."""
    least_cosine: float | None
    """Between the response that the plan calls for and the one that the model saw: the worst difference."""
    reasons: tuple[str, ...]

    def right(self, threshold: float) -> bool:
        """Whether the score is on its side of the threshold."""
        return self.score is not None and (self.score >= threshold) == self.live


def plans(challenges: int, n0: int) -> Iterator[tuple[str, FlashPlan]]:
    """Yield the default plan and so many challenges, always the same ones, with their names."""
    yield "default", default_plan(n0)
    for k in range(challenges):
        yield str(k), challenge(hashlib.sha256(f"flashproof real pair {k}".encode()).hexdigest()[:32], n0)


def answers(model: Model, folder: Path, challenges: int, detector: LandmarkDetector) -> Iterator[Answer]:
    """Judge every pair below `folder` under every plan. Raises InvalidInput when there is none."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    pairs = [path for path in found if path.name.endswith((LIVE_ENDING, *ATTACK_ENDINGS))]
    if not pairs:
        raise InvalidInput(
            found=f"{folder} without pairs",
            expected=f"folders that end in {LIVE_ENDING}, {', '.join(ATTACK_ENDINGS)}, with {BACKGROUND} and {FLASH}",
            remedy="name the folder that holds them",
        )
    for path in pairs:
        background, flash = read_pair(path / BACKGROUND, path / FLASH)
        for name, plan in plans(challenges, model.n0):
            yield judge(model, path.name, name, plan, background, flash, detector)


def judge(
    model: Model, pair: str, name: str, plan: FlashPlan, background: Any, flash: Any, detector: LandmarkDetector
) -> Answer:
    """Judge one pair, HWC uint8 RGB photographs, under one plan."""
    live = pair.endswith(LIVE_ENDING)
    try:
        capture = blend_pair(background, flash, plan, detector).capture
        prepared = preprocess(capture, detector, model.preprocess)
    except UserFailure as failure:
        return Answer(pair, live, name, "retry", None, None, (failure.code,))
    outputs = model.scorer(prepared.model_input[None])[0]
    expected = expected_response(plan)
    decision = decide(
        outputs,
        failures(measure_quality(prepared, capture), model.limits),
        disagreements(outputs.flash_response, expected, model.cosine_limit),
        threshold=model.threshold,
        max_disagreeing_rows=model.max_disagreeing,
    )
    least = float(np.nanmin(cosines(outputs.flash_response, expected)))
    codes = tuple(reason.code for reason in decision.reasons)
    return Answer(pair, live, name, decision.verdict, outputs.score, least, codes)


def main(
    model: Annotated[Path, typer.Argument(help="A run or a bundle.")],
    real: Annotated[Path, typer.Option(help="Folder of the pairs.")],
    challenges: Annotated[int, typer.Option(min=0, help="Random plans besides the default one.")] = 20,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every answer here, too.")] = None,
) -> None:
    """Judge real pairs of photographs under many plans."""
    try:
        opened = open_model(model)
        found = list(answers(opened, real, challenges, FaceMeshDetector()))
    except FlashproofError as error:
        print(f"real_pairs: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_status) from None
    for answer in found:
        score = "–" if answer.score is None else f"{answer.score:.4f}"
        word = "right" if answer.right(opened.threshold) else "WRONG"
        print(f"{answer.pair:24} {answer.plan:>8} {score} {word} {answer.verdict:6} {' '.join(answer.reasons)}")
    for pair in dict.fromkeys(answer.pair for answer in found):
        scores = [answer.score for answer in found if answer.pair == pair and answer.score is not None]
        if scores:
            print(f"{pair}: scores {min(scores):.4f} to {max(scores):.4f}, threshold {opened.threshold:.4f}")
    if json_file is not None:
        write_json(json_file, {"threshold": opened.threshold, "answers": [asdict(answer) for answer in found]})
    raise typer.Exit(0 if all(answer.right(opened.threshold) for answer in found) else 1)


if __name__ == "__main__":
    typer.run(main)
