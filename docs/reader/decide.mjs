// Flash response and verdict (docs/bundle.md, "Decision"). Anything unexpected throws; it never becomes `live`.

import { LINEAR } from './light.mjs';

const NEUTRAL = 0.2;

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

/** Per row, whether `predicted` points elsewhere than `expected`; throws for a plan that expects no numbers. */
export function disagreements(predicted, expected, limit) {
  if (!expected.length || !expected.flat().every(Number.isFinite)) throw new Error('a plan without expected colours');
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

/** Throws unless the outputs are finite numbers in range. */
export function checkOutputs({ score, type, depth, flash_response: response }) {
  const finite = [score, type, depth, response].every((values) => [...values].every(Number.isFinite));
  const probabilities = [score, type, depth].every((values) => [...values].every((value) => value >= 0 && value <= 1));
  const sum = type.reduce((total, value) => total + value, 0);
  if (!finite || !probabilities || Math.abs(sum - 1) > 0.001) throw new Error('outputs that are no probabilities');
}

/** The verdict on checked outputs: {verdict, score, threshold, species, reasons}. */
export function decide(outputs, missed, disagreeing, manifest, threshold) {
  checkOutputs(outputs);
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
