// Opens a bundle without any of Flashproof's Python and replays its golden vectors.
//
//     node reader.mjs BUNDLE_FOLDER [--json]
//
// Ends with 0 when every gate is open, 1 when one is missed, 3 without onnxruntime-web, 4 when the bundle cannot be
// opened, 2 for a wrong call. Written from docs/bundle.md alone: it shows that the page suffices to write a port.

import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { openBundle } from './bundle.mjs';
import { readCapture, readDecisions, readIndex } from './golden.mjs';
import { loadRuntime, openModel, packagesFolder } from './model.mjs';
import { gate, replayDecisions, replayModel, replayStages, replayWholeWay } from './replay.mjs';

const EXIT = { open: 0, missed: 1, usage: 2, noRuntime: 3, malformed: 4 };

/** Every gate of a bundle, and notes on what was not run. */
async function replay(bundle, ort) {
  const { manifest } = bundle;
  const captures = readIndex(bundle).map((entry) => readCapture(bundle, entry));
  const gates = captures.flatMap((golden) => replayStages(golden, manifest));
  const notes = ['landmarks: not found anew, since MediaPipe is not part of this reader'];
  const cases = readDecisions(bundle);
  if (cases) gates.push(replayDecisions(cases, manifest));
  else notes.push('decisions: their rules not replayed, since the bundle has no golden/decisions.json');
  for (const artifact of manifest.artifacts) {
    if (artifact.format !== 'onnx') {
      notes.push(`${artifact.file}: not run, since onnxruntime-web does not read ${artifact.format}`);
    } else {
      const run = await open(bundle, ort, artifact, gates, notes);
      if (run) gates.push(...(await artifactGates(captures, manifest, artifact, run)));
    }
  }
  return { gates, notes };
}

/** Opens an ONNX artifact. In fp32 it must open; what else onnxruntime-web does not implement is only noted. */
async function open(bundle, ort, artifact, gates, notes) {
  const label = basename(artifact.file);
  try {
    return await openModel(ort, bundle.read(artifact.file), artifact);
  } catch (error) {
    if (artifact.precision === 'fp32') gates.push(gate(`${label} opens`, () => { throw error; }, 0));
    else notes.push(`${label}: not run, since onnxruntime-web does not open it (${error.message})`);
    return null;
  }
}

async function artifactGates(captures, manifest, artifact, run) {
  const gates = [];
  for (const golden of captures) {
    gates.push(...(await replayModel(golden, artifact, run, basename(artifact.file))));
    // what is stored as decision is that of the first artifact
    if (artifact === manifest.artifacts[0]) gates.push(...(await replayWholeWay(golden, manifest, run)));
  }
  return gates;
}

function report(result, asJson) {
  if (asJson) return console.log(JSON.stringify(result));
  console.log(result.bundle);
  const width = Math.max(...result.gates.map(({ name }) => name.length));
  for (const { name, ok, value, limit, detail } of result.gates) {
    const figures = `${value.toPrecision(3).padStart(10)}  limit ${limit}`;
    console.log(`${ok ? 'ok    ' : 'MISSED'}  ${name.padEnd(width)}  ${figures}${detail ? `  ${detail}` : ''}`);
  }
  result.notes.forEach((note) => console.log(`note: ${note}`));
}

function fail(status, message) {
  console.error(message);
  return status;
}

async function main() {
  let call;
  try {
    call = parseArgs({ allowPositionals: true, options: { json: { type: 'boolean', default: false } } });
  } catch (error) {
    return fail(EXIT.usage, error.message);
  }
  if (call.positionals.length !== 1) return fail(EXIT.usage, 'usage: node reader.mjs BUNDLE_FOLDER [--json]');
  let ort;
  try {
    ort = loadRuntime();
  } catch (error) {
    const why = error.code ?? error.message;
    return fail(EXIT.noRuntime, `no onnxruntime-web in ${packagesFolder()}: run npm ci (${why})`);
  }
  try {
    const bundle = openBundle(call.positionals[0]);
    const found = await replay(bundle, ort);
    const { name, version } = bundle.manifest;
    const ok = found.gates.every((one) => one.ok);
    report({ ok, bundle: `${name} ${version} (${bundle.sha256.slice(0, 12)})`, ...found }, call.values.json);
    return ok ? EXIT.open : EXIT.missed;
  } catch (error) {
    return fail(EXIT.malformed, `the bundle cannot be read: ${error.message}`);
  }
}

process.exitCode = await main();
