"""Pretraining: scenes of new people, photographs that serve several draws, a teacher, and weights to begin with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_network import TINY

from sdk_reference.align import fit_affine
from sdk_reference.preprocess import PreprocessSettings
from simulator.instruments import SPECIES
from simulator.truth_landmarks import LANDMARKS
from training import distillation, learners, photograph_stock, pretrain_beginning
from training import pretrain as pretraining
from training.augment import PATCHY, WIDE, AugmentSettings
from training.checkpoint import save_weights
from training.course import Course, one_cycle
from training.data import person_code
from training.distillation import Answer, Teacher, distillation_loss, teacher_of
from training.errors import LossNotFinite, RunInvalid, SettingOutOfRange, SettingsMismatch
from training.first_weights import (
    PRETRAINED_FILE,
    PRETRAINED_WEIGHTS,
    began_with_unknown,
    load_first_weights,
    of_record,
)
from training.fresh_scenes import BRIGHTEST_LUX, HARDEST, fresh_recipes, render_fresh, supply
from training.learners import Learner, Steps
from training.log_table import read_log
from training.losses import Targets
from training.network import ATRFAS, MOBILE
from training.photograph_buffer import PhotographBuffer, Photographs, show_again
from training.photograph_stock import PhotographStock
from training.pretrain import PretrainSettings, pretrain
from training.pretrain_beginning import TEACHER_FILE
from training.pretrain_draws import PARTS, ScenePool, Sheets, photograph
from training.pretrain_keeping import Taken, add_line, resume, save
from training.splits import split_of
from training.synthesis import SimulationSettings, make_stage
from training.true_alignment import PLACES, USED, true_affine

CPU = torch.device("cpu")
FEW = SimulationSettings(count=400, seed=3, split="train")
SMALL_TEACHER = replace(TINY, stem_widths=(6, 6))
QUICK = PretrainSettings(
    steps=3, batch_size=4, unseen=2, photographed_at_once=4, kept_photographs=12, scenes=400, validation_scenes=40
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distillation, "TEACHER", SMALL_TEACHER)
    monkeypatch.setattr(photograph_stock, "FIRST_SCENES", 1)


# Scenes


def test_scenes_are_of_people_of_one_split_and_masks_are_a_quarter() -> None:
    wanted = fresh_recipes(replace(FEW, count=6000))
    assert {split_of(f"sim-{recipe.subject:06d}") for recipe in wanted} == {"train"}
    kinds = ("live", "print", "replay", "mask")
    shares = {kind: np.mean([recipe.species == kind for recipe in wanted]) for kind in kinds}
    assert shares["live"] == pytest.approx(0.54, abs=0.03)
    assert shares["mask"] == pytest.approx(0.29, abs=0.03)
    masks = [recipe.instrument for recipe in wanted if recipe.species == "mask"]
    assert np.mean([instrument in HARDEST for instrument in masks]) == pytest.approx(0.44, abs=0.05)


@pytest.mark.parametrize("species", SPECIES)
def test_a_scene_is_aligned_by_where_its_face_truly_is(species: str) -> None:
    """The landmarks lie where the template has them, but for what one affine map cannot do."""
    recipe = next(r for r in fresh_recipes(FEW) if r.species == species)
    stage = make_stage(recipe, FEW)
    assert stage.shown is not None
    points = stage.shown.landmarks(stage.view, stage.size)
    affine = true_affine(stage)
    mapped = points[list(USED)] @ affine[:, :2].T + affine[:, 2]
    assert np.abs(mapped - np.array(PLACES)).mean() < 4.0
    assert np.allclose(affine, fit_affine(points[list(USED)], np.array(PLACES)))
    assert len(points) == len(LANDMARKS)


def test_a_face_that_moved_by_ten_pixels_is_found_there() -> None:
    """Not a constant map: the affine follows the person's place in the frame."""
    stages = [make_stage(r, FEW) for r in [r for r in fresh_recipes(FEW) if r.species == "live"][:2]]
    assert not np.allclose(true_affine(stages[0]), true_affine(stages[1]), atol=1.0)


def test_rooms_too_bright_for_a_flash_are_not_rendered() -> None:
    recipe = fresh_recipes(FEW)[0]
    assert render_fresh(recipe, replace(FEW, lux=BRIGHTEST_LUX + 1)) is None
    scene = render_fresh(recipe, replace(FEW, lux=50.0))
    assert scene is not None and scene.layers.planes.shape == (7, 256, 256)
    assert np.isfinite(scene.layers.planes.astype(np.float32)).all()


def test_a_supply_gives_every_scene_and_ends() -> None:
    wanted, settings = fresh_recipes(FEW)[:3], replace(FEW, lux=50.0)
    with supply(wanted, settings, workers=1) as rendered:
        found = []
        while not rendered.is_exhausted:
            found += rendered.fetch(2, wait=True)
    assert len(found) == 3


def test_what_goes_wrong_in_a_worker_is_told_to_whoever_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no such material")

    monkeypatch.setattr("training.fresh_scenes.make_stage", broken)
    with supply(fresh_recipes(FEW)[:1], replace(FEW, lux=50.0), workers=1) as rendered:
        with pytest.raises(ValueError, match="no such material"):
            rendered.fetch(1, wait=True)


def test_draws_are_half_live_and_most_attacks_are_masks() -> None:
    pool = filled_pool()
    kinds = [request.scene.species for request in pool.requests(64, np.random.default_rng(0))]
    assert [kinds.count(species) for species in PARTS] == [32, 4, 4, 24]


def filled_pool(light_travels: bool | None = None) -> ScenePool:
    pool, settings = ScenePool(CPU, light_travels), replace(FEW, lux=30.0)
    for species in SPECIES:
        recipe = next(r for r in fresh_recipes(FEW) if r.species == species)
        scene = render_fresh(recipe, settings)
        assert scene is not None
        pool.add(scene)
    return pool


@pytest.mark.parametrize("light_travels", [True, False], ids=["picture by picture", "a batch at once"])
def test_a_request_draws_the_same_photograph_from_the_same_seed(light_travels: bool) -> None:
    pool, sheets = filled_pool(light_travels), Sheets(WIDE, 4)
    request = pool.requests(1, np.random.default_rng(5))[0]
    batches = [torch.utils.data.default_collate([sheets[request]]) for _ in range(2)]
    one, other = (photograph(batch, pool) for batch in batches)
    assert one.frames.shape == (1, 5, 3, 256, 256) and one.depth.shape == (1, 4, 4)
    assert torch.equal(one.frames, other.frames) and one.frames.float().std() > 1


def test_without_a_gpu_light_travels_and_the_same_is_photographed() -> None:
    """Both ways draw the same plan, crop and camera; only noise is drawn in two ways."""
    assert filled_pool().light_travels
    taken = []
    for travels in (True, False):
        pool = filled_pool(travels)
        request = pool.request(0, np.random.default_rng(5))
        assert (request.scene.layers.planes.size > 0) == travels
        taken.append(photograph(torch.utils.data.default_collate([Sheets(WIDE, 4)[request]]), pool))
    here, there = taken
    assert torch.equal(here.depth, there.depth) and torch.equal(here.response, there.response)
    assert torch.equal(here.species, there.species)
    assert (here.frames.float() - there.frames.float()).abs().mean() < 4.0 < here.frames.float().std()


# Photographs


def numbered(count: int, begin: int = 0) -> Photographs:
    """Captures whose pixels, depth and species tell them apart."""
    names = torch.arange(begin, begin + count)
    frames = names[:, None, None, None, None].expand(count, 5, 3, 256, 256).to(torch.uint8)
    depth = torch.arange(4.0).expand(count, 4, 4)
    return Photographs(frames, depth, torch.zeros(count, 6, 3), names)


def test_each_photograph_is_first_shown_as_it_is_and_in_turn() -> None:
    buffer = PhotographBuffer(6, reach_px=2)
    generator = torch.Generator().manual_seed(0)
    buffer.put(numbered(4))
    assert buffer.draw(2, 1, generator).species[:2].tolist() == [0, 1]
    buffer.put(numbered(3, begin=4))  # the first one gives way
    assert buffer.unseen == 5 and buffer.filled == 6
    drawn = buffer.draw(5, 40, generator)
    assert drawn.species[:5].tolist() == [2, 3, 4, 5, 6]
    assert set(drawn.species[5:].tolist()) == {1, 2, 3, 4, 5, 6}
    assert torch.equal(drawn.frames[:, 0, 0, 0, 0].long(), drawn.species)


def test_shown_again_a_photograph_is_mirrored_with_its_depth_or_shifted() -> None:
    across = torch.arange(256, dtype=torch.uint8).expand(32, 5, 3, 256, 256)
    answer = Answer(torch.arange(64.0).view(32, 2), torch.arange(4.0).expand(32, 1, 3, 4, 4))
    given = Photographs(across, torch.arange(4.0).expand(32, 4, 4), torch.zeros(32, 6, 3), torch.zeros(32), answer)
    shown = show_again(given, 2, torch.Generator().manual_seed(1))
    middle = shown.frames[:, 0, 0, 128, 100:103].long()
    mirrored = middle[:, 0] > middle[:, 1]
    assert 8 < mirrored.sum() < 24
    shifts = torch.where(mirrored, 155 - middle[:, 0], 100 - middle[:, 0]).abs()
    assert shifts.max() == 2 and shifts.min() == 0
    assert torch.equal(shown.depth[mirrored], given.depth[mirrored].flip(-1))
    assert torch.equal(shown.depth[~mirrored], given.depth[~mirrored])
    assert shown.answer is not None and torch.equal(shown.answer.score_logits, answer.score_logits)
    assert torch.equal(shown.answer.frame_depth_logits[:, 0, 1], shown.depth), "the teacher's depth is another's"


def test_answers_stay_with_their_photographs() -> None:
    def answered(count: int, begin: int) -> Photographs:
        names = torch.arange(begin, begin + count).half()
        maps = names.view(-1, 1, 1, 1, 1).expand(count, 1, 3, 4, 4)
        return replace(numbered(count, begin), answer=Answer(names[:, None].expand(count, 2), maps))

    buffer = PhotographBuffer(6, reach_px=2)
    for begin in (0, 4):
        buffer.put(answered(4, begin))
    drawn = buffer.draw(4, 30, torch.Generator().manual_seed(0))
    assert drawn.answer is not None and len(set(drawn.species.tolist())) == 6
    assert torch.equal(drawn.answer.score_logits[:, 1].long(), drawn.species)
    assert torch.equal(drawn.answer.frame_depth_logits[:, 0, 2, 1, 3].long(), drawn.species)


# Teacher and student


def test_a_teacher_is_larger_and_fits_the_students_input() -> None:
    with torch.device("meta"):
        sizes = [sum(p.numel() for p in ATRFAS(s).parameters()) for s in (MOBILE, teacher_of(MOBILE))]
    assert sizes[1] > 5 * sizes[0]
    with pytest.raises(ValueError, match="joint_detail"):
        teacher_of(replace(MOBILE, joint_detail=1, input_size=128))


def test_the_distillation_loss_is_least_where_the_student_says_what_the_teacher_says() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        answer = ATRFAS(TINY).eval()(torch.zeros(2, 6, 3, 32, 32))
    a, b = (
        replace(
            answer,
            frame_depth_logits=torch.randn_like(answer.frame_depth_logits),
            score_logits=torch.randn_like(answer.score_logits),
        )
        for _ in range(2)
    )
    other_depth, other_verdict = (
        replace(a, frame_depth_logits=b.frame_depth_logits),
        replace(a, score_logits=b.score_logits),
    )
    taught = Answer.of(a)
    assert distillation_loss(a, taught) < distillation_loss(other_depth, taught) - 0.1
    assert distillation_loss(a, taught) < distillation_loss(other_verdict, taught) - 0.01
    learns, teaches = (replace(a, score_logits=a.score_logits.clone().requires_grad_()) for _ in range(2))
    distillation_loss(learns, Answer.of(teaches)).backward()
    assert learns.score_logits.grad is not None and teaches.score_logits.grad is None


def test_a_step_moves_both_networks_and_their_averages_follow_slowly() -> None:
    torch.manual_seed(0)
    learners = [Learner(settings, 1e-3, 1e-2, 0, CPU) for settings in (SMALL_TEACHER, TINY)]
    before = [learner.network.stem.layers[0][0].weight.clone() for learner in learners]
    for learner in learners:
        learner.set_rate(1e-2)
    targets = Targets(
        live=torch.tensor([1, 0]),
        species=torch.tensor([-1, 2]),
        depth=torch.full((2, 4, 4), 0.5),
        response=torch.ones(2, 6, 3),
    )
    frames = torch.randint(0, 256, (2, 5, 3, 256, 256), dtype=torch.uint8)
    Steps(learners, 0.1, PreprocessSettings(input_size=32)).take(frames, targets)
    for learner, old in zip(learners, before, strict=True):
        new, average = (net.stem.layers[0][0].weight for net in (learner.network, learner.average))
        assert not torch.equal(new, old)
        torch.testing.assert_close(average, old.lerp(new, 0.1))


def test_losses_that_are_no_numbers_stop_a_pretraining() -> None:
    learner = Learner(TINY, 1e-3, 1e-2, 0, CPU)
    pretraining._require_finite({"student": learner}, 7)
    learner.losses[2] = torch.nan
    with pytest.raises(LossNotFinite, match="step 7"):
        pretraining._require_finite({"student": learner}, 7)


def test_the_learning_rate_rises_and_falls_to_nothing() -> None:
    rates = [one_cycle(done, 0.1) for done in np.linspace(0, 1, 101)]
    assert rates[0] == pytest.approx(0.04) and max(rates) == pytest.approx(1.0) and rates[-1] == pytest.approx(0.0)
    assert int(np.argmax(rates)) == 10


def test_a_training_ends_by_its_steps_or_by_the_clock() -> None:
    by_steps, by_clock = Course(steps=200), Course(steps=200, minutes=2.0)
    assert by_steps.done(50, 1e9) == 0.25 and by_clock.done(10**9, 30.0) == 0.25
    assert by_steps.done(201, 0.0) == by_clock.done(0, 121.0) == 1.0
    with pytest.raises(SettingOutOfRange, match="minutes"):
        PretrainSettings(minutes=0.0)


# The whole


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrained") / "out"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(distillation, "TEACHER", SMALL_TEACHER)
        patched.setattr(photograph_stock, "FIRST_SCENES", 1)
        pretrain(out, QUICK, network=TINY, device=CPU, loader_workers=1, quiet=True)
    return out


def test_a_pretraining_leaves_weights_to_begin_with(pretrained: Path) -> None:
    first = load_first_weights(pretrained)
    record = json.loads((pretrained / PRETRAINED_FILE).read_text())
    assert first.settings == TINY and first.sha256 == record["weights"]["sha256"]
    assert record["settings"]["steps"] == 3 and 0 <= record["validation"]["student_eer"] <= 1
    assert record["validation"]["validation_captures"] >= 5
    assert not (pretrained / "last.pt").exists()


def test_a_run_remembers_whom_its_first_weights_had_seen(pretrained: Path) -> None:
    first = load_first_weights(pretrained)
    record = json.loads((pretrained / PRETRAINED_FILE).read_text())
    wanted = fresh_recipes(SimulationSettings(count=QUICK.scenes, seed=QUICK.seed, split="train"))
    assert set(record["trained_on"]["people"]) == {person_code(f"sim-{recipe.subject:06d}") for recipe in wanted}
    own = {"people": ["a"], "devices": ["d"], "scenes": ["s"]}
    began = {"data": {"splits": {"train": own}}, "training": {"started_from": "x"}, "begun_with": first.to_dict()}
    assert of_record(began)["people"] == sorted({"a", *record["trained_on"]["people"]})
    assert not began_with_unknown(began)
    assert (
        began_with_unknown({**began, "begun_with": {"sha256": "x"}}) and of_record({**began, "begun_with": None}) == {}
    )
    alone = {**began, "training": {"started_from": None}, "begun_with": None}
    assert of_record(alone) == own and not began_with_unknown(alone)


def test_a_pretraining_begins_with_another_and_stays_half_way_to_it(
    small: None, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, settings = load_first_weights(pretrained), replace(QUICK, seed=5, average=1.0)
    before: list[list[dict[str, torch.Tensor]]] = []
    after: list[list[dict[str, torch.Tensor]]] = []
    take = Steps.take

    def looks(self: Steps, *batch: torch.Tensor) -> None:
        before.append([{k: v.clone() for k, v in learner.network.state_dict().items()} for learner in self.learners])
        take(self, *batch)  # type: ignore[arg-type]
        after.append([{k: v.clone() for k, v in learner.network.state_dict().items()} for learner in self.learners])

    def named(networks: Mapping[str, ATRFAS], _: object) -> dict[str, float]:
        return {"student_eer": float(networks["student"].state_dict()["stem.layers.0.0.weight"].sum())}

    monkeypatch.setattr(Steps, "take", looks)
    monkeypatch.setattr(pretraining, "errors", named)
    record = pretrain(tmp_path / "out", settings, start=pretrained, network=TINY, device=CPU, quiet=True)
    teacher, student = before[0]
    assert all(torch.equal(value, student[name]) for name, value in first.network.state_dict().items())
    assert all(torch.equal(value, teacher[name]) for name, value in load_file(pretrained / TEACHER_FILE).items())
    saved = load_first_weights(tmp_path / "out")
    ends = load_file(tmp_path / "out" / TEACHER_FILE), saved.network.state_dict()
    judged = record["validation"]["student_eer"]
    assert judged == pytest.approx(float(ends[1]["stem.layers.0.0.weight"].sum())), "not of the weights that are saved"
    assert judged != pytest.approx(float(read_log(tmp_path / "out")[-1]["student_eer"]))
    for end, reached, began in zip(ends, after[-1], before[0], strict=True):
        for name, value in end.items():
            if value.is_floating_point():
                torch.testing.assert_close(value, reached[name].lerp(began[name], 0.5))
        assert not torch.equal(end["stem.layers.0.0.weight"], began["stem.layers.0.0.weight"])
    assert record["started_from"] == first.sha256 and len(before) == QUICK.steps
    assert set(saved.trained_on["people"]) > set(first.trained_on["people"])
    with pytest.raises(SettingsMismatch, match="started_from"):
        pretrain(tmp_path / "out", settings, network=TINY, device=CPU, quiet=True)


def test_photographs_have_the_looks_that_were_asked_for(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[AugmentSettings] = []
    stock = pretraining.PhotographStock

    def looks(rendered: object, augmentation: AugmentSettings, *rest: object, **named: object) -> PhotographStock:
        asked.append(augmentation)
        return stock(rendered, augmentation, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(pretraining, "PhotographStock", looks)
    settings = replace(QUICK, steps=1, looks="patchy")
    record = pretrain(tmp_path / "out", settings, network=TINY, device=CPU, quiet=True)
    assert asked == [PATCHY] and record["settings"]["looks"] == "patchy"
    assert replace(PATCHY, blotches=WIDE.blotches) == WIDE and PATCHY.blotches > WIDE.blotches
    with pytest.raises(SettingOutOfRange, match="odd"):
        PretrainSettings(looks="odd")


def test_a_teacher_that_only_teaches_is_asked_once_about_each_photograph(
    small: None, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.Tensor] = []
    shown: list[tuple[torch.Tensor, Answer | None]] = []
    answer, take = Teacher.answer, Steps.take

    def hears(self: Teacher, frames: torch.Tensor) -> Answer:
        asked.append(frames)
        return answer(self, frames)

    def looks(self: Steps, frames: torch.Tensor, targets: Targets, taught: Answer | None = None) -> None:
        assert len(self.learners) == 1, "the teacher learns"
        shown.append((frames, taught))
        take(self, frames, targets, taught)

    monkeypatch.setattr(Teacher, "answer", hears)
    monkeypatch.setattr(Steps, "take", looks)
    settings = replace(QUICK, teacher_learning_rate=0.0, steps=4)
    record = pretrain(tmp_path / "out", settings, start=pretrained, network=TINY, device=CPU, quiet=True)
    photographed = int(record["validation"]["photographs"] * record["validation"]["judgeable"] + 0.5)
    assert sum(map(len, asked)) == photographed < sum(len(frames) for frames, _ in shown)
    teacher = ATRFAS(SMALL_TEACHER).eval()
    teacher.load_state_dict(load_file(pretrained / TEACHER_FILE))
    frames, taught = shown[-1]
    assert taught is not None
    expected = Teacher(teacher, PreprocessSettings(input_size=32))
    new = answer(expected, frames[: QUICK.unseen])
    torch.testing.assert_close(taught.score_logits[: QUICK.unseen], new.score_logits, atol=0.02, rtol=0.02)
    torch.testing.assert_close(taught.frame_depth_logits[: QUICK.unseen], new.frame_depth_logits, atol=0.05, rtol=0.02)
    kept = load_file(tmp_path / "out" / TEACHER_FILE)
    assert all(torch.equal(value, kept[name]) for name, value in load_file(pretrained / TEACHER_FILE).items())
    assert record["taught_by"] == hashlib.sha256((pretrained / TEACHER_FILE).read_bytes()).hexdigest()
    assert 0 <= record["validation"]["teacher_eer"] <= 1 and "teacher_depth" not in record["validation"]
    before, after = (load_first_weights(folder).network.state_dict() for folder in (pretrained, tmp_path / "out"))
    assert not torch.equal(before["stem.layers.0.0.weight"], after["stem.layers.0.0.weight"])


def test_a_teacher_that_only_teaches_must_be_there(small: None, pretrained: Path, tmp_path: Path) -> None:
    settings = replace(QUICK, teacher_learning_rate=0.0)
    with pytest.raises(RunInvalid, match="no folder to begin with"):
        pretrain(tmp_path / "out", settings, network=TINY, device=CPU, quiet=True)
    for name in (PRETRAINED_FILE, PRETRAINED_WEIGHTS):
        (tmp_path / name).write_bytes((pretrained / name).read_bytes())
    with pytest.raises(RunInvalid, match=r"without teacher\.safetensors"):
        pretrain(tmp_path / "out", settings, start=tmp_path, network=TINY, device=CPU, quiet=True)
    assert not (tmp_path / "out").exists()


def test_weights_that_do_not_fit_or_whose_people_nobody_knows_are_no_beginning(
    small: None, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunInvalid, match="weights of another network"):
        pretrain(tmp_path / "a", QUICK, start=pretrained, network=replace(TINY, depth_bins=5), device=CPU, quiet=True)
    unknown = replace(load_first_weights(pretrained), trained_on={})
    monkeypatch.setattr(pretrain_beginning, "load_first_weights", lambda _: unknown)
    with pytest.raises(RunInvalid, match="what they had seen"):
        pretrain(tmp_path / "b", QUICK, start=pretrained, network=TINY, device=CPU, quiet=True)
    assert not list(tmp_path.iterdir()), "a folder was begun that nothing can be made of"


def test_a_pretraining_by_the_clock_ends_and_learns_ever_more_slowly(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(np.arange(0.0, 1e6, 6.0))
    rates: list[float] = []
    monkeypatch.setattr(pretraining.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(Steps, "take", lambda self, *_: rates.append(float(self.learners[1].rate)))
    record = pretrain(
        tmp_path / "out", replace(QUICK, minutes=1.0), network=TINY, device=CPU, workers=1, loader_workers=0, quiet=True
    )
    assert record["validation"]["seconds"] == 60.0 and len(rates) == 10
    assert rates == pytest.approx([QUICK.learning_rate * one_cycle(k / 10, QUICK.warm_up) for k in range(10)])


def test_a_pretraining_by_the_clock_goes_on_with_the_time_that_is_left(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learners = [Learner(settings, 1e-3, 1e-2, 0, CPU) for settings in (SMALL_TEACHER, TINY)]
    save(tmp_path, Taken(steps=7, seconds=42.0), learners)
    assert resume(tmp_path, learners) == Taken(7, 42.0)
    clock, shares = iter(np.arange(1000.0, 1e6, 6.0)), []
    monkeypatch.setattr(pretraining.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(pretraining, "one_cycle", lambda done, _: shares.append(done) or 0.0)
    monkeypatch.setattr(pretraining, "resume", lambda *_: Taken(7, 42.0))
    pretrain(tmp_path / "out", replace(QUICK, minutes=1.0), network=TINY, device=CPU, quiet=True)
    assert shares[::2] == pytest.approx([0.7, 0.8, 0.9])


def test_lines_of_steps_that_are_taken_again_give_way(tmp_path: Path) -> None:
    for step in (700, 1400, 2100, 1400):
        add_line(tmp_path, {"step": step, "seconds": 0.5 * step})
    assert [row["step"] for row in read_log(tmp_path)] == ["700", "1400"]
    assert (tmp_path / "log.csv").read_text() == "step,seconds\n700,350.0\n1400,700.0\n"


def test_scenes_without_one_of_every_kind_are_refused() -> None:
    wanted = [recipe for recipe in fresh_recipes(FEW) if recipe.species != "mask"][:2]
    settings = replace(FEW, lux=50.0)
    with supply(wanted, settings, workers=1) as rendered:
        stock = PhotographStock(rendered, WIDE, TINY, CPU, kept=8, at_once=2, loader_workers=0, seed=0)
        with pytest.raises(SettingOutOfRange, match="too few"):
            stock.begin()


def test_photographs_that_no_phone_would_judge_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher is not asked about none, and what is kept beside the others stays whole."""
    judgeable = iter([torch.tensor([False, False]), torch.tensor([True, True]), torch.tensor([False, False])])
    always = torch.tensor([True, True])
    monkeypatch.setattr("training.pretrain_draws.judgeable", lambda *_: next(judgeable, always))
    monkeypatch.setattr(photograph_stock, "FIRST_SCENES", 1)
    wanted = [next(r for r in fresh_recipes(FEW) if r.species == species) for species in SPECIES]
    teacher = Teacher(ATRFAS(SMALL_TEACHER), PreprocessSettings(input_size=32))
    with supply(wanted, replace(FEW, lux=50.0), workers=1) as rendered:
        stock = PhotographStock(rendered, WIDE, TINY, CPU, kept=8, at_once=2, loader_workers=0, seed=0, teacher=teacher)
        stock.begin()
        batch = stock.draw(4, 0)
    assert (stock.photographed, stock.judgeable) == (8, 4)
    assert batch.answer is not None and len(batch.answer.score_logits) == len(batch) == 4


def test_a_graph_is_given_each_batchs_own_values() -> None:
    first, second = (Answer(torch.full((2, 2), value), torch.full((2, 1, 3, 4, 4), value)) for value in (1.0, 2.0))
    places = learners._copy(first)
    learners._fill(places, second)
    assert torch.equal(places.score_logits, second.score_logits)
    assert torch.equal(places.frame_depth_logits, second.frame_depth_logits)
    assert first.score_logits.max() == 1.0, "not a copy"


def test_a_folder_of_other_settings_or_other_things_is_refused(small: None, pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsMismatch, match="other settings"):
        pretrain(pretrained, replace(QUICK, steps=4), network=TINY, device=CPU, quiet=True)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(RunInvalid, match="something else"):
        pretrain(tmp_path, QUICK, network=TINY, device=CPU, quiet=True)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "settings.json").write_text((pretrained / "settings.json").read_text())
    (damaged / "last.pt").write_bytes(b"no checkpoint")
    with pytest.raises(RunInvalid, match="cannot be gone on from"):
        pretrain(damaged, QUICK, network=TINY, device=CPU, quiet=True)
    with pytest.raises(SettingOutOfRange, match="steps"):
        PretrainSettings(steps=0)


def test_a_killed_pretraining_goes_on_where_it_was_saved(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "SAVED_EVERY_S", 0.0)
    taken: list[int] = []
    take = Steps.take

    def dies(self: Steps, *batch: object) -> None:
        if len(taken) == 2:
            raise KeyboardInterrupt
        taken.append(1)
        take(self, *batch)  # type: ignore[arg-type]

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Steps, "take", dies)
        pretrain(tmp_path / "out", QUICK, network=TINY, device=CPU, quiet=True)
    kept = torch.load(tmp_path / "out" / "last.pt", weights_only=True)
    assert kept["taken"]["steps"] == 2
    rates: list[float] = []

    def looks(self: Steps, *_: object) -> None:
        rates.append(self.learners[1].optimiser.param_groups[0]["lr"])

    monkeypatch.setattr(Steps, "take", looks)
    pretrain(tmp_path / "out", QUICK, network=TINY, device=CPU, quiet=True)
    assert rates == [pytest.approx(QUICK.learning_rate * one_cycle(2 / 3, QUICK.warm_up))]
    weights = load_first_weights(tmp_path / "out").network.state_dict()
    for name, value in kept["learners"][1]["average"].items():
        assert torch.equal(weights[name], value), name


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda record: record.update(version=2), "version 2"),
        (lambda record: record["network"].pop("n0"), "n0"),
        (lambda record: record["weights"].update(sha256="00" * 32), "00000000"),
    ],
    ids=["version", "sizes", "hash"],
)
def test_damaged_first_weights_are_refused(pretrained: Path, tmp_path: Path, change, says: str) -> None:
    record = json.loads((pretrained / PRETRAINED_FILE).read_text())
    change(record)
    (tmp_path / PRETRAINED_FILE).write_text(json.dumps(record))
    save_weights(load_first_weights(pretrained).network, tmp_path / PRETRAINED_WEIGHTS)
    with pytest.raises(RunInvalid, match=says):
        load_first_weights(tmp_path)
