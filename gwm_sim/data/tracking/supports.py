"""What things lie on while no hand holds them: the table, or another thing.

A pixel shows a thing at the height of every support that it may lie on. Which one it is does not change while it lies
still, so what is known of any moment of a rest counts for all of it: the hand that left it or takes it there, things
that would be in the same place, and whether there is something under it. The cheapest sequence of supports wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.cameras import Camera
from gwm_sim.data.tracking.carrying import Carry
from gwm_sim.data.tracking.heights import Heights
from gwm_sim.data.tracking.sightings import Sightings

TABLE = -1
"""Support of what lies on the table; those on a thing have its number."""

_MOVES = 1.0
"""Pixels in four frames from which a thing moves."""

_SHORTEST = 3
"""Frames of a rest."""

_ACROSS, _UP = 0.012, 0.012
"""How much [m] the hand's position may differ from that of what it takes, sideways and in height."""

_MOST = 12.0
"""Cost of the strongest evidence."""

_RAISED, _DOWN, _RISES, _FALLS = 1.0, 1.0, 6.0, 1.5
"""Cost of lying on a thing; of falling from the hand; of getting onto a thing, and off it, with no hand."""


@dataclass(frozen=True)
class Rest:
    """A thing that lies still, from frame `start` up to but not including `stop`."""

    start: int
    stop: int
    taken: Array | None
    """Where the hand took it at the end of this rest [m], (3,)."""
    left: Array | None
    """Where the hand let it go at its beginning [m], (3,)."""


@dataclass
class Scene:
    """What is known of one episode while its supports are looked for."""

    camera: Camera
    heights: Heights
    sightings: Sightings
    hand: Array
    """(T, 3) [m]."""
    carries: Sequence[Carry]
    xyz: Array
    """Where things are as far as known so far [m], (T, K, 3)."""

    def spans(self, thing: int) -> Iterator[tuple[int, int]]:
        """Yield the frames between which a thing is in no hand."""
        start = 0
        for carry in self.carries:
            if carry.thing == thing:
                if carry.start > start:
                    yield start, carry.start
                start = carry.stop
        if start < len(self.hand):
            yield start, len(self.hand)

    def rests(self, thing: int, start: int, stop: int) -> list[Rest]:
        """Return when a thing lies still between two frames; all of it where it never does."""
        centre = self.sightings.centre[start:stop, thing]
        moves = np.linalg.norm(_smooth(centre, 2) - _smooth(centre, -2), axis=-1) > _MOVES
        edges = np.flatnonzero(np.diff(np.r_[True, moves, True].astype(int)))
        found = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= min(_SHORTEST, stop - start)]
        left = self.hand[start - 1] if start else None
        taken = self.hand[stop] if stop < len(self.hand) else None
        found = found or [(0, stop - start)]
        return [
            Rest(start + int(a), start + int(b), taken if b == found[-1][1] else None, left if a == found[0][0] else None)
            for a, b in found
        ]

    def levels(self, thing: int, frames: slice) -> Array:
        """Return how high a thing would be on the table and on each of the others, (K + 1, F); on itself infinite."""
        tops = self.xyz[frames, :, 2] + 0.5 * (self.heights.tall + self.heights.tall[thing])
        tops[:, thing] = np.nan
        return np.c_[np.full(len(tops), self.heights.rest[thing]), tops].T


def _smooth(centre: Array, shift: int) -> Array:
    """Return the median of three frames about the one `shift` later, (F, 2)."""
    at = np.arange(len(centre))[:, None] + shift + np.array([-1, 0, 1])
    return np.median(centre[at.clip(0, len(centre) - 1)], axis=1)


def find_supports(scene: Scene, thing: int, rests: Sequence[Rest]) -> list[int]:
    """Return what a thing lies on in each of its rests between two carries."""
    costs = np.stack([_costs(scene, thing, rest) for rest in rests])
    raised = np.arange(costs.shape[1]) > 0
    change = np.where(raised[:, None] & ~raised, _FALLS, _RISES) * (1 - np.eye(len(raised)))
    total, back = costs[0], []
    for cost in costs[1:]:
        ways = total[:, None] + change
        back.append(ways.argmin(axis=0))
        total = ways.min(axis=0) + cost
    states = [int(total.argmin())]
    for ways in reversed(back):
        states.append(int(ways[states[-1]]))
    return [state - 1 for state in reversed(states)]


def _costs(scene: Scene, thing: int, rest: Rest) -> Array:
    """Return what speaks against the table and against each other thing as the support in a rest, (K + 1,)."""
    count = scene.xyz.shape[1]
    known = np.flatnonzero(scene.sightings.found[rest.start : rest.stop, thing]) + rest.start
    known = known if len(known) else np.array([rest.start])
    known = known[np.unique(np.linspace(0, len(known) - 1, 9).astype(int))]
    z = scene.levels(thing, np.s_[rest.start : rest.stop])[:, known - rest.start]
    places = scene.camera.at_height(scene.sightings.centre[known, thing], z)  # (K + 1, F, 3)
    costs = np.r_[0.0, np.full(count, _RAISED)]
    gap = np.linalg.norm(places[:, :, None, :2] - scene.xyz[known, :, :2], axis=-1)  # (K + 1, F, K)
    above = places[:, :, None, 2] - scene.xyz[known, :, 2]
    tall = scene.heights.tall
    # A thing stays on another as long as its middle is above it.
    excess = np.median(np.stack([gap[k + 1, :, k] for k in range(count)]), axis=1) - 0.5 * tall
    costs[1:] += np.minimum(0.5 * (excess.clip(0) / 0.01) ** 2, _MOST)
    # Two things are not in one place.
    both = 0.5 * (tall + tall[thing])
    deep = np.minimum(0.85 * both - gap, 0.7 * both - np.abs(above)).clip(0)
    deep[:, :, thing] = 0
    costs += np.minimum(0.5 * (np.median(deep, axis=1) / 0.008) ** 2, 0.7 * _MOST).max(axis=1)
    if rest.taken is not None:
        costs += _apart(places[:, -1], rest.taken)
    if rest.left is not None:
        fell = (rest.left[2] - places[:, 0, 2]).clip(0)
        dropped = rest.left - np.array([0, 0, 1]) * fell[:, None]
        costs += _apart(places[:, 0], dropped) + np.where(fell > 1.5 * _UP, _DOWN, 0)
    costs[thing + 1] = np.inf
    return np.where(np.isnan(costs), np.inf, costs)


def _apart(places: Array, hand: Array) -> Array:
    """Return what it costs that a thing is at places (K + 1, 3) when the hand is at (3,) or (K + 1, 3)."""
    away = (places - hand) / np.array([_ACROSS, _ACROSS, _UP])
    return np.minimum(0.5 * (away**2).sum(axis=-1), _MOST)
