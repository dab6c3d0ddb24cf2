"""The model card: what the weights were trained on, how often they were wrong and where, and what nobody has tested.

Every figure comes from the run's record, the manifest or a file of measurements; a figure that the record lacks is an
error, a file that was not given is said to be missing, and nothing is left blank. Rates on simulated captures are
called SIMULATED in their own line, so that none can be quoted without the word. The text: `model_card_template.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2

from export import card_text
from export.card_figures import Evaluation
from export.card_files import CardFigures, require_same_model
from sdk_reference.manifest import Manifest
from training import gates
from training.counted import FEWEST
from training.errors import RunInvalid

TEMPLATE_FILE: Final = Path(__file__).with_name("model_card_template.md")
NOTHING_MEASURED: Final = CardFigures()


def model_card(
    manifest: Manifest, record: Mapping[str, Any], gflop: float, figures: CardFigures = NOTHING_MEASURED
) -> str:
    """Return MODEL_CARD.md; `record` is the content of run.json, `gflop` the cost of one capture.

    Raises EvaluationUnusable when a figure is of another model, RunInvalid when the record lacks one.
    """
    require_same_model(manifest, record, figures)
    try:
        return rendered(manifest, record, gflop, figures)
    except (KeyError, jinja2.UndefinedError) as error:
        raise RunInvalid(
            found=f"a record that makes no model card ({error})",
            expected="every field of run.json",
            remedy="train again with this release, or correct run.json",
        ) from error


def rendered(manifest: Manifest, record: Mapping[str, Any], gflop: float, figures: CardFigures) -> str:
    """Fill the template; jinja2.UndefinedError or KeyError where the record lacks something."""
    template = environment().from_string(TEMPLATE_FILE.read_text(encoding="utf-8").replace("\\\n", ""))
    return template.render(
        manifest=manifest,
        training=manifest.training,
        artifact=manifest.artifacts[0],
        point=manifest.artifacts[0].operating_point,
        limits=vars(manifest.quality_limits),
        record=record,
        gflop=gflop,
        origin="simulated" if manifest.training.simulated else "recorded",
        summary=card_text.summary(manifest, figures),
        limit_names=card_text.LIMIT_NAMES,
        gates_rule=gates_rule(record),
        response_rule=response_rule(manifest, record),
        real=figures.real,
        few_mark=card_text.FEW_MARK,
        fewest=FEWEST,
        **of_evaluation(figures.evaluation),
        **of_screen_off(figures),
    )


def of_evaluation(e: Evaluation | None) -> dict[str, Any]:
    """What the template calls the parts of an evaluation; it uses none of them but `e` when there is none."""
    if e is None:
        return {"e": None}
    strict = e.at_bpcer_1_percent
    strict_rates = {} if strict is None else {f"apcer_{name}": rate for name, rate in strict.apcer.items()}
    return {
        "e": e,
        "word": card_text.label(e.simulated),
        "rates": card_text.flat_rates(e.rates),
        "ungated": card_text.flat_rates(e.without_gates),
        "strict": strict,
        "strict_rates": {}
        if strict is None
        else {"bpcer": strict.bpcer, **strict_rates, "apcer_max": strict.apcer_max},
        "breakdowns": card_text.breakdowns(e),
        "response": e.flash_response,
    }


def of_screen_off(figures: CardFigures) -> dict[str, Any]:
    """The evaluation without light, and the goals of both."""
    evaluations = [e for e in (figures.evaluation, figures.screen_off) if e is not None]
    return {
        "off": figures.screen_off,
        "off_word": card_text.label(figures.screen_off.simulated) if figures.screen_off else "",
        "goals": [(goal, card_text.label(e.simulated)) for e in evaluations for goal in e.goals],
    }


def environment() -> jinja2.Environment:
    """The template's language: missing names are errors, and the filters that print figures."""
    made = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    filters = (
        card_text.percent,
        card_text.label,
        card_text.spread,
        card_text.value,
        card_text.cell,
        card_text.counts,
        card_text.names,
        card_text.rate_name,
        card_text.species_name,
        card_text.split_name,
        card_text.pair_scores,
        card_text.pair_default,
    )
    made.filters |= {filter_.__name__: filter_ for filter_ in filters}
    made.filters["thousands"] = lambda number: f"{number:,}"
    return made


def gates_rule(record: Mapping[str, Any]) -> str:
    """How the quality limits were set, as `training.gates` does it."""
    if record["trained_within"] == record["quality_limits"]:
        return (
            "These limits are those that the training's captures had to keep: the validation split gave no reason for "
            f"stricter ones, or has fewer than {gates.FEWEST} captures."
        )
    return (
        "Along each quality the share of wrong verdicts was fitted by a curve that may only fall as quality rises; the "
        f"limit stands where it comes down to {gates.TOLERATED:g} times the error of the better half, but all limits "
        f"together refuse at most {gates.MOST_REFUSED * 100:g} % of live captures (`training.gates`)."
    )


def response_rule(manifest: Manifest, record: Mapping[str, Any]) -> str:
    """How the rule for the flash response was chosen, and what it did where it was chosen."""
    chosen = record["response_rule"]
    if chosen["right_passes"] is None:
        return (
            "This is the usual rule: the validation split has too few captures to choose by, or no rule let "
            f"{gates.RIGHT_PASSES * 100:g} % of its live captures pass."
        )
    word = card_text.label(manifest.artifacts[0].operating_point.simulated)
    passes, caught = card_text.percent(chosen["right_passes"]), card_text.percent(chosen["wrong_caught"])
    return (
        f"Of the rules that let at least {gates.RIGHT_PASSES * 100:g} % of the validation split's live captures pass "
        f"under their own plan it catches most wrong plans: there, {passes} passed and {caught} were caught ({word})."
    )
