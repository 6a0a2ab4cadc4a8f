/** Cards beside the pictures: physics that can be changed, and what the robot reports. */

import { element, number } from "./elements.js";

const FINE = 200; // positions of a slider

/** A slider for each property that the model is told of. */
export class Physics {
  constructor(card, place, player) {
    const { properties } = player.world.about;
    card.hidden = !properties.length;
    for (const { name, low, high } of properties) {
      const id = `property-${name}`;
      const slider = element("input", { type: "range", id, min: low, max: high, step: (high - low) / FINE });
      const output = element("output", { htmlFor: id });
      slider.addEventListener("input", () => (output.textContent = number(Number(slider.value))));
      slider.addEventListener("change", () => player.edit({ [name]: Number(slider.value) }));
      player.addEventListener("show", () => {
        const value = player.moment.properties[name];
        slider.disabled = value === undefined || !player.live;
        if (value === undefined || slider.matches(":active")) return;
        slider.value = value;
        output.textContent = number(value);
      });
      place.append(element("div", { className: "axis" }, [element("label", { htmlFor: id }, [name]), slider, output]));
    }
  }
}

/** A table of what the robot reports. */
export class Telemetry {
  constructor(table, player) {
    const values = player.world.about.telemetry.map(({ name, unit }) => {
      const value = element("td");
      const row = element("tr", {}, [element("th", { scope: "row" }, [name]), value, element("td", {}, [unit])]);
      table.tBodies[0].append(row);
      return value;
    });
    const update = () => {
      if (!table.checkVisibility() || !player.take) return;
      player.moment.telemetry.forEach((told, i) => (values[i].textContent = number(told)));
    };
    player.addEventListener("show", update);
    table.closest("details").addEventListener("toggle", update);
  }
}
