// Flash response and verdict (docs/bundle.md, "Decision"). Anything unexpected throws; it never becomes `live`.

import { LINEAR } from './light.mjs';

const NEUTRAL = 0.2;
const COLUMNS = 3;
const ROUNDING = 1e-5;
const SUM_ROUNDING = 1e-3;

/** Expected response per row of D: (R−G, G−B, B−R) of the plan's colours [rank][R, G, B], bytes. */
export function expectedResponse(colours, rows) {
  const light = colours.map((colour) => colour.map((byte) => LINEAR[byte]));
  return rows.map(([taken, subtracted]) => {
    const d = light[taken].map((value, channel) => value - light[subtracted][channel]);
    const largest = Math.max(...d.map(Math.abs));
    const [r, g, b] = largest > 0 ? d.map((value) => value / largest) : d;
    return [r - g, g - b, b - r];
  });
}

/** Per row, whether `predicted` points elsewhere than `expected`; throws for expected rows that ask for no colour. */
export function disagreements(predicted, expected, limit) {
  const sound = (row) => row.length === COLUMNS && row.every(Number.isFinite);
  if (!expected.length || !expected.every(sound)) throw new Error('a plan without expected colours');
  if (expected.length !== predicted.length) throw new Error('a plan with another number of rows');
  if (!expected.some((row) => Math.hypot(...row) >= NEUTRAL)) throw new Error('a plan whose colours are all grey');
  if (!(limit >= -1 && limit <= 1)) throw new Error(`a cosine limit of ${limit}`);
  return expected.map((row, index) => {
    const length = Math.hypot(...row);
    if (length < NEUTRAL) return false;
    const own = Math.hypot(...predicted[index]);
    const product = row.reduce((sum, value, k) => sum + value * predicted[index][k], 0);
    const cosine = own > 0 ? product / (own * length) : 0;
    return !(cosine >= limit);
  });
}

/** The outputs with what rounding carried beyond 0 or 1 set to it; throws unless they are finite numbers in range. */
export function checkedOutputs({ score, type, depth, flash_response: response }) {
  const finite = [score, type, depth, response].every((values) => [...values].every(Number.isFinite));
  const inRange = (value) => value >= -ROUNDING && value <= 1 + ROUNDING;
  const probabilities = [score, type, depth].every((values) => [...values].every(inRange));
  const sum = type.reduce((total, value) => total + value, 0);
  if (!finite || !probabilities || !(Math.abs(sum - 1) <= SUM_ROUNDING)) {
    throw new Error('outputs that are no probabilities');
  }
  const clipped = (values) => Array.from(values, (value) => Math.min(Math.max(value, 0), 1));
  return { score: clipped(score), type: clipped(type), depth: clipped(depth), flash_response: response };
}

/** The verdict on a model's outputs: {verdict, score, threshold, species, reasons}; throws for worthless ones. */
export function decide(given, missed, disagreeing, manifest, threshold) {
  const outputs = checkedOutputs(given);
  if (!(Number.isFinite(threshold) && threshold > 0 && threshold <= 1)) throw new Error(`a threshold of ${threshold}`);
  const score = outputs.score[0];
  const doubts = [];
  const allowed = manifest.response_rule.max_disagreeing_rows;
  if (disagreeing.filter(Boolean).length > allowed) doubts.push('response_mismatch');
  if (!(score >= threshold)) doubts.push('score_below_threshold');
  const reasons = missed.length ? missed : doubts;
  const verdict = missed.length ? 'retry' : doubts.length ? 'spoof' : 'live';
  const likeliest = manifest.species_order[outputs.type.indexOf(Math.max(...outputs.type))];
  return { verdict, score, threshold, species: verdict === 'spoof' ? likeliest : null, reasons };
}
