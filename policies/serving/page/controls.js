/**
 * Hands on the actions of any world: what held keys, sticks and a gamepad ask for.
 *
 * An action that is a change or a rate is what the hands say, nothing where they rest. A target goes on from the one
 * before, a little with every step, and stays where it is put. What opens and closes is switched.
 */

const USUAL = [..."qwertyuio"].map((raise, i) => ({ raise: [raise], lower: ["asdfghjkl"[i]] }));
const STEP = 0.01; // of a target's range, by which a held key moves it in one step
const DEAD = 0.15; // of a gamepad's stick, around its middle
const PAD = [0, 1, 3, 2]; // axes of a gamepad: left stick, then the right one up and down, then sideways
const BUTTONS = { 0: "switch", 1: "group", 2: "anew", 9: "play" };

const names = {
  ArrowUp: "↑",
  ArrowDown: "↓",
  ArrowLeft: "←",
  ArrowRight: "→",
  PageUp: "PgUp",
  PageDown: "PgDn",
};

/** A key as it is written on keyboards. */
export const keycap = (key) => names[key] ?? key.toUpperCase();

/** Dispatches "change" where something else is asked for, and "press" with what a gamepad's button stands for. */
export class Controls extends EventTarget {
  #keys = new Map(); // held ones: code -> key
  #pushed = new Map(); // by index of an action: what an on-screen stick says, -1 to 1
  #buttons = new Set();

  /** @param {import("./world.js").About} about */
  constructor({ actions }) {
    super();
    let free = 0;
    this.actions = actions;
    this.switches = actions.map((action, index) => ({ ...action, index })).filter((action) => action.switched);
    this.axes = actions
      .map((action, index) => ({ ...action, index }))
      .filter((action) => !action.switched)
      .map((axis) => (axis.raise ? axis : { ...axis, ...USUAL[free++ % USUAL.length] }));
    const groups = Math.ceil(this.axes.length / USUAL.length) || 1;
    this.groups = Array.from({ length: groups }, (_, i) => this.axes.slice(i * USUAL.length, (i + 1) * USUAL.length));
    this.group = 0;
    this.held = actions.map(({ low, high }) => clip(0, low, high));
  }

  /** Axes that keys move now. */
  get moved() {
    return this.groups[this.group];
  }

  /** The axis whose keys are arrows sideways, and the one whose keys are arrows up and down: those of a stick. */
  get plane() {
    const keyed = (key) => this.axes.find(({ raise, lower }) => [...raise, ...lower].includes(key));
    const [across, along] = [keyed("ArrowRight"), keyed("ArrowUp")];
    return across && along ? { across, along } : null;
  }

  /** Whether hands ask for something now. */
  get active() {
    return this.#keys.size > 0 || [...this.#pushed.values()].some(Boolean) || this.#pad().some(Boolean);
  }

  /** Begin with nothing asked for, and with targets where the robot is that reports some telemetry. */
  begin(telemetry) {
    this.#keys.clear();
    this.#pushed.clear();
    this.held = this.actions.map(({ target, low, high }) =>
      clip(target ? telemetry[target.telemetry] / target.scale : 0, low, high),
    );
  }

  /** Go on from an action that somebody else chose: targets stay where it put them. */
  follow(action) {
    this.actions.forEach(({ target, switched }, i) => {
      if (target || switched) this.held[i] = action[i];
    });
  }

  /** Take in that a key goes down; returns whether it drives anything. */
  press(event) {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!this.moved.some(({ raise, lower }) => raise.includes(key) || lower.includes(key))) return false;
    if (!this.#keys.has(event.code)) {
      this.#keys.set(event.code, key);
      this.#changed();
    }
    return true;
  }

  release(event) {
    if (this.#keys.delete(event.code)) this.#changed();
  }

  /** Let go of everything, as when the page loses the keyboard. */
  rest() {
    if (!this.#keys.size && !this.#pushed.size) return;
    this.#keys.clear();
    this.#pushed.clear();
    this.#changed();
  }

  /** An on-screen stick says where it is, -1 to 1. */
  push(index, value) {
    if ((this.#pushed.get(index) ?? 0) === value) return;
    this.#pushed.set(index, value);
    this.#changed();
  }

  /** Put a target, or what is switched, somewhere. */
  put(index, value) {
    this.held[index] = value;
    this.#changed();
  }

  /** Open or close what is switched. */
  switch() {
    for (const { index, low, high } of this.switches) this.held[index] = this.held[index] === high ? low : high;
    this.#changed();
  }

  nextGroup() {
    this.group = (this.group + 1) % this.groups.length;
    this.dispatchEvent(new Event("group"));
  }

  /** Take in a gamepad's buttons. */
  poll() {
    const pad = gamepad();
    for (const [button, what] of Object.entries(BUTTONS)) {
      const down = pad?.buttons[button]?.pressed ?? false;
      if (down && !this.#buttons.has(button)) this.dispatchEvent(new CustomEvent("press", { detail: what }));
      this.#buttons[down ? "add" : "delete"](button);
    }
  }

  /** The action of the present moment; targets move by it. */
  action() {
    const action = [...this.held];
    const keys = new Set(this.#keys.values());
    const pad = this.#pad();
    for (const axis of this.axes) {
      const { index, low, high, target, raise, lower } = axis;
      let wanted = (this.#pushed.get(index) ?? 0) + (pad[index] ?? 0);
      if (this.moved.includes(axis)) {
        wanted += raise.some((key) => keys.has(key)) - lower.some((key) => keys.has(key));
      }
      wanted = clip(wanted, -1, 1);
      if (target) {
        this.held[index] = action[index] = clip(action[index] + wanted * STEP * (high - low), low, high);
      } else if (wanted) {
        action[index] = wanted > 0 ? wanted * high : -wanted * low;
      }
    }
    return action;
  }

  /** What a gamepad's sticks say, by index of an action. */
  #pad() {
    const said = [];
    const pad = gamepad();
    if (!pad) return said;
    const { across, along } = this.plane ?? {};
    const order = [across, along, ...this.moved.filter((axis) => axis !== across && axis !== along)].filter(Boolean);
    order.slice(0, PAD.length).forEach((axis, i) => {
      const value = pad.axes[PAD[i]] ?? 0;
      const upward = PAD[i] % 2 === 1 && !axis.raise.includes("ArrowDown"); // sticks count downward
      if (Math.abs(value) > DEAD) said[axis.index] = upward ? -value : value;
    });
    return said;
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

const clip = (value, low, high) => Math.min(high, Math.max(low, value));

const gamepad = () => navigator.getGamepads?.().find((pad) => pad?.connected);
