/** A run as a film, which the browser compresses. */

import { webm } from "./webm.js";

const CODEC = "vp8";
const LEAST = 480; // pixels of height up to which frames are enlarged
const BITS_PER_PIXEL = 0.5; // of each frame
const KEY_FRAMES = 50; // frames from one that stands for itself to the next
/** What makes luminance and both differences of colour of red, green and blue (ITU-R BT.601), which VP8 asks for. */
const LUMINANCE = [16, 0.2568, 0.5041, 0.0979];
const BLUE = [128, -0.1482, -0.291, 0.4392];
const RED = [128, 0.4392, -0.3678, -0.0714];

/** Whether this browser makes films of a world. */
export async function filmable(about) {
  return "VideoEncoder" in globalThis && (await VideoEncoder.isConfigSupported(settings(about))).supported;
}

function settings({ cameras, rate }) {
  const across = cameras.reduce((sum, { width }) => sum + width, 0);
  const scale = 2 * Math.ceil(LEAST / (2 * cameras[0].height)); // even, as codecs ask for
  const [width, height] = [scale * across, scale * cameras[0].height];
  return { codec: CODEC, width, height, framerate: rate, bitrate: Math.ceil(BITS_PER_PIXEL * width * height * rate) };
}

/** @returns {Promise<Blob>} */
export async function film(about, moments) {
  const config = settings(about);
  const chunks = [];
  let broken = null;
  const encoder = new VideoEncoder({ output: (chunk) => chunks.push(chunk), error: (error) => (broken = error) });
  encoder.configure(config);
  for (const [i, { pictures }] of moments.entries()) {
    const frame = new VideoFrame(planes(pictures, config), {
      format: "I420",
      codedWidth: config.width,
      codedHeight: config.height,
      timestamp: Math.round((1e6 * i) / about.rate),
      duration: Math.round(1e6 / about.rate),
      colorSpace: { matrix: "smpte170m", primaries: "bt709", transfer: "bt709", fullRange: false },
    });
    encoder.encode(frame, { keyFrame: i % KEY_FRAMES === 0 });
    frame.close();
  }
  await encoder.flush();
  encoder.close();
  if (broken) throw broken;
  return new Blob(webm(chunks, config, moments.length / about.rate), { type: "video/webm" });
}

/** Pictures side by side and enlarged, as one plane of luminance and two of colour, of half the size. */
function planes(pictures, { width, height }) {
  const planes = new Uint8Array((width * height * 3) / 2);
  const size = width * height;
  const scale = height / pictures[0].height;
  let left = 0;
  for (const { width: columns, height: rows, data } of pictures) {
    for (let pixel = 0; pixel < rows * columns; pixel++) {
      const [row, column] = [Math.floor(pixel / columns), left + (pixel % columns)];
      const [r, g, b] = data.subarray(3 * pixel, 3 * pixel + 3);
      const put = ([zero, ofRed, ofGreen, ofBlue], from, line, side) => {
        const value = Math.round(zero + ofRed * r + ofGreen * g + ofBlue * b);
        for (let y = side * row; y < side * (row + 1); y++) {
          planes.fill(value, from + line * y + side * column, from + line * y + side * (column + 1));
        }
      };
      put(LUMINANCE, 0, width, scale);
      put(BLUE, size, width / 2, scale / 2);
      put(RED, size + size / 4, width / 2, scale / 2);
    }
    left += columns;
  }
  return planes;
}
