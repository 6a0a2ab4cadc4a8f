"""A tracker for the tests that finds things by their colour alone, and a library of drawn poses."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import label

from gwm_sim.arrays import Array
from gwm_sim.data.tracking.poses import PoseLibrary
from gwm_sim.data.tracking.sightings import Sightings
from gwm_sim.data.tracking.tracker import Thing, Tracker

LEVELS = 60  # a pixel is a thing's if no channel differs by more from its colour
FEWEST = 4  # pixels of a thing


class ColourTracker(Tracker):
    """Finds things by their colour; of several alike the leftmost is the first."""

    def look(self, frames: Array) -> Sightings:
        """Find the things in pictures (T, H, W, 3)."""
        shape = len(frames), len(self.things)
        centre, size, area = np.zeros((*shape, 2)), np.ones((*shape, 2)), np.zeros(shape)
        for t, picture in enumerate(frames):
            for color in {thing.color for thing in self.things}:
                ks = [k for k, thing in enumerate(self.things) if thing.color == color]
                for k, (rows, columns) in zip(ks, spots(picture, color), strict=False):
                    centre[t, k], area[t, k] = (columns.mean(), rows.mean()), len(rows)
                    size[t, k] = np.ptp(columns) + 1, np.ptp(rows) + 1
        seen = (area > 0).astype(float)
        return Sightings(centre, size, visible=seen, confidence=seen, area=area)


def spots(picture: Array, color: tuple[int, int, int]) -> list[tuple[Array, Array]]:
    """Rows and columns of the spots of a colour, from left to right."""
    mask = (np.abs(picture.astype(int) - color) <= LEVELS).all(axis=-1)
    numbers, count = label(mask)
    found = []
    for number in range(1, count + 1):
        rows, columns = np.nonzero(numbers == number)
        if len(rows) >= FEWEST:
            found.append((rows, columns))
    return sorted(found, key=lambda spot: float(spot[1].mean()))


def make_tracker(width: float = 8.0, height: float = 8.0, **colors: tuple[int, int, int]) -> Tracker:
    """A tracker of things of these names, with an underscore for the dash, and colours."""
    looks = list(dict.fromkeys(colors.values()))
    things = tuple(
        Thing(name.replace("_", "-"), color, width, height, width * height, confidence=1.0, look=looks.index(color))
        for name, color in colors.items()
    )
    unused: Any = None
    return ColourTracker("front", things, (), background=unused, palette=unused)


def drawn_poses(picture: Array, kind: type[PoseLibrary] = PoseLibrary) -> PoseLibrary:
    """A library of one picture (H, W, 3) of a robot with four numbers, which is the nearest to every pose."""
    return kind.from_arrays(picture[None], np.zeros((1, 4)), np.zeros(1, int))
