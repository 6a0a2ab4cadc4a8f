/**
 * Tensors as they go between files, threads and ONNX Runtime: {type, dims, data}, by name. The first axis counts rows.
 */

const KINDS = {
  F32: ["float32", Float32Array],
  U8: ["uint8", Uint8Array],
};

/** The tensors of a safetensors file. */
export function parse(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [type, Kind] = KINDS[dtype];
    tensors[name] = { type, dims: shape, data: new Kind(buffer.slice(8 + length + from, 8 + length + to)) };
  }
  return tensors;
}

/** One row of each tensor. */
export function row(tensors, index) {
  const found = {};
  for (const [name, { type, dims, data }] of Object.entries(tensors)) {
    const size = data.length / dims[0];
    found[name] = { type, dims: [1, ...dims.slice(1)], data: data.slice(index * size, (index + 1) * size) };
  }
  return found;
}

/** A tensor of one row, again and again. */
export function repeated({ type, dims, data }, times) {
  const many = new data.constructor(times * data.length);
  for (let i = 0; i < times; i++) many.set(data, i * data.length);
  return { type, dims: [times, ...dims.slice(1)], data: many };
}

/** Numbers as a tensor of so many rows. */
export function floats(values, ...dims) {
  return { type: "float32", dims, data: Float32Array.from(values) };
}

/** A state and what was made of it, by the names that tensors have as inputs of the next step. */
export function carried(state, made) {
  const next = { ...state };
  for (const [name, value] of Object.entries(made)) {
    if (name.startsWith("next.")) next[name.replace("next.", "state.")] = value;
  }
  return next;
}
