// Differences in linear light and the model's input (steps 4 to 8 of docs/bundle.md).

import { coverage } from './align.mjs';
import { facePixels, LINEAR, lightTable } from './light.mjs';

export const WINDOW_START = 112;
export const WINDOW_SIZE = 32;

/** An RGB frame's three planes of light, one after the other. */
export function planesOf({ width, height, data }, table) {
  const pixels = width * height;
  return Float32Array.from({ length: 3 * pixels }, (_, at) => table[data[(at % pixels) * 3 + Math.floor(at / pixels)]]);
}

/** For each row [i, j] of D: frame i − frame j. */
export function differences(frames, rows) {
  return rows.map(([taken, subtracted]) => frames[taken].map((value, at) => value - frames[subtracted][at]));
}

/** The golden stage `differential`: {window, means} of the full-size differences without gain. */
export function differentialStage(aligned, manifest) {
  const side = manifest.alignment.size;
  const rows = differences(aligned.map((frame) => planesOf(frame, LINEAR)), manifest.differential_rows);
  const planes = rows.flatMap((row) => [0, 1, 2].map((c) => row.subarray(c * side * side, (c + 1) * side * side)));
  const window = planes.flatMap((plane) => windowOf(plane, side));
  return { window, means: [...planes.map(mean), ...planes.map((plane) => mean(plane.map(Math.abs)))] };
}

function windowOf(plane, side) {
  const rows = Array.from({ length: WINDOW_SIZE }, (_, row) => (WINDOW_START + row) * side + WINDOW_START);
  return rows.flatMap((start) => [...plane.subarray(start, start + WINDOW_SIZE)]);
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Aligned frames → {input: Float32Array N×3×S×S, gain}. */
export function modelInput(aligned, manifest) {
  const { input_size: size, transfer } = manifest.preprocess;
  const table = lightTable(transfer);
  const frames = aligned.map((frame) => averaged(planesOf(frame, table), frame.width, size));
  const rows = differences(frames, manifest.differential_rows);
  const gain = gainOf(rows, manifest);
  const clipped = rows.map((row) => row.map((value) => Math.min(Math.max(value * gain, -1), 1)));
  const input = new Float32Array(rows.length * 3 * size * size);
  clipped.forEach((row, index) => input.set(row, index * row.length));
  return { input, gain };
}

/** Three side×side planes → three size×size planes of area means. */
function averaged(planes, side, size) {
  const cells = coverage(side, size);
  const area = (side / size) ** 2;
  return Float32Array.from({ length: 3 * size * size }, (_, at) => {
    const start = Math.floor(at / (size * size)) * side * side;
    const [rows, columns] = [cells[Math.floor(at / size) % size], cells[at % size]];
    let sum = 0;
    for (const [row, down] of rows) {
      for (const [column, across] of columns) sum += down * across * planes[start + row * side + column];
    }
    return sum / area;
  });
}

function gainOf(rows, manifest) {
  const { gain, gain_target: target, gain_limit: limit, input_size: size } = manifest.preprocess;
  if (gain === 'none') return 1;
  const face = facePixels(manifest.alignment, size);
  let sum = 0;
  for (const row of rows) {
    for (let channel = 0; channel < 3; channel++) {
      for (const at of face) sum += Math.abs(row[channel * size * size + at]);
    }
  }
  const found = sum / (rows.length * 3 * face.length);
  return found > 0 ? Math.min(target / found, limit) : limit;
}
