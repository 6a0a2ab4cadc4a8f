/**
 * Handles on things and on the robot's hand: drag one to where it should be, or move it by arrow keys and press Enter.
 * Up and down moves a thing over the table; with Shift, or by page keys, it is raised.
 */

import { Camera } from "./camera.js";
import { element } from "./elements.js";

const MOVED = 2; // pixels of the picture from which on a press is a drag
const NUDGE = 1.5; // pixels of the picture, for an arrow key
const LIFT = 0.01; // [m], for a page key
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Dispatches "wanted" with {name, goal, offset} where somebody says where something should be, and "choosing". */
export class Handles extends EventTarget {
  #place;
  #canvas;
  #player;
  #frame; // of places: how they become pixels and back
  #handles = [];
  #line = document.createElementNS("http://www.w3.org/2000/svg", "line");

  constructor(place, canvas, player) {
    super();
    const { about } = player.world;
    this.#place = place;
    this.#canvas = canvas;
    this.#player = player;
    this.#frame = frameOf(about);
    if (!about.plans || !this.#frame) return;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.append(this.#line);
    place.append(svg);
    about.objects.forEach((name, k) => {
      const where = (moment) => moment.objects[k];
      this.#add(name, where, (to) => ({ objects: { [name]: to } }));
    });
    if (about.object_frame === "metres" && about.effector.length === 3) {
      const where = ({ telemetry }) => about.effector.map((i) => telemetry[i]);
      this.#add("gripper", where, (to) => ({ effector: to }));
    }
    for (const event of ["show", "state"]) player.addEventListener(event, () => this.update());
    new ResizeObserver(() => this.update()).observe(canvas);
  }

  /** Put the handles where things are; nothing is wanted any more if `forget` says so. */
  update(forget = false) {
    const { take, live, playing } = this.#player;
    if (!take) return;
    this.#place.style.width = `${this.#canvas.offsetWidth}px`;
    this.#place.hidden = !live;
    for (const handle of this.#handles) {
      if (forget || playing) handle.to = null;
      const at = handle.where(this.#player.moment);
      handle.button.hidden = at.includes(null);
      if (!handle.button.hidden) this.#show(handle, at);
    }
    if (!this.#handles.some(({ to }) => to)) this.#line.toggleAttribute("hidden", true);
  }

  #add(name, where, goal) {
    const label = element("span", {}, [name]);
    const button = element("button", { type: "button", className: "handle" }, [label]);
    button.ariaLabel = `${name}: drag to where it should be, or move by arrow and page keys and press Enter`;
    const handle = { name, where, goal, button, to: null };
    this.#handles.push(handle);
    this.#place.append(button);
    this.#byPointer(handle);
    button.addEventListener("keydown", (event) => this.#byKey(handle, event));
    button.addEventListener("blur", () => {
      if (!handle.asked) handle.to = null;
      this.update();
    });
  }

  #byPointer(handle) {
    const { button } = handle;
    let begun = null;
    button.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      button.setPointerCapture(event.pointerId);
      this.#choose(handle);
      const at = handle.where(this.#player.moment);
      begun = { at, pixel: this.#pixel(event) };
    });
    button.addEventListener("pointermove", (event) => {
      if (!begun) return;
      const pixel = this.#pixel(event);
      const by = pixel.map((value, i) => value - begun.pixel[i]);
      if (!handle.to && Math.hypot(...by) < MOVED) return;
      this.#want(handle, event.shiftKey ? this.#frame.lifted(begun.at, by) : this.#frame.moved(begun.at, by));
    });
    button.addEventListener("pointerup", () => {
      begun = null;
      if (handle.to) this.#ask(handle);
    });
    button.addEventListener("pointercancel", () => {
      begun = null;
      this.update(true);
    });
  }

  #byKey(handle, event) {
    const at = handle.to ?? handle.where(this.#player.moment);
    if (event.key in ARROWS) {
      this.#choose(handle);
      const by = ARROWS[event.key].map((way) => NUDGE * way);
      this.#want(handle, this.#frame.moved(at, by));
    } else if (event.key === "PageUp" || event.key === "PageDown") {
      this.#choose(handle);
      this.#want(handle, this.#frame.raised(at, event.key === "PageUp" ? LIFT : -LIFT));
    } else if (event.key === "Enter" && handle.to) {
      this.#ask(handle);
    } else if (event.key === "Escape") {
      this.dispatchEvent(new Event("choosing"));
      this.update(true);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Time stands still while somebody says where something should be. */
  #choose(handle) {
    this.#player.pause();
    handle.asked = false;
    this.dispatchEvent(new Event("choosing"));
    for (const other of this.#handles) if (other !== handle) other.to = null;
  }

  #want(handle, to) {
    if (to) handle.to = to;
    this.update();
  }

  #ask(handle) {
    const { name, to, goal } = handle;
    handle.asked = true;
    const at = handle.where(this.#player.moment);
    const offset = Math.hypot(...to.map((value, i) => value - at[i]));
    this.dispatchEvent(new CustomEvent("wanted", { detail: { name, goal: goal(this.#frame.asked(to)), offset } }));
  }

  #show(handle, at) {
    const pixel = this.#frame.pixel(handle.to ?? at);
    handle.button.classList.toggle("wanted", Boolean(handle.to));
    if (!pixel) return;
    const share = (found) => this.#frame.size.map((size, i) => (100 * (found[i] + 0.5)) / size);
    const [x, y] = share(pixel);
    Object.assign(handle.button.style, { left: `${x}%`, top: `${y}%` });
    if (!handle.to) return;
    const [x0, y0] = share(this.#frame.pixel(at));
    this.#line.toggleAttribute("hidden", false);
    const ends = { x1: x0, y1: y0, x2: x, y2: y };
    for (const [name, value] of Object.entries(ends)) this.#line.setAttribute(name, `${value}%`);
  }

  #pixel({ clientX, clientY }) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    const [columns, rows] = this.#frame.size;
    return [((clientX - left) / width) * columns - 0.5, ((clientY - top) / height) * rows - 0.5];
  }
}

/** How places become pixels of the main camera and back, null where nobody knows. */
function frameOf({ object_frame, cameras }) {
  const [main] = cameras;
  const size = [main.width, main.height];
  if (object_frame === "image") {
    const moved = ([column, row, extent], by) => [column + by[0], row + by[1], extent];
    const asked = ([column, row]) => [column, row, null]; // how large it looks follows
    return { size, pixel: ([column, row]) => [column, row], moved, lifted: moved, raised: (at) => at, asked };
  }
  if (!main.calibration) return null;
  const camera = new Camera(main);
  const raised = ([x, y, z], by) => [x, y, z + by];
  const moved = (at, by) => {
    const pixel = camera.project(at).map((value, i) => value + by[i]);
    return camera.atHeight(inside(pixel, size), at[2]);
  };
  return {
    size,
    pixel: (at) => camera.project(at),
    moved,
    lifted: (at, by) => raised(at, -by[1] / camera.rise(at)),
    raised,
    asked: (to) => to,
  };
}

const inside = (pixel, size) => pixel.map((value, i) => Math.min(size[i] - 1, Math.max(0, value)));
