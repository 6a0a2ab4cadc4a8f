/** On-screen hands: a stick, sliders that spring back, and switches, for whatever actions a world has. */

import { keycap } from "./controls.js";
import { element, number } from "./elements.js";

const FINE = 200; // positions of a slider on either side of its middle

export class Hands {
  #controls;
  #rows = new Map(); // by index of an action: {slider, output}

  /**
   * @param {HTMLElement} place
   * @param {import("./controls.js").Controls} controls
   */
  constructor(place, controls) {
    this.#controls = controls;
    const { plane, axes, switches, groups } = controls;
    if (plane) place.append(this.#stick(plane));
    const list = element("div", { className: "axes" });
    for (const axis of axes) list.append(this.#axis(axis));
    for (const action of switches) list.append(this.#switch(action));
    place.append(list);
    if (groups.length > 1) place.append(this.#groupButton());
  }

  /** Show the action that is asked for. */
  show(action) {
    for (const { index, low, high, target } of this.#controls.axes) {
      const { slider, output } = this.#rows.get(index);
      const value = action[index];
      output.textContent = number(value);
      if (slider === document.activeElement) continue;
      slider.value = target ? value : Math.round(FINE * (value > 0 ? value / high : value / -low || 0));
    }
    for (const { index, high } of this.#controls.switches) {
      this.#rows.get(index).slider.setAttribute("aria-checked", String(action[index] === high));
    }
  }

  #axis(axis) {
    const { index, name, unit, low, high, target, raise, lower } = axis;
    const id = `axis-${index}`;
    const slider = element("input", { type: "range", id });
    if (target) Object.assign(slider, { min: low, max: high, step: "any" });
    else Object.assign(slider, { min: -FINE, max: FINE, step: 1, value: 0 });
    slider.className = target ? "" : "spring";
    const rest = () => {
      if (target) return;
      slider.value = 0;
      this.#controls.push(index, 0);
    };
    slider.addEventListener("input", () => {
      if (target) this.#controls.put(index, Number(slider.value));
      else this.#controls.push(index, slider.value / FINE);
    });
    for (const end of ["pointerup", "pointercancel", "keyup", "blur"]) slider.addEventListener(end, rest);
    const output = element("output", { htmlFor: id });
    this.#rows.set(index, { slider, output });
    const keys = element("span", { className: "keys", ariaHidden: "true" }, [
      element("kbd", {}, [keycap(lower[0])]),
      element("kbd", {}, [keycap(raise[0])]),
    ]);
    const label = element("label", { htmlFor: id, title: `${number(low)} to ${number(high)} ${unit}` }, [name]);
    if (unit) label.append(element("small", {}, [` ${unit}`]));
    return element("div", { className: "axis" }, [label, keys, slider, output]);
  }

  #switch({ index, name, low, high }) {
    const button = element("button", { type: "button", role: "switch", className: "toggle" }, [
      element("span", {}, [name]),
      element("kbd", { ariaHidden: "true" }, ["Space"]),
      element("i", { ariaHidden: "true" }),
    ]);
    button.addEventListener("click", () => {
      this.#controls.put(index, this.#controls.held[index] === high ? low : high);
    });
    this.#rows.set(index, { slider: button });
    return button;
  }

  /** A stick for both axes of the arrow keys; with a keyboard those keys do the same. */
  #stick({ across, along }) {
    const knob = element("i");
    const stick = element("div", { className: "stick", ariaHidden: "true" }, [knob]);
    const upward = along.raise.includes("ArrowUp") ? 1 : -1;
    const rightward = across.raise.includes("ArrowRight") ? 1 : -1;
    const move = (x, y) => {
      const length = Math.max(1, Math.hypot(x, y));
      knob.style.translate = `${(50 * x) / length}% ${(50 * y) / length}%`;
      this.#controls.push(across.index, (rightward * x) / length);
      this.#controls.push(along.index, (-upward * y) / length);
    };
    const follow = (event) => {
      const { left, top, width, height } = stick.getBoundingClientRect();
      const [x, y] = [(event.clientX - left) / width, (event.clientY - top) / height];
      move(3 * (x - 0.5), 3 * (y - 0.5));
    };
    stick.addEventListener("pointerdown", (event) => {
      stick.setPointerCapture(event.pointerId);
      follow(event);
    });
    stick.addEventListener("pointermove", (event) => stick.hasPointerCapture(event.pointerId) && follow(event));
    for (const end of ["pointerup", "pointercancel"]) stick.addEventListener(end, () => move(0, 0));
    return stick;
  }

  #groupButton() {
    const controls = this.#controls;
    const button = element("button", { type: "button", title: "Keys move other actions (M)" });
    const tell = () => {
      const names = controls.moved.map(({ name }) => name);
      button.textContent = names.length > 1 ? `Keys: ${names[0]} to ${names.at(-1)}` : `Keys: ${names[0]}`;
      for (const axis of controls.axes) {
        this.#rows.get(axis.index).slider.parentElement.classList.toggle("unkeyed", !controls.moved.includes(axis));
      }
    };
    button.addEventListener("click", () => controls.nextGroup());
    controls.addEventListener("group", tell);
    tell();
    return button;
  }
}
