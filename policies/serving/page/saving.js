/** Record, and save what was recorded: as an episode file, or as a film. */

import { find, save } from "./elements.js";

export class Saving {
  #player;
  #say;

  /**
   * @param {import("./player.js").Player} player
   * @param {(text: string) => void} say
   */
  constructor(player, say) {
    this.#player = player;
    this.#say = say;
    const { saves = {} } = player.world.about;
    const [record, episode, film] = [find("record"), find("save-episode"), find("save-film")];
    episode.hidden = !saves.episode;
    film.hidden = !saves.film;
    record.hidden = episode.hidden && film.hidden;
    record.addEventListener("click", () => player.record());
    player.addEventListener("state", () => {
      const going = player.recording?.last === null;
      record.setAttribute("aria-pressed", String(going));
      record.querySelector("span").textContent = going ? "Stop" : "Record";
    });
    episode.addEventListener("click", () => {
      this.#keep(saves.episode, (run, first, last) => run.episode(first, last));
    });
    film.addEventListener("click", () => {
      this.#keep(saves.film, (run, first, last) => run.film(first, last, Boolean(player.moment.twin)));
    });
  }

  async #keep(ending, make) {
    const { take, range, world } = this.#player;
    const { first, last, whole } = range;
    try {
      save(await make(take.run, first, last), `${world.about.model}-${first}-${last}.${ending}`);
      this.#say(`Saved ${whole ? "everything" : "what was recorded"}, steps ${first} to ${last}`);
    } catch (error) {
      this.#say(error.message);
    }
  }
}
