// The measurements of docs/bundle.md, "Decision", 1, and the limits they are held against.

import { apply } from './affine.mjs';
import { facePixels, halved, luminance, median } from './light.mjs';

const CLIPPED = 253;
const DARK = 5;
const FACE_OVAL = [
  10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136,
  172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
];

/** Measures aligned frames, landmarks [rank][468][x, y] and the rank 0 frame's map. */
export function measure(aligned, landmarks, map, alignment) {
  const light = aligned.map(luminance);
  const darkest = light[light.length - 1];
  const difference = light[0].map((value, at) => value - darkest[at]);
  const face = facePixels(alignment, alignment.size);
  const signal = meanAt(difference, face);
  const clipped = face.filter((at) => channels(aligned[0], at).some((byte) => byte >= CLIPPED));
  return {
    clipped_fraction: clipped.length / face.length,
    exposure_drift: exposureDrift(aligned, light, alignment),
    face_width_px: Math.min(...landmarks.map(faceWidth)),
    flash_snr: signal / noise(difference, alignment),
    flash_to_ambient: signal / Math.max(meanAt(darkest, face), 1e-4),
    motion_px: motion(landmarks, map, alignment.indices),
  };
}

/** Codes of the limits that `quality` misses, in the order in which docs/bundle.md lists them. */
export function failures(quality, limits) {
  const missed = {
    face_too_small: !(quality.face_width_px >= limits.min_face_width_px),
    moved: !(quality.motion_px <= limits.max_motion_px),
    overexposed: !(quality.clipped_fraction <= limits.max_clipped_fraction),
    light_changed: !(quality.exposure_drift >= -limits.max_exposure_drop),
    flash_too_weak:
      !(quality.flash_to_ambient >= limits.min_flash_to_ambient) || !(quality.flash_snr >= limits.min_flash_snr),
  };
  return Object.keys(missed).filter((code) => missed[code]);
}

function channels({ data }, at) {
  return [data[at * 3], data[at * 3 + 1], data[at * 3 + 2]];
}

function meanAt(plane, places) {
  return places.reduce((sum, at) => sum + plane[at], 0) / places.length;
}

function faceWidth(points) {
  const across = FACE_OVAL.map((index) => points[index][0]);
  return Math.max(...across) - Math.min(...across);
}

function motion(landmarks, map, indices) {
  const placed = landmarks.map((points) => indices.map((index) => apply(map, points[index])));
  let largest = 0;
  placed.forEach((one, i) => {
    placed.slice(i + 1).forEach((other) => {
      const squares = one.reduce((sum, [x, y], k) => sum + (x - other[k][0]) ** 2 + (y - other[k][1]) ** 2, 0);
      largest = Math.max(largest, Math.sqrt(squares / one.length));
    });
  });
  return largest;
}

function noise(difference, alignment) {
  const half = alignment.size / 2;
  const small = halved(difference, alignment.size);
  const residual = facePixels(alignment, half, 0.9).map((at) => small[at] - boxMean(small, half, at));
  const middle = median(residual);
  const deviation = median(residual.map((value) => Math.abs(value - middle)));
  return Math.max((1.4826 * deviation) / Math.sqrt(1 - 1 / 25), 0.0005);
}

function boxMean(plane, side, at) {
  let sum = 0;
  for (let row = -2; row <= 2; row++) {
    for (let column = -2; column <= 2; column++) sum += plane[at + row * side + column];
  }
  return sum / 25;
}

function exposureDrift(aligned, light, alignment) {
  const side = alignment.size;
  const near = new Set(facePixels(alignment, side, 1.35));
  const rows = Math.floor(alignment.face_ellipse.centre[1]);
  const inRange = (byte) => byte >= DARK && byte < CLIPPED;
  const usable = [];
  for (let at = 0; at < rows * side; at++) {
    if (!near.has(at) && aligned.every((frame) => channels(frame, at).every(inRange))) usable.push(at);
  }
  if (usable.length < 500) return 0;
  const darkest = light[light.length - 1];
  const changes = light.map((plane) => median(usable.map((at) => plane[at] / darkest[at])) - 1);
  return changes.reduce((largest, change) => (Math.abs(change) > Math.abs(largest) ? change : largest));
}
