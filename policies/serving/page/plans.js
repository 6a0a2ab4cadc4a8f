/** Plans: looked for when something is wanted elsewhere, and seen as a film before they are done, or dropped. */

import { find, number } from "./elements.js";

const REST = 8; // frames for which the end of the film stands still, before it begins again

export class Plans {
  #player;
  #view;
  #handles;
  #timeline;
  #moments = [];
  #plan = null;
  #asked = null; // AbortController of the search that goes on
  #film = null; // timer

  constructor(player, view, handles, timeline) {
    this.#player = player;
    this.#view = view;
    this.#handles = handles;
    this.#timeline = timeline;
    handles.addEventListener("wanted", ({ detail }) => this.#look(detail));
    handles.addEventListener("choosing", () => this.#end());
    find("plan-do").addEventListener("click", () => this.#do());
    find("plan-drop").addEventListener("click", () => this.drop());
    player.addEventListener("state", () => player.playing && this.drop());
    player.addEventListener("takes", () => this.drop());
    player.addEventListener("show", () => !player.live && this.drop());
  }

  /** Forget the plan, and where something was wanted. */
  drop() {
    if (find("plan").hidden) return;
    const focused = find("plan").contains(document.activeElement);
    this.#end();
    this.#handles.update(true);
    if (focused) find("play").focus();
  }

  async #look({ name, goal, offset }) {
    this.#end();
    const asked = (this.#asked = new AbortController());
    const length = (value) => this.#length(value);
    this.#say(`Looking for a way to move ${name} by ${length(offset)}`, false);
    try {
      const show = (moments) => asked === this.#asked && this.#add(moments);
      const plan = await this.#player.take.run.plan(goal, show, asked.signal);
      if (asked !== this.#asked) return;
      this.#plan = plan;
      this.#asked = null;
      const { rate, uncertainty } = this.#player.world.about;
      const most = Math.max(...plan.moments.map(({ uncertainty }) => uncertainty ?? NaN));
      const seconds = (plan.actions.length / rate).toFixed(1);
      const apart = plan.distance === null ? "nobody knows how far" : length(plan.distance);
      const end = plan.reached ? `ends ${apart} from there` : `does not get there, but ends ${apart} away`;
      this.#say(`A way of ${seconds} s: ${name} ${end}, ± ${number(most)} ${uncertainty.unit}`, true);
      find("plan-do").focus({ preventScroll: true });
    } catch (error) {
      if (asked === this.#asked) this.#say(error.message, false);
    }
  }

  #do() {
    const { actions } = this.#plan;
    this.#end();
    this.#handles.update(true);
    this.#player.follow(actions);
    find("play").focus({ preventScroll: true });
  }

  /** Take in a piece of the film, which begins with the first one. */
  #add(moments) {
    this.#moments.push(...moments);
    this.#timeline.imagined(this.#moments);
    if (this.#film) return;
    let frame = 0;
    const { about } = this.#player.world;
    const next = () => {
      const last = this.#moments.length - 1;
      this.#view.preview(this.#moments[Math.min(frame, last)]);
      frame = frame > last + REST ? 0 : frame <= last || this.#plan ? frame + 1 : frame;
    };
    this.#film = setInterval(next, 1000 / about.rate);
    next();
  }

  #end() {
    this.#asked?.abort();
    clearInterval(this.#film);
    Object.assign(find("plan"), { hidden: true });
    const seen = this.#film !== null;
    this.#asked = this.#plan = this.#film = null;
    this.#moments = [];
    this.#timeline.imagined([]);
    if (seen) this.#view.preview(null);
  }

  #say(text, done) {
    find("plan").hidden = false;
    find("plan-said").textContent = text;
    find("plan-do").disabled = !done;
    find("plan-drop").textContent = done ? "Discard" : "Stop";
  }

  /** A distance in words. */
  #length(value) {
    const metres = this.#player.world.about.object_frame === "metres";
    return metres ? `${(100 * value).toFixed(1)} cm` : `${value.toFixed(1)} px`;
  }
}
