/**
 * Beside the page: ONNX Runtime, the parts of a world and the search for plans. Between two questions it keeps what was
 * loaded and nothing else: a state comes with each of them, and another one goes back.
 */

import { Search } from "./search.js";
import { carried } from "./tensors.js";

const RUNTIME = new URL("../runtime/", import.meta.url).href;
const WORLD = new URL("../world/", import.meta.url);
const BUILDS = { wasm: "ort.wasm.min.mjs", webgpu: "ort.jspi.min.mjs" };
const THREADS = 4; // more do not help models of this size, nor do as many as there are cores

let ort;
const parts = {};
let searching;

/** What computes: a GPU where there is one and the browser can wait for it, else the processor. */
async function chosen(asked) {
  if (asked === "wasm" || !("Suspending" in WebAssembly)) return "wasm";
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) return "wasm";
  return asked === "webgpu" || !adapter.info.isFallbackAdapter ? "webgpu" : "wasm";
}

async function load({ about, asked }) {
  const backend = await chosen(asked.backend);
  const threads = Number(asked.threads) || Math.max(1, Math.min(THREADS, navigator.hardwareConcurrency - 1));
  ort = await import(RUNTIME + BUILDS[backend]);
  ort.env.wasm.wasmPaths = RUNTIME;
  ort.env.wasm.numThreads = crossOriginIsolated ? threads : 1;
  ort.env.logLevel = "error";
  for (const name of about.parts) {
    const file = new URL(`${name}.onnx`, WORLD).href;
    parts[name] = await ort.InferenceSession.create(file, { executionProviders: [backend], logSeverityLevel: 3 });
  }
  if (about.planning) searching = new Search(about, run);
  return { backend, threads: ort.env.wasm.numThreads };
}

/** All outputs of a part by name; tensors that it made may go in again as they are. */
async function run(name, given) {
  const feeds = {};
  for (const input of parts[name].inputNames) {
    const value = given[input];
    feeds[input] = value instanceof ort.Tensor ? value : new ort.Tensor(value.type, value.data, value.dims);
  }
  return parts[name].run(feeds);
}

/** One step and its picture: what changes of the state, and what it looks like. */
async function step({ state, given }) {
  const made = await run("step", { ...state, ...given });
  const next = carried(state, made);
  const { frame, ...drawn } = await run("picture", next);
  const { reward, success } = made;
  return sent({ ...carried(carried({}, made), drawn), frame, ...(reward && { reward, success }) });
}

/** Tensors as they can be sent. */
function sent(tensors) {
  const plain = Object.entries(tensors).map(([name, { type, dims, data }]) => [name, { type, dims, data }]);
  return Object.fromEntries(plain);
}

const does = { load, step, search: (asked) => searching.next(asked) };
let busy = Promise.resolve(); // a part does one thing at a time

onmessage = ({ data: { id, op, ...asked } }) => {
  busy = busy
    .then(() => does[op](asked))
    .then(
      (answer) => postMessage({ id, answer }),
      (error) => postMessage({ id, error: String(error?.message ?? error) }),
    );
};
