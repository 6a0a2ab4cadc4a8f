/**
 * A session of play: a clock that steps the present run, the moments so far, and branches from any of them.
 *
 * The clock is a grid of one step each. A new action brings the next step forward, by at most half of the grid, so that
 * who presses a key sees it soon; the grid stays where it is, and with it the rate.
 */

const FORWARD = 0.5; // of the time between two steps, by which a new action may bring the next one forward
const MEMORY = 256e6; // bytes of pictures that are kept of one take, to scrub

/** One run and its moments, as far as they are remembered. */
class Take {
  #bytes = 0;

  constructor(number, run, parent = null, earlier = []) {
    this.number = number;
    this.run = run;
    this.parent = parent; // {number, step} of the take that it left
    this.moments = [];
    for (const moment of earlier) this.add(moment);
    this.add(run.now);
  }

  get first() {
    return this.moments[0].step;
  }

  get last() {
    return this.moments.at(-1).step;
  }

  at(step) {
    return this.moments[step - this.first];
  }

  /** Remember one more; another moment of the same step takes the place of the one before. */
  add(moment) {
    if (this.moments.length && this.last === moment.step) this.#bytes -= size(this.moments.pop());
    this.moments.push(moment);
    this.#bytes += size(moment);
    while (this.#bytes > MEMORY && this.moments.length > 1) this.#bytes -= size(this.moments.shift());
  }
}

const size = ({ pictures, twin }) =>
  [...pictures, ...(twin?.pictures ?? [])].reduce((sum, { data }) => sum + data.length, 0);

/**
 * Dispatches "show" (another moment is in view), "state" (playing, recording or planning began or ended), "takes"
 * (another take), "stepped" with the moment, and "trouble" with an error.
 */
export class Player extends EventTarget {
  #wake = null;
  #changed = false; // whether the player asks for something that no step has done yet
  #busy = Promise.resolve(); // requests to the run, one after the other
  #next = 1; // number of the next take

  /**
   * @param {import("./world.js").World} world
   * @param {import("./controls.js").Controls} controls
   */
  constructor(world, controls) {
    super();
    this.world = world;
    this.controls = controls;
    this.takes = [];
    this.take = null;
    this.seen = 0; // step of the moment in view
    this.playing = false;
    this.speed = 1;
    this.recording = null; // {take, first, last} of what is recorded, last null while it goes on
    this.queue = []; // actions of a plan that are being done
    controls.addEventListener("change", () => {
      this.#changed = true;
      this.#wake?.();
    });
  }

  /** The moment in view. */
  get moment() {
    return this.take.at(this.seen);
  }

  /** Whether the moment in view is the present. */
  get live() {
    return this.seen === this.take?.last;
  }

  /** Begin anew; earlier takes are forgotten. */
  async begin(options) {
    this.pause();
    await this.#alone(async () => {
      const run = await this.world.begin(options);
      const before = this.takes.splice(0);
      this.#next = 1;
      this.recording = null;
      this.#add(new Take(this.#next++, run));
      await Promise.allSettled(before.map((take) => take.run.close()));
    });
  }

  /** Go on in a new take from the moment in view. */
  async branch() {
    await this.#alone(async () => {
      const { take, seen } = this;
      const run = await take.run.branch(seen);
      const earlier = take.moments.slice(0, seen - take.first);
      run.now = take.at(seen); // the same moment, which this page has already
      this.#add(new Take(this.#next++, run, { number: take.number, step: seen }, earlier));
    });
  }

  /** See another take, at its present. */
  show(take) {
    if (take === this.take) return;
    this.pause();
    this.take = take;
    this.seen = take.last;
    this.controls.begin(take.run.now.telemetry);
    if (take.run.now.action) this.controls.follow(take.run.now.action);
    this.#say("takes");
    this.#say("show");
  }

  #add(take) {
    this.takes.push(take);
    this.show(take);
  }

  /** See an earlier moment; time stands still meanwhile. */
  seek(step) {
    this.pause();
    this.seen = Math.min(this.take.last, Math.max(this.take.first, step));
    this.#say("show");
  }

  play() {
    if (this.playing || !this.take) return;
    this.playing = true;
    this.#say("state");
    this.#run();
  }

  pause() {
    if (!this.playing && !this.queue.length) return;
    this.playing = false;
    this.queue = [];
    this.#wake?.();
    this.#say("state");
  }

  /** One step, of the world or of what was. */
  async step() {
    this.pause();
    await this.#advance();
  }

  /** Do the actions of a plan, in real time, and then stand still. */
  follow(actions) {
    this.seen = this.take.last;
    this.queue = [...actions];
    this.play();
  }

  /** Other physics from now on. */
  async edit(properties) {
    await this.#alone(async () => {
      const { take } = this;
      take.add(await take.run.edit(properties));
      this.seen = take.last;
      this.#say("show");
    });
  }

  /** Record from the moment in view on; or end that, after the step that is being done. */
  async record() {
    await this.#alone(async () => {
      const going = this.recording?.last === null;
      if (going) this.recording.last = Math.max(this.seen, this.recording.first);
      else this.recording = { take: this.take, first: this.seen, last: null };
      this.#say("state");
    });
  }

  /** What is to be saved: what was recorded of this take, else all of it. */
  get range() {
    const { take, recording } = this;
    if (recording?.take !== take) return { first: take.first, last: take.last, whole: true };
    return { first: Math.max(recording.first, take.first), last: recording.last ?? take.last, whole: false };
  }

  async #run() {
    let due = performance.now();
    while (this.playing) {
      const period = 1000 / (this.world.about.rate * this.speed);
      due = Math.max(due + period, performance.now()); // what is late is not caught up with
      await this.#until(due - FORWARD * period, due);
      if (!this.playing) return;
      const following = this.queue.length > 0;
      if (!(await this.#advance())) this.pause();
      if (following && !this.queue.length) this.pause();
    }
  }

  /** Wait for the next step, which is brought forward where the player asks for something new. */
  async #until(soonest, latest) {
    if (!this.#changed) {
      const woken = new Promise((resolve) => (this.#wake = resolve));
      await Promise.race([woken, sleep(latest - performance.now())]);
      this.#wake = null;
    }
    await sleep(soonest - performance.now());
  }

  /** One step further; returns whether that worked. */
  #advance() {
    if (!this.live) {
      this.seen += 1;
      this.#say("show");
      return Promise.resolve(true);
    }
    return this.#alone(async () => {
      const { take, seen } = this;
      if (!this.live) return;
      this.controls.poll();
      this.#changed = false;
      const planned = this.queue.shift();
      const action = planned ?? this.controls.action();
      if (planned) this.controls.follow(planned);
      const moment = await take.run.step(action);
      take.add(moment);
      if (take === this.take && seen === this.seen) this.seen = take.last; // unless somebody looks elsewhere by now
      this.#say("show");
      this.dispatchEvent(new CustomEvent("stepped", { detail: moment }));
    });
  }

  /** Do something with the run when it does nothing else; returns whether it worked, and tells why not. */
  #alone(work) {
    const done = this.#busy.then(work).then(
      () => true,
      (error) => {
        this.dispatchEvent(new CustomEvent("trouble", { detail: error }));
        return false;
      },
    );
    this.#busy = done;
    return done;
  }

  #say(what) {
    this.dispatchEvent(new Event(what));
  }
}

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, Math.max(0, milliseconds)));
