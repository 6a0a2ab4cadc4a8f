/** What is in view: pictures of the learned world and its twin, their difference, and the numbers of the moment. */

import { find, number } from "./elements.js";
import { Screen } from "./screen.js";

export class View {
  #player;
  #learned;
  #twin;
  #difference;
  #preview = null; // a moment that is imagined and not done

  /** @param {import("./player.js").Player} player */
  constructor(player) {
    const { about } = player.world;
    this.#player = player;
    this.#learned = new Screen(find("learned"), about, "Learned world");
    this.#twin = new Screen(find("twin"), about, "Physics twin");
    this.#difference = new Screen(find("difference"), about, "Difference of both");
    find("view-card").hidden = !about.twin;
    find("reward-row").hidden = find("success-row").hidden = !about.tasks.length;
    find("with-difference").addEventListener("change", () => this.update());
    player.addEventListener("show", () => this.update());
  }

  /** The pane of the learned world. */
  get learned() {
    return this.#learned;
  }

  /** See something that was imagined and not done; null for what is. */
  preview(moment) {
    this.#preview = moment;
    find("learned").classList.toggle("imagined", Boolean(moment));
    find("badge").hidden = !moment;
    this.update();
  }

  update() {
    if (!this.#player.take) return;
    const moment = this.#preview ?? this.#player.moment;
    this.#learned.draw(moment.pictures);
    this.#beside(this.#preview ? null : moment.twin, moment);
    this.#tell(moment);
    document.dispatchEvent(new CustomEvent("gwm:shown", { detail: moment }));
  }

  #beside(twin, moment) {
    const known = Boolean(this.#player.moment.twin);
    const compared = known && find("with-difference").checked;
    find("twin").hidden = !known;
    find("difference").hidden = !compared;
    find("with-difference").disabled = !known;
    if (!twin) return;
    this.#twin.draw(twin.pictures);
    if (compared) this.#difference.drawDifference(moment.pictures, twin.pictures);
    find("apart").textContent = this.#apart(moment, twin);
  }

  /** How far hand and things are apart in both worlds, at most. */
  #apart({ telemetry, objects }, twin) {
    const { effector, object_frame } = this.#player.world.about;
    const hand = (told) => effector.map((i) => told[i]);
    const hands = [distance(hand(telemetry), hand(twin.telemetry))];
    const things = objects.map((place, k) => distance(place, twin.objects[k]));
    const most = Math.max(0, ...[...hands, ...things].filter(Number.isFinite));
    return object_frame === "metres" ? `${(100 * most).toFixed(1)} cm apart` : "";
  }

  #tell({ step, uncertainty, reward, success }) {
    const { about } = this.#player.world;
    const { unit, limit } = about.uncertainty;
    find("at-step").textContent = step;
    find("at-time").textContent = `${(step / about.rate).toFixed(1)} s`;
    find("reward").textContent = number(reward);
    find("success").textContent = success ? "yes" : "no";
    find("success").classList.toggle("yes", Boolean(success));
    const share = Math.min(1, (uncertainty ?? Infinity) / limit); // of a world that lost its way nothing is known
    const invents = share >= 1;
    find("doubt").textContent = `± ${number(uncertainty)} ${unit}${invents ? ", inventing" : ""}`;
    this.#learned.pane.style.setProperty("--doubt", share.toFixed(3));
    this.#learned.pane.classList.toggle("invents", invents);
  }
}

function distance(a, b) {
  return a && b ? Math.hypot(...a.map((value, i) => value - b[i])) : NaN;
}
