"""Head and hand in motion: where things are at each moment, how fast, and how a rendered layer moves with them.

The paper's subjects hold the phone in the hand (section 6.1); the motion model is ours: a sway that wanders and comes
back, and the tremor of a holding hand, 6 to 12 Hz (physiological tremor), which hardly moves a frame against the next
one but smears it during a long exposure. Sizes are stated at a usual distance and grow with it: a small replay held
near and a large print far away must not tell themselves by how much they move in the image. Layers are moved along
their exact depth instead of being rendered again.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from simulator.scene import LightLayers, View, rotation

USUAL_DISTANCE_CM = 30.0
"""Where the motions below are stated."""
TREMOR_HZ = (6.0, 12.0)
TREMOR_CM = (0.005, 0.05)
"""Range of the tremor's root mean square per axis, as displacement at the usual distance; drawn log-uniformly."""
TREMOR_TONES = 3


@dataclass(frozen=True)
class Motion:
    """How far an object (or the hand with the phone) has moved since the layers were rendered, or its speed per s."""

    turn: np.ndarray
    """(3,) yaw, pitch, roll in radians about the object's own middle."""
    shift_cm: np.ndarray
    """(3,) camera space."""


class Tremor:
    """A hand's fast small shaking across the line of sight: a few tones of random frequency per axis."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._size_cm = float(np.exp(rng.uniform(*np.log(TREMOR_CM)))) * np.sqrt(2.0 / TREMOR_TONES)
        self._rate = 2.0 * np.pi * rng.uniform(*TREMOR_HZ, size=(2, TREMOR_TONES))
        self._phase = rng.uniform(0.0, 2.0 * np.pi, size=(2, TREMOR_TONES))

    def place_cm(self, seconds: float) -> np.ndarray:
        """Displacement (3,) at this time; z is 0."""
        return np.append(self._size_cm * np.sin(self._rate * seconds + self._phase).sum(1), 0.0)

    def speed_cm(self, seconds: float) -> np.ndarray:
        """Its rate (3,), cm per second."""
        return np.append(self._size_cm * (self._rate * np.cos(self._rate * seconds + self._phase)).sum(1), 0.0)


class MotionWalk:
    """Random motion of head against phone: a velocity that wanders, a hand that comes back, and its tremor."""

    TURN_SPEED = 0.020
    """Typical speed of turning, radians per second."""
    SHIFT_SPEED_CM = np.array([0.32, 0.32, 0.40])
    """Typical speed of shifting at the usual distance, cm per second."""
    MEMORY_S = 0.4
    RETURN_S = 3.0
    UNREST = 0.6
    """Spread of the logarithm of how restless people are."""
    WILDEST = 3.5

    def __init__(self, rng: np.random.Generator, distance_cm: float = USUAL_DISTANCE_CM) -> None:
        """`distance_cm` to the object: what is farther moves as much more in cm as makes it look alike in the image."""
        self._rng = rng
        self._reach = distance_cm / USUAL_DISTANCE_CM
        self._scale = min(float(np.exp(rng.normal() * self.UNREST)), self.WILDEST)
        self._speed = self._scale * rng.normal(size=6)
        self._place = np.zeros(6)
        self._seconds = 0.0
        self._tremor = Tremor(rng)
        self._tremor_start_cm = self._tremor.place_cm(0.0)

    def now(self) -> Motion:
        """Where the object is, against where it was at first."""
        tremor_cm = self._tremor.place_cm(self._seconds) - self._tremor_start_cm
        shift_cm = self._place[3:] * self.SHIFT_SPEED_CM + tremor_cm
        return Motion(self._place[:3] * self.TURN_SPEED, shift_cm * self._reach)

    def speed(self) -> Motion:
        """How fast it moves now, per second."""
        rate = self._speed - self._place / self.RETURN_S
        shift_cm = rate[3:] * self.SHIFT_SPEED_CM + self._tremor.speed_cm(self._seconds)
        return Motion(rate[:3] * self.TURN_SPEED, shift_cm * self._reach)

    def step(self, seconds: float) -> Motion:
        """Let time pass and return where the object is then."""
        keep = float(np.exp(-seconds / self.MEMORY_S))
        kick = self._scale * np.sqrt(1.0 - keep * keep) * self._rng.normal(size=6)
        self._speed = keep * self._speed + kick
        self._place = np.exp(-seconds / self.RETURN_S) * (self._place + self._speed * seconds)
        self._seconds += seconds
        return self.now()


def image_speed_px(speed: Motion, middle_cm: np.ndarray, view: View, size: int) -> tuple[float, float]:
    """Speed (x, y) in pixels per second, in a frame of `size`, of the object's middle (3,) that moves at `speed`."""
    x, y, z = (float(value) for value in middle_cm)
    across, up, near = (float(value) for value in speed.shift_cm)
    focal_px = view.focal_px * size / view.size
    return focal_px * (across * -z + x * near) / (z * z), -focal_px * (up * -z + y * near) / (z * z)


def motion_map(layers: LightLayers, motion: Motion, middle_cm: np.ndarray, view: View, size: int) -> np.ndarray:
    """Source pixel (size, size, 2) float32 (x, y) in the layers for each pixel of the photograph after `motion`.

    `middle_cm` (3,) is the point the object turns about. The background moves with the object's edge, as it does when
    the hand moves the phone; where depth is unknown the object's middle stands for it.
    """
    small = cv2.resize(layers.depth_cm, (size, size), interpolation=cv2.INTER_NEAREST)
    depth = np.where(small > 0.0, small, np.float32(-middle_cm[2])).astype(np.float32)
    depth = cv2.GaussianBlur(depth, (0, 0), 1.5 * size / 256)
    turn = rotation(*motion.turn)
    out = np.empty((size, size, 2), np.float32)
    parameters = np.array([view.focal_px * size / view.size, view.focal_px, size / 2.0, view.size / 2.0], np.float32)
    _motion_kernel(depth, turn, np.asarray(middle_cm, np.float32), motion.shift_cm.astype(np.float32), parameters, out)
    return out


@njit(cache=True, nogil=True, fastmath=True)
def _motion_kernel(
    depth: np.ndarray,
    turn: np.ndarray,
    middle: np.ndarray,
    shift: np.ndarray,
    parameters: np.ndarray,
    out: np.ndarray,
) -> None:
    focal, layer_focal, centre, layer_centre = parameters[0], parameters[1], parameters[2], parameters[3]
    for row in range(depth.shape[0]):
        for column in range(depth.shape[1]):
            d = depth[row, column]
            x = (column + np.float32(0.5) - centre) / focal * d - middle[0] - shift[0]
            y = -(row + np.float32(0.5) - centre) / focal * d - middle[1] - shift[1]
            z = -d - middle[2] - shift[2]
            before_x = turn[0, 0] * x + turn[1, 0] * y + turn[2, 0] * z + middle[0]
            before_y = turn[0, 1] * x + turn[1, 1] * y + turn[2, 1] * z + middle[1]
            before_z = turn[0, 2] * x + turn[1, 2] * y + turn[2, 2] * z + middle[2]
            out[row, column, 0] = layer_centre + layer_focal * before_x / -before_z - np.float32(0.5)
            out[row, column, 1] = layer_centre - layer_focal * before_y / -before_z - np.float32(0.5)


def move(image: np.ndarray, source: np.ndarray, *, nearest: bool = False) -> np.ndarray:
    """Photograph a layer image (H, W[, 3]) through a motion map (size, size, 2)."""
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return cv2.remap(image, source, None, how, borderMode=cv2.BORDER_REPLICATE)
