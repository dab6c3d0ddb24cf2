"""The one error tree of Flashproof: what a person can mend is kept apart from what a machine or a file got wrong.

    FlashproofError                     exit  code
    ├── UserFailure                        2  (becomes the verdict `retry`; the code is the reason)
    │   ├── NoFace                            no_face
    │   ├── SeveralFaces                      several_faces
    │   ├── FaceCutOff                        face_cut_off
    │   ├── FaceTooSmall                      face_too_small
    │   ├── Moved                             moved
    │   ├── FlashTooWeak                      flash_too_weak
    │   ├── LightChanged                      light_changed
    │   ├── Overexposed                       overexposed
    │   ├── FaceTooLarge                      face_too_large
    │   ├── FaceOffCentre                     face_off_centre
    │   ├── FaceTurned                        face_turned
    │   ├── PictureTurned                     picture_turned
    │   ├── FaceUnsteady                      face_unsteady
    │   ├── FaceLeft                          face_left
    │   ├── FaceChanged                       face_changed
    │   ├── FlashNotSeen                      flash_not_seen
    │   ├── StepMissed                        step_missed
    │   ├── ScreenNotFull                     screen_not_full
    │   ├── TimedOut                          timed_out
    │   ├── Cancelled                         cancelled
    │   └── AttemptsUsedUp                    attempts_used_up
    ├── InvalidInput                       3
    │   ├── CaptureNotFound                   capture_not_found
    │   ├── CaptureMalformed                  capture_malformed
    │   ├── RecordingMalformed                recording_malformed
    │   ├── StepWithoutFrame                  step_without_frame
    │   ├── FrameUnreadable                   frame_unreadable
    │   ├── FrameFormatUnsupported            frame_format_unsupported
    │   ├── FrameSizeMismatch                 frame_size_mismatch
    │   ├── FrameCountMismatch                frame_count_mismatch
    │   ├── PlanMismatch                      plan_mismatch
    │   ├── N0Mismatch                        n0_mismatch
    │   ├── NonceRefused                      nonce_refused
    │   ├── RecordRefused                     record_refused
    │   ├── KeyRefused                        key_refused
    │   └── OutputNotWritable                 output_not_writable
    ├── BundleError                        4
    │   ├── BundleNotFound                    bundle_not_found
    │   ├── BundleFileMissing                 bundle_file_missing
    │   ├── BundleHashMismatch                bundle_hash_mismatch
    │   ├── BundleSchemaUnsupported           bundle_schema_unsupported
    │   └── BundleMalformed                   bundle_malformed
    └── RuntimeFailure                     5
        ├── CameraLost                        camera_lost
        ├── CameraUnsuitable                  camera_unsuitable
        ├── DisplayLost                       display_lost
        ├── BackendMissing                    backend_missing
        └── ModelFailed                       model_failed

Every error says what was found, what was expected and what to do. None of them ever means live.
"""

from __future__ import annotations

from typing import ClassVar


class FlashproofError(Exception):
    """Root of the tree.

    `found`, `expected` and `remedy` are short phrases without a full stop; `str(error)` joins them into one line.
    `code` is a stable machine-readable name, `exit_status` what the command line ends with.
    """

    code: ClassVar[str] = "flashproof_error"
    exit_status: ClassVar[int] = 5

    def __init__(self, *, found: str, expected: str, remedy: str) -> None:
        super().__init__(f"found {found}; expected {expected}; {remedy}")
        self.found = found
        self.expected = expected
        self.remedy = remedy

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions pickle by positional arguments; ours are keyword-only and must survive worker processes.
        return _rebuild, (type(self), self.found, self.expected, self.remedy)

    def to_dict(self) -> dict[str, str]:
        """Return `{"code", "found", "expected", "remedy"}`, the form that `--json` prints."""
        return {"code": self.code, "found": self.found, "expected": self.expected, "remedy": self.remedy}


def _rebuild(kind: type[FlashproofError], found: str, expected: str, remedy: str) -> FlashproofError:
    return kind(found=found, expected=expected, remedy=remedy)


class UserFailure(FlashproofError):
    """The person or the place made the capture unusable; the verdict is `retry` with this code as its reason."""

    code = "user_failure"
    exit_status = 2


class NoFace(UserFailure):
    """No face was found in a frame."""

    code = "no_face"


class SeveralFaces(UserFailure):
    """More than one face of comparable size was found in a frame."""

    code = "several_faces"


class FaceCutOff(UserFailure):
    """Part of the face lies outside the frame."""

    code = "face_cut_off"


class FaceTooSmall(UserFailure):
    """The face covers too few pixels: the person is too far away."""

    code = "face_too_small"


class Moved(UserFailure):
    """The face moved too much between the frames of one capture."""

    code = "moved"


class FlashTooWeak(UserFailure):
    """The screen's light does not stand out: the surroundings are too bright or the screen too dim."""

    code = "flash_too_weak"


class Overexposed(UserFailure):
    """Too much of the face is clipped at white."""

    code = "overexposed"


class LightChanged(UserFailure):
    """The light of the room, or the camera's exposure to it, changed while the screen flashed."""

    code = "light_changed"


class FaceTooLarge(UserFailure):
    """The face fills the frame: the person is too close."""

    code = "face_too_large"


class FaceOffCentre(UserFailure):
    """The face is not in the middle of the frame."""

    code = "face_off_centre"


class FaceTurned(UserFailure):
    """The face looks to a side, up or down."""

    code = "face_turned"


class PictureTurned(UserFailure):
    """The camera's picture lies on its side or on its head."""

    code = "picture_turned"


class FaceUnsteady(UserFailure):
    """The face or the phone does not hold still."""

    code = "face_unsteady"


class FaceLeft(UserFailure):
    """The face left the frame during the session."""

    code = "face_left"


class FaceChanged(UserFailure):
    """Another face took the place of the first during the session."""

    code = "face_changed"


class FlashNotSeen(UserFailure):
    """The frames do not follow the screen's colours at any plausible lag."""

    code = "flash_not_seen"


class StepMissed(UserFailure):
    """The camera has no frame that saw one step of the flash, and that step only."""

    code = "step_missed"


class ScreenNotFull(UserFailure):
    """The window did not fill its screen while it flashed."""

    code = "screen_not_full"


class TimedOut(UserFailure):
    """A state of the session took longer than it may."""

    code = "timed_out"


class Cancelled(UserFailure):
    """The person closed the window or pressed a key to stop."""

    code = "cancelled"


class AttemptsUsedUp(UserFailure):
    """No attempt is left."""

    code = "attempts_used_up"


class InvalidInput(FlashproofError):
    """A file or argument that the caller gave cannot be used."""

    code = "invalid_input"
    exit_status = 3


class CaptureNotFound(InvalidInput):
    """No capture or image lies at the path given."""

    code = "capture_not_found"


class CaptureMalformed(InvalidInput):
    """The capture breaks its format: damaged zip or JSON, unknown keys or version, values out of range."""

    code = "capture_malformed"


class RecordingMalformed(InvalidInput):
    """The recording breaks its format: damaged JSON, unknown keys or version, values out of range."""

    code = "recording_malformed"


class StepWithoutFrame(InvalidInput):
    """No frame of the recording saw a step of the plan, and that step only."""

    code = "step_without_frame"


class FrameUnreadable(InvalidInput):
    """An image or a video is missing, truncated or damaged."""

    code = "frame_unreadable"


class FrameFormatUnsupported(InvalidInput):
    """An image is not 8-bit RGB, not a supported file format, or outside the size limits."""

    code = "frame_format_unsupported"


class FrameSizeMismatch(InvalidInput):
    """Frames (or frame and depth map) that belong together differ in size."""

    code = "frame_size_mismatch"


class FrameCountMismatch(InvalidInput):
    """The number of frames is not the number of colours in the plan."""

    code = "frame_count_mismatch"


class PlanMismatch(InvalidInput):
    """The capture does not belong to the plan it carries (hash or shown colours differ), or the plan has no colours."""

    code = "plan_mismatch"


class N0Mismatch(InvalidInput):
    """The capture has another number of frames than the bundle's model takes."""

    code = "n0_mismatch"


class OutputNotWritable(InvalidInput):
    """A result cannot be written where it was asked for."""

    code = "output_not_writable"


class NonceRefused(InvalidInput):
    """The nonce was not issued, is used, has expired or has the wrong form."""

    code = "nonce_refused"


class RecordRefused(InvalidInput):
    """A decision record is damaged, or its signature does not fit."""

    code = "record_refused"


class KeyRefused(InvalidInput):
    """A key is missing, of the wrong kind, encrypted, or readable by others."""

    code = "key_refused"


class BundleError(FlashproofError):
    """The model bundle cannot be used."""

    code = "bundle_error"
    exit_status = 4


class BundleNotFound(BundleError):
    """No bundle lies at the path given."""

    code = "bundle_not_found"


class BundleFileMissing(BundleError):
    """A file that the manifest lists is missing."""

    code = "bundle_file_missing"


class BundleHashMismatch(BundleError):
    """A file differs from the sha256 or size that the manifest states."""

    code = "bundle_hash_mismatch"


class BundleSchemaUnsupported(BundleError):
    """The manifest has a schema version that this runtime does not know."""

    code = "bundle_schema_unsupported"


class BundleMalformed(BundleError):
    """The manifest or the archive breaks its format."""

    code = "bundle_malformed"


class RuntimeFailure(FlashproofError):
    """A device, a library or the model failed while running."""

    code = "runtime_failure"
    exit_status = 5


class CameraLost(RuntimeFailure):
    """The camera cannot be opened or stopped giving frames."""

    code = "camera_lost"


class CameraUnsuitable(RuntimeFailure):
    """The camera is too coarse or too slow for a flash."""

    code = "camera_unsuitable"


class DisplayLost(RuntimeFailure):
    """There is no screen, the window cannot be opened, or it stopped working."""

    code = "display_lost"


class BackendMissing(RuntimeFailure):
    """A library that this task needs is not installed or does not load."""

    code = "backend_missing"


class ModelFailed(RuntimeFailure):
    """The model did not run or gave values that are not finite or out of range."""

    code = "model_failed"
