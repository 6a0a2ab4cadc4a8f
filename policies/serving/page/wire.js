/**
 * One connection to `gwm serve`: requests over its socket, answers as binary messages.
 *
 * A lost connection is opened again, and what was asked meanwhile is asked once more under the same name, so that the
 * server does nothing twice.
 */

const PROTOCOL = "gwm.v1";
const TOKEN_PROTOCOL = "gwm.token.";
const SOONEST = 250; // milliseconds until a lost connection is tried again, at first and at most
const LATEST = 4000;

/** What the server refused, in its own words. */
export class Refused extends Error {
  constructor({ code, message }) {
    super(message);
    this.code = code;
  }
}

/** Split a message into its header and the bytes that the header points to. */
function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { header, tail: new Uint8Array(buffer, 4 + length) };
}

/** Dispatches "open", "lost", "refused" by a server that was started anew, and "event" with what the server tells without being asked. */
export class Connection extends EventTarget {
  #token;
  #socket = null;
  #asked = new Map(); // by id: {text, resolve, reject}
  #next = 1;
  #wait = SOONEST;
  #name = crypto.randomUUID(); // of this page, in the names of its requests

  /** @param {string} token What `gwm serve` printed. */
  constructor(token) {
    super();
    this.#token = token;
  }

  /** Connect; throws where the server refuses the token or there is none. */
  async open() {
    await this.get("info");
    this.#connect();
  }

  /**
   * Ask for something, and wait for the answer.
   *
   * @param {string} op Name of the operation.
   * @param {object} fields What it takes.
   */
  ask(op, fields = {}) {
    const id = this.#next++;
    const text = JSON.stringify({ id, op, ...fields });
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { text, resolve, reject });
      if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(text);
    });
  }

  /** A name under which a request is done once, however often it is asked. */
  once() {
    return `${this.#name}-${this.#next}`;
  }

  /** Get what is no message: JSON, or a file. */
  async get(path) {
    const response = await this.#fetch(path);
    if (response.ok) return response;
    const told = await response.json().catch(() => ({}));
    throw new Refused(told.error ?? { code: "broken", message: `the server answers ${response.status}` });
  }

  /** Have something forgotten, also while the page goes away. */
  forget(path) {
    this.#fetch(path, { method: "DELETE", keepalive: true }).catch(() => {}); // it is forgotten in a while anyway
  }

  #fetch(path, options) {
    return fetch(`/v1/${path}`, { headers: { Authorization: `Bearer ${this.#token}` }, ...options });
  }

  #connect() {
    const url = new URL("/v1/socket", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, [PROTOCOL, TOKEN_PROTOCOL + this.#token]);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#wait = SOONEST;
      for (const { text } of this.#asked.values()) socket.send(text);
      this.dispatchEvent(new Event("open"));
    };
    socket.onmessage = ({ data }) => this.#receive(unpack(data));
    socket.onclose = () => {
      this.dispatchEvent(new Event("lost"));
      this.#later();
    };
    this.#socket = socket;
  }

  /** Connect again in a while, unless the server that is there now does not know us. */
  #later() {
    setTimeout(async () => {
      try {
        await this.get("info");
      } catch (error) {
        if (error instanceof Refused) this.dispatchEvent(new CustomEvent("refused", { detail: error }));
        else this.#later();
        return;
      }
      this.#connect();
    }, this.#wait);
    this.#wait = Math.min(2 * this.#wait, LATEST);
  }

  #receive(message) {
    const { id, event, error } = message.header;
    if (event) {
      this.dispatchEvent(new CustomEvent("event", { detail: message }));
      return;
    }
    const asked = this.#asked.get(id);
    if (!asked) return;
    this.#asked.delete(id);
    if (error) asked.reject(new Refused(error));
    else asked.resolve(message);
  }
}
