// The manifest: its fields at every depth, its paths, and what of it this reader implements (docs/bundle.md).

import { check, parseJson } from './checks.mjs';

const SCHEMA_VERSION = 3;
const MAX_PATH_LENGTH = 200;
const MAY_BE_NULL = /^manifest\.artifacts\.\d+\.(opset|calibration)$/;
const WINDOWS_DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$/i;

// What a value may be: each tells whether it is.
const text = (value) => typeof value === 'string' && value.length > 0 && value.length <= 2000;
const like = (pattern) => (value) => typeof value === 'string' && pattern.test(value);
const oneOf = (...values) => (value) => values.includes(value);
const bool = (value) => typeof value === 'boolean';
const LARGEST = Number.MAX_VALUE;
const within = (least, most) => (value) => value >= least && value <= most;
const whole = (least, most = LARGEST) => (value) => Number.isSafeInteger(value) && within(least, most)(value);
const real = (least, most = LARGEST) => (value) => Number.isFinite(value) && within(least, most)(value);
const above0 = (most = LARGEST) => (value) => Number.isFinite(value) && value > 0 && value <= most;
const list = (one, length) => (value) =>
  Array.isArray(value) && value.every(one) && (length === undefined || value.length === length);

const SHA256 = like(/^[0-9a-f]{64}$/);
const SHARE = real(0, 1);
const POINT = list(real(-LARGEST), 2);

// An object's fields: a function is what a value may be, [x] a list of x, {'*': x} an object of x under any names.
const TENSOR = { name: text, shape: list(whole(1)), dtype: oneOf('float32'), layout: text, range: POINT };
const OPERATING_POINT = {
  threshold: above0(1), chosen_by: text, split: oneOf('validation'), simulated: bool, captures: whole(1),
  rates: { '*': { value: SHARE, low: SHARE, high: SHARE } },
};
const ARTIFACT = {
  file: text, format: oneOf('onnx', 'litert', 'coreml'),
  precision: oneOf('fp32', 'fp16', 'int8_weights', 'int8_dynamic', 'int8_static'), opset: whole(1), runs_on: text,
  float_layers: list(text), calibration: { seed: whole(0), captures: whole(1), sha256: SHA256 },
  inputs: [TENSOR], outputs: [TENSOR], tolerances: { '*': above0() }, operating_point: OPERATING_POINT,
};
const FIELDS = {
  schema_version: whole(SCHEMA_VERSION, SCHEMA_VERSION), name: like(/^[a-z0-9][a-z0-9-]{0,63}$/),
  version: like(/^\d+\.\d+\.\d+$/), created: like(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/), licence: text,
  n0: whole(3, 8),
  flash: { profile: text, colours_srgb: list(list(whole(0, 255), 3)), palette: text },
  differential_rows: list(list(whole(0, 7), 2)),
  alignment: {
    name: text, version: whole(1, 1), landmark_convention: text, size: whole(1), indices: list(whole(0)),
    points: list(POINT), face_ellipse: { centre: POINT, semi_axes: POINT },
  },
  colour_order: text,
  preprocess: {
    aligned_size: whole(1), input_size: whole(4), registration: text, transfer: text, gain: text,
    gain_target: above0(1), gain_limit: above0(),
  },
  depth_bins: whole(2), species_order: list(text),
  quality_limits: {
    min_face_width_px: real(0), max_motion_px: real(0), max_clipped_fraction: real(0), max_exposure_drop: real(0),
    min_flash_to_ambient: real(0), min_flash_snr: real(0),
  },
  response_rule: { cosine_limit: real(-1, 1), max_disagreeing_rows: whole(0) },
  artifacts: [ARTIFACT],
  training: {
    run: text, seed: whole(-LARGEST), preset: text, data_sha256: SHA256, captures: whole(1), subjects: whole(1),
    simulated: bool,
  },
  files: { '*': { sha256: SHA256, bytes: whole(0) } },
};

/** Parses manifest.json; throws BundleError for whatever docs/bundle.md does not allow. */
export function parseManifest(bytes) {
  const manifest = parseJson(bytes, 'manifest.json');
  const version = manifest?.schema_version;
  check(version === SCHEMA_VERSION, `schema version ${version}; this reads ${SCHEMA_VERSION}`);
  checkFields(manifest, FIELDS, 'manifest');
  check(manifest.artifacts.length > 0, 'no artifacts');
  checkImplemented(manifest);
  checkConsistent(manifest);
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

/** Sizes that depend on each other. */
function checkConsistent({ n0, flash, alignment, preprocess }) {
  check(flash.colours_srgb.length === n0, `${flash.colours_srgb.length} colours for n0 = ${n0}`);
  check(alignment.points.length === alignment.indices.length, 'another number of points than of landmarks');
  const { aligned_size: large, input_size: small } = preprocess;
  check(large === alignment.size && small % 4 === 0 && small <= large, `an input of ${small} pixels of ${large}`);
}

/** An artifact's file is in the bundle, and its tensors are those of the contract. */
function checkArtifact(artifact, { files, differential_rows: rows, preprocess }) {
  const isFolder = artifact.format === 'coreml';
  const isPart = (path) => (isFolder ? path.startsWith(`${artifact.file}/`) : path === artifact.file);
  check(Object.keys(files).some(isPart), `${artifact.file} is not in the listing`);
  check((artifact.opset === null) === (artifact.format !== 'onnx'), `${artifact.file}: opset ${artifact.opset}`);
  const calibrated = artifact.precision === 'int8_static';
  check((artifact.calibration !== null) === calibrated, `${artifact.file}: calibration of ${artifact.precision}`);
  const rates = Object.values(artifact.operating_point.rates);
  const ordered = rates.every(({ value, low, high }) => low <= value && value <= high);
  check(ordered, `${artifact.file}: a rate outside its interval`);
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

/** Throws unless `value` has exactly the fields of `fields`, at every depth, each of its type and in its range. */
function checkFields(value, fields, where) {
  if (value === null) {
    check(MAY_BE_NULL.test(where), `${where} is null`);
  } else if (typeof fields === 'function') {
    check(fields(value), `${where} is ${JSON.stringify(value)?.slice(0, 80)}, out of its type or range`);
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
