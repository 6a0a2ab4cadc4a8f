/**
 * A run as an episode: a folder of pictures and a table, packed, which `gwm import folder` reads.
 *
 *   <model>/episode/<camera>/000001.png, ...   <model>/episode/steps.csv   <model>/README.txt
 */

import { zip } from "./zip.js";

/** @returns {Promise<Blob>} */
export async function episode(about, moments) {
  if (moments.length < 2) throw new Error("An episode has at least one step: drive first");
  const folder = `${about.model}/episode`;
  const files = new Map([
    [`${about.model}/README.txt`, `Imagined by ${about.model} (${about.hash}), gwm_sim ${about.gwm_sim}.\n`],
    [`${folder}/steps.csv`, table(about, moments)],
  ]);
  for (const [i, moment] of moments.entries()) {
    for (const [view, picture] of moment.pictures.entries()) {
      const name = `${folder}/${about.cameras[view].name}/${String(i + 1).padStart(6, "0")}.png`;
      files.set(name, await png(picture));
    }
  }
  return new Blob(await zip(files), { type: "application/zip" });
}

/** Telemetry of each moment, and the action that follows; after the last one nothing is done. */
function table({ rate, telemetry, actions }, moments) {
  const heading = (kind, { name, unit }) => quoted(unit ? `${kind}.${name} [${unit}]` : `${kind}.${name}`);
  const head = [
    "time",
    ...telemetry.map((column) => heading("state", column)),
    ...actions.map((column) => heading(column.target ? "target" : "action", column)),
  ];
  const lines = moments.map((moment, i) => {
    const action = moments[i + 1]?.action ?? moments[i].action;
    return [(i / rate).toFixed(4), ...moment.telemetry, ...action];
  });
  return [head, ...lines].map((line) => `${line.join(",")}\n`).join("");
}

const quoted = (text) => (/[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

async function png({ width, height, data }) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(opaque({ width, height, data }), 0, 0);
  return new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer());
}

/** A picture as canvases take it. */
function opaque({ width, height, data }) {
  const image = new ImageData(width, height);
  for (let from = 0, to = 0; from < data.length; ) {
    image.data[to++] = data[from++];
    image.data[to++] = data[from++];
    image.data[to++] = data[from++];
    image.data[to++] = 255;
  }
  return image;
}
