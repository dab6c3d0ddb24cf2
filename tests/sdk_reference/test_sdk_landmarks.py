"""Which face counts, in numbers; and MediaPipe itself, on simulated heads: lazy, quiet, one per process."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from synthetic_faces import face, shifted

from flash_sequencer.plan import default_plan
from sdk_reference.errors import (
    BackendMissing,
    FaceCutOff,
    FaceTooSmall,
    FlashproofError,
    FrameFormatUnsupported,
    ModelFailed,
    NoFace,
    SeveralFaces,
)
from sdk_reference.landmarks import FACE_OVAL, N_LANDMARKS, Face, FaceMeshDetector, _without_chatter, find_single_face
from simulator.capture import CaptureSpec, simulate_capture

REPOSITORY = Path(__file__).parents[2]
FRAME = (600, 600, 3)


@cache
def head() -> np.ndarray:
    """A simulated head, (256,256,3) uint8 RGB."""
    colours = tuple(step.linear for step in default_plan().steps_by_rank)
    spec = CaptureSpec(seed=5, subject=5, species="live", instrument="face", colours_linear=colours, ambient_lux=200.0)
    return simulate_capture(spec).frames[0]


@pytest.fixture(scope="module")
def detector() -> Iterator[FaceMeshDetector]:
    detector = FaceMeshDetector()
    yield detector
    detector.close()


def test_bounds_and_width_are_those_of_the_oval() -> None:
    points = np.zeros((N_LANDMARKS, 2), np.float32)
    points[list(FACE_OVAL)] = (50, 60)
    points[FACE_OVAL[3]] = (150, 90)
    points[FACE_OVAL[9]] = (20, 200)
    one = Face(points, np.zeros(N_LANDMARKS, np.float32))
    assert one.bounds == (20, 60, 150, 200)
    assert one.width == 130


def test_the_oval_names_each_landmark_once() -> None:
    assert len(set(FACE_OVAL)) == len(FACE_OVAL) == 36


LARGE, RIVAL, BYSTANDER = face(shifted(0, 0)), face(shifted(280, 280)), face(shifted(400, 300, 0.3))


@pytest.mark.parametrize(
    ("faces", "kind"),
    [
        ([], NoFace),
        ([LARGE, RIVAL], SeveralFaces),
        ([BYSTANDER, LARGE, RIVAL], SeveralFaces),
        ([face(shifted(-60, 0))], FaceCutOff),  # the oval starts at x = 53
        ([face(shifted(0, -45))], FaceCutOff),
        ([face(shifted(410, 0))], FaceCutOff),
        ([face(shifted(0, 380))], FaceCutOff),
        ([BYSTANDER], FaceTooSmall),
        ([face(shifted(0, 0, 0.4))], FaceTooSmall),  # 60 pixels wide
    ],
)
def test_frames_without_exactly_one_usable_face_are_refused(faces: list[Face], kind: type[FlashproofError]) -> None:
    with pytest.raises(kind) as caught:
        find_single_face(faces, FRAME)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("faces", "expected"),
    [
        ([LARGE], LARGE),
        ([BYSTANDER, LARGE], LARGE),
        ([LARGE, face(shifted(6, -4))], LARGE),  # the same face, found twice
        ([face(shifted(-52, 0))], None),  # almost touches the border
        ([face(shifted(0, 0, 0.46))], None),
    ],
)
def test_one_usable_face_is_found(faces: list[Face], expected: Face | None) -> None:
    found = find_single_face(faces, FRAME)
    assert found is (expected or faces[0])


def test_a_face_of_unknown_size_is_not_accepted() -> None:
    broken = Face(np.full((N_LANDMARKS, 2), np.nan, np.float32), np.zeros(N_LANDMARKS, np.float32))
    with pytest.raises(FlashproofError):
        find_single_face([broken], FRAME)


def test_a_simulated_head_is_found_upright(detector: FaceMeshDetector) -> None:
    found = find_single_face(detector.detect(head()), head().shape)
    assert found.points.shape == (N_LANDMARKS, 2)
    assert (found.points.dtype, found.depth.dtype, found.depth.shape) == (np.float32, np.float32, (N_LANDMARKS,))
    forehead, right_eye, left_eye, nose, chin = found.points[[10, 33, 263, 4, 152]]
    assert forehead[1] < right_eye[1] < nose[1] < chin[1]
    assert right_eye[0] < nose[0] < left_eye[0]
    assert found.depth[4] < found.depth[234]  # the tip of the nose is nearer than the cheek


@pytest.mark.parametrize(("top", "left", "bottom", "right"), [(60, 0, 0, 0), (0, 90, 0, 0), (30, 20, 100, 150)])
def test_landmarks_are_in_pixels_of_frames_of_any_shape(
    detector: FaceMeshDetector, top: int, left: int, bottom: int, right: int
) -> None:
    padded = np.pad(head(), ((top, bottom), (left, right), (0, 0)), mode="edge")
    (plain,), (moved,) = detector.detect(head()), detector.detect(padded)
    np.testing.assert_allclose((moved.points - plain.points).mean(axis=0), (left, top), atol=2.5)


def test_the_same_frame_gives_the_same_landmarks_whatever_came_before(detector: FaceMeshDetector) -> None:
    first = detector.detect(head())[0]
    detector.detect(np.roll(head(), 30, axis=1))
    np.testing.assert_array_equal(detector.detect(head())[0].points, first.points)


def test_an_empty_room_holds_no_face(detector: FaceMeshDetector) -> None:
    assert detector.detect(np.full((200, 300, 3), 90, np.uint8)) == []


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((64, 64, 3), np.float32),
        np.zeros((0, 64, 3), np.uint8),
    ],
)
def test_frames_of_another_form_are_refused(detector: FaceMeshDetector, frame: np.ndarray) -> None:
    with pytest.raises(FrameFormatUnsupported):
        detector.detect(frame)


def test_a_detector_inherited_by_a_fork_refuses_to_run(
    detector: FaceMeshDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector.detect(head())
    monkeypatch.setattr(os, "getpid", lambda: -1)  # what a forked child would see: another process id
    with pytest.raises(ModelFailed, match="spawn"):
        detector.detect(head())


def test_a_used_detector_works_in_spawned_workers(detector: FaceMeshDetector) -> None:
    here = detector.detect(head())[0]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        (there,) = pool.submit(detector.detect, head()).result(timeout=60)
    np.testing.assert_array_equal(there.points, here.points)


def test_a_closed_detector_starts_again() -> None:
    detector = FaceMeshDetector()
    detector.detect(head())
    detector.close()
    assert len(detector.detect(head())) == 1
    detector.close()


def test_pickling_keeps_the_settings() -> None:
    assert pickle.loads(pickle.dumps(FaceMeshDetector(0.7)))._confidence == 0.7


def test_missing_mediapipe_is_a_missing_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe.python.solutions.face_mesh", None)  # importing it raises ImportError
    with pytest.raises(BackendMissing, match="mediapipe"):
        FaceMeshDetector().detect(head())


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)


def test_creating_a_detector_loads_nothing() -> None:
    done = run("import sys, sdk_reference.landmarks as l; l.FaceMeshDetector(); print('mediapipe' in sys.modules)")
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "module", ["sdk_reference", "sdk_reference.errors", "sdk_reference.capture", "sdk_reference.differential"]
)
def test_light_modules_load_neither_torch_nor_mediapipe(module: str) -> None:
    done = run(f"import sys, {module}; print({{'torch', 'mediapipe', 'simulator'}} & set(sys.modules))")
    assert done.stdout.strip() == "set()"


def test_standard_error_stays_clean_but_for_other_messages(tmp_path: Path) -> None:
    np.save(tmp_path / "head.npy", head())
    done = run(
        "import sys, numpy as np\n"
        "from sdk_reference.landmarks import FaceMeshDetector\n"
        "print('before', file=sys.stderr)\n"
        f"faces = FaceMeshDetector().detect(np.load({str(tmp_path / 'head.npy')!r}))\n"
        "print('after', file=sys.stderr)\n"
        "print(len(faces))"
    )
    assert done.stdout.strip() == "1"
    assert done.stderr.splitlines() == ["before", "after"]


def test_only_known_chatter_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    with _without_chatter():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
        os.write(2, b"something that matters\n")
        os.write(2, b"W0000 00:00:1795474421.485760    5443 inference_feedback_manager.cc:114] Feedback manager\n")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "something that matters\nafterwards\n"


def test_messages_of_a_failure_are_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), _without_chatter():
        os.write(2, b"the reason\n")
        raise KeyError
    assert capfd.readouterr().err == "the reason\n"
