"""Statistics of columns and of pictures as LeRobot stores them, of an episode and of a whole dataset."""

from collections import defaultdict
from typing import Any

import numpy as np

from gwm_sim.arrays import Array

Statistics = dict[str, list[Any]]
"""min, max, mean, std and quantiles per column, (C,), or per colour, (3, 1, 1) in [0, 1]; and count, (1,)."""

_QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


class Summaries:
    """Sums up episodes, each by itself and all together.

    Numbers are kept, which take little memory beside one episode's pictures, so quantiles are exact. Of pictures only
    is kept how often each level occurs.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._numbers: dict[str, list[Array]] = defaultdict(list)
        self._levels: dict[str, Array] = {}
        self._pictures: dict[str, int] = defaultdict(int)

    def add_numbers(self, key: str, values: Array) -> Statistics:
        """Add the rows of an episode, (R,) or (R, C), and return their statistics."""
        self._numbers[key].append(values)
        return of_numbers(values)

    def add_pictures(self, key: str, pictures: Array) -> Statistics:
        """Add the pictures of an episode, (R, H, W, 3) uint8, and return their statistics."""
        levels = np.stack([np.bincount(pictures[..., c].reshape(-1), minlength=256) for c in range(3)])
        self._levels[key] = self._levels.get(key, 0) + levels
        self._pictures[key] += len(pictures)
        return of_levels(levels, len(pictures))

    def of_all(self) -> dict[str, Statistics]:
        """Return the statistics of all episodes together."""
        numbers = {key: of_numbers(np.concatenate(parts)) for key, parts in self._numbers.items()}
        return numbers | {key: of_levels(levels, self._pictures[key]) for key, levels in self._levels.items()}


def of_numbers(values: Array) -> Statistics:
    """Return the statistics of rows of numbers, (R,) or (R, C); of truth values too. NaN, where an object is absent,
    does not count, and a column of nothing else is one of zeros."""
    rows = values.reshape(len(values), -1).astype(np.float64)
    rows[:, np.isnan(rows).all(axis=0)] = 0.0
    found = {name: getattr(np, f"nan{name}")(rows, axis=0) for name in ("min", "max", "mean", "std")}
    found |= {name: np.nanquantile(rows, share, axis=0) for name, share in _QUANTILES.items()}
    return {name: column.tolist() for name, column in found.items()} | {"count": [len(rows)]}


def of_levels(levels: Array, count: int) -> Statistics:
    """Return the statistics of pictures.

    Args:
        levels: How often each of the 256 levels occurs in each colour, (3, 256).
        count: Number of pictures.
    """
    total = int(levels[0].sum())
    brightness = np.arange(256) / 255
    up_to = np.cumsum(levels, axis=1)
    mean = levels @ brightness / total
    variance = (levels * (brightness - mean[:, None]) ** 2).sum(axis=1) / total

    def quantile(share: float) -> Array:
        rank = max(1, int(np.ceil(share * total)))
        return np.asarray(np.argmax(up_to >= rank, axis=1) / 255)

    found = {"min": quantile(0), "max": quantile(1), "mean": mean, "std": np.sqrt(variance)}
    found |= {name: quantile(share) for name, share in _QUANTILES.items()}
    return {name: colours.reshape(3, 1, 1).tolist() for name, colours in found.items()} | {"count": [count]}
