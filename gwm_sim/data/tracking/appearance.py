"""How surely a piece is the thing that it looks like, by what is in it and around it: a small network over a patch.

Colours do not tell a thing from a robot that has them too; edges, shades and what lies beside it do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gwm_sim.arrays import Array, in_steps
from gwm_sim.data.tracking.pieces import Piece, completed

_GRID = 12
"""Points along each side of a patch."""

_SPAN = 1.9
"""Width and height of a patch in those of the thing."""

_INPUT_BITS, _UNIT_BITS, WEIGHT_BITS = 10, 16, 20
"""Binary places of what the network is told, of its units and of its weights: its sums are exact, see `in_steps`."""


@dataclass(frozen=True)
class Appearance:
    """A network with one hidden layer of rectified units."""

    hidden: Array
    """Weights of these, and their offsets in the last row, (F + 1, U) float32."""
    output: Array
    """Weights of what is concluded, likewise, (U + 1, 1) float32; all in steps of `WEIGHT_BITS`."""

    def probability(self, inputs: Array) -> Array:
        """Return how probably pieces are the thing, (N,), by what `inputs_of` tells of them, (N, F)."""
        return concluded(active(with_one(inputs), self.hidden), self.output)[:, 0]

    def arrays(self) -> dict[str, Array]:
        """Return what it knows, by name."""
        return {"hidden": self.hidden, "output": self.output}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Appearance:
        """Make one of what `arrays` returned."""
        return cls(arrays["hidden"], arrays["output"])


def with_one(values: Array) -> Array:
    """Append a column of ones, whose weights are offsets, (N, F) -> (N, F + 1) float64."""
    return np.concatenate([values, np.ones((len(values), 1))], axis=1)


def active(inputs: Array, hidden: Array) -> Array:
    """Return the hidden units for inputs, both with a one at the end, (N, F + 1) -> (N, U + 1)."""
    return with_one(in_steps(np.maximum(inputs @ hidden, 0), _UNIT_BITS))


def concluded(units: Array, output: Array) -> Array:
    """Return the probability that units stand for, (N, U + 1) -> (N, 1)."""
    chance: Array = 1 / (1 + np.exp(-units @ output))
    return chance


def inputs_of(
    lit: Array, front: Array, masks: Array, times: Array, pieces: Sequence[Piece], usual: tuple[float, float, float]
) -> Array:
    """Return what an appearance is told of pieces of one look: the patch in which the whole thing would lie, and the
    shape of the piece.

    Args:
        lit: Pictures under the light of the background, (T, H, W, 3) uint8.
        front: Where something is in front of the background, (T, H, W) bool.
        masks: Pixels of the look, (T, H, W) bool.
        times: Picture of each piece, (N,).
        pieces: N of them.
        usual: Width, height [px] and area of the thing when nothing covers it.

    Returns:
        (N, F) float32.
    """
    width, height, area = usual
    places = np.array([completed(piece, width, height) for piece in pieces]).reshape(-1, 2)
    steps = _SPAN * ((np.arange(_GRID) + 0.5) / _GRID - 0.5)
    columns = np.rint(places[:, :1] + steps * width).astype(np.intp)[:, None, :]
    rows = np.rint(places[:, 1:] + steps * height).astype(np.intp)[:, :, None]
    high, wide = front.shape[1:]
    inside = (columns >= 0) & (columns < wide) & (rows >= 0) & (rows < high)
    at = times[:, None, None], rows.clip(0, high - 1), columns.clip(0, wide - 1)
    patches = np.concatenate([lit[at] / 64 - 2, front[at][..., None], masks[at][..., None]], axis=-1)
    patches[~inside] = 0
    shapes = [
        (p.area / area, p.width / width, p.height / height, p.area / (p.width * p.height), *p.ends) for p in pieces
    ]
    shares = in_steps(np.concatenate([np.array(shapes), inside.mean(axis=(1, 2))[:, None]], axis=1), _INPUT_BITS)
    told = [patches.reshape(len(pieces), -1), shares]
    return np.concatenate(told, axis=1, dtype=np.float32)
