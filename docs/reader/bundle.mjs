// Opens a bundle folder: the limits, the listing and every file's hash (docs/bundle.md, "Files").
// A zip is to be unpacked first; docs/bundle.md says what to refuse while doing so.

import { createHash } from 'node:crypto';
import { lstatSync, openSync, closeSync, fstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { check } from './checks.mjs';
import { parseManifest } from './manifest.mjs';

const MAX_FILES = 2_000;
const MAX_DEPTH = 100; // as deep as a path of 200 characters can be
const MAX_FILE_BYTES = 256 * 2 ** 20;
const MAX_TOTAL_BYTES = 2 ** 30;
const MAX_MANIFEST_BYTES = 1_000_000;

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

/** The bytes of a file, whose size is looked at once more on the opened file. */
function readWhole(path, limit) {
  const file = openSync(path, 'r');
  try {
    check(fstatSync(file).size <= limit, `${path} has more than ${limit} bytes`);
    return readFileSync(file);
  } finally {
    closeSync(file);
  }
}

function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}
