"""The table of the trials of whole sessions in docs/protocol.md, made from what the trials wrote.

    python -m flashproof.trials_page docs/protocol.md [--results docs/generated]

Reads live_trial.json, replay_trial_standard.json, replay_trial_gentle.json and fault_trial.json there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from export.page_block import PageBlock

BLOCK = PageBlock("flashproof.trials_page")
RESULTS = Path("docs/generated")


def lines(live: dict[str, Any], replays: list[dict[str, Any]], faults: dict[str, Any]) -> Iterator[str]:
    """The block's Markdown."""
    lag = live["lag_error_ms"]
    strangers = live["frames_of_another_step_or_a_change"]
    yield (
        f"**{live['sessions']} sessions in a real window** (`python -m flashproof.live_trial`): cameras of 15 to 60 "
        "frames a second, lag 20 to 250 ms, frames lost, repeated or stamped late, displays up to 25 ms late, 20 to "
        f"300 lux. {live['frames_used']} frames were used; {strangers} saw another step or a change. Estimated lag: "
        f"median error {lag['median_absolute']:.1f} ms, largest {lag['largest']:.1f} ms. Unsafe presentations: "
        f"{live['unsafe_presentations']}."
    )
    yield ""
    yield "| before the camera | live | spoof | retry |"
    yield "|---|---:|---:|---:|"
    for kind, verdicts in live["verdicts"].items():
        yield f"| {kind} | " + " | ".join(str(verdicts.get(name, 0)) for name in ("live", "spoof", "retry")) + " |"
    yield ""
    yield "**Recorded sessions played against new challenges** (`python -m flashproof.replay_trial`):"
    yield ""
    yield "| profile | tries | accepted | refused | refused most often as |"
    yield "|---|---:|---:|---:|---|"
    for replay in replays:
        most = ", ".join(f"`{code}` {count}" for code, count in list(replay["refused_as"].items())[:3])
        share = f"{100 * replay['refused_share']:.1f} %"
        yield f"| {replay['profile']} | {replay['tries']} | {replay['accepted']} | {share} | {most} |"
    yield ""
    yield (
        f"**{faults['sessions']} sessions in which something goes wrong** (`python -m flashproof.fault_trial`): "
        f"{faults['live']} live, {faults['longer_than_the_limits']} longer than their limits, "
        f"{faults['window_left_open_or_brightness_not_restored']} that left the window open or the screen bright."
    )
    yield ""
    yield "| fault | what came of it |"
    yield "|---|---|"
    for fault, outcomes in faults["outcomes"].items():
        yield (
            f"| {fault.replace('_', ' ')} | " + ", ".join(f"{what} {count}" for what, count in outcomes.items()) + " |"
        )


def main(
    page: Annotated[Path, typer.Argument(help="The page that holds the block.")],
    results: Annotated[Path, typer.Option(help="Folder of the trials' JSON files.")] = RESULTS,
) -> None:
    """Write the block anew."""
    BLOCK.write(page, content(results))


def content(results: Path) -> str:
    """The block's Markdown, from the JSON files of a folder."""
    live, standard, gentle, faults = (
        json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("live_trial", "replay_trial_standard", "replay_trial_gentle", "fault_trial")
    )
    return "\n".join(lines(live, [standard, gentle], faults))


if __name__ == "__main__":
    typer.run(main)
