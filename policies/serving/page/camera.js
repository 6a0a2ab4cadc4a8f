/**
 * Where a point of the world is in a picture, and what a place in a picture shows: a pinhole camera that looks along
 * its own -z axis, x to the right and y up. Pixels are (column, row) with integers at their centres.
 */

export class Camera {
  constructor({ calibration, width, height }) {
    const { position, rotation, fovy } = calibration;
    Object.assign(this, { position, rotation, width, height });
    this.focal = (0.5 * height) / Math.tan((fovy * Math.PI) / 360);
  }

  /** The pixel of a point [m], null behind the camera. */
  project(point) {
    const offset = point.map((value, i) => value - this.position[i]);
    const [right, up, backward] = [0, 1, 2].map((axis) => dot(offset, this.#axis(axis)));
    if (backward >= 0) return null;
    return [
      0.5 * (this.width - 1) - (this.focal * right) / backward,
      0.5 * (this.height - 1) + (this.focal * up) / backward,
    ];
  }

  /** The point [m] at height z that a pixel shows, null where none is in sight. */
  atHeight([column, row], z) {
    const right = (column - 0.5 * (this.width - 1)) / this.focal;
    const up = (0.5 * (this.height - 1) - row) / this.focal;
    const ray = this.rotation.map((line) => line[0] * right + line[1] * up - line[2]);
    const depth = (z - this.position[2]) / ray[2];
    return depth > 0 && Number.isFinite(depth) ? this.position.map((value, i) => value + depth * ray[i]) : null;
  }

  /** Pixels that a point goes up in the picture for each metre that it is raised. */
  rise(point) {
    const [low, high] = [this.project(point), this.project([point[0], point[1], point[2] + 0.01])];
    return (low[1] - high[1]) / 0.01;
  }

  #axis(i) {
    return this.rotation.map((line) => line[i]);
  }
}

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
