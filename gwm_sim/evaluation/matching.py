"""Which of the things in one picture is which of those in another, where several look alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.tracking.sightings import Sightings

if TYPE_CHECKING:  # a tracker needs an extra
    from gwm_sim.data.tracking.tracker import Thing


def alike(things: Sequence[Thing]) -> list[list[int]]:
    """Numbers of the things, grouped by their look."""
    groups: dict[int, list[int]] = {}
    for k, thing in enumerate(things):
        groups.setdefault(thing.look, []).append(k)
    return list(groups.values())


def match(first: Sightings, second: Sightings, groups: Sequence[Sequence[int]]) -> Array:
    """Tell which of the things in a second picture is which of those in the first.

    Of several that look alike the assignment of least total distance counts.

    Args:
        first: K things in T pictures.
        second: The same things in T other pictures.
        groups: Numbers of things that look alike, see `alike`.

    Returns:
        Number in the second picture of each thing of the first one, -1 where it was not found in either, (T, K) int64.
    """
    partners = np.full(first.found.shape, -1)
    for group in groups:
        if len(group) == 1:
            k = group[0]
            partners[first.found[:, k] & second.found[:, k], k] = k
        else:
            for t in range(len(first)):
                _assign(first, second, np.array(group), t, partners[t])
    return partners


def _assign(first: Sightings, second: Sightings, group: Array, t: int, partners: Array) -> None:
    """Write into `partners` (K,) which things of a group are which in the t-th pictures."""
    from scipy.optimize import linear_sum_assignment  # of an extra, and slow to import

    ours, theirs = (group[sightings.found[t, group]] for sightings in (first, second))
    distance = np.linalg.norm(first.centre[t, ours][:, None] - second.centre[t, theirs][None], axis=-1)
    rows, columns = linear_sum_assignment(distance)
    partners[ours[rows]] = theirs[columns]
