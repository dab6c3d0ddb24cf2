"""While the screen flashes: does the face stay, and does the person see themselves? Both where there is time for it.

Not in the paper. Filming must not wait: a look for a face takes some 20 ms, a picture on the screen 10, and the next
colour is due on the nanosecond. So both are done only in the quiet part of a step. Two looks in a row must find the
face gone, cut off, elsewhere, of another size or with another beside it: one may be a blink, or a frame that a change
of colour struck. Whether it is still the same person is asked of every frame by `sdk_reference.continuity`.
"""

from __future__ import annotations

from typing import Final

from flash_sequencer.palette import Srgb
from sdk_reference.camera import CameraFrame
from sdk_reference.display import FlashScreen
from sdk_reference.errors import UserFailure
from sdk_reference.landmarks import Face, LandmarkDetector
from sdk_reference.rig import Rig
from sdk_reference.same_face import same_place
from sdk_reference.session_clock import NS_PER_MS

SPARE_NS: Final = 120 * NS_PER_MS
"""Before the next change: nothing is begun any more, however slow the machine."""
LOOK_NS: Final = 150 * NS_PER_MS
"""Between two looks for the face."""
PREVIEW_NS: Final = 80 * NS_PER_MS
"""Between two pictures of the preview."""
PATIENCE: Final = 2
"""Looks in a row that must find the same kind of trouble."""


class FlashWatch:
    """Watches one attempt from positioning to the last flash."""

    def __init__(self, rig: Rig, detector: LandmarkDetector, face: Face) -> None:
        """`face` as it was positioned."""
        self._rig, self._detector, self._face = rig, detector, face
        self._looked_ns = self._shown_ns = rig.now_ns()
        self._troubles = 0

    def glance(self, frame: CameraFrame, until_ns: int, colour: Srgb | None = None) -> None:
        """Use the newest frame for whatever is due and will be done well before `until_ns`, when the screen changes.

        `colour`: what the screen shows, under which the preview is drawn; None: it shows something else, no preview.
        Raises FaceLeft, SeveralFaces, FaceCutOff or FaceChanged.
        """
        now_ns = self._rig.now_ns()
        if until_ns - now_ns < SPARE_NS:
            return
        if now_ns - self._looked_ns >= LOOK_NS:
            self._looked_ns = now_ns
            self._look(frame)
        elif colour is not None and now_ns - self._shown_ns >= PREVIEW_NS:
            self._shown_ns = now_ns
            self._rig.show(FlashScreen(colour, frame.image))

    def _look(self, frame: CameraFrame) -> None:
        problem: UserFailure | None = same_place(
            self._face, self._detector.detect(frame.image), frame.image.shape
        ).problem
        self._troubles = 0 if problem is None else self._troubles + 1
        if problem is not None and self._troubles >= PATIENCE:
            raise problem
