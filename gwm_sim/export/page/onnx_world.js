/** A world that runs in the browser, as `world.js` says: parts of a model in ONNX Runtime, in a thread of their own. */

import { Chance } from "./chance.js";
import { episode } from "./episode.js";
import { film, filmable } from "./film.js";
import { floats, parse, row } from "./tensors.js";
import { Thread } from "./thread.js";

const WORLD = new URL("../world/", import.meta.url);
const SUCCESS = 0.5; // probability from which a task counts as fulfilled
const MEMORY = 128e6; // bytes of states and pictures that a run keeps, to branch from and to save
const LONGEST = 60; // steps of a plan
const CLOSE = 0.006; // [m] from where the hand is wanted
const EXACT = 0.5; // of what is near enough for a thing, where somebody says where it should be

/** @returns {Promise<import("./world.js").World>} */
export async function open() {
  const [about, starts] = await Promise.all([
    got("world.json").then((answer) => answer.json()),
    got("starts.safetensors").then(async (answer) => parse(await answer.arrayBuffer())),
  ]);
  const thread = new Thread(new URL("onnx_worker.js", import.meta.url));
  const asked = Object.fromEntries(new URLSearchParams(location.search)); // for those who compare backends or threads
  const runtime = await thread.ask("load", { about, asked });
  const saves = { episode: "zip", film: (await filmable(about)) ? "webm" : undefined };
  const placed = about.object_frame === "image" || Boolean(about.cameras[0].calibration); // so that one can drag things
  return new OnnxWorld({ ...about, plans: placed && Boolean(about.planning), saves, runtime }, starts, thread);
}

async function got(name) {
  const answer = await fetch(new URL(name, WORLD));
  if (!answer.ok) throw new Error(`world/${name} cannot be loaded: the host answers ${answer.status}`);
  return answer;
}

class OnnxWorld {
  constructor(about, starts, thread) {
    this.about = about;
    this.starts = starts;
    this.thread = thread;
  }

  async begin({ seed, task }) {
    const { properties, ...begun } = row(this.starts, seed % this.about.starts);
    const known = this.about.properties.map(({ name }, i) => [name, properties.data[i]]);
    const run = new OnnxRun(this, seed, this.about.tasks.indexOf(task ?? this.about.task));
    const told = Object.fromEntries(known.filter(([, value]) => !isNaN(value)));
    run.add({ step: 0, action: null, properties: told }, begun);
    return run;
  }
}

/** One world that goes on: its past as instants {step, action, properties, state, moment, bytes}. */
class OnnxRun {
  #world;
  #seed;
  #column; // of the task, -1 without one
  #past = [];
  #bytes = 0;

  constructor(world, seed, column) {
    this.#world = world;
    this.#seed = seed;
    this.#column = column;
  }

  /** Go on to an instant, of which the runtime made these tensors; those of the state that are missing stay. */
  add(instant, made) {
    const changed = Object.entries(made).filter(([name]) => name.startsWith("state."));
    const state = { ...this.#past.at(-1)?.state, ...Object.fromEntries(changed) };
    const bytes = changed.reduce((sum, [, { data }]) => sum + data.byteLength, made.frame.data.byteLength);
    this.#keep({ ...instant, state, bytes, moment: this.#moment(instant, made) });
    return this.now;
  }

  async step(action) {
    const { about, thread } = this.#world;
    const { step, state, properties } = this.#past.at(-1);
    const told = about.properties.map(({ name }) => properties[name] ?? NaN);
    const given = { properties: floats(told, 1, told.length), action: floats(action, 1, action.length) };
    if (about.noise) given.noise = this.#noise(step);
    const made = await thread.ask("step", { state, given });
    return this.add({ step: step + 1, action, properties }, made);
  }

  async edit(properties) {
    const present = this.#past.pop();
    this.#bytes -= present.bytes;
    const changed = { ...present.properties, ...properties };
    this.#keep({ ...present, properties: changed, moment: { ...present.moment, properties: changed } });
    return this.now;
  }

  async branch(step) {
    const earlier = this.#past.filter((instant) => instant.step <= step);
    if (earlier.at(-1)?.step !== step) throw new Error(`Step ${step} is too long ago to go on from`);
    const run = new OnnxRun(this.#world, this.#seed, this.#column);
    for (const instant of earlier) run.#keep(instant);
    return run;
  }

  async plan(goal, show, signal) {
    const { about, thread } = this.#world;
    const copy = await this.branch(this.#past.at(-1).step);
    const plan = { actions: [], moments: [], distance: 0, reached: false };
    let start = null;
    for (let piece = 0; !plan.reached && plan.actions.length < LONGEST && !signal.aborted; piece++) {
      const { state, action, properties } = copy.#past.at(-1);
      const told = about.properties.map(({ name }) => properties[name] ?? NaN);
      const before = action ?? still(about, state);
      const found = await thread.ask("search", { state, properties: told, before, goal, start, piece });
      start = found.start;
      const moments = [];
      for (const next of found.actions.slice(0, LONGEST - plan.actions.length)) {
        if (signal.aborted) break;
        moments.push(await copy.step(next));
        plan.actions.push(next);
        plan.distance = distance(about, goal, moments.at(-1));
        plan.reached = plan.distance < (goal.effector ? CLOSE : EXACT * about.planning.near);
        if (plan.reached) break;
      }
      plan.moments.push(...moments);
      if (moments.length) show(moments);
    }
    return plan;
  }

  async episode(first, last) {
    return episode(this.#world.about, this.#moments(first, last));
  }

  async film(first, last) {
    return film(this.#world.about, this.#moments(first, last));
  }

  async close() {
    this.#past = [];
  }

  #moments(first, last) {
    return this.#past.map(({ moment }) => moment).filter(({ step }) => step >= first && step <= last);
  }

  #keep(instant) {
    this.#past.push(instant);
    this.#bytes += instant.bytes;
    while (this.#bytes > MEMORY && this.#past.length > 1) this.#bytes -= this.#past.shift().bytes;
    this.now = instant.moment;
  }

  #moment({ step, action, properties }, made) {
    const { about } = this.#world;
    const moment = { step, action, properties, pictures: pictures(about, made.frame) };
    moment.telemetry = [...made["state.telemetry"].data];
    moment.objects = about.objects.map((_, k) => {
      const place = [...made["state.objects"].data.subarray(3 * k, 3 * k + 3)];
      return place.map((value) => (isNaN(value) ? null : value));
    });
    const [uncertainty] = made["state.uncertainty"].data;
    moment.uncertainty = Number.isFinite(uncertainty) ? uncertainty : null;
    if (this.#column >= 0) {
      moment.reward = made.reward.data[this.#column];
      moment.success = made.success.data[this.#column] > SUCCESS;
    }
    return moment;
  }

  /** What chance does in a step: the same again in a branch from before it. */
  #noise(step) {
    const [rows, numbers] = this.#world.about.noise;
    const chance = new Chance(this.#seed, step);
    return floats(Array.from({ length: rows * numbers }, () => chance.normal()), 1, rows, numbers);
  }
}

/** The action that holds a robot where it is. */
function still({ actions }, state) {
  const telemetry = state["state.telemetry"].data;
  return actions.map(({ target }) => (target ? telemetry[target.telemetry] / target.scale : 0));
}

/** Pictures of the cameras, which stand side by side in a frame (1, H, V*W, 3). */
function pictures({ cameras }, { data }) {
  return cameras.map(({ width, height }, view) => {
    const own = new Uint8Array(height * width * 3);
    for (let line = 0; line < height; line++) {
      const from = 3 * width * (line * cameras.length + view);
      own.set(data.subarray(from, from + 3 * width), 3 * width * line);
    }
    return { width, height, data: own };
  });
}

/** How far what a goal asks for is from where it should be, at most. */
function distance({ objects, effector }, goal, { telemetry, objects: places }) {
  const wanted = Object.entries(goal.objects ?? {}).map(([name, to]) => [places[objects.indexOf(name)], to]);
  if (goal.effector) wanted.push([effector.map((i) => telemetry[i]), goal.effector]);
  const apart = ([place, to]) => Math.hypot(...to.map((value, i) => (value === null ? 0 : place[i] - value)));
  return Math.max(...wanted.map(apart));
}
