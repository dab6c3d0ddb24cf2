"""Does the picture of the face go on from frame to frame? A face that is another one in the next frame was exchanged.

Not in the paper. From one frame to the next, a thirtieth of a second later, a face moves by little and its light may
change wholly: so what is compared is the detail of its brightness, after light and contrast are divided out. It is a
strong sign where a film is spliced or a picture is switched, and none where one person slowly takes another's place;
the shape of the face (`sdk_reference.same_face`) is looked at for that.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import relative_luminance
from sdk_reference.errors import FaceChanged

SMOOTHING = 9
"""Pixels of the thumbnail over which brightness is divided out."""
LEAST_LIKENESS = 0.4
"""Ten undisturbed simulated sessions stayed at 0.85 or above; another face came to at most 0.2 (docs/log.md)."""
DARK = 1e-3
"""Linear light, added everywhere: noise of black pixels is no detail."""

Image = npt.NDArray[np.float32]


class Continuity:
    """Follows the detail of the face through all frames, in order."""

    def __init__(self) -> None:
        self._last: Image | None = None

    def see(self, thumbnail: Image, region: npt.NDArray[np.bool_]) -> None:
        """Compare a linear (s,s,3) picture of the face's place with the one before, where `region` (s,s) is true.

        Raises FaceChanged when they show different faces.
        """
        detail = _detail(thumbnail)[region]
        detail = (detail - detail.mean()) / max(float(detail.std()), 1e-9)
        before, self._last = self._last, detail
        likeness = 1.0 if before is None else float((detail * before).mean())
        if not likeness >= LEAST_LIKENESS:
            raise FaceChanged(
                found=f"a picture of the face that was another one in the next frame (likeness {likeness:.2f})",
                expected=f"at least {LEAST_LIKENESS:g}",
                remedy="stay before the camera, hold still, and let one person do the whole check",
            )


def _detail(thumbnail: Image) -> Image:
    luminance = np.asarray(relative_luminance(thumbnail), np.float32) + np.float32(DARK)
    return np.asarray(np.log(luminance / cv2.blur(luminance, (SMOOTHING, SMOOTHING))), np.float32)
