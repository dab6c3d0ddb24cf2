"""The forecast agrees with what captures measure, errs on the side of asking again, and its own steps are safe."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from synthetic_faces import SKIN, face, lit_scene, photograph

from flash_sequencer.colour import relative_luminance
from flash_sequencer.palette import BLACK, WHITE
from flash_sequencer.plan import challenge, default_plan
from flash_sequencer.player import DARK_SURROUND
from flash_sequencer.safety import analyse
from sdk_reference.bundle import SHIPPED_BUNDLE, load_bundle
from sdk_reference.capture import Capture
from sdk_reference.errors import UserFailure
from sdk_reference.flash_take import LEAD_NS
from sdk_reference.landmarks import FaceMeshDetector, find_single_face
from sdk_reference.lighting_check import MARGIN, MAX_PAIRS, LightForecast, LitFrame, forecast_light, light_steps
from sdk_reference.preprocess import PreprocessSettings, preprocess
from sdk_reference.quality import QualityLimits, failures, measure_quality
from sdk_reference.session_settings import SessionSettings
from sdk_reference.session_states import METERING_GREY

LIMITS = QualityLimits()
EXACT = PreprocessSettings(registration="none")
RNG = np.random.default_rng(0)


def lit(flash: float, ambient: float = 0.4, noise: float = 0.0) -> LitFrame:
    return LitFrame(photograph(lit_scene(np.full(3, flash), ambient), noise, RNG), face())


def forecast(flash: float, ambient: float = 0.4, noise: float = 0.01) -> LightForecast:
    return forecast_light([lit(flash, ambient, noise)], [lit(0.0, ambient, noise)], LIMITS, EXACT)


@pytest.mark.parametrize(("flash", "ambient"), [(0.5, 0.4), (0.1, 0.9), (0.8, 0.1)])
def test_the_ratio_is_that_of_the_lights(flash: float, ambient: float) -> None:
    assert forecast(flash, ambient, 0.0).flash_to_ambient == pytest.approx(flash / ambient, rel=0.07)


def test_snr_is_signal_over_noise() -> None:
    signal = 0.5 * float(relative_luminance(SKIN))
    luminance_noise = 0.02 * np.sqrt(0.2126**2 + 0.7152**2 + 0.0722**2)
    assert forecast(0.5, 0.8, 0.02).flash_snr == pytest.approx(signal / (luminance_noise * np.sqrt(2) / 2), rel=0.15)


@pytest.mark.parametrize(
    ("flash", "ambient", "noise", "code"),
    [
        (0.5, 0.4, 0.01, None),
        (0.01, 0.9, 0.001, "flash_too_weak"),
        (0.0, 0.4, 0.01, "flash_too_weak"),
        (-0.1, 0.4, 0.01, "flash_too_weak"),
        (0.05, 0.4, 0.05, "flash_too_weak"),
        (3.0, 1.0, 0.01, "overexposed"),
        (0.01, 3.0, 0.0, "overexposed"),
    ],
)
def test_what_will_not_do_is_named(flash: float, ambient: float, noise: float, code: str | None) -> None:
    problem = forecast(flash, ambient, noise).problem
    assert (None if problem is None else problem.code) == code


def test_limits_are_the_manifests_with_a_margin() -> None:
    plain = forecast(0.5)
    for name in ("min_flash_snr", "min_flash_to_ambient"):
        value = plain.flash_snr if name == "min_flash_snr" else plain.flash_to_ambient
        frames = [lit(0.5, noise=0.01)], [lit(0.0, noise=0.01)]
        easy, hard = (replace(LIMITS, **{name: value / MARGIN * factor}) for factor in (0.9, 1.1))
        assert forecast_light(*frames, easy, EXACT).problem is None
        assert forecast_light(*frames, hard, EXACT).problem is not None


def test_of_several_pairs_the_middle_one_counts() -> None:
    good, dark = lit(0.5, noise=0.01), lit(0.0, noise=0.01)
    spoilt = LitFrame(np.zeros_like(good.image), face())
    assert forecast_light([good, spoilt, good], [dark] * 3, LIMITS, EXACT).problem is None
    assert forecast_light([spoilt, spoilt, good], [dark] * 3, LIMITS, EXACT).problem is not None
    old = [spoilt] * 5
    assert forecast_light([*old, *[good] * MAX_PAIRS], [*old, *[dark] * MAX_PAIRS], LIMITS, EXACT).problem is None


@pytest.mark.parametrize(("bright", "dark", "margin"), [(0, 1, 1.1), (1, 0, 1.1), (1, 1, 0.9), (1, 1, float("nan"))])
def test_impossible_questions_are_refused(bright: int, dark: int, margin: float) -> None:
    with pytest.raises(ValueError, match="found"):
        forecast_light([lit(0.5)] * bright, [lit(0.0)] * dark, LIMITS, EXACT, margin=margin)


def test_the_steps_are_the_plans_extremes_in_an_order_that_tells_nothing() -> None:
    assert light_steps(default_plan()) == ((WHITE, 400), (BLACK, 400))
    assert light_steps(default_plan(profile="gentle")) == (((224, 224, 224), 600), ((64, 64, 64), 600))
    drawn = random.Random(0)
    assert {light_steps(challenge(drawn.randbytes(16))) for _ in range(50)} == {light_steps(default_plan())}


@pytest.mark.parametrize("profile", ["standard", "gentle"])
def test_the_steps_and_any_plan_after_them_are_safe(profile: str) -> None:
    drawn = random.Random(1)
    for _ in range(60):
        plan = challenge(drawn.randbytes(16), 5, profile)
        shown = [*light_steps(plan), *((step.srgb, step.duration_ms) for step in plan.steps)]
        report = analyse(shown)
        assert report.ok
        assert max(report.general.flashes, report.red.flashes, report.luminance.flashes) <= 2


@pytest.mark.parametrize("profile", ["standard", "gentle"])
def test_all_that_a_session_shows_is_safe(profile: str) -> None:
    """Grey to meter by, the light's two steps as long as the session has them, darkness, the plan."""
    settings, drawn = SessionSettings(profile=profile), random.Random(2)
    for _ in range(30):
        plan = challenge(drawn.randbytes(16), 5, profile)
        steps = light_steps(plan, round(settings.light_step_s * 1000))
        assert min(duration_ms for _, duration_ms in steps) >= 600
        metering = (METERING_GREY, round(settings.metering_s * 1000))
        plan_steps = [(step.srgb, step.duration_ms) for step in plan.steps]
        assert analyse([metering, *steps, (DARK_SURROUND, LEAD_NS // 1_000_000), *plan_steps]).ok


@pytest.mark.slow()
def test_the_forecast_agrees_with_captures_from_20_to_5000_lux() -> None:
    """Other people and rooms than the margin was chosen on."""
    from simulator.capture import Shot
    from simulator.capture import photograph as film
    from simulator.stage import set_stage

    manifest = load_bundle(SHIPPED_BUNDLE).manifest
    limits, settings, detector, plan = manifest.quality_limits, manifest.preprocess, FaceMeshDetector(), default_plan()
    colours = tuple((float(r), float(g), float(b)) for r, g, b in plan.colours_linear())
    steps = (colours[0],) * 3 + (colours[-1],) * 3
    snrs, ratios, verdicts = [], [], []
    for index, lux in enumerate(np.geomspace(20, 5000, 24)):
        stage = set_stage(40_000 + index, 60_000 + 17 * index, "live", "live", ambient_lux=float(lux))
        try:
            before = [
                LitFrame(image, find_single_face(detector.detect(image), image.shape))
                for image in film(stage, Shot(index, steps)).frames
            ]
            expected = forecast_light(before[:3], before[3:], limits, settings)
            filmed = film(stage, Shot(1000 + index, colours))
            capture = Capture(filmed.frames, filmed.timestamps_ns, plan)
            quality = measure_quality(preprocess(capture, detector, settings), capture)
        except UserFailure:
            continue
        snrs.append((expected.flash_snr, quality.flash_snr))
        ratios.append((expected.flash_to_ambient, quality.flash_to_ambient))
        light = {failure.code for failure in failures(quality, limits)} & {"flash_too_weak", "overexposed"}
        verdicts.append((expected.problem is None, not light))
    said, true = np.array(verdicts).T
    correlations = [np.corrcoef(np.log(np.maximum(values, 1e-3)).T)[0, 1] for values in (snrs, ratios)]
    print(f"{len(said)} rooms, {true.sum()} good; correlation of log SNR and log ratio: {np.round(correlations, 2)}")
    print(f"right {np.mean(said == true):.0%}, let pass wrongly {(said & ~true).sum()}, turned away wrongly", end=" ")
    print((~said & true).sum())
    assert len(said) >= 20
    assert 3 <= true.sum() <= len(said) - 3  # both kinds occur
    assert min(correlations) > 0.7
    assert np.mean(said == true) >= 0.75
    assert (said & ~true).sum() <= 2
