// Corrects the maps from landmarks by the frames' own detail (docs/bundle.md, "Registration", whose numbers these are).

import { IDENTITY, invert, solve } from './affine.mjs';
import { samplingPlaces } from './align.mjs';
import { facePixels, halved, luminance, median } from './light.mjs';

const SIDE = 128;
const CENTRE = 64;
const SPREAD = 32;
const FACE = 0.95;
const SIGMA = 5;
const REACH = 20;
const DARK = 0.004;
const ROUNDS = 2;
const STEPS = 3;
const DAMPING = 0.02;
const MAX_SHIFT = 6;

/** Frames aligned by landmarks alone → one map per frame, from where its pixels are to where they belong. */
export function corrections(frames, alignment) {
  const details = frames.map(detail);
  const face = facePixels(alignment, SIDE, FACE);
  let parameters = frames.map(() => new Array(6).fill(0));
  for (let round = 0; round < ROUNDS; round++) {
    const sampled = details.map((one, index) => sample(one, parameters[index]));
    parameters = parameters.map((p, index) => search(details[index], meanOfOthers(sampled, index), p, face));
    parameters = withoutMean(parameters);
  }
  return parameters.every((p) => usable(p, face)) ? parameters.map(toMap) : parameters.map(() => IDENTITY);
}

/** Logarithm of luminance less its blur, 128×128. */
function detail(frame) {
  const logarithm = halved(luminance(frame), frame.width).map((value) => Math.log(value + DARK));
  const blurred = blur(logarithm);
  return logarithm.map((value, index) => value - blurred[index]);
}

function blur(plane) {
  const raw = Array.from({ length: 2 * REACH + 1 }, (_, index) => Math.exp(-((index - REACH) ** 2) / (2 * SIGMA ** 2)));
  const sum = raw.reduce((a, b) => a + b, 0);
  const weights = raw.map((weight) => weight / sum);
  const alongRows = convolved(plane, weights, (x, y, k) => y * SIDE + mirrored(x + k));
  return convolved(alongRows, weights, (x, y, k) => mirrored(y + k) * SIDE + x);
}

function convolved(plane, weights, place) {
  return plane.map((_, index) => {
    const [x, y] = [index % SIDE, Math.floor(index / SIDE)];
    return weights.reduce((sum, weight, k) => sum + weight * plane[place(x, y, k - REACH)], 0);
  });
}

function mirrored(index) {
  if (index < 0) return -index;
  return index < SIDE ? index : 2 * (SIDE - 1) - index;
}

/** Where the sampled pixel (x, y) is taken from, relative to itself. */
function shift(p, x, y) {
  const [u, v] = [(x - CENTRE) / SPREAD, (y - CENTRE) / SPREAD];
  return [p[0] + p[2] * u + p[3] * v, p[1] + p[4] * u + p[5] * v];
}

function sample(plane, p) {
  const places = samplingPlaces(sampledFrom(p), SIDE);
  return plane.map((_, index) => bilinear(plane, ...places(index % SIDE, Math.floor(index / SIDE))));
}

/** The map to the place sampled, A·(x, y) + b, both as indices count. */
function sampledFrom(p) {
  const a = [[1 + p[2] / SPREAD, p[3] / SPREAD], [p[4] / SPREAD, 1 + p[5] / SPREAD]];
  return a.map(([across, down], axis) => [across, down, p[axis] + CENTRE - (across + down) * CENTRE]);
}

function bilinear(plane, u, v) {
  const [left, top] = [Math.floor(u), Math.floor(v)];
  const [right, down] = [u - left, v - top];
  const value = (x, y) => plane[clamped(y) * SIDE + clamped(x)];
  const above = value(left, top) * (1 - right) + value(left + 1, top) * right;
  return above * (1 - down) + (value(left, top + 1) * (1 - right) + value(left + 1, top + 1) * right) * down;
}

function clamped(index) {
  return Math.min(Math.max(index, 0), SIDE - 1);
}

function meanOfOthers(planes, self) {
  const others = planes.filter((_, index) => index !== self);
  return planes[self].map((_, at) => others.reduce((sum, plane) => sum + plane[at], 0) / others.length);
}

function search(plane, target, start, face) {
  let p = start;
  for (let step = 0; step < STEPS; step++) {
    const change = solve(...normalEquations(sample(plane, p), target, face));
    p = p.map((value, index) => value + change[index]);
  }
  return p;
}

/** H and Σ w·r·s of one step. */
function normalEquations(image, target, face) {
  const squares = face.reduce((sum, at) => sum + image[at] ** 2, 0);
  const gain = face.reduce((sum, at) => sum + image[at] * target[at], 0) / Math.max(squares, 1e-9);
  const residuals = face.map((at) => target[at] - gain * image[at]);
  const q = 1.4826 * median(residuals.map(Math.abs)) + 1e-6;
  const h = Array.from({ length: 6 }, () => new Array(6).fill(0));
  const right = new Array(6).fill(0);
  face.forEach((at, index) => {
    const weight = 1 / (1 + (residuals[index] / (2 * q)) ** 2);
    const s = slopes(image, at, gain);
    for (let i = 0; i < 6; i++) {
      right[i] += weight * residuals[index] * s[i];
      for (let j = 0; j < 6; j++) h[i][j] += weight * s[i] * s[j];
    }
  });
  const trace = h.reduce((sum, row, i) => sum + row[i], 0);
  h.forEach((row, i) => (row[i] += (DAMPING * trace) / 6 + 1e-9));
  return [h, right];
}

function slopes(image, at, gain) {
  const [u, v] = [(at % SIDE - CENTRE) / SPREAD, (Math.floor(at / SIDE) - CENTRE) / SPREAD];
  const [across, down] = [(image[at + 1] - image[at - 1]) / 2, (image[at + SIDE] - image[at - SIDE]) / 2];
  return [across, down, across * u, across * v, down * u, down * v].map((slope) => gain * slope);
}

function withoutMean(parameters) {
  const mean = parameters[0].map((_, i) => parameters.reduce((sum, p) => sum + p[i], 0) / parameters.length);
  return parameters.map((p) => p.map((value, i) => value - mean[i]));
}

function usable(p, face) {
  const squares = face.reduce((sum, at) => {
    const [dx, dy] = shift(p, at % SIDE, Math.floor(at / SIDE));
    return sum + 4 * (dx ** 2 + dy ** 2);
  }, 0);
  return p.every(Number.isFinite) && Math.sqrt(squares / face.length) <= MAX_SHIFT;
}

/** Parameters → the map between pixel corners of the aligned frame, twice as fine as the frame searched. */
function toMap(p) {
  const betweenCorners = sampledFrom(p).map(([a, b, c]) => [a, b, c + 0.5 - (a + b) * 0.5]);
  return invert(betweenCorners).map(([a, b, c]) => [a, b, 2 * c]);
}
