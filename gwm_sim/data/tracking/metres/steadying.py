"""Sightings of what lies still while something passes before it: what is half hidden is seen beside its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.tracking.sightings import Sightings

_STIRS, _STEPS = 1.0, 0.7
"""Pixels from its place at which a thing in full sight no longer lies there, and from one picture to the next."""

_HIDDEN = 0.5
"""Error of the middle of a thing that is hardly seen, in its sizes."""


def steadied(told: Sightings, held: Array) -> Sightings:
    """Return sightings in which a thing stays where it was seen best as long as what is seen of it allows that.

    Args:
        told: K things in T pictures.
        held: When each is in the hand, (T, K) bool: there it moves with it.
    """
    hides = _HIDDEN * told.size.mean(axis=-1)
    doubt = np.where(told.found, hides * (1 - told.visible), np.inf)
    # What is covered more and more seems to move, but not by more than what is covered of it.
    step = np.linalg.norm(np.diff(told.centre, axis=0), axis=-1)
    steps = step > _STEPS + hides[1:] * np.abs(np.diff(told.visible, axis=0))
    steps &= told.found[1:] & told.found[:-1]
    free = ~steps & ~held[1:] & ~held[:-1]
    before, sure_before = _kept(told.centre, doubt, free)
    after, sure_after = (part[::-1] for part in _kept(told.centre[::-1], doubt[::-1], free[::-1]))
    centre = np.where((sure_before <= sure_after)[..., None], before, after)
    return replace(told, centre=centre)


def _kept(centre: Array, doubt: Array, free: Array) -> tuple[Array, Array]:
    """Keep places (T, K, 2) that are better known than the next ones, where a thing may lie still from one picture to
    the next, (T - 1, K), and say how far off they may be, (T, K)."""
    centre, doubt = centre.copy(), doubt.copy()
    for t in range(1, len(centre)):
        far = np.linalg.norm(centre[t] - centre[t - 1], axis=-1) > _STIRS + doubt[t]
        keeps = (doubt[t - 1] < doubt[t]) & ~far & free[t - 1]
        centre[t, keeps], doubt[t, keeps] = centre[t - 1, keeps], doubt[t - 1, keeps]
    return centre, doubt
