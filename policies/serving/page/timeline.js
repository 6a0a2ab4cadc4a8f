/** The curve of uncertainty over the session, which is also where one scrubs. */

import { number } from "./elements.js";

const SHORTEST = 60; // steps that the curve has room for, at least

export class Timeline {
  #canvas;
  #slider;
  #player;
  #limit;
  #drawn = false;
  #imagined = []; // moments of a plan

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLInputElement} slider A range over the curve.
   * @param {import("./player.js").Player} player
   */
  constructor(canvas, slider, player) {
    this.#canvas = canvas;
    this.#slider = slider;
    this.#player = player;
    this.#limit = player.world.about.uncertainty.limit;
    slider.addEventListener("input", () => player.seek(Number(slider.value)));
    player.addEventListener("show", () => this.update());
    player.addEventListener("takes", () => this.update());
    player.addEventListener("state", () => this.update());
    new ResizeObserver(() => this.#later()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#later());
  }

  /** Show what a plan is expected to bring, after the present. */
  imagined(moments) {
    this.#imagined = moments;
    this.#later();
  }

  update() {
    const { take, seen, world } = this.#player;
    if (!take) return;
    Object.assign(this.#slider, { min: take.first, max: Math.max(take.last, take.first + 1), value: seen });
    const { uncertainty } = this.#player.moment;
    const { unit } = world.about.uncertainty;
    this.#slider.ariaValueText = `step ${seen} of ${take.last}, uncertainty ${number(uncertainty)} ${unit}`;
    this.#later();
  }

  /** Draw with the next frame of the screen, however much changes until then. */
  #later() {
    if (this.#drawn) return;
    this.#drawn = true;
    requestAnimationFrame(() => {
      this.#drawn = false;
      this.#draw();
    });
  }

  #draw() {
    const { take, seen, recording, world } = this.#player;
    if (!take) return;
    const canvas = this.#canvas;
    const { clientWidth: width, clientHeight: height } = canvas;
    const scale = devicePixelRatio;
    if (canvas.width !== width * scale || canvas.height !== height * scale) {
      Object.assign(canvas, { width: width * scale, height: height * scale });
    }
    const context = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const color = (name) => style.getPropertyValue(name);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);

    const edge = 8; // half of the slider's thumb, so that both agree on where a step is
    const imagined = this.#imagined;
    const span = Math.max(SHORTEST, take.last + imagined.length - take.first);
    const x = (step) => edge + ((step - take.first) / span) * (width - 2 * edge);
    const known = [...take.moments, ...imagined].map(({ uncertainty }) => uncertainty ?? 0);
    const top = known.reduce((most, value) => Math.max(most, value), this.#limit * 1.1);
    const doubt = ({ uncertainty }) => uncertainty ?? top; // of a world that lost its way
    const [values, expected] = [take.moments.map(doubt), imagined.map(doubt)];
    const y = (value) => height - 2 - Math.sqrt(value / top) * (height - 8); // small doubts differ too
    this.#slider.style.width = `${x(Math.max(take.last, take.first + 1)) + edge}px`;

    if (recording?.take === take) {
      const last = recording.last ?? take.last;
      context.fillStyle = color("--recorded");
      context.fillRect(x(recording.first), 0, Math.max(2, x(last) - x(recording.first)), height);
    }
    context.strokeStyle = color("--line");
    context.setLineDash([2, 4]);
    line(context, [[0, y(this.#limit)], [width, y(this.#limit)]]);
    context.setLineDash([]);
    context.fillStyle = color("--quiet");
    context.font = `${style.fontSize} ${style.fontFamily}`;
    context.textAlign = "right";
    const words = `inventing above ± ${number(this.#limit)} ${world.about.uncertainty.unit}`;
    context.fillText(words, width - 8, Math.min(y(this.#limit) + 14, height - 4));

    const points = thinned(values, width).map(([i, value]) => [x(take.first + i), y(value)]);
    const shade = context.createLinearGradient(0, height, 0, y(this.#limit));
    shade.addColorStop(0, color("--sure"));
    shade.addColorStop(1, color("--unsure"));
    context.globalAlpha = 0.18;
    context.fillStyle = shade;
    fill(context, [[points[0][0], height], ...points, [points.at(-1)[0], height]]);
    context.globalAlpha = 1;
    context.strokeStyle = shade;
    context.lineWidth = 1.5;
    line(context, points);

    context.lineWidth = 1.5;
    context.setLineDash([2, 3]);
    line(context, [points.at(-1), ...expected.map((value, i) => [x(take.last + 1 + i), y(value)])]);
    context.setLineDash([]);

    context.lineWidth = 1;
    context.strokeStyle = color("--line");
    if (take.parent) line(context, [[x(take.parent.step), 0], [x(take.parent.step), height]]);
    context.strokeStyle = color("--text");
    line(context, [[x(seen), 0], [x(seen), height]]);
    context.fillStyle = color("--text");
    context.beginPath();
    context.arc(x(seen), y(doubt(this.#player.moment)), 3.5, 0, 2 * Math.PI);
    context.fill();
  }
}

/** Indices and values of a curve, of many the highest in each pixel. */
function thinned(values, width) {
  const each = Math.max(1, Math.ceil(values.length / width));
  const found = [];
  for (let i = 0; i < values.length; i += each) {
    found.push([Math.min(i + each, values.length) - 1, Math.max(...values.slice(i, i + each))]);
  }
  return found;
}

function trace(context, points) {
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x, y);
}

function line(context, points) {
  trace(context, points);
  context.stroke();
}

function fill(context, points) {
  trace(context, points);
  context.fill();
}
