/** Pictures on the page: one pane for each world, a canvas for each camera. */

const AMPLIFIED = 3; // times the difference of two pictures, as it is shown

/** A pane that shows moments of one world. */
export class Screen {
  #canvases;

  /**
   * @param {HTMLElement} pane An element with a `.frame`.
   * @param {import("./world.js").About} about
   * @param {string} label What its pictures show.
   */
  constructor(pane, { cameras }, label) {
    this.pane = pane;
    this.frame = pane.querySelector(".frame");
    this.#canvases = cameras.map(({ name, width, height }) => {
      const canvas = document.createElement("canvas");
      Object.assign(canvas, { width, height, role: "img", ariaLabel: `${label}, camera ${name}` });
      Object.assign(canvas.style, { flexGrow: width / height, aspectRatio: `${width} / ${height}` });
      this.frame.append(canvas);
      return { canvas, context: canvas.getContext("2d", { alpha: false }), image: new ImageData(width, height) };
    });
    const total = cameras.reduce((sum, { width, height }) => sum + width / height, 0);
    pane.parentElement.style.setProperty("--aspect", total);
  }

  /** The canvas of the main camera. */
  get main() {
    return this.#canvases[0].canvas;
  }

  /** @param {import("./world.js").Picture[]} pictures */
  draw(pictures) {
    pictures.forEach(({ data }, i) => this.#put(i, (k) => data[k]));
  }

  /** How two pictures differ: grey where they agree. */
  drawDifference(ours, theirs) {
    ours.forEach(({ data }, i) => {
      const other = theirs[i].data;
      this.#put(i, (k) => 128 + AMPLIFIED * (data[k] - other[k]));
    });
  }

  #put(i, value) {
    const { context, image } = this.#canvases[i];
    const { data } = image;
    for (let from = 0, to = 0; to < data.length; to += 4) {
      data[to] = value(from++);
      data[to + 1] = value(from++);
      data[to + 2] = value(from++);
      data[to + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }
}
