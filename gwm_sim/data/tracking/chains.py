"""Which pieces of successive pictures are the same thing: the chain that is cheapest as a whole."""

from __future__ import annotations

import numpy as np

from gwm_sim.arrays import Array

_UNSEEN = 0.25
"""Cost of each picture in which a thing is not found."""

_JUMP = 1.0
"""Cost of a move by the thing's own size from one picture to the next."""

_FAR = 5.0
"""Highest cost of a move, however far."""


def best_chain(times: Array, places: Array, worth: Array, size: float) -> Array:
    """Return the pieces of one thing in order: those of most worth that need the least and shortest moves.

    Dynamic programming over all pairs of pieces (Viterbi 1967), with pictures left out in between.

    Args:
        times: Number of the picture of each piece, ascending, (N,).
        places: Column and row [px], (N, 2).
        worth: What is gained by taking a piece, (N,).
        size: Usual size of the thing [px].
    """
    if not len(times):
        return np.zeros(0, dtype=np.int64)
    total = np.array(worth, dtype=np.float64)
    before = np.full(len(times), -1)
    starts = np.searchsorted(times, times, side="left")
    total -= _UNSEEN * times
    for i in range(len(times)):
        j = starts[i]
        if not j:
            continue
        gap = times[i] - times[:j]
        distance = np.hypot(*(places[i] - places[:j]).T) / size
        moves = np.minimum(_JUMP * distance / np.sqrt(gap), _FAR)
        gains = total[:j] - moves - _UNSEEN * (gap - 1)
        k = int(gains.argmax())
        if gains[k] + worth[i] > total[i]:
            total[i], before[i] = gains[k] + worth[i], k
    i = int((total - _UNSEEN * (times.max() - times)).argmax())
    chain = []
    while i >= 0:
        chain.append(i)
        i = int(before[i])
    return np.array(chain[::-1], dtype=np.int64)
