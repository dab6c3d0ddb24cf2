"""Shows simulated people side by side, for anyone to judge whether they are people and different ones.

It belongs to no section of the paper. Everybody stands in the same neutral light at the same exposure, so that skin
tones compare; the number under each face is the subject's, with the step of the Monk Skin Tone scale.

    python -m training.people_sheet [--out docs/img/people.jpg] [--count 40] [--first 0]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
import typer

from sdk_reference.atomic_files import write_atomically
from simulator.ambient import Ambient, Lighting
from simulator.framing import Framing
from simulator.head import build_head
from simulator.identity import SUBJECT_COUNT, Identity
from simulator.light import ScreenLight
from simulator.scene import OVERSAMPLING, relight, render_head
from training.errors import require_range

COLUMNS = 8
PORTRAIT_PX, CAPTION_PX = 200, 18
LIGHT = Ambient(
    scene="office",
    lux=300.0,
    colour=(1.0, 1.0, 1.0),
    harmonics=(1.0, 0.30, 0.15, 0.08, 0.0, 0.0, 0.0, 0.0, 0.0),
    direction=(0.40, 0.50, 0.768),
    direct_share=0.5,
    background=0.8,
)
"""Even light, a little stronger from above and from one side."""
BACKGROUND = 0.42  # reflectance
EXPOSURE = 1.0 / 160.0  # full scale per cd/m²: the fairest skin stays below it
JPEG_QUALITY = 84
NEUTRAL = Framing(share=0.50, distance_cm=45.0, yaw=0.06, pitch=-0.03, roll=0.0, offset_cm=(0.0, 0.0))


def portrait(identity: Identity, size: int = PORTRAIT_PX, framing: Framing = NEUTRAL) -> npt.NDArray[np.uint8]:
    """Return (size, size, 3) uint8 sRGB: this person with a neutral face, in the room's light alone."""
    view = framing.view(round(size * OVERSAMPLING))
    layers = render_head(identity, build_head(identity), framing.head_pose(), view, Lighting(LIGHT, ScreenLight()))
    behind = BACKGROUND * LIGHT.radiance
    radiance = np.where(layers.covered[..., None], relight(layers, np.zeros(3)), behind)
    linear = cv2.resize(radiance.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) * EXPOSURE
    rolled = linear / (1.0 + np.maximum(linear - 0.6, 0.0))  # highlights bend instead of clipping
    encoded = np.where(rolled <= 0.0031308, 12.92 * rolled, 1.055 * np.maximum(rolled, 1e-9) ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(np.clip(encoded, 0.0, 1.0) * 255.0), np.uint8)


def sheet(subjects: list[int]) -> npt.NDArray[np.uint8]:
    """Return the portraits of `subjects` with their captions, COLUMNS to a row, as (H, W, 3) uint8 sRGB."""
    cells = [_captioned(subject) for subject in subjects]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % COLUMNS)
    rows = [np.hstack(cells[start : start + COLUMNS]) for start in range(0, len(cells), COLUMNS)]
    return np.asarray(np.vstack(rows), np.uint8)


def _captioned(subject: int) -> npt.NDArray[np.uint8]:
    identity = Identity.draw(subject)
    caption = np.full((CAPTION_PX, PORTRAIT_PX, 3), 255, np.uint8)
    text = f"subject {subject}, tone {identity.skin_tone}"
    cv2.putText(caption, text, (6, CAPTION_PX - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
    return np.asarray(np.vstack([portrait(identity), caption]), np.uint8)


def main(
    out: Annotated[Path, typer.Option(help="JPEG file to write.")] = Path("docs/img/people.jpg"),
    count: Annotated[int, typer.Option(min=1, max=400, help="Number of people.")] = 40,
    first: Annotated[int, typer.Option(min=0, help="The first subject's number.")] = 0,
) -> None:
    """Render people side by side."""
    require_range("first", first, 0, SUBJECT_COUNT - count)
    image = sheet(list(range(first, first + count)))
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    write_atomically(out, encoded.tobytes())
    print(f"wrote {out}: {count} people, {len(encoded) / 1000:.0f} kB")


if __name__ == "__main__":
    typer.run(main)
