"""Challenge and response: does the face take on the colours that the plan showed? (not in the paper)

The authors' released code trains a head that tells from each differential frame which colour lit it, as the three
pairwise differences (R−G, G−B, B−R), and refuses a capture when more than 2 of 6 frames disagree with the plan. The
same quantity can be measured without a network, from the mean colour of the face in each difference: both are reported.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import srgb8_to_linear
from flash_sequencer.plan import FlashPlan
from sdk_reference.align import TEMPLATE
from sdk_reference.differential import differential_rows
from sdk_reference.errors import PlanMismatch
from sdk_reference.preprocess import Preprocessed

MAX_DISAGREEING_FRAMES: Final = 2  # of 6, as in the authors' code
COSINE_LIMIT: Final = 0.5  # 60 degrees: half-way between neighbouring primary colours is 30
NEUTRAL_NORM: Final = 0.2  # below, a difference is (almost) grey, and its direction says nothing

FloatArray = npt.NDArray[np.float32]
FloatRows = npt.NDArray[np.float32] | npt.NDArray[np.float64]


def expected_response(plan: FlashPlan) -> FloatArray:
    """Return (N,3) float32: what each row of D should answer to the plan's colours.

    For row i − j and linear screen colours c = c_i − c_j: (R−G, G−B, B−R) / max|c|; in −2..2, each row sums to 0.
    """
    colours = np.asarray(plan.colours_linear(), dtype=np.float64)
    taken, subtracted = np.array(differential_rows(plan.n0)).T
    return colour_differences(colours[taken] - colours[subtracted])


def checked_expectation(expected: FloatArray, rows: int) -> FloatArray:
    """Return `expected` unless it could not contradict anything.

    Whoever is given a plan, or what it calls for, decides by it only after this: every face would agree with a plan
    without colours. Raises PlanMismatch unless `expected` is (`rows`,3) and finite, and some row no shorter than
    NEUTRAL_NORM.
    """
    remedy = "show a plan with colours, such as a challenge drawn from a nonce"
    if expected.shape != (rows, 3) or not np.isfinite(expected).all():
        found = f"an expected response of shape {expected.shape}, or with values that are not finite"
        raise PlanMismatch(found=found, expected=f"{rows} rows of three finite numbers", remedy=remedy)
    if not (np.linalg.norm(expected.astype(np.float64), axis=1) >= NEUTRAL_NORM).any():
        found = "a plan whose colours differ in brightness only"
        raise PlanMismatch(found=found, expected="at least one difference with a colour of its own", remedy=remedy)
    return expected


def measured_response(preprocessed: Preprocessed) -> FloatArray:
    """Return (N,3) float32: `response_of_frames` of a capture's aligned frames."""
    return response_of_frames(preprocessed.aligned_u8)


def response_of_frames(aligned_u8: npt.NDArray[np.uint8]) -> FloatArray:
    """Return (N,3) float32: the mean colour of the face in each difference, linear, in the form of `expected_response`.

    `aligned_u8` are aligned frames (N0,3,256,256) uint8 RGB, sRGB-coded, by rank. Skin reflects red best, so a white
    flash answers reddish; rows of a coloured plan keep their direction all the same once the face's own colour is
    divided out, which is done by the answer to brightest − darkest.
    """
    faces = srgb8_to_linear(aligned_u8[:, :, TEMPLATE.face_region()]).mean(axis=2, dtype=np.float64)
    skin = np.maximum(faces[0] - faces[-1], 0)
    if not skin.min() > 0:
        skin = np.ones(3)  # no light came back in some channel: nothing to divide by
    taken, subtracted = np.array(differential_rows(len(faces))).T
    return colour_differences((faces[taken] - faces[subtracted]) / skin)


def colour_differences(colours: npt.NDArray[np.float64]) -> FloatArray:
    """Return (…,3) float32 (R−G, G−B, B−R) / max|colour| of (…,3) signed linear colours; zeros stay zeros."""
    largest = np.abs(colours).max(axis=-1, keepdims=True)
    scaled = np.divide(colours, largest, out=np.zeros_like(colours), where=largest > 0)
    return np.asarray(scaled - np.roll(scaled, -1, axis=-1), dtype=np.float32)


def cosines(predicted: FloatRows, expected: FloatRows) -> FloatArray:
    """Return (N,) float32: cosine between each row of (N,3) arrays; NaN where the plan expects (almost) grey.

    A prediction of zero has cosine 0; one that is not finite −1: it agrees with nothing.
    """
    predicted, expected = np.asarray(predicted, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    norms = np.linalg.norm(predicted, axis=1) * np.linalg.norm(expected, axis=1)
    products = (predicted * expected).sum(axis=1)
    result = np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
    result = np.where(np.isfinite(predicted).all(axis=1) & np.isfinite(result), result, -1.0)
    return np.where(np.linalg.norm(expected, axis=1) < NEUTRAL_NORM, np.nan, result).astype(np.float32)


def disagreements(predicted: FloatRows, expected: FloatRows, limit: float = COSINE_LIMIT) -> npt.NDArray[np.bool_]:
    """Return (N,) bool: rows of (N,3) whose predicted colour points elsewhere than the plan's.

    Rows of which the plan expects no colour (white minus black) cannot disagree.
    """
    similarity = cosines(predicted, expected)
    return np.asarray(~np.isnan(similarity) & ~(similarity >= limit))
