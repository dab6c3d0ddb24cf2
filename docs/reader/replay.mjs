// Replays every stage of a golden capture from the stored result of the stage before it. A gate is {name, ok, value,
// limit}; its value is the worst difference. Limits come from golden.json and from the artifact's own tolerances.

import { apply, compose, determinant, fitAffine, invert } from './affine.mjs';
import { alignFrame } from './align.mjs';
import { check } from './checks.mjs';
import { checkedOutputs, decide, disagreements, expectedResponse } from './decide.mjs';
import { differentialStage, modelInput } from './differential.mjs';
import { failures, measure } from './quality.mjs';
import { corrections } from './registration.mjs';

const SMALL_MEASUREMENT = 0.01;
const WHOLE_WAY_SCORE = 0.01;
const COLOURS = 3;
const CASE_SCORE = 1e-6;
const MOST_NAMED = 5;
const DECIDED = ['verdict', 'threshold', 'species', 'reasons'];
/** Template pixels per frame pixel; outside, there is no face. */
const [LEAST_SCALE, LARGEST_SCALE] = [1 / 64, 8];

/** A gate that is open when `measureValue()` is at most `limit`; an error or a value that is no number closes it. */
export function gate(name, measureValue, limit) {
  try {
    const value = measureValue();
    if (Number.isFinite(value)) return { name, ok: value <= limit, value, limit };
    return { name, ok: false, value: Number.MAX_VALUE, limit, detail: 'not a finite number' };
  } catch (error) {
    return { name, ok: false, value: Number.MAX_VALUE, limit, detail: error.message };
  }
}

/** The gates of one capture that need no model. */
export function replayStages(golden, manifest) {
  const { name, stages } = golden;
  const limit = (stage, key = 'max_abs') => stages[stage].tolerance[key];
  const stage = (what, measureValue, most) => gate(`${name} ${what}`, measureValue, most);
  return [
    stage('frames: other sizes', () => wrongSizes(golden.frames, stages.frames.shape), limit('frames')),
    stage('affines from landmarks', () => affineError(golden, manifest), limit('affines', 'from_landmarks_px')),
    stage('affines corrected', () => registrationError(golden, manifest), limit('affines', 'corrected_px')),
    stage('aligned', () => worst(alignedErrors(golden, manifest)), limit('aligned')),
    stage('aligned: mean', () => mean(alignedErrors(golden, manifest)), limit('aligned', 'mean_abs')),
    stage('differential', () => differentialError(golden, manifest), limit('differential')),
    stage('model_input', () => inputError(golden, manifest), limit('model_input')),
    stage('quality', () => qualityError(golden, manifest), limit('quality', 'relative')),
    stage('response', () => responseError(golden, manifest), limit('response')),
    stage('decision', () => decisionError(golden, manifest), limit('decision', 'score')),
  ];
}

/** The gates of one artifact on one capture; `run` takes a model input to outputs. */
export async function replayModel(golden, artifact, run, label) {
  let found = null;
  let failure = null;
  try {
    found = await run(golden.input);
    checkedOutputs(found);
  } catch (error) {
    failure = error;
  }
  return artifact.outputs.map(({ name }) => {
    const value = () => {
      if (failure) throw failure;
      const byMean = name === 'depth' && artifact.precision.startsWith('int8');
      return (byMean ? meanDifference : outputError)(found[name], golden.outputs[name]);
    };
    return gate(`${golden.name} ${name} of ${label}`, value, artifact.tolerances[name]);
  });
}

/** From the stored frames and landmarks to the verdict with nothing stored in between. */
export async function replayWholeWay(golden, manifest, run) {
  const label = (name) => `${golden.name} whole way: ${name}`;
  try {
    const found = await wholeWay(golden, manifest, run);
    const differing = DECIDED.filter((key) => !same(found[key], golden.decision[key]));
    return [
      gate(label('fields that differ'), () => differing.length, 0),
      gate(label('score'), () => Math.abs(found.score - golden.decision.score), WHOLE_WAY_SCORE),
    ];
  } catch (error) {
    return [{ name: label('fields that differ'), ok: false, value: Number.MAX_VALUE, limit: 0, detail: error.message }];
  }
}

/** The gate of the cases of golden/decisions.json: how many are answered otherwise than stored. */
export function replayDecisions(cases, manifest) {
  const wrong = cases.filter((one) => !sameAnswer(answerTo(one, manifest), one.answer));
  const found = gate('decisions: cases answered otherwise', () => wrong.length, 0);
  const names = wrong.slice(0, MOST_NAMED).map(({ name }) => name);
  return wrong.length ? { ...found, detail: names.join('; ') } : found;
}

/** The answer to one case; that it is an error where anything throws. */
function answerTo({ quality, expected, flash_response: rows, score, type, depth, threshold }, manifest) {
  try {
    const disagreeing = disagreements(rows, expected, manifest.response_rule.cosine_limit);
    const outputs = { score: [score], type, depth: [depth], flash_response: rows.flat() };
    const missed = failures(quality, manifest.quality_limits);
    return { ...decide(outputs, missed, disagreeing, manifest, threshold), disagreeing };
  } catch {
    return { error: true };
  }
}

function sameAnswer(found, stored) {
  if (found.error || stored.error) return found.error === true && stored.error === true;
  const fields = ['disagreeing', 'verdict', 'species', 'reasons'];
  return fields.every((key) => same(found[key], stored[key])) && Math.abs(found.score - stored.score) <= CASE_SCORE;
}

async function wholeWay(golden, manifest, run) {
  const { alignment, response_rule: rule, differential_rows: rows } = manifest;
  const first = golden.landmarks.map((points) => landmarkMap(points, alignment));
  const maps = correctedMaps(golden.frames, first, manifest);
  const aligned = golden.frames.map((frame, rank) => alignFrame(frame, maps[rank], alignment.size));
  const outputs = await run(modelInput(aligned, manifest).input);
  const missed = failures(measure(aligned, golden.landmarks, maps[0], alignment), manifest.quality_limits);
  const expected = expectedResponse(golden.colours, rows);
  const disagreeing = disagreements(rowsOf(outputs.flash_response), expected, rule.cosine_limit);
  return decide(outputs, missed, disagreeing, manifest, manifest.artifacts[0].operating_point.threshold);
}

function landmarkMap(points, alignment) {
  const map = fitAffine(alignment.indices.map((index) => points[index]), alignment.points);
  const scale = Math.sqrt(determinant(map)); // NaN when mirrored
  if (!(scale >= LEAST_SCALE && scale <= LARGEST_SCALE)) throw new Error('landmarks that are no face');
  return map;
}

function correctedMaps(frames, maps, manifest) {
  const { alignment, preprocess } = manifest;
  if (preprocess.registration === 'none') return maps;
  const aligned = frames.map((frame, rank) => alignFrame(frame, maps[rank], alignment.size));
  return corrections(aligned, alignment).map((fix, rank) => compose(fix, maps[rank]));
}

function wrongSizes(frames, [count, height, width]) {
  const wrong = frames.filter((frame) => frame.width !== width || frame.height !== height).length;
  return wrong + Math.abs(frames.length - count);
}

function affineError({ frames, landmarks, maps }, { alignment }) {
  const [{ width, height }] = frames;
  const corners = [[0, 0], [width, 0], [0, height], [width, height]];
  return worst(
    landmarks.flatMap((points, rank) => {
      const found = landmarkMap(points, alignment);
      return corners.map((corner) => distance(apply(found, corner), apply(maps.from_landmarks[rank], corner)));
    }),
  );
}

function registrationError({ frames, maps }, manifest) {
  const side = manifest.alignment.size;
  const corners = [[0, 0], [side, 0], [0, side], [side, side]];
  const found = correctedMaps(frames, maps.from_landmarks, manifest);
  return worst(
    found.flatMap((map, rank) => {
      const moved = compose(map, invert(maps.affines[rank]));
      return corners.map((corner) => distance(apply(moved, corner), corner));
    }),
  );
}

function alignedErrors({ frames, maps, aligned }, { alignment }) {
  return Float64Array.from(
    frames.flatMap((frame, rank) => {
      const { data } = alignFrame(frame, maps.affines[rank], alignment.size);
      return Array.from(data, (level, at) => Math.abs(level - aligned[rank].data[at]));
    }),
  );
}

function differentialError(golden, manifest) {
  const { window, means } = differentialStage(golden.aligned, manifest);
  return Math.max(worstDifference(window, golden.window), worstDifference(means, golden.means));
}

function inputError(golden, manifest) {
  const { input, gain } = modelInput(golden.aligned, manifest);
  return Math.max(worstDifference(input, golden.input), Math.abs(gain / golden.gain - 1));
}

function qualityError({ aligned, landmarks, maps, quality }, { alignment }) {
  const found = measure(aligned, landmarks, maps.affines[0], alignment);
  return worst(
    Object.entries(quality).map(
      ([name, stored]) => Math.abs(found[name] - stored) / Math.max(Math.abs(stored), SMALL_MEASUREMENT),
    ),
  );
}

function responseError({ colours, outputs, response }, manifest) {
  const expected = expectedResponse(colours, manifest.differential_rows);
  const limit = manifest.response_rule.cosine_limit;
  const rows = disagreements(rowsOf(outputs.flash_response), expected, limit);
  if (!same(rows, response.disagreeing)) throw new Error(`other rows disagree: ${rows}`);
  return worstDifference(expected.flat(), response.expected.flat());
}

function decisionError({ outputs, quality, response, decision }, manifest) {
  const threshold = manifest.artifacts[0].operating_point.threshold;
  const found = decide(outputs, failures(quality, manifest.quality_limits), response.disagreeing, manifest, threshold);
  for (const key of DECIDED) {
    if (!same(found[key], decision[key])) throw new Error(`${key} ${found[key]}; ${decision[key]} is stored`);
  }
  return Math.abs(found.score - decision.score);
}

/** Largest difference, relative to the largest stored value where that is above 1. */
function outputError(found, stored) {
  return worstDifference(found, stored) / Math.max(worst(stored), 1);
}

/** The mean difference of all values: in int8 single pixels of a depth map move, and nothing decides by one. */
function meanDifference(found, stored) {
  check(found.length === stored.length, `${found.length} values where ${stored.length} are stored`);
  return found.reduce((sum, value, place) => sum + Math.abs(value - stored[place]), 0) / stored.length;
}

function rowsOf(response) {
  const rows = response.length / COLOURS;
  return Array.from({ length: rows }, (_, row) => [...response.slice(row * COLOURS, (row + 1) * COLOURS)]);
}

function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

function distance([x, y], [u, v]) {
  return Math.hypot(x - u, y - v);
}

function worstDifference(found, stored) {
  if (found.length !== stored.length) throw new Error(`${found.length} values; ${stored.length} are stored`);
  return worst(stored.map((value, at) => found[at] - value));
}

/** The largest absolute value; NaN when one is NaN. */
function worst(values) {
  return values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
