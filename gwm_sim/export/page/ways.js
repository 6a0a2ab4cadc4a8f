/**
 * Plans by way of places that matter: where things are, where they should be, and where one pushes them from.
 *
 * A search over actions seldom finds a push or a grasp, which is a few places in the right order, with the gripper open
 * and then closed. Here plans are such orders, drawn at random: reach for the goal, push a thing along, pick it up and
 * carry it, let go. They are rough: a search refines the best.
 */

const BESIDE = 4; // times what is near enough, from which a thing is reached for or pushed, at most
const SCATTER = 0.36; // times what is near enough, standard deviation of places
const STRAIGHT = 0.7; // share of the pushes that go toward the goal
const DAMPED = 0.05; // of the strongest answer of a hand, below which one is not relied on
const [OPEN, CLOSED] = [-1, 1];

/**
 * @param {import("./chance.js").Chance} chance
 * @param {{points: number[][], answers: number[][][], grips: number[]}} hand Points of the robot, how far a unit of
 *     each action moves them in a step, by point, axis and action, and what closes the gripper.
 * @param {(number[] | null)[]} places Where things are, null where nobody knows.
 * @param {((number | null)[] | null)[]} wanted Where they should be, null for what does not matter.
 * @param {{near: number, low: number[], high: number[]}} facts
 * @param {{proposals: number, horizon: number, block: number}} how
 * @returns {number[][][]} Plans.
 */
export function ways(chance, { points, answers, grips }, places, wanted, facts, { proposals, horizon, block }) {
  const middle = points[0].map((_, axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
  const things = places.map((place) => place ?? middle);
  const targets = things.map((place, k) => place.map((value, axis) => wanted[k]?.[axis] ?? value));
  const reach = answers.map((answer) => Math.hypot(...answer.flat()) + 1e-9);
  const inverses = answers.map(inverse);
  const grasps = grips.some(Boolean);
  return Array.from({ length: proposals }, () => {
    const n = chance.pick(reach);
    const trip = drawn(chance, points[n], things, targets, facts.near, grasps);
    const hand = { place: points[n], answer: answers[n], inverse: inverses[n], grips };
    return followed(trip, hand, facts, horizon, block);
  });
}

/** An order of places for a point of the hand, [{place, grip}]; the last one goes on. */
function drawn(chance, hand, things, targets, near, grasps) {
  const far = BESIDE * near;
  const across = hand.length;
  const offsets = things.map((thing, k) => length(minus(targets[k], thing)));
  const mean = offsets.reduce((sum, value) => sum + value, 0) / offsets.length;
  const k = chance.pick(offsets.map((value) => value + 0.1 * mean + 1e-6));
  const [thing, target] = [things[k], targets[k]];
  const bearing = () => {
    const angle = 2 * Math.PI * chance.uniform();
    return [Math.cos(angle), Math.sin(angle), 0].slice(0, across);
  };
  const level = bearing();
  const up = across === 2 ? [0, -1] : [0, 0, 1];
  let way = minus(target, thing);
  const straight = chance.uniform() < STRAIGHT && length(way) > near / 2;
  if (!straight) way = times(level, far * chance.uniform());
  const along = times(way, 1 / Math.max(length(way), 1e-6));
  const behind = plus(thing, times(along, -far * chance.uniform()));
  const pushed = plus(behind, way);
  const around = plus(thing, times(level, 1.5 * far));
  const elsewhere = plus(thing, times(bearing(), 1.5 * far));
  const above = plus(thing, times(up, far * chance.uniform()));
  const carried = plus(target, minus(hand, thing));
  const over = times(up, far * chance.uniform());
  const letting = chance.uniform() < 0.5 ? OPEN : CLOSED;
  const any = chance.pick([1, 1, 1]) - 1;
  const [flat, can] = [Number(across === 2), Number(grasps)]; // in a picture nothing leads over things, but around
  const choices = [
    [0.15, [[hand, any]]],
    [0.2, [[behind, any], [pushed, any], [hand, any]]],
    [0.2 * flat, [[around, any], [behind, any], [pushed, any], [hand, any]]],
    [0.4 * flat, [[around, any], [behind, any], [pushed, any], [behind, any], [elsewhere, any], [hand, any]]],
    [0.1 * can, [[carried, CLOSED], [hand, letting]]],
    [0.1 * can, [[plus(carried, over), CLOSED], [carried, CLOSED], [carried, OPEN], [hand, OPEN]]],
    [0.25 * can, [[above, OPEN], [thing, OPEN], [thing, CLOSED], [thing, CLOSED], [target, CLOSED], [hand, letting]]],
    [0.25 * can, [
      ...[[above, OPEN], [thing, OPEN], [thing, CLOSED], [plus(target, over), CLOSED]],
      ...[[target, CLOSED], [target, OPEN], [hand, OPEN]],
    ]],
  ];
  const [, order] = choices[chance.pick(choices.map(([share]) => share))];
  const scattered = (place) => place.map((value) => value + SCATTER * near * chance.normal());
  return order.map(([place, grip]) => ({ place: scattered(place), grip }));
}

/** Moves that lead from place to place, at most as fast as the robot may go. */
function followed(trip, { place, answer, inverse, grips }, { low, high }, horizon, block) {
  let [now, at] = [place, 0];
  return Array.from({ length: horizon }, () => {
    const way = times(minus(trip[at].place, now), 1 / block);
    const asked = inverse.map((line) => dot(line, way));
    const move = asked.map((value, a) => Math.min(high[a], Math.max(low[a], value)));
    now = plus(now, times(answer.map((line) => dot(line, move)), block));
    const { grip } = trip[at];
    if (asked.every((value, a) => value === move[a])) at = Math.min(at + 1, trip.length - 1);
    return move.map((value, a) => (grips[a] ? grip * grips[a] : value));
  });
}

/** What actions move a point by something, (A, D), of what a point moves by with actions, (D, A): least squares, damped
 * where hardly any action moves it. */
function inverse(answer) {
  const square = answer.map((one) => answer.map((other) => dot(one, other)));
  const strongest = Math.max(...square.map((line, i) => line[i]));
  square.forEach((line, i) => (line[i] += DAMPED ** 2 * strongest + 1e-12));
  const inverted = solved(square);
  return answer[0].map((_, a) => inverted.map((line) => dot(line, answer.map((moved) => moved[a]))));
}

/** The inverse of a symmetric matrix without zeros on the way, by Gauss and Jordan. */
function solved(matrix) {
  const lines = matrix.map((line, i) => [...line, ...matrix.map((_, j) => Number(i === j))]);
  lines.forEach((line, i) => {
    const pivot = line[i];
    line.forEach((value, j) => (line[j] = value / pivot));
    for (const other of lines) {
      if (other === line) continue;
      const factor = other[i];
      other.forEach((value, j) => (other[j] = value - factor * line[j]));
    }
  });
  return lines.map((line) => line.slice(matrix.length));
}

const plus = (a, b) => a.map((value, i) => value + b[i]);
const minus = (a, b) => a.map((value, i) => value - b[i]);
const times = (a, factor) => a.map((value) => value * factor);
const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const length = (a) => Math.hypot(...a);
