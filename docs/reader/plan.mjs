// From a nonce to the plan of the flash, its canonical JSON and its hash: docs/plan.md.

import { createHash } from 'node:crypto';

const HUES = 6;
const VERSIONS = { standard: 1, gentle: 2 };
const BRIGHTEST = { standard: [255, 255, 255], gentle: [224, 224, 224] };
const DARKEST = { standard: [0, 0, 0], gentle: [64, 64, 64] };
const STEP_MS = { standard: 300, gentle: 600 };
const DRAWN_MS = [600, 900];

// Red, green, blue, cyan, magenta, yellow.
const SATURATED = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 255, 255], [255, 0, 255], [255, 255, 0]];
const LADDER = [
  [[226, 138, 138], [107, 178, 107], [152, 152, 249], [104, 173, 173], [216, 132, 216], [165, 165, 99]],
  [[211, 128, 128], [100, 166, 100], [142, 142, 233], [97, 162, 162], [202, 123, 202], [155, 155, 93]],
  [[197, 119, 119], [93, 155, 93], [132, 132, 217], [90, 151, 151], [189, 114, 189], [144, 144, 86]],
  [[183, 111, 111], [86, 144, 86], [123, 123, 202], [83, 140, 140], [175, 106, 175], [133, 133, 79]],
  [[170, 102, 102], [79, 133, 79], [113, 113, 187], [77, 130, 130], [162, 98, 162], [123, 123, 73]],
  [[157, 94, 94], [73, 123, 73], [104, 104, 173], [71, 120, 120], [150, 90, 150], [114, 114, 67]],
];

/** A nonce, n0 or profile from which no plan follows. */
export class PlanError extends Error {}

/** The plan of a nonce (hex): `format`, `version`, `profile`, `nonce`, `steps` in time order. Throws PlanError. */
export function challenge(nonce, n0, profile) {
  if (typeof nonce !== 'string' || !/^(?:[0-9a-fA-F]{2}){16,64}$/.test(nonce)) {
    throw new PlanError('found a nonce that is not 16 to 64 bytes in hex digits; draw a fresh one');
  }
  if (!Number.isInteger(n0) || n0 < 3 || n0 > 8) throw new PlanError(`found n0 ${n0}; expected a whole number, 3 to 8`);
  if (!Object.hasOwn(VERSIONS, profile)) throw new PlanError(`found profile ${profile}; expected standard or gentle`);
  const context = `flashproof-challenge-${VERSIONS[profile]}|${profile}|${n0}`;
  const stream = bytesOf(Buffer.from(context, 'ascii'), Buffer.from(nonce, 'hex'));
  const hues = arrangement(stream, HUES, n0 - 2);
  const steps = profile === 'standard' ? standardSteps(stream, n0, hues) : gentleSteps(stream, n0, hues);
  return { format: 'flashproof-plan', version: 1, profile, nonce: nonce.toLowerCase(), steps };
}

/** The one text of a plan. */
export function canonicalJson(plan) {
  return JSON.stringify(sorted(plan));
}

/** SHA-256 of the canonical JSON, in hex. */
export function planHash(plan) {
  return createHash('sha256').update(canonicalJson(plan), 'utf8').digest('hex');
}

function standardSteps(stream, n0, hues) {
  const middles = [...hues].sort((one, other) => one - other).map((hue) => SATURATED[hue]);
  const colours = [BRIGHTEST.standard, ...middles, DARKEST.standard];
  return arrangement(stream, n0, n0).map((rank) => ({ rank, srgb: colours[rank], duration_ms: STEP_MS.standard }));
}

function gentleSteps(stream, n0, hues) {
  const rowOf = (k) => Math.floor(((2 * k + 1) * LADDER.length) / (2 * hues.length));
  const colours = [BRIGHTEST.gentle, ...hues.map((hue, k) => LADDER[rowOf(k)][hue]), DARKEST.gentle];
  const ranks = [...colours.keys()];
  if (below(stream, 2) === 1) ranks.reverse();
  return ranks.map((rank, place) => ({
    rank,
    srgb: colours[rank],
    duration_ms: place < n0 - 1 ? DRAWN_MS[below(stream, DRAWN_MS.length)] : STEP_MS.gentle,
  }));
}

/** The endless stream of bytes of a context and a nonce. */
function* bytesOf(context, nonce) {
  for (let block = 0; ; block++) {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(block);
    yield* createHash('sha256').update(Buffer.concat([context, Buffer.alloc(1), nonce, number])).digest();
  }
}

/** The next number from 0 to `limit` − 1, each equally likely. */
function below(stream, limit) {
  const usable = 256 - (256 % limit);
  for (;;) {
    const { value } = stream.next();
    if (value < usable) return value % limit;
  }
}

/** `count` of the numbers 0 to `length` − 1, in an order. */
function arrangement(stream, length, count) {
  const pool = [...Array(length).keys()];
  for (let place = 0; place < count; place++) {
    const chosen = place + below(stream, length - place);
    [pool[place], pool[chosen]] = [pool[chosen], pool[place]];
  }
  return pool.slice(0, count);
}

/** The same value with the keys of every object in the order of code points. */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}
