"""Is the face as it must be for the flash: there, alone, large enough, whole, in the middle, looking straight ahead?

Not in the paper. One frame is judged here; whether the face also holds still is told by a row of frames
(`sdk_reference.position_watch`). What is asked of the person first is what must be mended first: a face that is far
away is called nearer before it is centred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from sdk_reference.errors import (
    FaceCutOff,
    FaceOffCentre,
    FaceTooLarge,
    FaceTooSmall,
    FaceTurned,
    FaceUnsteady,
    NoFace,
    PictureTurned,
    SeveralFaces,
    UserFailure,
)
from sdk_reference.head_pose import HeadPose, head_pose
from sdk_reference.landmarks import MIN_FACE_WIDTH_PX, Face, find_single_face
from sdk_reference.quality import QualityLimits

GUIDANCE: Final[dict[type[UserFailure], str]] = {
    NoFace: "place_face",
    SeveralFaces: "place_face",
    FaceTooSmall: "move_closer",
    FaceTooLarge: "move_back",
    FaceCutOff: "centre_face",
    FaceOffCentre: "centre_face",
    FaceTurned: "look_straight",
    FaceUnsteady: "hold_still",
    PictureTurned: "picture_turned",
}
"""Code of the message for the screen (`sdk_reference.catalogue`) by what is wrong; a face in place holds still."""


@dataclass(frozen=True)
class PlacementLimits:
    """Where a face may be."""

    min_width_share: float = 0.22
    """Of the frame's shorter side, as the next: screen light falls with the square of the distance, and the simulator's
    smallest faces, on which the model was trained, take 0.25."""
    max_width_share: float = 0.72
    """A face is about 1.35 times as high as wide: above, a landscape frame cuts it off; trained up to 0.70."""
    min_width_px: float = MIN_FACE_WIDTH_PX
    """In pixels; the larger of this and the manifest's `min_face_width_px` counts."""
    max_offset_share: float = 0.2
    """Distance of the face's middle from the frame's, across or down, over the shorter side: beyond, the next sway of
    the hand cuts the face off, and the screen lights it from the side."""
    max_yaw_deg: float = 20.0
    """Trained up to 26°; beyond 20° one cheek hides, and the error of a measured yaw is up to 5°."""
    max_pitch_deg: float = 20.0
    """Trained up to 22°; measured to within 8°."""
    max_roll_deg: float = 20.0
    """Alignment takes roll out; trained up to 14°, and a head held more askew is a phone held askew."""
    max_movement: float = 0.05
    """Landmarks' movement (root mean square) within the last 0.4 s, over the face's width. Quality allows 24 of some
    150 template pixels in a whole capture, 0.16, which this speed would reach in 1.3 s. Simulated hands and FaceMesh's
    jitter together stay below 0.035."""

    @classmethod
    def of(cls, quality: QualityLimits) -> PlacementLimits:
        """The limits for a bundle whose manifest has these."""
        return cls(min_width_px=max(MIN_FACE_WIDTH_PX, quality.min_face_width_px))


@dataclass(frozen=True, eq=False)
class Placement:
    """Where the face is, and what is wrong with that. Numbers are None when there is no single face."""

    problem: UserFailure | None
    """None when the face is as it should be."""
    face: Face | None = None
    width_px: float | None = None
    width_share: float | None = None
    """Over the frame's shorter side."""
    offset: tuple[float, float] | None = None
    """Of the face's middle from the frame's: right and down, over the frame's shorter side."""
    pose: HeadPose | None = None
    movement: float | None = None
    """Over the face's width; None where a single frame was judged."""
    held_ns: int = 0
    """How long the face has been right without a break."""
    ready: bool = False
    """Whether that is long enough; only `PositionWatch` says so."""

    @property
    def guidance(self) -> str:
        """Code of the sentence to show: `place_face`, `move_closer`, `move_back`, `centre_face`, `look_straight`,
        `picture_turned` or `hold_still`."""
        return "hold_still" if self.problem is None else GUIDANCE[type(self.problem)]


def place_face(faces: Sequence[Face], frame_shape: tuple[int, ...], limits: PlacementLimits | None = None) -> Placement:
    """Judge the faces that a detector found in one frame of shape `(height, width, …)`."""
    limits = limits or PlacementLimits()
    try:
        find_single_face(list(faces), frame_shape, min_width_px=limits.min_width_px)
        failure: UserFailure | None = None
    except (NoFace, SeveralFaces) as missing:
        return Placement(missing)
    except UserFailure as error:
        failure = error
    placement = _measured(max(faces, key=lambda face: face.width), frame_shape)
    return replace(placement, problem=_problem(placement, failure, limits))


def _measured(face: Face, frame_shape: tuple[int, ...]) -> Placement:
    height, width = frame_shape[:2]
    side = min(height, width)
    left, top, right, bottom = face.bounds
    return Placement(
        problem=None,
        face=face,
        width_px=face.width,
        width_share=face.width / side,
        offset=(((left + right) - width) / 2 / side, ((top + bottom) - height) / 2 / side),
        pose=head_pose(face),
    )


def _problem(placement: Placement, failure: UserFailure | None, limits: PlacementLimits) -> UserFailure | None:
    """The first thing to mend: size, then place, then pose. What is not a number meets no limit."""
    assert placement.width_share is not None and placement.offset is not None and placement.pose is not None
    if not placement.width_share <= limits.max_width_share:  # before FaceCutOff: the remedy is to step back
        return FaceTooLarge(
            found=f"a face of {placement.width_share:.0%} of the frame's shorter side",
            expected=f"at most {limits.max_width_share:.0%}",
            remedy="move back a little",
        )
    if failure is not None:
        return failure
    if not placement.width_share >= limits.min_width_share:
        return FaceTooSmall(
            found=f"a face of {placement.width_share:.0%} of the frame's shorter side",
            expected=f"at least {limits.min_width_share:.0%}",
            remedy="come closer to the camera",
        )
    if not max(map(abs, placement.offset)) <= limits.max_offset_share:
        return FaceOffCentre(
            found=f"a face {placement.offset[0]:+.0%} across and {placement.offset[1]:+.0%} down from the middle",
            expected=f"at most {limits.max_offset_share:.0%} of the frame's shorter side",
            remedy="bring your face into the oval",
        )
    return _turned(placement.pose, limits)


def _turned(pose: HeadPose, limits: PlacementLimits) -> UserFailure | None:
    within = (
        abs(pose.yaw_deg) <= limits.max_yaw_deg,
        abs(pose.pitch_deg) <= limits.max_pitch_deg,
        abs(pose.roll_deg) <= limits.max_roll_deg,
    )
    if all(within):
        return None
    return FaceTurned(
        found=f"a head turned {pose.yaw_deg:+.0f}° sideways, {pose.pitch_deg:+.0f}° down, {pose.roll_deg:+.0f}° askew",
        expected=f"at most {limits.max_yaw_deg:.0f}°, {limits.max_pitch_deg:.0f}° and {limits.max_roll_deg:.0f}°",
        remedy="look straight into the camera, with the phone upright before your face",
    )
