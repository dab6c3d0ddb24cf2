// Runs an ONNX artifact with onnxruntime-web: WebAssembly, one thread, as a web page would.

import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = fileURLToPath(new URL('.', import.meta.url));

/** The folder with onnxruntime-web: FLASHPROOF_NODE_MODULES, else node_modules beside this file. */
export function packagesFolder() {
  return resolve(process.env.FLASHPROOF_NODE_MODULES || join(HERE, 'node_modules'));
}

/** Loads onnxruntime-web; throws when it is not installed. */
export function loadRuntime() {
  const ort = createRequire(join(packagesFolder(), 'onnxruntime-web', 'package.json'))('onnxruntime-web');
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = 'error';
  return ort;
}

/** Opens a model file; returns a function from model input (Float32Array) to outputs (name → Float32Array). */
export async function openModel(ort, bytes, artifact) {
  const session = await ort.InferenceSession.create(new Uint8Array(bytes), { executionProviders: ['wasm'] });
  const [input] = artifact.inputs;
  return async (values) => {
    const found = await session.run({ [input.name]: new ort.Tensor('float32', values, input.shape) });
    return Object.fromEntries(artifact.outputs.map(({ name }) => [name, found[name].data]));
  };
}
