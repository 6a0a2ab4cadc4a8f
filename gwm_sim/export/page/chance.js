/** Random numbers that are the same ones again for the same seed, whatever was drawn from others meanwhile. */

export class Chance {
  #state;

  /** @param {...number} seeds Whole numbers. */
  constructor(...seeds) {
    this.#state = 0;
    for (const seed of seeds) this.#state = scrambled(this.#state ^ seed);
  }

  /** From 0 to below 1. */
  uniform() {
    this.#state = (this.#state + 0x9e3779b9) | 0; // splitmix32
    return (scrambled(this.#state) >>> 0) / 2 ** 32;
  }

  /** A standard normal number. */
  normal() {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** An index, as often as its weight says. */
  pick(weights) {
    let left = this.uniform() * weights.reduce((sum, weight) => sum + weight, 0);
    const found = weights.findIndex((weight) => (left -= weight) < 0);
    return found < 0 ? weights.length - 1 : found;
  }
}

function scrambled(value) {
  value = Math.imul(value ^ (value >>> 16), 0x21f0aaad);
  value = Math.imul(value ^ (value >>> 15), 0x735a2d97);
  return value ^ (value >>> 15);
}
