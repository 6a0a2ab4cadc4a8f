"""Colours of things against those of the robot, of all else in front of the background, and of the background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gwm_sim.arrays import Array

_LEVELS = 32
"""Steps of each channel."""

BINS = _LEVELS**3

MOST_LOOKS = 255
"""Looks that a palette has numbers for."""

_BLUR = 1.2
"""Steps by which the same colour may look different (standard deviation)."""

_FEW = 0.02
"""Pixels of a colour, after blurring, below which nothing is known of it."""

_BEHIND, _UNEXPLAINED, _EXPLAINED, _UNTOLD = range(4)
"""Where a pixel lies: as bright as the background, or in front of it where telemetry does not explain it, explains it,
or says nothing."""


@dataclass(frozen=True)
class Colors:
    """Colours of one look, as pixels by colour, each (BINS,) float32 and already blurred."""

    own: Array
    """Of the thing where it lies apart."""
    beside: Array
    """Unexplained ones of all else in the same pictures."""
    robot: Array
    """Of the robot alone in as many pictures."""
    ground: Array
    """Of the background in as many."""

    @classmethod
    def of(cls, own: Array, beside: Array, robot: Array, ground: Array) -> Colors:
        """Make them from counts (BINS,)."""
        return cls(*(blurred(counts) for counts in (own, beside, robot, ground)))

    @property
    def distinct(self) -> float:
        """Share of its pixels whose colours are its alone, not the robot's as well."""
        return float(self.own[self.own > self.robot].sum() / max(self.own.sum(), 1e-6))

    def table(self) -> Array:
        """Return how surely a pixel is of this look, by where it lies and its colour, (4, BINS), 0 for not at all."""
        known = self.own > _FEW
        alone = known & (self.own > self.robot)
        # Of colours that the robot has too, only what its pose does not explain can be the thing.
        shared = known & ~alone & (self.own > self.beside)
        sure = self.own / np.maximum(self.own + self.robot, 1e-6)
        table = np.zeros((4, BINS), np.float32)
        table[_BEHIND] = np.where(alone & (self.own > self.ground), sure, 0)
        table[_UNEXPLAINED] = np.where(alone | shared, self.own / np.maximum(self.own + self.beside, 1e-6), 0)
        table[_EXPLAINED] = table[_UNTOLD] = np.where(alone, sure, 0)
        return table


@dataclass(frozen=True)
class Palette:
    """Which look a colour belongs to."""

    looks: Array
    """Number of the look, from 1, or 0 for none; by where the pixel lies and its colour, (4, BINS) uint8."""

    @classmethod
    def of(cls, looks: Sequence[Colors]) -> Palette:
        """Make one of looks in order; each colour is whose it is most surely."""
        tables = np.stack([np.full((4, BINS), 1e-9, np.float32), *(colors.table() for colors in looks)])
        return cls(tables.argmax(axis=0).astype(np.uint8))

    def read(self, colors: Array, front: Array, explained: Array | None) -> Array:
        """Return the look of each pixel.

        Args:
            colors: Number of each pixel's colour, see `bins`, (T, H, W).
            front: Where something is in front of the background, (T, H, W) bool.
            explained: Where telemetry explains what is seen, (T, H, W) bool; None where it says nothing.
        """
        told = _UNTOLD if explained is None else np.where(explained, _EXPLAINED, _UNEXPLAINED)
        lies = np.where(front, told, _BEHIND).astype(np.intp)
        return self.looks.reshape(-1)[lies * BINS + colors]


def bins(lit: Array) -> Array:
    """Return the number of each pixel's colour, (..., 3) uint8 -> (...) uint16."""
    steps = (lit >> 3).astype(np.uint16)
    number: Array = (steps[..., 0] * _LEVELS + steps[..., 1]) * _LEVELS + steps[..., 2]
    return number


def blurred(counts: Array) -> Array:
    """Spread pixels by colour (BINS,) to colours that may be the same."""
    from scipy.ndimage import gaussian_filter

    grid = counts.reshape(_LEVELS, _LEVELS, _LEVELS).astype(np.float32)
    spread: Array = gaussian_filter(grid, _BLUR, mode="nearest").reshape(BINS)
    return spread
