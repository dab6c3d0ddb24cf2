// Reads golden vectors (docs/bundle.md, "Golden vectors").

import { check, parseJson } from './checks.mjs';
import { decodePng } from './png.mjs';

/** The captures of golden/golden.json, each as it is stored. */
export function readIndex(bundle) {
  const path = 'golden/golden.json';
  const index = parseJson(bundle.read(path), path);
  check(index.format === 'flashproof-golden' && index.version === 1, `${path}: another format`);
  check(Array.isArray(index.captures) && index.captures.length > 0, `${path}: no capture`);
  return index.captures;
}

const CASES = 'golden/decisions.json';
const CASE_FIELDS = ['quality', 'expected', 'flash_response', 'score', 'type', 'depth', 'threshold'];

/** The cases of golden/decisions.json, their inputs with NaN for null; null where the bundle has no such file. */
export function readDecisions(bundle) {
  if (!Object.hasOwn(bundle.manifest.files, CASES)) return null;
  const { format, version, cases } = parseJson(bundle.read(CASES), CASES);
  check(format === 'flashproof-decisions' && version === 1, `${CASES}: another format`);
  check(Array.isArray(cases), `${CASES}: no cases`);
  const read = cases.map((one) => {
    const fields = ['name', 'answer', ...CASE_FIELDS];
    check(fields.every((key) => Object.hasOwn(one, key)), `${CASES}: a case that lacks something`);
    const inputs = Object.fromEntries(CASE_FIELDS.map((key) => [key, withNaN(one[key])]));
    return { ...inputs, name: one.name, answer: one.answer };
  });
  const kinds = new Set(read.map(({ answer }) => (answer.error === true ? 'error' : answer.verdict)));
  for (const kind of ['live', 'spoof', 'retry', 'error']) {
    check(kinds.has(kind), `${CASES}: no case whose answer is ${kind}`);
  }
  return read;
}

/** NaN for every null, at every depth; null would count as 0. */
function withNaN(value) {
  if (value === null) return NaN;
  if (Array.isArray(value)) return value.map(withNaN);
  if (typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, withNaN(one)]));
}

/** Everything stored about one capture. */
export function readCapture(bundle, { name, stages }) {
  const at = (file) => `golden/${name}/${file}`;
  const json = (file) => parseJson(bundle.read(at(file)), at(file));
  const raw = (file) => floats(bundle.read(at(file)), at(file));
  const image = (file) => decodePng(bundle.read(at(file)), at(file));
  const ranks = Array.from({ length: bundle.manifest.n0 }, (_, rank) => rank);
  const outputNames = bundle.manifest.artifacts[0].outputs.map((output) => output.name);
  const record = json('capture/capture.json');
  return {
    name,
    stages,
    colours: byRank(record.plan.steps).map((step) => step.srgb),
    frames: byRank(record.frames).map(({ file }) => image(`capture/${file}`)),
    landmarks: json('landmarks.json').points,
    maps: json('affines.json'),
    aligned: ranks.map((rank) => image(`aligned_${rank}.png`)),
    window: raw('differential_window.f32'),
    means: raw('differential_means.f32'),
    input: raw('model_input.f32'),
    gain: json('model_input.json').gain,
    quality: json('quality.json'),
    outputs: Object.fromEntries(outputNames.map((output) => [output, raw(`output_${output}.f32`)])),
    response: json('response.json'),
    decision: json('decision.json'),
  };
}

function byRank(records) {
  const sorted = [...records].sort((one, other) => one.rank - other.rank);
  check(sorted.every(({ rank }, index) => rank === index), 'a capture whose ranks are not 0, 1, 2, …');
  return sorted;
}

function floats(bytes, path) {
  check(bytes.length % 4 === 0, `${path}: ${bytes.length} bytes`);
  const values = Float32Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readFloatLE(4 * index));
  check(values.every(Number.isFinite), `${path}: values that are not finite`);
  return values;
}
