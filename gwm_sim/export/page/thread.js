/** Questions to a worker, and its answers. */
export class Thread {
  #worker;
  #asked = new Map();
  #next = 0;

  constructor(url) {
    this.#worker = new Worker(url, { type: "module" });
    this.#worker.onmessage = ({ data: { id, answer, error } }) => {
      const asked = this.#asked.get(id);
      if (!asked) return; // it was answered by an error of the thread
      this.#asked.delete(id);
      if (error) asked.reject(new Error(error));
      else asked.resolve(answer);
    };
    this.#worker.onerror = ({ message }) => {
      for (const { reject } of this.#asked.values()) reject(new Error(message ?? "the world's thread broke"));
      this.#asked.clear();
    };
  }

  /** Ask for something, and wait for the answer. */
  ask(op, fields) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.#worker.postMessage({ id, op, ...fields });
    });
  }
}
