"""The probe of what a model tells skin by: one property changes, and nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from sdk_reference.landmarks import FaceMeshDetector
from simulator.head import build_head
from simulator.identity import Identity
from simulator.material import skin_surface
from simulator.stage import set_stage
from tests.stub_run import stub_run
from training import skin_probe
from training.evaluated_model import open_model
from training.skin_probe import CHANGES, EvenOut, probe


@pytest.fixture(scope="module")
def painted():
    identity = Identity.draw(3)
    mesh = build_head(identity)
    surface = skin_surface(identity, mesh.canonical, mesh.part, mesh.hair)
    skin = (mesh.part < 0.5) & (surface.hair <= 0.5) & (surface.eye <= 0.5)  # spelt out, to hold `bare_skin` against
    assert np.array_equal(surface.bare_skin(mesh.part), skin)
    return surface, mesh.part, skin


def test_even_gloss_is_even_on_skin_and_untouched_elsewhere(painted):
    surface, part, skin = painted
    even = EvenOut(gloss=1.0)(surface, part)
    assert np.ptp(even.specular_scale[skin]) < 1e-5 and np.ptp(even.roughness[skin]) < 1e-5
    assert np.ptp(surface.specular_scale[skin]) > 0.5
    assert np.array_equal(even.specular_scale[~skin], surface.specular_scale[~skin])
    assert np.allclose(even.albedo, surface.albedo, atol=1e-6)


def test_one_hue_keeps_light_and_dark(painted):
    surface, part, skin = painted
    even = EvenOut(colour=1.0)(surface, part)
    hue = even.albedo[skin] / even.albedo[skin].mean(axis=1, keepdims=True)
    assert np.ptp(hue, axis=0).max() < 0.05 < np.ptp(surface.albedo[skin, 0] / surface.albedo[skin].mean(axis=1))
    assert np.corrcoef(even.albedo[skin].mean(axis=1), surface.albedo[skin].mean(axis=1))[0, 1] > 0.99
    assert np.array_equal(even.albedo[~skin], surface.albedo[~skin])


def test_nothing_evened_out_is_the_same_skin(painted):
    surface, part, _ = painted
    same = EvenOut()(surface, part)
    assert np.allclose(same.albedo, surface.albedo, atol=1e-6)
    assert np.array_equal(same.roughness, surface.roughness)


@pytest.mark.parametrize("change", [name for name in CHANGES if name != "as simulated"])
def test_every_change_reaches_a_live_face_and_no_attack(change):
    plain, changed = (set_stage(5, 7, "live", "face", 128, skin=CHANGES[name]) for name in ("as simulated", change))
    assert np.array_equal(plain.layers.covered, changed.layers.covered)
    off_face = ~plain.layers.covered
    assert np.array_equal(plain.layers.screen[off_face], changed.layers.screen[off_face])
    assert np.abs(plain.layers.screen - changed.layers.screen)[plain.layers.face].max() > 1e-4
    masks = [set_stage(5, 7, "mask", "mask_resin", 128, skin=CHANGES[name]) for name in ("as simulated", change)]
    assert np.array_equal(masks[0].layers.screen, masks[1].layers.screen)


def test_rows_are_of_the_same_scenes_and_counted_against_the_threshold(tmp_path):
    stub_run(tmp_path / "mobile", threshold=1e-6)
    model = open_model(tmp_path / "mobile")
    rows = probe(model, 2, FaceMeshDetector(), ("as simulated", "no scattering", "as simulated"))
    assert [row.captures for row in rows] == [2, 2, 2]
    assert rows[0] == rows[2]  # the same scenes, photographed in the same way
    assert [row.below_threshold for row in rows] == [0, 0, 0]
    with pytest.raises(ValueError, match="no such skin"):
        probe(model, 1, FaceMeshDetector(), ("no such skin",))


def test_a_scene_counts_only_where_every_change_leaves_a_face(tmp_path, monkeypatch):
    stub_run(tmp_path / "mobile", threshold=0.5)
    asked = []

    def without_some(model, seed, subject, plan, change, detector):
        asked.append((subject, change))
        return None if change == "no scattering" and len(asked) < 3 else np.zeros((6, 3, 32, 32), np.float32)

    monkeypatch.setattr(skin_probe, "_input", without_some)
    rows = probe(open_model(tmp_path / "mobile"), 3, FaceMeshDetector(), ("as simulated", "no scattering"))
    assert len({subject for subject, _ in asked}) == 3 and [row.captures for row in rows] == [2, 2]
    monkeypatch.setattr(skin_probe, "_input", lambda *arguments: None)
    (row,) = probe(open_model(tmp_path / "mobile"), 1, FaceMeshDetector(), ("as simulated",))
    assert (row.captures, row.median, row.below_threshold) == (0, None, 0)


def test_the_command_prints_a_table_and_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setattr(skin_probe, "CHANGES", {"as simulated": CHANGES["as simulated"]})
    stub_run(tmp_path / "mobile", threshold=1.0)
    app = skin_probe.typer.Typer()
    app.command()(skin_probe.main)
    told = CliRunner().invoke(app, [str(tmp_path / "mobile"), "--people", "1", "--json", str(tmp_path / "rows.json")])
    assert told.exit_code == 0, told.output
    assert "| as simulated | 1 |" in told.output and "simulated live captures" in told.output
    kept = json.loads((tmp_path / "rows.json").read_text())
    assert kept["simulated"] is True and kept["rows"][0]["below_threshold"] == 1
    assert CliRunner().invoke(app, [str(tmp_path / "nothing")]).exit_code != 0
