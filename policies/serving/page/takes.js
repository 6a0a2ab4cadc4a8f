/** The takes of a session: the first one, and those that left it or each other. */

import { element } from "./elements.js";

export class Takes {
  constructor(place, player) {
    const update = () => {
      place.hidden = player.takes.length < 2;
      place.replaceChildren(
        ...player.takes.map((take) => {
          const from = take.parent ? ` from ${take.parent.number} at ${take.parent.step}` : "";
          const button = element("button", { type: "button" }, [`Take ${take.number}`, element("small", {}, [from])]);
          button.setAttribute("aria-pressed", String(take === player.take));
          button.addEventListener("click", () => player.show(take));
          return button;
        }),
      );
    };
    player.addEventListener("takes", () => {
      const focused = place.contains(document.activeElement);
      update();
      if (focused) place.querySelector("[aria-pressed=true]")?.focus();
    });
  }
}
