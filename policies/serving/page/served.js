/** A world behind `gwm serve`, as `world.js` says. */

import { Connection, Refused } from "./wire.js";

const KEPT = "gwm.token"; // where this tab keeps it, so that the page can be loaded again

/** @returns {Promise<import("./world.js").World>} */
export async function open() {
  const connection = new Connection(token());
  await connection.open();
  const { models } = await (await connection.get("info")).json();
  const asked = new URLSearchParams(location.search).get("model") ?? models[0];
  const about = await (await connection.get(`models/${encodeURIComponent(asked)}`)).json();
  return new ServedWorld(connection, about, models);
}

/** The token in the address, which then leaves it: addresses get copied. */
function token() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEPT, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  const kept = given ?? sessionStorage.getItem(KEPT);
  if (!kept) throw new Refused({ code: "no_token", message: "open the whole address that `gwm serve` printed" });
  return kept;
}

class ServedWorld {
  #sessions = new Set();

  constructor(connection, about, models) {
    this.connection = this.events = connection;
    this.about = { ...about, models, saves: { episode: "hdf5", film: "mp4" } };
    addEventListener("pagehide", () => this.#sessions.forEach((session) => connection.forget(`sessions/${session}`)));
  }

  /** Remember a session until it is closed: it must not outlive the page. */
  opened(session) {
    this.#sessions.add(session);
    return session;
  }

  async close(session) {
    this.#sessions.delete(session);
    await this.connection.ask("close", { session });
  }

  async begin({ seed, task, twin = false }) {
    const asked = { model: this.about.model, seed, task, twin, pictures: "raw", request: this.connection.once() };
    return new ServedRun(this, await this.connection.ask("create", asked));
  }

  /** Moments that a message tells of. */
  read({ header, tail }) {
    return header.moments[0].map((told) => this.#moment(told, tail));
  }

  #moment(told, tail) {
    const { agent_pos: telemetry, pictures, twin, ...rest } = told;
    const moment = { ...rest, telemetry, pictures: this.#pictures(pictures, tail) };
    if (twin) moment.twin = { ...twin, telemetry: twin.agent_pos, pictures: this.#pictures(twin.pictures, tail) };
    return moment;
  }

  #pictures(told, tail) {
    return this.about.cameras.map(({ key }) => {
      const { shape, at } = told[key];
      return { width: shape[1], height: shape[0], data: tail.subarray(at[0], at[0] + at[1]) };
    });
  }
}

class ServedRun {
  #world;
  #session;

  constructor(world, made) {
    this.#world = world;
    this.#session = world.opened(made.header.sessions[0].session);
    this.now = { ...world.read(made)[0], action: null };
  }

  async step(action) {
    const [moment] = this.#world.read(await this.#ask("step", { action }));
    return (this.now = { ...moment, action });
  }

  async edit(properties) {
    const [moment] = this.#world.read(await this.#ask("edit", { properties }));
    return (this.now = { ...moment, action: this.now.action });
  }

  async branch(step) {
    return new ServedRun(this.#world, await this.#ask("branch", { step }));
  }

  async plan(goal, show, signal) {
    const { connection } = this.#world;
    const request = connection.once();
    const listen = ({ detail }) => detail.header.request === request && show(this.#world.read(detail));
    connection.addEventListener("event", listen);
    const stop = () => connection.ask("stop_plan", { session: this.#session }).catch(() => {}); // its run may be closed
    signal.addEventListener("abort", stop);
    try {
      const answer = await this.#ask("plan", { request, ...goal });
      const { actions, distance, reached } = answer.header;
      return { actions, distance, reached, moments: this.#world.read(answer) };
    } finally {
      connection.removeEventListener("event", listen);
      signal.removeEventListener("abort", stop);
    }
  }

  episode(first, last) {
    return this.#file("episode", { first, last });
  }

  film(first, last, twin) {
    return this.#file("film", { first, last, twin });
  }

  close() {
    return this.#world.close(this.#session);
  }

  #ask(op, fields) {
    const { connection } = this.#world;
    const whole = { session: this.#session, pictures: "raw", request: connection.once(), ...fields };
    return connection.ask(op, whole);
  }

  async #file(kind, asked) {
    const path = `sessions/${this.#session}/${kind}?${new URLSearchParams(asked)}`;
    return (await this.#world.connection.get(path)).blob();
  }
}
