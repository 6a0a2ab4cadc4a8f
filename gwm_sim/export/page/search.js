/**
 * Ways to where something should be: iCEM (Pinneri et al., 2020) in the learned world, as `gwm plan` searches. For
 * things it begins with the best of many ways over places that matter (`ways.js`). A plan is made in pieces, each of
 * which goes on from where the one before has led.
 *
 * A plan is an array of T moves, each an array of A numbers: changes of targets, and all other actions as they are.
 */

import { Chance } from "./chance.js";
import { carried, floats, repeated } from "./tensors.js";
import { ways } from "./ways.js";

/** How to search: the numbers of the planner behind `gwm serve`. */
const THINGS = { population: 64, iterations: 2, horizon: 8, block: 3, execute: 2, proposals: 256, spread: 0.25 };
const HAND = { population: 64, iterations: 3, horizon: 8, block: 1, execute: 4, proposals: 0, spread: 0.5 };
const [DECAY, REUSE, MOMENTUM, LEAST, COLOUR] = [1.25, 0.3, 0.1, 0.05, 2];
const LEVEL = 1 / 3; // of half of a range, where low, middle and high of an action meet
const TRIED = 6; // steps for which an action is tried out
const STIRRED = 0.5; // of the usual spread of an opening, by which an action has to move it to be the gripper's

/** What plans cost, as the objective of `gwm plan` has it: 1 is a hand 10 cm or a thing 5 cm away. */
const [OFF, DOUBT, APPROACH, EFFECTOR, OBJECTS, CENTIMETRE, ROUGH] = [2.5, 0.1, 0.1, 10, 20, 0.2, 0.01];

export class Search {
  #about;
  #facts;
  #run;
  #grips = null; // what closes the gripper: 1 for an action that does at its highest, -1 at its lowest, else 0

  /**
   * @param {object} about The world, with what a search is told in `planning`.
   * @param {(part: string, given: object) => Promise<object>} run All outputs of a part of the model.
   */
  constructor(about, run) {
    this.#about = about;
    this.#facts = about.planning;
    this.#run = run;
  }

  /**
   * The next piece of a plan.
   *
   * @param {object} present What the search begins from: `state`, `properties`, and the action `before`.
   * @param {import("./world.js").Goal} present.goal
   * @param {object | null} present.start What the piece before has left, null for the first one.
   * @param {number} present.piece Number of the piece.
   * @returns {Promise<{actions: number[][], start: object}>}
   */
  async next({ goal, start, piece, ...present }) {
    const how = goal.effector ? HAND : THINGS;
    const chance = new Chance(piece);
    let { mean, kept } = start ?? { mean: nothing(how.horizon, this.#facts.low.length), kept: [] };
    const cost = (plans) => this.#cost(present, goal, plans, how.block);
    if (how.proposals) {
      const { places, wanted } = this.#places(present.state, goal);
      const hand = await this.#hand(present, how.block);
      const proposed = ways(chance, hand, places, wanted, this.#facts, how).map((plan) => this.#admitted(plan));
      const [best] = lowest(await cost(proposed), 1);
      [mean, kept] = [proposed[best], [mean, ...kept]];
    }
    const found = await this.#refined(chance, mean, kept, cost, how, goal.effector);
    const moves = found.best.slice(0, how.execute).flatMap((move) => Array(how.block).fill(move));
    const shift = (plan) => [...plan.slice(how.execute), ...nothing(how.execute, plan[0].length)];
    return {
      actions: this.#actions(moves, present.before),
      start: { mean: shift(found.mean), kept: found.kept.map(shift) },
    };
  }

  /** The cross-entropy method with smooth noise, elites that compete again, and fewer candidates each time. */
  async #refined(chance, mean, kept, cost, { population, iterations, spread }, still) {
    const { low, high, three_level } = this.#facts;
    const half = low.map((least, a) => (high[a] - least) / 2);
    let std = mean.map(() => half.map((range, a) => (still && three_level.includes(a) ? 0 : spread * range)));
    const least = half.map((range) => LEAST * range);
    const count = Math.max(2, population / 4);
    let [best, bestCost] = [mean, Infinity];
    for (let i = 0; i < iterations; i++) {
      const given = i === 0 || i === iterations - 1 ? [mean, ...kept] : kept;
      const size = Math.max(2 * count, Math.floor(population / DECAY ** i));
      const plans = [...given];
      while (plans.length < Math.max(size, given.length + 1)) {
        const noise = smooth(chance, mean.length, low.length);
        plans.push(mean.map((move, t) => move.map((value, a) => value + std[t][a] * noise[t][a])));
      }
      const admitted = plans.map((plan) => this.#admitted(plan));
      const costs = await cost(admitted);
      const elites = lowest(costs, count);
      if (costs[elites[0]] < bestCost) [best, bestCost] = [admitted[elites[0]], costs[elites[0]]];
      const each = (of) => mean.map((move, t) => move.map((_, a) => of(elites.map((s) => admitted[s][t][a]), t, a)));
      const centre = each(average);
      const deviation = each((values, t, a) => Math.sqrt(average(values.map((x) => (x - centre[t][a]) ** 2))));
      const mixed = (old, now) => MOMENTUM * old + (1 - MOMENTUM) * now;
      mean = mean.map((move, t) => move.map((value, a) => mixed(value, centre[t][a])));
      std = std.map((move, t) => move.map((value, a) => Math.max(mixed(value, deviation[t][a]), still ? 0 : least[a])));
      kept = elites.slice(0, Math.round(REUSE * count)).map((s) => admitted[s]);
    }
    return { best, mean, kept };
  }

  /** The nearest plan that may be done. */
  #admitted(plan) {
    const { low, high, three_level } = this.#facts;
    return plan.map((move) =>
      move.map((value, a) => {
        const clipped = clip(value, low[a], high[a]);
        if (!three_level.includes(a)) return clipped;
        const [middle, half] = [(low[a] + high[a]) / 2, (high[a] - low[a]) / 2];
        const unit = (clipped - middle) / half;
        return middle + half * (Math.abs(unit) > LEVEL ? Math.sign(unit) : 0);
      }),
    );
  }

  /** The actions of moves step by step, behind an action: a target goes on from the one before. */
  #actions(moves, before) {
    const course = [...before];
    return moves.map((move) =>
      move.map((value, a) => {
        const { target, low, high } = this.#about.actions[a];
        if (!target) return value;
        course[a] += value; // it may go on beyond the end and come back from there, as it may begin there
        return clip(course[a], Math.min(low, before[a]), Math.max(high, before[a]));
      }),
    );
  }

  /** What comes of plans, each of which begins in the present: `see` is told of every step of all of them. */
  async #imagine({ state, properties, before }, plans, block, see) {
    const rows = plans.length;
    const steps = plans.map((plan) => this.#actions(plan.flatMap((move) => Array(block).fill(move)), before));
    let now = Object.fromEntries(Object.entries(state).map(([name, value]) => [name, repeated(value, rows)]));
    const told = repeated(floats(properties, 1, properties.length), rows);
    const { noise } = this.#about;
    const usual = noise && floats(new Float32Array(rows * noise[0] * noise[1]), rows, ...noise); // the likeliest future
    for (let t = 0; t < steps[0].length; t++) {
      const action = floats(steps.flatMap((plan) => plan[t]), rows, steps[0][t].length);
      now = carried(now, await this.#run("step", { ...now, action, properties: told, noise: usual }));
      await see(now, t, steps);
    }
  }

  /** Costs of plans. */
  async #cost(present, goal, plans, block) {
    const { objects, object_frame, effector, uncertainty } = this.#about;
    const metres = object_frame === "metres";
    const { near, lost } = this.#facts;
    const across = metres ? 3 : 2;
    const wanted = objects.map((name) => goal.objects?.[name] ?? null);
    const [off, unsure] = [1 / (OFF * near), uncertainty.unit === "cm" ? CENTIMETRE : 1 / (OFF * near)];
    const costs = new Float64Array(plans.length);
    const length = plans[0].length * block;
    await this.#imagine(present, plans, block, async (now, t, steps) => {
      const importance = (2 * (t + 1)) / (length * (length + 1));
      const hands = await this.#robot(now["state.telemetry"]);
      const places = now["state.objects"].data;
      const telemetry = now["state.telemetry"];
      for (let row = 0; row < plans.length; row++) {
        let cost = DOUBT * unsure * now["state.uncertainty"].data[row];
        if (goal.effector) {
          const from = row * telemetry.dims[1];
          cost += EFFECTOR * Math.hypot(...effector.map((i, axis) => telemetry.data[from + i] - goal.effector[axis]));
        }
        let approach = 0;
        for (const [k, to] of wanted.entries()) {
          if (!to) continue;
          const from = 3 * (row * objects.length + k);
          const place = places.subarray(from, from + across);
          const apart = place.some(isNaN) ? lost : distance(place, to);
          const reach = Math.min(...hands(row).map((point) => distance(place, point)));
          cost += apart * (metres ? OBJECTS : off);
          approach += (Math.min(1, apart / near) * (reach || 0)) / objects.length;
        }
        cost = importance * (cost + APPROACH * off * approach);
        if (t > 0) cost += (ROUGH * average(steps[row][t].map((x, a) => (x - steps[row][t - 1][a]) ** 2))) / length;
        costs[row] += cost;
      }
    });
    return costs;
  }

  /** Points of the robots that report telemetry (R, P), by row, in the frame of the things. */
  async #robot(telemetry) {
    const { object_frame, effector } = this.#about;
    const width = telemetry.dims[1];
    if (object_frame === "metres") {
      return (row) => [effector.map((i) => telemetry.data[row * width + i])];
    }
    const { points } = await this.#run("points", { telemetry });
    const [, count] = points.dims;
    const place = (from) => [points.data[from], points.data[from + 1]];
    return (row) => Array.from({ length: count }, (_, i) => place(2 * (row * count + i)));
  }

  /** Where things are and should be; what is not known stays where it is. */
  #places(state, goal) {
    const { objects, object_frame } = this.#about;
    const across = object_frame === "metres" ? 3 : 2;
    const places = objects.map((_, k) => {
      const place = [...state["state.objects"].data.subarray(3 * k, 3 * k + across)];
      return place.some(isNaN) ? null : place;
    });
    const wanted = objects.map((name) => goal.objects?.[name]?.slice(0, across) ?? null);
    return { places, wanted };
  }

  /** The part of the robot that meets things: `points`, how actions move each by `answers[point][axis][action]` in a
   * step, and `grips`. Where no command says it, each action is tried out both ways, in imagination. */
  async #hand(present, block) {
    const { hand } = this.#facts;
    const grips = await this.#gripping(present);
    const telemetry = present.state["state.telemetry"];
    if (hand.length) {
      const answers = hand.map(({ action, scale }) => grips.map((_, a) => (a === action ? scale : 0)));
      return { points: [hand.map((axis) => telemetry.data[axis.telemetry])], answers: [answers], grips };
    }
    const points = (await this.#robot(telemetry))(0);
    const steps = Math.min(block, TRIED);
    const { low, high } = this.#facts;
    const reached = await this.#robot((await this.#tried(present))[steps - 1]);
    const answers = points.map((point, n) =>
      point.map((_, axis) =>
        grips.map((grip, a) => {
          if (grip) return 0;
          return (reached(2 * a + 1)[n][axis] - reached(2 * a)[n][axis]) / (steps * (high[a] - low[a]));
        }),
      ),
    );
    return { points, answers, grips };
  }

  async #gripping(present) {
    const { openings, low } = this.#facts;
    if (this.#grips) return this.#grips;
    this.#grips = low.map(() => 0);
    if (!openings.columns.length) return this.#grips;
    const { data, dims } = (await this.#tried(present)).at(-1);
    const opening = (row) => openings.columns.reduce((sum, column) => sum + data[row * dims[1] + column], 0);
    const opened = low.map((_, a) => (opening(2 * a + 1) - opening(2 * a)) / openings.spread);
    const strongest = lowest(opened.map((value) => -Math.abs(value)), 1)[0];
    if (Math.abs(opened[strongest]) > STIRRED) this.#grips[strongest] = -Math.sign(opened[strongest]);
    return this.#grips;
  }

  /** Telemetry (2A, P) of each action alone at its lowest and then at its highest, after each of some steps. */
  async #tried(present) {
    const { low, high } = this.#facts;
    const alone = low.flatMap((_, a) => [low, high].map((bound) => low.map((_, b) => (b === a ? bound[a] : 0))));
    const seen = [];
    await this.#imagine(present, alone.map((move) => Array(TRIED).fill(move)), 1, (now) => {
      seen.push(now["state.telemetry"]);
    });
    return seen;
  }
}

/** Noise (T, A) of variance 1 whose power falls with frequency f as f^-COLOUR (Timmer and Koenig, 1995). */
function smooth(chance, steps, actions) {
  const half = Math.floor(steps / 2);
  const power = Array.from({ length: half + 1 }, (_, f) => (Math.max(f, 1) / steps) ** -COLOUR);
  const alone = (f) => f === 0 || 2 * f === steps; // without a phase; the others are there twice, conjugated
  const total = power.reduce((sum, value, f) => sum + (alone(f) ? 1 : 2) * value, 0);
  const noise = nothing(steps, actions);
  for (let a = 0; a < actions; a++) {
    for (let f = 0; f <= half; f++) {
      const size = Math.sqrt(((alone(f) ? 1 : 2) * power[f]) / total);
      const [real, imaginary] = [chance.normal(), alone(f) ? 0 : chance.normal()];
      for (let t = 0; t < steps; t++) {
        const angle = (2 * Math.PI * f * t) / steps;
        noise[t][a] += size * (real * Math.cos(angle) - imaginary * Math.sin(angle));
      }
    }
  }
  return noise;
}

const nothing = (steps, actions) => Array.from({ length: steps }, () => Array(actions).fill(0));
const clip = (value, low, high) => Math.min(high, Math.max(low, value));
const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const distance = (place, to) => Math.hypot(...[...place].map((x, i) => (to[i] === null ? 0 : x - to[i])));

/** Indices of the lowest values, the lowest first; what is no number is the worst. */
function lowest(values, count) {
  const worth = (i) => (Number.isFinite(values[i]) ? values[i] : Number.MAX_VALUE);
  return Array.from(values, (_, i) => i).sort((a, b) => worth(a) - worth(b)).slice(0, count);
}
