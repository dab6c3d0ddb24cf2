"""`flashproof bench`: what is counted, what is timed, what is left empty with a reason, and the page it writes."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from stub_model import MODEL_FILE, pack_stub_bundle, stub_artifact, stub_model

import export.bench
from export.bench import bench, median_of, take_turns
from export.bench_page import BEGIN, END, block, check_page, write_page
from export.cost import gflop_per_capture
from export.graph_cost import cost_of_onnx
from export.page_block import PageMarksMissing
from flashproof.app import EXIT_USAGE
from flashproof.app import run as run_command
from flashproof.commands import bench as command
from sdk_reference.bundle import hash_files, load_bundle, write_manifest
from sdk_reference.errors import BackendMissing, BundleMalformed, BundleNotFound, ModelFailed
from sdk_reference.manifest import Artifact, Calibration, from_json

KEYS = {"artifact", "format", "precision", "bytes", "parameters", "gflop", "median_ms", "threads"}  # DESIGN.md
FP16, INT8, COREML = "models/stub.fp16.onnx", "models/stub.int8.onnx", "models/stub.fp32.mlpackage"
PAGE = f"# Formats\n\nTyped.\n\n{BEGIN}\nold\n{END}\n\nTyped, too.\n"


class SteppingClock:
    """A clock that moves by itself: the time of a run is the number of runs before it, in milliseconds."""

    def __init__(self) -> None:
        self.calls, self.now_ns = 0, 0

    def __call__(self) -> int:
        self.calls += 1
        self.now_ns += (self.calls // 2) * 1_000_000 if self.calls % 2 == 0 else 0
        return self.now_ns


class Recorder:
    """A backend that writes down when it ran, and fails from its `fails_at`-th run on."""

    def __init__(self, name: str, log: list[str], fails_at: int | None = None) -> None:
        self.name, self.log, self.fails_at, self.runs = name, log, fails_at, 0

    def run(self, model_input):
        self.runs += 1
        if self.fails_at is not None and self.runs >= self.fails_at:
            raise ModelFailed(found="smoke", expected="none", remedy="open a window")
        self.log.append(self.name)


def variant(file: str, form: str, precision: str) -> Artifact:
    calibration = Calibration(seed=1, captures=2, sha256="0" * 64) if precision == "int8_static" else None
    return stub_artifact(5, 128, 0.5).model_copy(
        update={
            "file": file,
            "format": form,
            "precision": precision,
            "opset": 18 if form == "onnx" else None,
            "calibration": calibration,
        }
    )


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """A bundle of four artifacts, of which the last needs a Mac and the third is no model; with both reports."""
    folder = pack_stub_bundle(tmp_path / "bundle")
    (folder / FP16).write_bytes(stub_model())
    (folder / INT8).write_bytes(b"no model")
    (folder / COREML / "Data").mkdir(parents=True)
    (folder / COREML / "Manifest.json").write_bytes(b"{}")
    (folder / COREML / "Data" / "weights.bin").write_bytes(bytes(998))
    differences = [
        {"name": "score: largest difference", "ok": True, "value": 0.0012, "limit": 0.01},
        {"name": "score: smallest signal to noise, dB", "ok": True, "value": 61.0, "limit": 60.0},
        {"name": "depth: mean difference", "ok": True, "value": 0.0034, "limit": 0.004},
        {"name": "type: largest difference", "ok": True, "value": 0.5, "limit": 0.6},
    ]
    parity = {FP16: {"ran_by": "ONNX Runtime", "gates": differences}, COREML: {"ran_by": "MIL evaluator", "gates": []}}
    decisions = {FP16: {"flips": 1, "eer": {"value": 0.057, "low": 0.048, "high": 0.066}}}
    return seal(folder, parity, decisions)


def seal(folder: Path, parity: object, decisions: object) -> Path:
    (folder / "reports").mkdir(exist_ok=True)
    (folder / "reports" / "parity.json").write_text(json.dumps({"captures": {"golden": 2}, "artifacts": parity}))
    (folder / "reports" / "decisions.json").write_text(json.dumps({"captures": 2000, "artifacts": decisions}))
    manifest = from_json((folder / "manifest.json").read_bytes())
    artifacts = (
        stub_artifact(5, 128, 0.5),
        variant(FP16, "onnx", "fp16"),
        variant(INT8, "onnx", "int8_static"),
        variant(COREML, "coreml", "fp32"),
    )
    write_manifest(folder, manifest.model_copy(update={"artifacts": artifacts, "files": hash_files(folder)}))
    load_bundle(folder)
    return folder


def rows_of(folder: Path, **options):
    return {row.artifact: row for row in bench(folder, rounds=6, **options).rows}


@pytest.fixture(autouse=True)
def on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export.bench.sys, "platform", "linux")


def test_every_artifact_has_its_row_with_its_size(several):
    rows = rows_of(several)
    assert list(rows) == [MODEL_FILE, FP16, INT8, COREML]
    assert rows[MODEL_FILE].bytes == (several / MODEL_FILE).stat().st_size
    assert rows[COREML].bytes == 1000  # a folder: its two files, not those beside it


def test_what_runs_is_timed_and_what_does_not_says_why(several):
    rows = rows_of(several)
    for file in (MODEL_FILE, FP16):
        row = rows[file]
        assert 0 < row.low_ms <= row.median_ms <= row.high_ms and row.reason is None
        assert (row.ran_by, row.threads) == ("ONNX Runtime", 1)
    assert rows[INT8].median_ms is rows[INT8].ran_by is rows[INT8].times_as_fast is None
    assert "does not load" in rows[INT8].reason
    assert rows[COREML].median_ms is None and "linux" in rows[COREML].reason
    assert rows[COREML].ran_by == "MIL evaluator: time says nothing about a phone"


def test_a_core_ml_file_that_no_evaluator_ran_does_not_claim_one(several):
    seal(several, {}, {})
    assert rows_of(several)[COREML].ran_by is None


def test_a_missing_backend_is_a_reason(several, monkeypatch):
    def open_some(bundle, artifact, threads):
        if artifact == FP16:
            raise BackendMissing(found="no backend", expected="one", remedy="install it")
        return Recorder(artifact, [])

    monkeypatch.setattr(export.bench, "open_backend", open_some)
    rows = rows_of(several)
    assert "install it" in rows[FP16].reason and rows[MODEL_FILE].reason is None


def test_ratios_are_against_the_first_fp32_of_the_same_format(several):
    rows = rows_of(several, clock_ns=SteppingClock())
    assert rows[MODEL_FILE].times_as_fast.value == 1
    # the clock charges every run one millisecond more than the one before; rounds begin with either in turn
    assert rows[FP16].times_as_fast.low < 1 < rows[FP16].times_as_fast.high
    assert rows[COREML].times_as_fast is None


def test_errors_and_rates_are_those_of_the_reports(several):
    row = rows_of(several)[FP16]
    assert row.against_pytorch == {"score: largest difference": 0.0012, "depth: mean difference": 0.0034}
    assert (row.eer.value, row.eer.low, row.eer.high) == (0.057, 0.048, 0.066)


def test_without_reports_nothing_is_made_up(tmp_path):
    (row,) = bench(pack_stub_bundle(tmp_path / "bundle"), rounds=6).rows
    assert row.against_pytorch is None and row.eer is None


@pytest.mark.parametrize("content", ["{", '{"artifacts": 7}', '{"artifacts": {"a": {"gates": [{"name": 1}]}}}'])
def test_a_report_that_cannot_be_read_is_a_damaged_bundle(tmp_path, content):
    folder = pack_stub_bundle(tmp_path / "bundle")
    (folder / "reports").mkdir()
    (folder / "reports" / "parity.json").write_text(content)
    manifest = from_json((folder / "manifest.json").read_bytes())
    write_manifest(folder, manifest.model_copy(update={"files": hash_files(folder)}))
    with pytest.raises(BundleMalformed, match=r"parity\.json"):
        bench(folder, rounds=6)


def test_the_command_offers_the_rounds_that_the_module_means():
    assert (command.ROUNDS, command.MIN_ROUNDS) == (export.bench.ROUNDS, export.bench.MIN_ROUNDS)


def test_no_bundle_is_an_error(tmp_path):
    with pytest.raises(BundleNotFound):
        bench(tmp_path / "none")


def test_artifacts_take_turns_and_the_first_changes():
    log: list[str] = []
    backends = {name: Recorder(name, log) for name in "abc"}
    times, failed = take_turns(backends, np.zeros(1, np.float32), 6, SteppingClock())
    rounds = ["".join(log[start : start + 3]) for start in range(0, len(log), 3)]
    assert rounds[-6:] == ["abc", "bca", "cab", "abc", "bca", "cab"]
    assert {name: len(spent) for name, spent in times.items()} == dict.fromkeys("abc", 6) and not failed


def test_a_backend_that_fails_half_way_leaves_the_others_their_times():
    backends = {"good": Recorder("good", []), "bad": Recorder("bad", [], fails_at=5)}
    times, failed = take_turns(backends, np.zeros(1, np.float32), 8, SteppingClock())
    assert list(times) == ["good"] and len(times["good"]) == 8
    assert "smoke" in failed["bad"]


@pytest.mark.parametrize(("count", "left_out"), [(6, 0), (8, 0), (9, 1), (20, 5), (60, 21)])  # tables of the sign test
def test_the_interval_of_a_median_is_that_of_the_tables(count, left_out):
    found = median_of(random.Random(count).sample(range(count), count))
    assert (found.low, found.high) == (left_out, count - 1 - left_out)
    assert found.value == (count - 1) / 2


def test_the_interval_holds_the_true_median_as_often_as_it_says():
    rng = np.random.default_rng(7)
    held = [
        found.low <= math.log(2) <= found.high
        for found in (median_of(list(rng.exponential(size=60))) for _ in range(2000))
    ]
    assert 0.94 < np.mean(held) < 0.985  # 97.3 % for 60 values; whole ranks cannot meet 95 % exactly


def test_too_few_rounds_for_an_interval_are_refused(tmp_path):
    with pytest.raises(ValueError, match="6"):
        bench(pack_stub_bundle(tmp_path / "bundle"), rounds=5)
    with pytest.raises(ValueError, match="6"):
        median_of([1.0] * 5)


def test_operations_agree_with_those_that_torch_counts(packed, run):
    cost = cost_of_onnx((packed.path / "models/atr-fas.fp32.onnx").read_bytes())
    assert cost.gflop == pytest.approx(gflop_per_capture(run.network), rel=1e-6)
    learned = sum(parameter.numel() for parameter in run.network.parameters())
    assert cost.parameters == pytest.approx(learned, rel=0.01)  # batch norms are folded, depth bins are constants


def test_operations_of_each_kind_are_counted_by_hand():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], group=2, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["a", "v"], ["b"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("Gemm", ["c", "m"], ["d"], transB=1),
        helper.make_node("MatMul", ["d", "k"], ["y"]),
    ]
    weights = {"w": (6, 2, 3, 3), "v": (6, 5, 2, 2), "m": (7, 1280), "k": (7, 3)}
    tensors = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()]
    tensors.append(numpy_helper.from_array(np.ones(9, np.int64), "unused"))
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", (1, 4, 8, 8)), ("y", (1, 3)))]
    graph = helper.make_graph(nodes, "each", ends[:1], ends[1:], tensors)
    cost = cost_of_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())
    products = 6 * 64 * (2 * 9) + 6 * 64 * (5 * 4) + 7 * 1280 + 3 * 7
    assert cost.gflop == pytest.approx(2 * products / 1e9)
    assert cost.parameters == sum(math.prod(shape) for shape in weights.values())


@pytest.mark.parametrize("model", [b"", b"no model", stub_model()[:-100]])
def test_a_graph_that_cannot_be_counted_is_refused(model):
    with pytest.raises(ModelFailed):
        cost_of_onnx(model)


def test_the_block_replaces_only_what_is_between_the_marks(several, tmp_path):
    page = tmp_path / "formats.md"
    page.write_text(PAGE, encoding="utf-8")
    result = bench(several, rounds=6)
    write_page(page, result)
    text = page.read_text(encoding="utf-8")
    assert (
        text.startswith("# Formats\n\nTyped.\n\n<!--") and text.endswith("-->\n\nTyped, too.\n") and "old" not in text
    )
    write_page(page, result)
    assert page.read_text(encoding="utf-8") == text


def test_the_block_says_what_was_measured_and_that_rates_are_simulated(several):
    text = block(bench(several, rounds=6))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 4 and len({line.count("|") for line in lines}) == 1
    assert "5.7 (4.8 to 6.6)" in lines[3] and "| 0.0012 |" in lines[3] and "0.0034 (mean)" in lines[3]
    assert "simulated captures: it says nothing about real people" in text
    assert "Timed with ONNX Runtime." in text
    assert "stub.fp32.mlpackage has no time" in text and "1 thread" in text


@pytest.mark.parametrize("text", ["# no marks\n", f"{END}\n{BEGIN}\n", PAGE + PAGE, f"{BEGIN}\n{PAGE}"])
def test_a_page_without_one_place_for_the_table_is_refused_and_left_alone(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(PageMarksMissing, match="begin"):
        check_page(page)
    assert page.read_text(encoding="utf-8") == text


def test_the_command_prints_one_json_object(several, capsys):
    assert run_command(["bench", str(several), "--rounds", "6", "--json", "-"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["rows"]) == 4 and all(set(row) >= KEYS for row in printed["rows"])
    assert {row["threads"] for row in printed["rows"]} == {1}


def test_the_command_writes_its_files_and_a_table(several, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    page, out = tmp_path / "formats.md", tmp_path / "bench.json"
    page.write_text(PAGE, encoding="utf-8")
    call = ["bench", str(several), "--threads", "2", "--rounds", "6", "--json", str(out), "--markdown", str(page)]
    assert run_command(call) == 0
    shown = capsys.readouterr().out
    assert "stub.fp16.onnx" in shown and "2 threads" in shown
    assert json.loads(out.read_text())["rows"][0]["threads"] == 2
    assert "stub.int8.onnx" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["none"], 4), (["none", "--rounds", "5"], EXIT_USAGE), (["none", "--markdown", "no/such/page.md"], 3)],
)
def test_the_command_refuses_what_makes_no_sense(arguments, status, capsys):
    assert run_command(["bench", *arguments]) == status
    assert "flashproof:" in capsys.readouterr().err
