// Resamples a frame to the template by an affine map (step 3 of docs/bundle.md).

import { determinant, invert } from './affine.mjs';

const CHANNELS = 3;
const STEPS = 32; // per pixel, of the places sampled
const FINE = 1024; // per pixel, in which their two summands are rounded

/** {width, height, data} RGB bytes → the size×size frame that `map` (frame → template) makes of it. */
export function alignFrame(frame, map, size) {
  const scale = Math.sqrt(Math.abs(determinant(map)));
  if (scale < 1) [frame, map] = shrink(frame, map, scale);
  const places = samplingPlaces(betweenCentres(invert(map)), size);
  const data = new Uint8Array(size * size * CHANNELS);
  for (let pixel = 0; pixel < size * size; pixel++) {
    const [u, v] = places(pixel % size, Math.floor(pixel / size));
    sampleBilinear(frame, u, v, data, pixel * CHANNELS);
  }
  return { width: size, height: size, data };
}

/** A map between pixel corners as one between pixel centres, which is how indices count. */
export function betweenCentres(map) {
  return map.map(([a, b, c]) => [a, b, c + (a + b) / 2 - 0.5]);
}

/** The function that takes the index (x, y) of a pixel to the place that `map` samples, in steps of 1/32 pixel. */
export function samplingPlaces(map, size) {
  const across = map.map(([a]) => Array.from({ length: size }, (_, x) => Math.round(FINE * a * x)));
  const down = map.map(([, b, c]) => Array.from({ length: size }, (_, y) => Math.round(FINE * (b * y + c))));
  const step = FINE / STEPS;
  const place = (axis, x, y) => Math.floor((across[axis][x] + down[axis][y] + step / 2) / step) / STEPS;
  return (x, y) => [place(0, x, y), place(1, x, y)];
}

function sampleBilinear({ width, height, data }, u, v, out, at) {
  const [left, top] = [Math.floor(u), Math.floor(v)];
  const [right, down] = [u - left, v - top];
  const [x0, x1] = [clamp(left, width), clamp(left + 1, width)];
  const [y0, y1] = [clamp(top, height), clamp(top + 1, height)];
  for (let channel = 0; channel < CHANNELS; channel++) {
    const value = (x, y) => data[(y * width + x) * CHANNELS + channel];
    const above = value(x0, y0) * (1 - right) + value(x1, y0) * right;
    const below = value(x0, y1) * (1 - right) + value(x1, y1) * right;
    out[at + channel] = Math.round(above * (1 - down) + below * down);
  }
}

function clamp(index, size) {
  return Math.min(Math.max(index, 0), size - 1);
}

/** Averages the whole frame down by `scale`; returns it with the map adapted to the exact factors. */
function shrink(frame, map, scale) {
  const width = Math.max(Math.round(frame.width * scale), 1);
  const height = Math.max(Math.round(frame.height * scale), 1);
  const [across, down] = [frame.width / width, frame.height / height];
  const [columns, rows] = [coverage(frame.width, width), coverage(frame.height, height)];
  const data = new Uint8Array(width * height * CHANNELS);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < CHANNELS; channel++) {
        let sum = 0;
        for (const [row, weightDown] of rows[y]) {
          for (const [column, weightAcross] of columns[x]) {
            sum += weightDown * weightAcross * frame.data[(row * frame.width + column) * CHANNELS + channel];
          }
        }
        data[(y * width + x) * CHANNELS + channel] = Math.round(sum / (across * down));
      }
    }
  }
  return [{ width, height, data }, map.map(([a, b, c]) => [a * across, b * down, c])];
}

/** For each of `count` cells laid over `length` pixels: the pixels that it covers, [index, covered part] each. */
export function coverage(length, count) {
  const cell = length / count;
  return Array.from({ length: count }, (_, index) => {
    const [start, end] = [index * cell, Math.min((index + 1) * cell, length)];
    const covered = [];
    for (let pixel = Math.floor(start); pixel < end; pixel++) {
      const part = Math.min(pixel + 1, end) - Math.max(pixel, start);
      if (part > 1e-9) covered.push([pixel, part]);
    }
    return covered;
  });
}
