"""Where a movement turns: the few moments between which it is closest to straight lines.

Automatic waypoint extraction (Shi et al., 2023, https://arxiv.org/abs/2307.14326): whoever goes straight from waypoint
to waypoint repeats the movement. Sub-goals of a planner are such moments of a demonstration.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def deviations(path: Array) -> Array:
    """How far a path strays from its chords.

    Args:
        path: Points (T, D).

    Returns:
        Largest distance of the points i to j from the segment between point i and point j, (T, T); infinite for j <= i.
    """
    count = len(path)
    result = np.full((count, count), np.inf)
    for i in range(count - 1):
        chord = path[i + 1 :] - path[i]  # (J, D)
        offset = path[i:] - path[i]  # (M, D)
        length = np.maximum((chord**2).sum(axis=-1), 1e-18)
        along = np.clip(offset @ chord.T / length, 0.0, 1.0)  # (M, J)
        aside = np.linalg.norm(offset[:, None] - along[..., None] * chord, axis=-1)
        inside = np.arange(len(offset))[:, None] <= np.arange(1, len(offset))
        result[i, i + 1 :] = np.where(inside, aside, 0.0).max(axis=0)
    return result


def waypoints(path: Array, tolerance: float, most: int | None = None) -> NDArray[np.intp]:
    """Moments that split a path into straight pieces.

    Args:
        path: Points (T, D).
        tolerance: How far a piece may stray from its chord, in the unit of the path; the fewest moments are taken.
        most: Number of moments before the last point; with more pieces needed the largest deviation is made smallest.

    Returns:
        Indices in ascending order, the first point left out and the last one included, (at most most + 1,).
    """
    count = len(path)
    if count < 2:
        return np.array([count - 1])
    stray = deviations(path)
    pieces = count - 1 if most is None else min(most + 1, count - 1)
    # worst[j]: smallest largest deviation on the way from the first point to point j in so many pieces.
    worst = stray[0]
    came_from = [np.zeros(count, np.intp)]
    while worst[-1] > tolerance and len(came_from) < pieces:
        through = np.maximum(worst[:, None], stray)  # (T, T), from i to j
        came_from.append(through.argmin(axis=0))
        worst = through.min(axis=0)
    chosen = [count - 1]
    for origin in reversed(came_from):
        chosen.append(int(origin[chosen[-1]]))
    return np.array(chosen[-2::-1])


def linger(path: Array, index: int, tolerance: float) -> int:
    """The last moment of a rest: how long a path (T, D) stays within `tolerance` of where it is at `index`."""
    away = np.linalg.norm(path[index:] - path[index], axis=-1) > tolerance
    return index + (int(away.argmax()) if away.any() else len(away)) - 1
