"""Where things are in the pictures of one camera: what a tracker says, and how it lies in an episode file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwm_sim.arrays import Array

COLUMNS = ("column", "row", "width", "height", "visible", "confidence")
"""What is stored of each thing in each frame: centre and size [px], share in sight, and how surely it is there."""


@dataclass(frozen=True)
class Sightings:
    """K things in T pictures; pictures of one episode in order, or any pictures."""

    centre: Array
    """Column and row of the middle of the whole thing [px], integers at pixel centres, (T, K, 2); the last or next
    known place where it is not seen, so never NaN."""
    size: Array
    """Apparent width and height of the whole thing [px], (T, K, 2)."""
    visible: Array
    """Share of it that is seen, (T, K) in [0, 1]: its pixels over those that it has uncovered."""
    confidence: Array
    """How surely it is there, (T, K) in [0, 1]; 0 where the place is a guess."""
    area: Array
    """Pixels of it that are seen, (T, K)."""

    def __len__(self) -> int:
        """Return the number of pictures T."""
        return len(self.centre)

    @property
    def found(self) -> Array:
        """Where each thing was seen at all, (T, K) bool."""
        seen: Array = self.confidence > 0
        return seen

    def columns(self) -> Array:
        """Return what is stored, (T, K, 6) float32, see `COLUMNS`."""
        beside = np.stack([self.visible, self.confidence], axis=-1)
        return np.concatenate([self.centre, self.size, beside], axis=-1).astype(np.float32)
