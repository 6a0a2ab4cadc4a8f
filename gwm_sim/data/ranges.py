"""What columns of numbers did over many rows: their ranges, and how often they were at the ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gwm_sim.arrays import Array


class Tally:
    """Ranges of columns, from blocks of rows that need not be in memory together."""

    def __init__(self, width: int) -> None:
        """Begin with no rows of `width` columns."""
        self.rows = 0
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)
        self._at_low, self._at_high = np.zeros(width), np.zeros(width)

    def add(self, values: Array) -> None:
        """Count rows, (R, width)."""
        self.rows += len(values)
        low, high = np.minimum(self.low, values.min(axis=0)), np.maximum(self.high, values.max(axis=0))
        # A new extreme begins a new count.
        self._at_low = np.where(low < self.low, 0, self._at_low) + (values <= low).sum(axis=0)
        self._at_high = np.where(high > self.high, 0, self._at_high) + (values >= high).sum(axis=0)
        self.low, self.high = low, high

    @property
    def at_ends(self) -> Array:
        """Share of the rows at the lowest or highest value, (width,); 1 for a column that never changes."""
        shares: Array = np.where(self.low == self.high, 1.0, (self._at_low + self._at_high) / self.rows)
        return shares

    def ranges(self, names: Sequence[str], units: Sequence[str]) -> dict[str, Range]:
        """Name the columns."""
        columns = zip(names, units, self.low.tolist(), self.high.tolist(), self.at_ends.tolist(), strict=True)
        return {name: Range(unit, low, high, share) for name, unit, low, high, share in columns}


@dataclass(frozen=True)
class Range:
    """What a number did."""

    unit: str
    low: float
    high: float
    at_limit: float
    """Share of the rows on or beyond a limit: that of the schema, else the lowest and highest value that occur."""
