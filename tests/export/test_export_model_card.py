"""The card quotes the record and the measurements as they are, names what is simulated, and says what is missing."""

import copy
import json
import re
from dataclasses import replace

import pytest
from made_up_evaluation import made_up_evaluation, made_up_real_pairs
from stub_model import pack_stub_bundle
from tiny_captures import KnowingDetector, subjects_of, write_tiny_dataset

from export.card_figures import Breakdowns, Evaluation
from export.card_files import (
    EVALUATION_FILE,
    MAX_SHIPPED_BYTES,
    REAL_FILE,
    EvaluationUnusable,
    as_json,
    read_figures,
)
from export.cost import gflop_per_capture
from export.describe import PackSettings, manifest_of
from export.model_card import NOTHING_MEASURED, model_card
from export.pack import PLANNED
from training.errors import RunInvalid
from training.evaluate import evaluate
from training.gates import ResponseChoice
from training.machine import Machine
from training.network import ATRFAS, NetworkSettings

SETTINGS = PackSettings(created="2026-01-02T03:04:05Z")
OLD_KEYS = (
    "eer",
    "hter",
    "apcer",
    "apcer_max",
    "bpcer",
    "threshold",
    "counts",
    "refused",
    "simulated",
    "split",
    "model",
)


@pytest.fixture
def figures_of(tmp_path):
    """A function that writes what it is given as files, as `flashproof export` gets them, and reads them."""

    def read(evaluation=None, screen_off=None, real=None):
        paths = []
        for name, content in (("evaluation", evaluation), ("screen_off", screen_off), ("real", real)):
            path = tmp_path / f"{name}.json"
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
            paths.append(None if content is None else path)
        return read_figures(*paths)

    return read


@pytest.fixture
def everything(figures_of):
    return figures_of(made_up_evaluation(), made_up_evaluation(screen_off=True), made_up_real_pairs())


def card_of(run, figures=NOTHING_MEASURED):
    return model_card(manifest_of(run, [PLANNED], SETTINGS), run.record, 0.7449, figures)


def section(card, heading):
    """The part of the card under a heading."""
    return re.split(r"^#{2,3} ", card.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def test_the_card_holds_the_figures_of_the_record(packed):
    card = (packed.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    for figure in (
        "123,456 parameters",
        "3,211 simulated captures of 267 simulated subjects",
        "| validation | 512 | 39 | 270 live, 242 print |",
        "87 flash_too_weak",
        "cd" * 32,
        "**0.010000**",
        "| EER: both error rates where they are equal | 1.23% | 0.45% to 2.67% | SIMULATED |",
        "| APCER print: attacks of this species accepted | 3.21% | 1.11% to 4.44% | SIMULATED |",
        "| screen light over its noise, at least | 3 | 4, set anew |",
        "torch 2.13.0",
    ):
        assert figure in card, figure
    assert "Certification: **none**" in card


def test_what_was_not_measured_is_said_and_not_invented(run):
    card = card_of(run)
    assert "Not at all: no evaluation was given" in section(card, "How it was tested")
    assert "Not measured" in section(card, "Screen off") and "None: no answers" in section(card, "Real photographs")
    for missing in ("Error rates of a test: not measured", "Screen off: not measured", "Real photographs: none given"):
        assert missing in section(card, "In short")
    assert "reports/evaluation.json" not in card
    of_both = {line for line in card.splitlines() if re.search(r"\d%", line)}
    assert len(of_both) == 3  # two validation rates and what the response rule did there


def test_nothing_is_left_blank(run, figures_of):
    screen_off = made_up_evaluation(screen_off=True)
    for figures in (
        NOTHING_MEASURED,
        figures_of(real=made_up_real_pairs()),
        figures_of(made_up_evaluation(), screen_off, made_up_real_pairs()),
        figures_of(made_up_evaluation(apcer_by_instrument={}, goals=[]), screen_off),
        figures_of(screen_off | {"screen_off": False}),  # the gates leave nobody, with the screen on
    ):
        card = card_of(run, figures)
        assert not re.search(r"\|[ \t]*\||\bNone\b(?! ?:|: )|\bnan\b|\{\{|\\$", card, re.MULTILINE)
        tables = re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE)
        assert len(tables) >= 3
        for table in tables:
            assert len({line.count("|") for line in table.splitlines()}) == 1 and len(table.splitlines()) > 2, table
            assert f"\n\n{table}\n" in card, table  # Markdown would take the line after it for a row
        assert re.findall(r"(?<!\n)\n#+ .*|\n#+ .*\n(?!\n)|\n\n\n", card) == []


def test_every_line_with_a_simulated_rate_says_so(run, everything):
    card = card_of(run, everything)
    lines = [line for line in card.splitlines() if re.search(r"\d%", line)]
    assert len(lines) > 50
    assert [line for line in lines if "SIMULATED" not in line] == []


def test_rates_of_recorded_captures_are_not_called_simulated(run, figures_of):
    card = card_of(run, figures_of(made_up_evaluation(simulated=False)))
    assert "SIMULATED" not in section(card, "Error rates at the threshold, with and without quality gates")
    assert "240 recorded captures of 12 people" in card


@pytest.mark.parametrize(
    ("heading", "line"),
    [
        (
            "How it was tested",
            "240 SIMULATED captures of 12 people (test split), none of whom the model was trained on",
        ),
        ("How it was tested", "| scenes | `sun light` | `office` |"),
        ("Goals", "| at most 1.01% | 3.00% | 0.99% to 6.00% | **missed** | SIMULATED |"),
        ("Goals", "| at least 99.00% | 100.00% | 96.97% to 100.00% | met, not proven: the interval reaches beyond"),
        ("Error rates at the threshold, with and without quality gates", "| 3.00% | 0.50% to 5.50% | 2.50% | 0.82% to"),
        (
            "Attacks accepted, by instrument",
            "| mask_silicone | mask | 12.00% (3 of 25) | 2.55% to 31.22% | SIMULATED |",
        ),
        ("Attacks accepted where BPCER is at most 1 %", "| BPCER: live faces rejected | 0.00% | 0.00% to 3.62% |"),
        (
            "What a phone says",
            "| live faces | 80.83% (97 of 120) | 2.50% (3 of 120) | 16.67% (20 of 120) | SIMULATED |",
        ),
        ("Whom the quality gates refuse", "| office | 33.33% (20 of 60) | 21.69% to 46.69% | SIMULATED |"),
        ("Whom the quality gates refuse", "| `flash_too_weak` | 20 | 10 | 5 | 5 | SIMULATED |"),
        (
            "Errors by light, skin tone, device, scene and distance",
            "| 0-10 | 5.00% (1 of 20) | mask 10.00% (1 of 10)† | 50.00% (20 of 40) | 80 SIMULATED |",
        ),
        ("Flash response", "| 10-30 | 90.00% (9 of 10)† | 55.50% to 99.75% | 72.72%† | 71.71% to 73.73% | SIMULATED |"),
        ("Flash response", "| above 1000 | no captures | no captures | no captures | no captures | SIMULATED |"),
        ("Screen off", "| live faces | 100.00% (120 of 120) | 96.97% to 100.00% | 0.00% (0 of 120) |"),
        ("Real photographs", "| 1 | live | live, 0.9311 | 0.0021 to 0.9311 | 1 of 2 plans | 1 live, 1 spoof | real |"),
        (
            "Real photographs",
            "| 2 | print | spoof, 0.0033 | 0.0033 to 0.0033 | 1 of 2 plans | 1 spoof, 1 retry | real |",
        ),
        ("In short", "mask_silicone: 12.00% (3 of 25)"),
        ("In short", "in 2 of 4; **wrong or without a score in 2**"),
        ("The model", "0.74 GFLOP per capture"),
        ("The model", "Early fusion: the 6 differences become one in their features"),
        ("How it decides", "there, 99.61% passed and 81.37% were caught (SIMULATED)"),
    ],
)
def test_every_measurement_has_its_place(run, everything, heading, line):
    assert line in section(card_of(run, everything), heading)


def test_people_of_the_training_in_an_evaluation_are_told_at_once(run, figures_of):
    evaluation = made_up_evaluation()
    evaluation["protocol"]["subjects"]["overlap"] = 5
    assert "**on 5 of whom the model was trained: such rates flatter**" in card_of(run, figures_of(evaluation))
    evaluation["protocol"]["subjects"]["overlap"] = None
    assert "and whether the model was trained on any of them is not known" in card_of(run, figures_of(evaluation))


def test_a_rule_and_limits_that_nothing_was_fitted_to_are_called_so(run):
    usual = ResponseChoice(0.5, 2, None, None).to_dict()
    record = run.record | {"response_rule": usual, "trained_within": run.record["quality_limits"]}
    card = section(card_of(replace(run, record=record)), "How it decides")
    assert "This is the usual rule" in card and "gave no reason for stricter ones" in card and "set anew" not in card


def test_the_card_follows_the_record(run):
    record = copy.deepcopy(run.record)
    record["data"]["splits"]["test"]["captures"] = 777
    assert "| test | 777 |" in card_of(replace(run, record=record))


@pytest.mark.parametrize("name", ["best_epoch", "trained_within", "versions"])
def test_a_record_that_lacks_what_the_card_states_is_refused(run, name):
    record = {key: value for key, value in run.record.items() if key != name}
    with pytest.raises(RunInvalid, match=name):
        card_of(replace(run, record=record))


def test_no_name_of_a_pair_gets_into_the_bundle(run, everything):
    card, shipped = card_of(run, everything), json.dumps(everything.files[REAL_FILE])
    assert not re.search("ada|lovelace|grace", card + shipped, re.IGNORECASE)
    answers = everything.files[REAL_FILE]["answers"]
    assert [answer["pair"] for answer in answers] == ["pair 1, live"] * 2 + ["pair 2, print"] * 2
    assert [answer["score"] for answer in answers] == [0.9311, 0.0021, 0.0033, None]


def test_names_out_of_a_file_cannot_break_a_table(run, figures_of):
    evaluation = json.loads(json.dumps(made_up_evaluation()).replace("sim-oled", "a | b\\n\\n# `c` <d>"))
    assert "| a b # c d | 2.50% (2 of 80) |" in card_of(run, figures_of(evaluation))


NOT_A_NUMBER = json.dumps(made_up_real_pairs() | {"least_cosine": float("nan")})
OTHERS = {"threshold": {"threshold": 0.5}, "run": {"model": {"kind": "run", "name": "another"}}}


@pytest.mark.parametrize("kind", ["evaluation", "screen_off"])
@pytest.mark.parametrize("other", OTHERS)
def test_figures_of_another_model_do_not_get_into_the_card(run, figures_of, kind, other):
    content = made_up_evaluation(screen_off=kind == "screen_off", **OTHERS[other])
    with pytest.raises(EvaluationUnusable, match=r"figures (at the threshold 0\.5|of the run 'another')"):
        card_of(run, figures_of(**{kind: content}))


def test_figures_under_another_response_rule_do_not_get_into_the_card(run, figures_of):
    evaluation = made_up_evaluation()
    evaluation["flash_response"]["rule"]["cosine_limit"] = 0.5
    with pytest.raises(EvaluationUnusable, match="response rule"):
        card_of(run, figures_of(evaluation))


def test_answers_at_another_threshold_do_not_get_into_the_card(run, figures_of):
    with pytest.raises(EvaluationUnusable, match="real_pairs"):
        card_of(run, figures_of(real=made_up_real_pairs(threshold=0.02)))


def test_files_cannot_be_swapped(figures_of):
    with pytest.raises(EvaluationUnusable, match="--screen-off"):
        figures_of(made_up_evaluation(screen_off=True))
    with pytest.raises(EvaluationUnusable, match="--evaluation"):
        figures_of(screen_off=made_up_evaluation())


def test_an_evaluation_of_an_older_release_is_refused_with_what_it_lacks(figures_of):
    old = {key: value for key, value in made_up_evaluation().items() if key in OLD_KEYS}
    with pytest.raises(EvaluationUnusable, match=r"without screen_off.*and 7 more.*evaluate the run again"):
        figures_of(old)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        " " * 2**21,
        json.dumps(made_up_evaluation(threshold=float("nan"))),
        json.dumps(made_up_evaluation(eer=None)),
        json.dumps(made_up_evaluation(bpcer={"value": 0.5, "low": 0.6, "high": 0.7})),
        json.dumps(made_up_evaluation(verdicts={})),
    ],
    ids=["empty", "list", "cut", "deep", "long", "nan", "half", "outside", "no live"],
)
def test_a_damaged_evaluation_file_is_refused(content, figures_of):
    with pytest.raises(EvaluationUnusable):
        figures_of(content)


@pytest.mark.parametrize("content", ["{}", '{"threshold": 0.01, "answers": []}', NOT_A_NUMBER], ids=str)
def test_a_damaged_file_of_real_pairs_is_refused(content, figures_of):
    with pytest.raises(EvaluationUnusable, match="real_pairs"):
        figures_of(real=content)


def test_a_large_evaluation_ships_without_its_curve_and_says_so(figures_of):
    evaluation = made_up_evaluation()
    assert figures_of(evaluation).files[EVALUATION_FILE] == evaluation
    evaluation["flash_response"]["curve"] = [{"answer": "head", "cosine_limit": 0.5}] * 3000
    shipped = figures_of(evaluation).files[EVALUATION_FILE]
    assert len(as_json(evaluation)) > MAX_SHIPPED_BYTES >= len(as_json(shipped))
    assert "curve" not in shipped["flash_response"] and shipped["left_out"] == ["flash_response.curve"]
    assert shipped["breakdowns"] == evaluation["breakdowns"]


def test_the_card_reads_what_evaluation_writes(tmp_path):
    """Evaluation's own JSON, in which a key that changes its name must not go unnoticed."""
    write_tiny_dataset(tmp_path / "data", [*subjects_of("train", 2), *subjects_of("val", 2), *subjects_of("test", 3)])
    bundle = pack_stub_bundle(tmp_path / "bundle", offset=4.0)
    machine = Machine(quiet=True, accelerator="cpu")
    found = evaluate(bundle, [tmp_path / "data"], machine=machine, detector_factory=KnowingDetector).to_dict()
    read = Evaluation.model_validate_json(json.dumps(found))
    assert read.rates is not None and read.rates.apcer_max.value == found["apcer_max"]["value"]
    assert made_up_evaluation().keys() <= found.keys()
    assert found["breakdowns"].keys() == Breakdowns.model_fields.keys()


def test_the_cost_is_counted_on_the_network_itself(run):
    """Late fusion runs every expert on every difference; the same widths then cost more."""
    late = NetworkSettings.from_dict(run.settings.to_dict() | {"fusion": "late", "joint_widths": [], "joint_detail": 1})
    own, more = gflop_per_capture(run.network), gflop_per_capture(ATRFAS(late))
    assert 0 < own < more
    weight = next(run.network.parameters())
    assert weight.device.type == "cpu"  # the network itself stays where it is
