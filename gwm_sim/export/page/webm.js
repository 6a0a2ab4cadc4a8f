/** Frames of VP8 as a WebM file (RFC 8794 and RFC 9559): one track, and a cluster for each key frame. */

const MILLISECOND = 1e6; // nanoseconds

/**
 * @param {EncodedVideoChunk[]} chunks In order, the first one a key frame.
 * @param {{width: number, height: number}} size
 * @param {number} seconds
 * @returns {Uint8Array[]}
 */
export function webm(chunks, { width, height }, seconds) {
  const head = element(0x1a45dfa3, [
    element(0x4286, uint(1)), // version, version to read
    element(0x42f7, uint(1)),
    element(0x42f2, uint(4)), // longest id and size
    element(0x42f3, uint(8)),
    element(0x4282, text("webm")),
    element(0x4287, uint(2)),
    element(0x4285, uint(2)),
  ]);
  const info = element(0x1549a966, [
    element(0x2ad7b1, uint(MILLISECOND)),
    element(0x4489, float(1000 * seconds)),
    element(0x4d80, text("gwm_sim")),
    element(0x5741, text("gwm_sim")),
  ]);
  const colour = element(0x55b0, [element(0x55b1, uint(6)), element(0x55b9, uint(1))]); // BT.601, not the full range
  const video = element(0xe0, [element(0xb0, uint(width)), element(0xba, uint(height)), colour]);
  const track = [
    element(0xd7, uint(1)), // number, unique id, video
    element(0x73c5, uint(1)),
    element(0x83, uint(1)),
    element(0x86, text("V_VP8")),
    video,
  ];
  const tracks = element(0x1654ae6b, [element(0xae, track)]);
  return [head, element(0x18538067, [info, tracks, ...clusters(chunks)])].flat(Infinity);
}

function clusters(chunks) {
  const found = [];
  for (const chunk of chunks) {
    const time = Math.round(chunk.timestamp / 1000);
    if (chunk.type === "key") found.push({ begun: time, blocks: [element(0xe7, uint(time))] });
    const { begun, blocks } = found.at(-1);
    const data = new Uint8Array(4 + chunk.byteLength);
    data.set([0x81, ((time - begun) >> 8) & 255, (time - begun) & 255, chunk.type === "key" ? 0x80 : 0]);
    chunk.copyTo(data.subarray(4));
    blocks.push(element(0xa3, data));
  }
  return found.map(({ blocks }) => element(0x1f43b675, blocks));
}

/** An element: its id, the size of what is in it, and that. */
function element(id, content) {
  const pieces = [content].flat(Infinity);
  const size = pieces.reduce((sum, { length }) => sum + length, 0);
  return [Uint8Array.from(bytes(id)), Uint8Array.of(0x08, ...whole(size, 4)), ...pieces];
}

const text = (value) => new TextEncoder().encode(value);
const uint = (value) => Uint8Array.from(bytes(value));

function float(value) {
  const data = new Uint8Array(8);
  new DataView(data.buffer).setFloat64(0, value);
  return data;
}

function bytes(value) {
  const found = [];
  for (; value > 0 || !found.length; value = Math.floor(value / 256)) found.unshift(value % 256);
  return found;
}

const whole = (value, length) => [...Array(length - bytes(value).length).fill(0), ...bytes(value)];
