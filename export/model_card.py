"""The model card: what the weights were trained on, how often they were wrong and where, and what nobody has tested.

Every figure comes from the run's record, the manifest or an evaluation file; a figure that none of them holds is an
error, never a blank. Rates on simulated captures are called SIMULATED in their own row, so that no table can be quoted
without the word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2

from sdk_reference.errors import InvalidInput
from sdk_reference.manifest import ErrorRate, Manifest

THRESHOLD_TOLERANCE: Final = 1e-9
MAX_EVALUATION_BYTES: Final = 2**20
EVALUATION_RATES: Final = ("eer", "hter", "apcer_max", "bpcer")
EVALUATION_FIELDS: Final = ("apcer", "counts", "refused", "model", "split", "simulated", "threshold")

RATE_NAMES: Final = {
    "eer": "EER: both error rates where they are equal",
    "hter": "HTER: their mean at the threshold",
    "far": "FAR: attacks accepted, all species together",
    "frr": "FRR: live faces rejected",
    "bpcer": "BPCER: live faces rejected",
    "apcer_max": "APCER: attacks accepted, worst species",
}
SPLIT_NAMES: Final = {"train": "training", "val": "validation"}

TEMPLATE: Final = """\
{%- macro table(rates, label) -%}
| rate | % | 95 % interval | captures |
|---|---:|---:|---|
{% for name, rate in rates.items() -%}
| {{ name | rate_name }} | {{ rate.value | percent }} | {{ rate.low | percent }} to {{ rate.high | percent }} \
| {{ label }} |
{% endfor %}
{%- endmacro -%}
# {{ manifest.name }} {{ manifest.version }}

Judges whether a capture of a face under the coloured light of a phone's screen shows a live person, a print, a replay
or a mask. An implementation of ATR-FAS.

{% if training.simulated -%}
> **Every capture behind this model was simulated. Every error rate below is SIMULATED and says nothing about real
> people, real attacks or real phones.**

{% endif -%}
Exported {{ manifest.created }} from the run `{{ training.run }}` of {{ record.created }}.

## The model

- Preset `{{ training.preset }}`: {{ record.parameters | thousands }} parameters, {{ manifest.depth_bins }} depth bins.
- Takes captures of {{ manifest.n0 }} frames, by rank: brightest screen first. Input: \
{{ manifest.differential_rows | length }} differences, `{{ artifact.inputs[0].shape | list }}` float32 in −1 to 1.
- Differences are taken in {{ manifest.preprocess.transfer }} light; gain `{{ manifest.preprocess.gain }}` to \
{{ manifest.preprocess.gain_target }}, at most {{ manifest.preprocess.gain_limit }}. `manifest.json` states every \
setting, `golden/` holds every stage of {{ manifest.n0 }} frames to test a port against.
{% for file in manifest.artifacts -%}
- `{{ file.file }}`: {{ file.format }}, {{ file.precision }}, opset {{ file.opset }}; agreed with PyTorch to \
{{ file.tolerances.values() | max }} on every output (`reports/parity.json`).
{% endfor %}
## What it was trained on

{{ training.captures | thousands }} {{ origin }} captures of {{ training.subjects | thousands }} {{ origin }} \
subjects, split by subject, so that no one is in two splits:

| split | captures | subjects | by species |
|---|---:|---:|---|
{% for split, content in record.data.splits.items() -%}
| {{ split | split_name }} | {{ content.captures | thousands }} | {{ content.subjects | thousands }} \
| {{ content.species | counts }} |
{% endfor %}
- Refused for landmarks or quality, and in no split: {{ record.data.refused | counts or "none" }}.
{% for folder in record.data.folders -%}
- Data set `{{ folder.name }}`: {{ folder.captures | thousands }} captures, sha256 `{{ folder.sha256 }}`\
{% if folder.simulation %}, made by `flashproof simulate --count {{ folder.simulation.count }} --seed \
{{ folder.simulation.seed }} --mix {{ folder.simulation.mix }} --size {{ folder.simulation.size }}\
{{ " --screen-off" if folder.simulation.screen_off }}` with the simulator whose sources hash \
to `{{ folder.simulator_sha256[:12] }}`{% endif %}.
{% endfor -%}
- Seed of the training {{ training.seed }}; {{ record.training.epochs }} epochs, of which the validation split chose \
number {{ record.best_epoch }}, counted from 0.
- Made with {% for name, version in record.versions.items() %}{{ name }} {{ version }}{{ ", " if not loop.last }}\
{% endfor %}.

## Threshold and validation error rates ({{ point.simulated | label }})

A capture may be live from a score of **{{ "%.6f" | format(point.threshold) }}** on. The threshold was chosen by this \
rule: {{ point.chosen_by }}, on the validation split, {{ point.captures | thousands }} {{ point.simulated | label }} \
captures. The rates are those of the same captures and flatter the model.

{{ table(point.rates, point.simulated | label) }}
{% if evaluation -%}
## Error rates on the {{ evaluation.split | split_name }} split ({{ evaluation.simulated | label }})

At the threshold above, on {{ evaluation.counts | counts }} ({{ evaluation.simulated | label }}). Refused, and in no \
rate: {{ evaluation.refused | counts or "none" }}.

{{ table(tested, evaluation.simulated | label) }}
{% else -%}
## Test error rates

None were given at export; `flashproof evaluate` measures them.

{% endif -%}
## What it was never tested on

{% if training.simulated -%}
- Real faces, prints, screens and masks: no real capture took part in training, validation or the rates above.
- Real phones: screen, camera, exposure and white balance were the simulator's.
- The variety of real people: age, make-up, glasses, beards, head-wear, and skin as it really answers light.
{% endif -%}
- Attackers who know how it works, injected video, and attacks of other species than those above.
- Certification: **none**. Neither certified nor tested under ISO/IEC 30107-3, by iBeta or under FIDO's biometric
  requirements. The names APCER and BPCER say how a rate is defined, not that such a test took place.

## Intended use

Research, integration work, and tests of ports. Not for deciding who gets at money, devices, buildings or identities:
nothing here supports such a use. Whoever is refused needs another way in.

## Limitations

- Judges only captures whose screen light is at least {{ limits.min_flash_to_ambient }} times the ambient light on the \
face and {{ limits.min_flash_snr }} times the noise, of faces at least {{ limits.min_face_width_px }} pixels wide that \
move at most {{ limits.max_motion_px }} template pixels. All others are `retry`: sunlight and bright rooms are refused.
- A capture whose flash response contradicts the plan in more than {{ manifest.response_rule.max_disagreeing_rows }} \
of {{ manifest.differential_rows | length }} differences is refused whatever its score.
- The threshold depends on camera, screen and room. Set it anew on captures of the devices it is to run on.
- The intervals treat captures as independent, which captures of one subject are not: they are too narrow.
- Flashing light can harm people with photosensitive epilepsy. Show no plan but those that `flash_sequencer` accepts.

## Licence

{{ manifest.licence }}
"""


class EvaluationUnusable(InvalidInput):
    """The evaluation file is damaged or belongs to another model."""

    code = "evaluation_unusable"


def model_card(manifest: Manifest, record: Mapping[str, Any], evaluation: Mapping[str, Any] | None = None) -> str:
    """Return MODEL_CARD.md; `record` is the content of run.json, `evaluation` the JSON of `flashproof evaluate`.

    Raises EvaluationUnusable when the evaluation is of another model, jinja2.UndefinedError when a figure is missing.
    """
    if evaluation is not None:
        require_same_model(manifest, record, evaluation)
    artifact = manifest.artifacts[0]
    return (
        environment()
        .from_string(TEMPLATE)
        .render(
            manifest=manifest,
            training=manifest.training,
            artifact=artifact,
            point=artifact.operating_point,
            limits=manifest.quality_limits,
            record=record,
            evaluation=evaluation,
            tested=tested_rates(evaluation) if evaluation is not None else {},
            origin="simulated" if manifest.training.simulated else "recorded",
        )
    )


def environment() -> jinja2.Environment:
    """The template's language: missing names are errors, and the filters that print figures."""
    made = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    made.filters |= {
        "thousands": lambda number: f"{number:,}",
        "percent": lambda share: f"{share:.2%}",
        "counts": lambda counts: ", ".join(f"{count:,} {name}" for name, count in counts.items() if count),
        "label": lambda simulated: "SIMULATED" if simulated else "recorded",
        "rate_name": rate_name,
        "split_name": lambda split: SPLIT_NAMES.get(split, split),
    }
    return made


def rate_name(name: str) -> str:
    """A rate's name in words; `apcer_print` and the like by their species."""
    return RATE_NAMES.get(name) or f"APCER {name.removeprefix('apcer_')}: attacks of this species accepted"


def tested_rates(evaluation: Mapping[str, Any]) -> dict[str, ErrorRate]:
    """The rates of an evaluation, those per species after those over all."""
    stated = {name: evaluation[name] for name in EVALUATION_RATES}
    stated |= {f"apcer_{species}": rate for species, rate in evaluation["apcer"].items()}
    return {name: ErrorRate.model_validate(rate) for name, rate in stated.items()}


def read_evaluation(path: Path) -> dict[str, Any]:
    """Read what `flashproof evaluate --json FILE` wrote; raises EvaluationUnusable."""
    try:
        if path.stat().st_size > MAX_EVALUATION_BYTES:
            raise ValueError(f"more than {MAX_EVALUATION_BYTES} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in EVALUATION_FIELDS if name not in content]
        if missing:
            raise ValueError(f"no {', '.join(missing)}")
        tested_rates(content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise unusable(f"{path.name}, which cannot be read ({type(error).__name__}: {str(error)[:200]})") from error
    return dict(content)


def require_same_model(manifest: Manifest, record: Mapping[str, Any], evaluation: Mapping[str, Any]) -> None:
    """Raise EvaluationUnusable when the figures were measured on another run or at another threshold."""
    model, threshold = evaluation["model"], manifest.artifacts[0].operating_point.threshold
    if model["kind"] == "run" and model["name"] != record["name"]:
        raise unusable(f"figures of the run {model['name']!r}")
    if not abs(evaluation["threshold"] - threshold) <= THRESHOLD_TOLERANCE:
        raise unusable(f"figures at the threshold {evaluation['threshold']}")


def unusable(found: str) -> EvaluationUnusable:
    return EvaluationUnusable(
        found=found,
        expected="the JSON file of `flashproof evaluate` for this very run",
        remedy="evaluate the run again: flashproof evaluate RUN --data DIR --json FILE",
    )
