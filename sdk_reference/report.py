"""The HTML page about one or several checks: one file, pictures inside it, nothing fetched from anywhere.

It shows every stage that a decision went through, for engineers who must find out why a capture was judged as it was.
The layout is `report_template.html`, what other pages share `report_pieces.html` and `report_style.css`; this file
turns results into the plain values that they print. Everything is escaped; pictures and their scales are stated in
words beside them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from sdk_reference.align import TEMPLATE
from sdk_reference.atomic_files import write_atomically
from sdk_reference.checker import CheckResult
from sdk_reference.differential import differential_rows
from sdk_reference.images import encode_frame
from sdk_reference.manifest import SPECIES_ORDER, Manifest
from sdk_reference.preprocess import Preprocessed
from sdk_reference.quality import Quality, QualityLimits
from sdk_reference.runtime import ModelOutputs

TEMPLATE_NAME: Final = "report_template.html"
MAX_SIDE_PX: Final = 256
"""Camera frames are shown at most this large, so that a page of photographs stays mailable."""

JPEG_QUALITY: Final = 92

SCALE_PERCENTILE: Final = 99.5
"""Of the absolute differences on the face: what full colour stands for in the pictures of differences."""

MIN_SCALE: Final = 1 / 255
"""A capture without any difference is shown grey, not as amplified noise."""

NOTHING: Final = "–"
QUALITY_ROWS: Final = (
    # what a reader calls it, field of Quality, limit in QualityLimits, format
    ("screen light over noise", "flash_snr", "min_flash_snr", "{:.1f}"),
    ("screen light over ambient light", "flash_to_ambient", "min_flash_to_ambient", "{:.3f}"),
    ("movement, aligned pixels", "motion_px", "max_motion_px", "{:.1f}"),
    ("part of the face overexposed", "clipped_fraction", "max_clipped_fraction", "{:.1%}"),
    ("width of the face, pixels", "face_width_px", "min_face_width_px", "{:.0f}"),
    ("drift of exposure", "exposure_drift", "max_exposure_drop", "{:+.1%}"),
)
TRANSFER_NAMES: Final[Mapping[str, str]] = {"linear": "linear", "encoded": "gamma-coded"}


def write_report(
    path: Path, results: CheckResult | Sequence[CheckResult], titles: Sequence[str] = (), remarks: Sequence[str] = ()
) -> Path:
    """Write the page for one result or several of one bundle, in order; returns `path`.

    `titles` name the captures, by default by their labels; `remarks` stand on top of the page, after its own.
    Raises OutputNotWritable, ValueError without results.
    """
    several = [results] if isinstance(results, CheckResult) else list(results)
    write_atomically(path, render(several, titles, remarks).encode())
    return path


def render(results: Sequence[CheckResult], titles: Sequence[str] = (), remarks: Sequence[str] = ()) -> str:
    """Return the page as HTML text."""
    return page_of(TEMPLATE_NAME, page=page_values(results, titles, remarks))


def page_of(template: str, **values: object) -> str:
    """Return a page by the template of this name, which lies beside this file; everything printed is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent, encoding="utf-8")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(values)


def page_values(
    results: Sequence[CheckResult], titles: Sequence[str] = (), remarks: Sequence[str] = ()
) -> dict[str, Any]:
    """Everything that the template calls `page`."""
    if not results:
        raise ValueError("found no results; expected at least one")
    names = [title_of(result, place, titles) for place, result in enumerate(results)]
    manifest = results[0].manifest
    point = manifest.artifact().operating_point
    return {
        "title": f"Flashproof: {names[0]}" if len(results) == 1 else f"Flashproof: {len(results)} captures",
        "bundle": f"{manifest.name} {manifest.version}",
        "identity": f"{manifest.name} {manifest.version}, manifest sha256 {results[0].bundle_sha256}",
        "notices": [*notices(results), *remarks],
        "judged": any(result.is_right is not None for result in results),
        "results": [
            result_values(result, name, f"capture-{place}")
            for place, (result, name) in enumerate(zip(results, names, strict=True), start=1)
        ],
        "colour_bar": png_uri(colour_mapped(np.linspace(1, 0, 256, dtype=np.float32)[:, None])),
        "threshold_rule": f"{point.chosen_by} on {point.captures} {simulated_word(point.simulated)} captures "
        f"({point.split} split)",
        "licence": manifest.licence,
    }


def title_of(result: CheckResult, place: int, titles: Sequence[str]) -> str:
    """The name of a capture: as given, else what its label says stood before the camera."""
    if place < len(titles):
        return titles[place]
    labels = result.capture.labels if result.capture else None
    return (labels and (labels.instrument or labels.species)) or f"capture {place + 1}"


def notices(results: Sequence[CheckResult]) -> list[str]:
    """What a reader must know before believing anything on the page."""
    said = []
    training = results[0].manifest.training
    if training.simulated:
        said.append(
            f"This model was trained on {training.captures} simulated capture(s), on no photograph of a real person. "
            "What its scores are worth on real people is not known."
        )
    captures = [result.capture for result in results if result.capture is not None]
    simulated = sum(capture.labels is not None and capture.labels.simulated for capture in captures)
    if simulated:
        which = "All captures" if simulated == len(results) else f"{simulated} of {len(results)} captures"
        said.append(f"{which} on this page are simulated: rendered people, attacks, light and camera.")
    return said


def simulated_word(simulated: bool) -> str:
    return "simulated" if simulated else "recorded"


def result_values(result: CheckResult, title: str, anchor: str) -> dict[str, Any]:
    """Everything that the template calls `r`: one capture."""
    decision = result.decision
    return {
        "title": title,
        "anchor": anchor,
        "verdict": decision.verdict,
        "score": NOTHING if decision.score is None else f"{decision.score:.3f}",
        "score_percent": None if decision.score is None else round(100 * decision.score, 2),
        "threshold": f"{decision.threshold:.3f}",
        "threshold_percent": round(100 * decision.threshold, 2),
        "species": decision.species or NOTHING,
        "reasons": decision.reasons,
        "judged": judged(result),
        "judged_css": {True: "live", False: "spoof", None: "soft"}[result.is_right],
        "frames": frame_values(result),
        "stages": None if result.preprocessed is None else stage_values(result.preprocessed, result.manifest),
        "model": None if result.outputs is None else model_values(result.outputs),
        "response": response_values(result),
        "quality": quality_values(result),
        "timings": [{"stage": stage, "ms": f"{spent:.1f}"} for stage, spent in decision.timings_ms.items()],
        "total_ms": f"{sum(decision.timings_ms.values()):.1f}",
        "facts": facts(result),
    }


def judged(result: CheckResult) -> str:
    """How the verdict compares with the label, in a word."""
    if result.is_right is not None:
        return "right" if result.is_right else "wrong"
    labels = result.capture.labels if result.capture else None
    return "not judged" if labels is not None and labels.species is not None else NOTHING


def frame_values(result: CheckResult) -> list[dict[str, Any]]:
    """The camera's frames by rank, with the colour on the screen and the time since the first."""
    capture = result.capture
    if capture is None:
        return []
    order = capture.plan.time_order()
    start_ns = min(capture.timestamps_ns)
    return [
        {
            "rank": rank,
            "colour": "#{:02x}{:02x}{:02x}".format(*step.srgb),
            "place": order.index(rank) + 1,
            "time": f"{(capture.timestamps_ns[rank] - start_ns) / 1e6:.0f} ms",
            "image": photo_uri(fitted(capture.frames[rank])),
        }
        for rank, step in enumerate(capture.plan.steps_by_rank)
    ]


def stage_values(preprocessed: Preprocessed, manifest: Manifest) -> dict[str, Any]:
    """Aligned frames and differences as pictures."""
    differences = preprocessed.differential
    # On the face alone: edges of hair and clothes that moved would drown it.
    on_face = np.abs(differences[:, :, TEMPLATE.face_region()])
    scale = max(float(np.percentile(on_face, SCALE_PERCENTILE)), MIN_SCALE)
    rows = differential_rows(manifest.n0)
    return {
        "aligned": [
            {"rank": rank, "image": photo_uri(frame.transpose(1, 2, 0))}
            for rank, frame in enumerate(preprocessed.aligned_u8)
        ],
        "differences": [
            {"taken": taken, "subtracted": subtracted, "image": photo_uri(signed_picture(difference, scale))}
            for (taken, subtracted), difference in zip(rows, differences, strict=True)
        ],
        "scale": f"{scale:.3f}",
        "gain": f"{preprocessed.gain:.2f}",
        "light": TRANSFER_NAMES[manifest.preprocess.transfer],
    }


def model_values(outputs: ModelOutputs) -> dict[str, Any]:
    """Depth map and type probabilities."""
    return {
        "depth": png_uri(colour_mapped(outputs.depth)),
        "depth_low": f"{outputs.depth.min():.2f}",
        "depth_high": f"{outputs.depth.max():.2f}",
        "types": [
            {"name": name, "value": f"{value:.3f}", "percent": round(100 * float(value), 1)}
            for name, value in zip(SPECIES_ORDER, outputs.type, strict=True)
        ],
    }


def response_values(result: CheckResult) -> dict[str, Any] | None:
    """Expected, predicted and measured flash response per difference."""
    responses, rule = result.responses, result.manifest.response_rule
    if responses is None:
        return None
    rows = []
    for row, (taken, subtracted) in enumerate(differential_rows(result.manifest.n0)):
        cosine = float(responses.cosines[row])
        rows.append(
            {
                "taken": taken,
                "subtracted": subtracted,
                "expected": hue_cell(responses.expected[row]),
                "predicted": hue_cell(responses.predicted[row]),
                "measured": hue_cell(responses.measured[row]),
                "cosine": f"{cosine:.2f}" if np.isfinite(cosine) else NOTHING,
                "disagrees": bool(responses.disagreeing[row]),
                "agreement": "agrees" if np.isfinite(cosine) else "no colour expected",
            }
        )
    return {
        "rows": rows,
        "rule": f"A row agrees when the cosine between expected and predicted is at least {rule.cosine_limit:g}; "
        f"{int(responses.disagreeing.sum())} of {len(rows)} disagree, at most {rule.max_disagreeing_rows} may.",
    }


def quality_values(result: CheckResult) -> list[dict[str, str]]:
    """Measurements beside their limits."""
    if result.quality is None:
        return []
    return [quality_row(result.quality, result.manifest.quality_limits, *row) for row in QUALITY_ROWS]


def quality_row(
    quality: Quality, limits: QualityLimits, name: str, field: str, limit_field: str | None, form: str
) -> dict[str, str]:
    """One measurement as text; a value that is no number misses its limit."""
    value: float = getattr(quality, field)
    row = {"name": name, "value": form.format(value), "limit": NOTHING, "state": "not judged", "css": "soft"}
    if limit_field is None:
        return row
    limit: float = getattr(limits, limit_field)
    is_floor = limit_field.startswith("min_")
    is_met = value >= limit if is_floor else value <= limit
    row["limit"] = ("at least " if is_floor else "at most ") + form.format(limit)
    return row | ({"state": "ok", "css": "live"} if is_met else {"state": "missed", "css": "retry"})


def facts(result: CheckResult) -> list[tuple[str, str]]:
    """Where the capture comes from and what it answered."""
    capture = result.capture
    if capture is None:
        return [("capture", "none could be made")]
    plan, labels = capture.plan, capture.labels
    height, width = capture.size
    rows = [
        ("capture", f"{capture.n0} frames of {width} × {height} pixels"),
        ("plan", f"profile {plan.profile}, {plan.entropy_bits:.1f} bits, time order {plan.time_order()}"),
        ("nonce", plan.nonce or "none: a fixed plan proves nothing about when it was filmed"),
    ]
    if labels is not None:
        stated = {"origin": simulated_word(labels.simulated), "kind": labels.instrument or labels.species}
        stated |= {"scene": labels.scene, "device": labels.device}
        rows += [(name, str(value)) for name, value in stated.items() if value is not None]
        if labels.ambient_lux is not None:
            rows.append(("ambient light", f"{labels.ambient_lux:.0f} lux"))
    return rows


def hue_cell(triple: npt.NDArray[np.float32]) -> dict[str, str]:
    """(3,) colour differences R−G, G−B, B−R as numbers and as a patch of their hue."""
    red_green, green_blue, blue_red = (round(float(value), 2) + 0.0 for value in triple)  # + 0: no "-0.00"
    # Inverse of taking differences, for a colour whose channels average to zero.
    chroma = np.array([red_green - blue_red, green_blue - red_green, blue_red - green_blue]) / 3
    largest = max(float(np.abs(chroma).max()), float(np.abs(triple).max()), 1e-9)
    patch = np.rint(127.5 + 127.5 * chroma / largest).astype(int)
    return {
        "text": f"{red_green:+.2f} {green_blue:+.2f} {blue_red:+.2f}",
        "colour": "#{:02x}{:02x}{:02x}".format(*patch),
    }


def signed_picture(difference: npt.NDArray[np.float32], scale: float) -> npt.NDArray[np.uint8]:
    """(3,H,W) signed difference → HWC uint8 RGB with grey = 0 and 0 or 255 = ∓`scale`."""
    shown = np.clip(difference.transpose(1, 2, 0) / scale, -1, 1)
    return np.asarray(np.rint(127.5 + 127.5 * shown), dtype=np.uint8)


def colour_mapped(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """(H,W) in 0..1 → HWC uint8 RGB by the viridis map, which stays readable in grey and for colour-blind people."""
    levels = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[..., ::-1], dtype=np.uint8)


def fitted(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """HWC uint8 RGB, averaged down when its longer side exceeds MAX_SIDE_PX."""
    height, width = frame.shape[:2]
    factor = MAX_SIDE_PX / max(height, width)
    if factor >= 1:
        return frame
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def photo_uri(picture: npt.NDArray[np.uint8]) -> str:
    """HWC uint8 RGB as a JPEG inside a URI: a fifth of the PNG's size, at full colour resolution."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, encoded = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), settings)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def png_uri(picture: npt.NDArray[np.uint8]) -> str:
    """HWC uint8 RGB as a PNG inside a URI, for pictures whose values are read off a scale."""
    return "data:image/png;base64," + base64.b64encode(encode_frame(picture)).decode()
