// The manifest: its fields at every depth, its paths, and what of it this reader implements (docs/bundle.md).

import { check, parseJson } from './checks.mjs';

const SCHEMA_VERSION = 3;
const MAX_PATH_LENGTH = 200;
const MAY_BE_NULL = /^manifest\.artifacts\.\d+\.(opset|calibration)$/;
const WINDOWS_DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$/i;

// An object's fields; `true` is any value, [x] a list of x, {'*': x} an object of x under names of its own choice.
const TENSOR = { name: true, shape: true, dtype: true, layout: true, range: true };
const OPERATING_POINT = {
  threshold: true, chosen_by: true, split: true, simulated: true, captures: true,
  rates: { '*': { value: true, low: true, high: true } },
};
const ARTIFACT = {
  file: true, format: true, precision: true, opset: true, runs_on: true, float_layers: true,
  calibration: { seed: true, captures: true, sha256: true },
  inputs: [TENSOR], outputs: [TENSOR], tolerances: { '*': true }, operating_point: OPERATING_POINT,
};
const FIELDS = {
  schema_version: true, name: true, version: true, created: true, licence: true, n0: true,
  flash: { profile: true, colours_srgb: true, palette: true },
  differential_rows: true,
  alignment: {
    name: true, version: true, landmark_convention: true, size: true, indices: true, points: true,
    face_ellipse: { centre: true, semi_axes: true },
  },
  colour_order: true,
  preprocess: {
    aligned_size: true, input_size: true, registration: true, transfer: true, gain: true, gain_target: true,
    gain_limit: true,
  },
  depth_bins: true, species_order: true,
  quality_limits: {
    min_face_width_px: true, max_motion_px: true, max_clipped_fraction: true, max_exposure_drop: true,
    min_flash_to_ambient: true, min_flash_snr: true,
  },
  response_rule: { cosine_limit: true, max_disagreeing_rows: true },
  artifacts: [ARTIFACT],
  training: {
    run: true, seed: true, preset: true, data_sha256: true, captures: true, subjects: true, simulated: true,
  },
  files: { '*': { sha256: true, bytes: true } },
};

/** Parses manifest.json; throws BundleError for another schema version, unknown or missing fields. */
export function parseManifest(bytes) {
  const manifest = parseJson(bytes, 'manifest.json');
  const version = manifest?.schema_version;
  check(version === SCHEMA_VERSION, `schema version ${version}; this reads ${SCHEMA_VERSION}`);
  checkFields(manifest, FIELDS, 'manifest');
  check(manifest.artifacts.length > 0, 'no artifacts');
  checkImplemented(manifest);
  checkPaths(Object.keys(manifest.files));
  manifest.artifacts.forEach((artifact) => checkArtifact(artifact, manifest));
  return manifest;
}

/** What this reader does not implement is refused rather than guessed. */
function checkImplemented(manifest) {
  const last = manifest.n0 - 1;
  const middle = Array.from({ length: manifest.n0 - 2 }, (_, index) => index + 1);
  const rows = [...middle.map((rank) => [0, rank]), ...middle.map((rank) => [rank, last])];
  const known = {
    differential_rows: JSON.stringify(manifest.differential_rows) === JSON.stringify(rows),
    species_order: JSON.stringify(manifest.species_order) === '["print","replay","mask"]',
    alignment: manifest.alignment.name === 'flashproof-1' && manifest.alignment.version === 1,
    colour_order: manifest.colour_order === 'RGB',
    transfer: ['linear', 'encoded'].includes(manifest.preprocess.transfer),
    gain: ['face_mean_abs', 'none'].includes(manifest.preprocess.gain),
    registration: ['detail', 'none'].includes(manifest.preprocess.registration),
  };
  for (const [name, implemented] of Object.entries(known)) check(implemented, `a ${name} that this does not implement`);
}

/** An artifact's file is in the bundle, and its tensors are those of the contract. */
function checkArtifact(artifact, { files, differential_rows: rows, preprocess }) {
  const isFolder = artifact.format === 'coreml';
  const isPart = (path) => (isFolder ? path.startsWith(`${artifact.file}/`) : path === artifact.file);
  check(Object.keys(files).some(isPart), `${artifact.file} is not in the listing`);
  check((artifact.opset === null) === (artifact.format !== 'onnx'), `${artifact.file}: opset ${artifact.opset}`);
  const [n, side] = [rows.length, preprocess.input_size];
  const expected = {
    differential: [n, 3, side, side], score: [1], type: [3], depth: [1, side / 4, side / 4], flash_response: [n, 3],
  };
  const stated = [...artifact.inputs, ...artifact.outputs];
  const isSound = ({ name, shape }) => JSON.stringify(shape) === JSON.stringify(expected[name]);
  const complete = artifact.inputs.length === 1 && new Set(stated.map(({ name }) => name)).size === 5;
  check(complete && stated.length === 5 && stated.every(isSound), `${artifact.file}: other tensors`);
}

function checkPaths(paths) {
  const isPlain = (part) => /^[A-Za-z0-9_\-+=@][A-Za-z0-9_\-+=@. ]*$/.test(part) && !/[. ]$/.test(part);
  const isSafe = (part) => isPlain(part) && !WINDOWS_DEVICE.test(part);
  for (const path of paths) {
    const safe = path.split('/').every(isSafe) && path.length <= MAX_PATH_LENGTH && path !== 'manifest.json';
    check(safe, `the unsafe path ${JSON.stringify(path.slice(0, MAX_PATH_LENGTH))}`);
  }
  const different = new Set(paths.map((path) => path.toLowerCase()));
  check(different.size === paths.length, 'two paths that differ only in upper and lower case');
}

/** Throws unless `value` has exactly the fields of `fields`, at every depth. */
function checkFields(value, fields, where) {
  if (value === null) {
    check(MAY_BE_NULL.test(where), `${where} is null`);
  } else if (fields === true) {
    return;
  } else if (Array.isArray(fields)) {
    check(Array.isArray(value), `${where} is no list`);
    value.forEach((one, index) => checkFields(one, fields[0], `${where}.${index}`));
  } else {
    check(typeof value === 'object' && !Array.isArray(value), `${where} is no object`);
    const names = '*' in fields ? Object.keys(value) : Object.keys(fields);
    const unknown = Object.keys(value).filter((name) => !names.includes(name));
    const missing = names.filter((name) => !Object.hasOwn(value, name));
    check(!unknown.length && !missing.length, `${where}: unknown fields [${unknown}], missing ones [${missing}]`);
    names.forEach((name) => checkFields(value[name], fields['*'] ?? fields[name], `${where}.${name}`));
  }
}
