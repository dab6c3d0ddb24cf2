// Opens a bundle folder: the limits, the manifest, the listing and every file's hash (docs/bundle.md, "Files").
// A zip is to be unpacked first; docs/bundle.md says what to refuse while doing so.

import { createHash } from 'node:crypto';
import { lstatSync, openSync, closeSync, fstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const SCHEMA_VERSION = 3;
const MAX_FILES = 2_000;
const MAX_DEPTH = 16;
const MAX_FILE_BYTES = 256 * 2 ** 20;
const MAX_TOTAL_BYTES = 2 ** 30;
const MAX_MANIFEST_BYTES = 1_000_000;
const FIELDS = [
  'alignment', 'artifacts', 'colour_order', 'created', 'depth_bins', 'differential_rows', 'files', 'flash', 'licence',
  'n0', 'name', 'preprocess', 'quality_limits', 'response_rule', 'schema_version', 'species_order', 'training',
  'version',
];
const ARTIFACT_FIELDS = [
  'calibration', 'file', 'float_layers', 'format', 'inputs', 'operating_point', 'opset', 'outputs', 'precision',
  'runs_on', 'tolerances',
];

/** A bundle that is not what docs/bundle.md says. */
export class BundleError extends Error {}

/** Throws BundleError with `message` unless `condition` holds. */
export function check(condition, message) {
  if (!condition) throw new BundleError(message);
}

/** Returns {manifest, sha256, read(path) → verified bytes} of the bundle in `folder`. */
export function openBundle(folder) {
  const sizes = listFiles(folder);
  checkLimits(sizes);
  const bytes = readWhole(join(folder, 'manifest.json'), MAX_MANIFEST_BYTES);
  const manifest = parseManifest(bytes);
  checkListing(manifest, sizes);
  const read = (path) => readVerified(folder, path, manifest.files[path]);
  Object.keys(manifest.files).forEach(read);
  return { manifest, sha256: sha256(bytes), read };
}

/** Path (with `/`) → bytes of every plain file below `folder`; links and devices are refused, not followed. */
function listFiles(folder, prefix = '', sizes = new Map(), depth = 0) {
  check(depth <= MAX_DEPTH, `folders more than ${MAX_DEPTH} deep`);
  for (const name of readdirSync(join(folder, prefix)).sort()) {
    const path = prefix ? `${prefix}/${name}` : name;
    const entry = lstatSync(join(folder, path));
    if (entry.isDirectory()) {
      listFiles(folder, path, sizes, depth + 1);
    } else {
      check(entry.isFile(), `${path} is a link or a device`);
      sizes.set(path, entry.size);
      check(sizes.size <= MAX_FILES, `more than ${MAX_FILES} files`);
    }
  }
  return sizes;
}

function checkLimits(sizes) {
  check(sizes.has('manifest.json'), 'no manifest.json');
  let total = 0;
  for (const [path, size] of sizes) {
    check(size <= MAX_FILE_BYTES, `${path} has ${size} bytes; at most ${MAX_FILE_BYTES}`);
    total += size;
  }
  check(total <= MAX_TOTAL_BYTES, `${total} bytes in all; at most ${MAX_TOTAL_BYTES}`);
}

/** Parses manifest.json; throws BundleError for another schema version, unknown or missing fields. */
export function parseManifest(bytes) {
  const manifest = parseJson(bytes, 'manifest.json');
  check(manifest?.schema_version === SCHEMA_VERSION, `schema version ${manifest?.schema_version}; this reads 3`);
  checkFields(manifest, FIELDS, 'manifest.json');
  check(Array.isArray(manifest.artifacts) && manifest.artifacts.length > 0, 'no artifacts');
  manifest.artifacts.forEach((artifact) => checkFields(artifact, ARTIFACT_FIELDS, 'an artifact'));
  checkImplemented(manifest);
  Object.keys(manifest.files).forEach(checkPath);
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

function checkPath(path) {
  const parts = path.split('/');
  const plain = parts.every((part) => /^[A-Za-z0-9_\-+=@][A-Za-z0-9_\-+=@. ]*$/.test(part) && !/[. ]$/.test(part));
  check(plain && path.length <= 200 && path !== 'manifest.json', `the unsafe path ${JSON.stringify(path)}`);
}

function checkListing(manifest, sizes) {
  for (const [path, entry] of Object.entries(manifest.files)) {
    check(sizes.get(path) === entry.bytes, `${path} has ${sizes.get(path)} bytes; ${entry.bytes} belong`);
  }
  for (const path of sizes.keys()) {
    check(path === 'manifest.json' || Object.hasOwn(manifest.files, path), `${path} is not listed`);
  }
}

function readVerified(folder, path, entry) {
  check(entry !== undefined, `${path} is not in the manifest`);
  const bytes = readWhole(join(folder, path), entry.bytes);
  check(sha256(bytes) === entry.sha256, `${path} has another sha256 than the manifest says`);
  return bytes;
}

/** The bytes of a file, whose size is looked at on the opened file, so that it cannot grow in between. */
function readWhole(path, limit) {
  const file = openSync(path, 'r');
  try {
    check(fstatSync(file).size <= limit, `${path} has more than ${limit} bytes`);
    return readFileSync(file);
  } finally {
    closeSync(file);
  }
}

/** Parses a file's bytes as JSON in UTF-8; throws BundleError. */
export function parseJson(bytes, path) {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new BundleError(`${path} is not JSON: ${error.message}`);
  }
}

function checkFields(record, fields, where) {
  const found = Object.keys(record ?? {}).sort();
  check(JSON.stringify(found) === JSON.stringify(fields), `${where} has the fields ${found}; ${fields} belong`);
}

function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}
