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
from gwm_sim.data.tracking.metres.carrying import Carry
from gwm_sim.data.tracking.metres.heights import Heights
from gwm_sim.data.tracking.sightings import Sightings

TABLE = -1
"""Support of what lies on the table; those on a thing have its number."""

_MOVES = 1.0
"""Pixels in four frames from which a thing moves."""

_SHORTEST = 3
"""Frames of a rest."""

_ACROSS, _UP = 0.012, 0.012
"""How much [m] the hand's position may differ from that of what it takes, sideways and in height."""

_STAYS = 6.0
"""How much more a change of support costs where a thing seems not to have moved."""

_MOST = 12.0
"""Cost of the strongest evidence."""

_RAISED, _DOWN, _RISES, _FALLS = 1.0, 1.0, 6.0, 1.5
"""Cost of lying on a thing; of falling from the hand; of getting onto a thing, and off it, with no hand."""

_UNSEEN = 4.0
"""Cost of lying on a thing that is not seen meanwhile."""

_NEARER, _COVERS = 0.02, 0.15
"""How much nearer to the camera [m] a thing must be to cover another surely, and deviation of the share that it covers
from that of the boxes around them."""

_BY_HAND = 1.0
"""Distance of the hand in the picture, in sizes of a thing, up to which it may be the hand that covers it."""


@dataclass(frozen=True)
class Rest:
    """A thing that lies still, from frame `start` up to but not including `stop`."""

    start: int
    stop: int


@dataclass(frozen=True)
class Span:
    """A thing in no hand, from frame `start` up to but not including `stop`."""

    thing: int
    start: int
    stop: int
    rests: list[Rest]
    left: Array | None
    """Where the hand let it go at the beginning [m], (3,); None where it did not."""
    taken: Array | None
    """Where the hand took it at the end [m], (3,)."""


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

    def spans(self, thing: int) -> Iterator[Span]:
        """Yield when a thing is in no hand."""
        start, left = 0, None
        for carry in self.carries:
            if carry.thing == thing:
                if carry.start > start:
                    yield self._span(thing, start, carry.start, left, self.hand[carry.taken])
                start, left = carry.stop, self.hand[min(carry.left, len(self.hand) - 1)]
        if start < len(self.hand):
            yield self._span(thing, start, len(self.hand), left, None)

    def _span(self, thing: int, start: int, stop: int, left: Array | None, taken: Array | None) -> Span:
        """Find when a thing lies still between two frames; all the time where it never does."""
        centre = self.sightings.centre[start:stop, thing]
        moves = np.linalg.norm(_smooth(centre, 2) - _smooth(centre, -2), axis=-1) > _MOVES
        edges = np.flatnonzero(np.diff(np.r_[True, moves, True].astype(int)))
        found = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= min(_SHORTEST, stop - start)]
        rests = [Rest(start + int(a), start + int(b)) for a, b in found] or [Rest(stop - 1, stop)]
        return Span(thing, start, stop, rests, left, taken)

    def levels(self, thing: int, frames: Array) -> Array:
        """Return how high a thing would be on the table and on each thing in F frames, (K + 1, F); on itself NaN."""
        tops = self.xyz[frames, :, 2] + 0.5 * (self.heights.tall + self.heights.tall[thing])
        tops[:, thing] = np.nan
        return np.c_[np.full(len(tops), self.heights.rest[thing]), tops].T


def _smooth(centre: Array, shift: int) -> Array:
    """Return the median of three frames about the one `shift` later, (F, 2)."""
    at = np.arange(len(centre))[:, None] + shift + np.array([-1, 0, 1])
    return np.median(centre[at.clip(0, len(centre) - 1)], axis=1)


def find_supports(scene: Scene, span: Span) -> list[int]:
    """Return what a thing lies on in each rest of a span."""
    places, costs = zip(*(_costs(scene, span.thing, rest) for rest in span.rests), strict=True)
    raised = np.arange(len(costs[0])) > 0
    total = costs[0] + _RAISED * raised
    if span.left is not None:
        fell = np.fmax(span.left[2] - places[0][:, 0, 2], 0)
        total = total + _apart(places[0][:, 0] + np.array([0, 0, 1]) * fell[:, None], span.left)
        total += _DOWN * (fell > 1.5 * _UP)
    change = np.where(raised[:, None] & ~raised, _FALLS, _RISES) * (1 - np.eye(len(raised)))
    back = []
    for rest, after, cost in zip(span.rests, span.rests[1:], costs[1:], strict=False):
        ways = total[:, None] + change * (1 + _unmoved(scene, span.thing, rest, after))
        back.append(ways.argmin(axis=0))
        total = ways.min(axis=0) + cost
    if span.taken is not None:
        total = total + _apart(places[-1][:, -1], span.taken)
    states = [int(total.argmin())]
    for ways in reversed(back):
        states.append(int(ways[states[-1]]))
    return [state - 1 for state in reversed(states)]


def _unmoved(scene: Scene, thing: int, rest: Rest, after: Rest) -> float:
    """Return how much more a change of support costs a thing that lies where it lay in the picture."""
    centre, size = scene.sightings.centre[:, thing], scene.sightings.size[rest.start, thing]
    one, other = (np.median(centre[one.start : one.stop], axis=0) for one in (rest, after))
    return _STAYS * float(np.exp(-12 * ((one - other) ** 2).sum() / (size**2).mean()))


def _costs(scene: Scene, thing: int, rest: Rest) -> tuple[Array, Array]:
    """Return where a thing would be on the table and on each other thing, at some frames of a rest, (K + 1, F, 3), and
    what speaks against it there, (K + 1,)."""
    count = scene.xyz.shape[1]
    known = np.flatnonzero(scene.sightings.found[rest.start : rest.stop, thing]) + rest.start
    known = known if len(known) else np.array([rest.start])
    known = known[np.unique(np.linspace(0, len(known) - 1, 9).astype(int))]
    z = scene.levels(thing, known)
    places = scene.camera.at_height(scene.sightings.centre[known, thing], z)
    costs = np.zeros(count + 1)
    gap = np.linalg.norm(places[:, :, None, :2] - scene.xyz[known, :, :2], axis=-1)  # (K + 1, F, K)
    above = places[:, :, None, 2] - scene.xyz[known, :, 2]
    tall = scene.heights.tall
    # A thing stays on another as long as its middle is above it.
    excess = np.median(np.stack([gap[k + 1, :, k] for k in range(count)]), axis=1) - 0.5 * tall
    costs[1:] += np.minimum(0.5 * (excess.clip(0) / 0.01) ** 2, _MOST)
    # Two things are not in one place.
    both = 0.5 * (tall + tall[thing])
    deep = np.minimum(0.85 * both - gap, 0.7 * both - np.abs(above)).clip(0)
    found = scene.sightings.found[known]
    deep[:, :, thing] = 0
    deep *= found
    costs += np.minimum(0.5 * (np.median(deep, axis=1) / 0.008) ** 2, 0.7 * _MOST).max(axis=1)
    costs[1:] += _UNSEEN * ~found.any(axis=0)
    costs += _order(scene, thing, known, places)
    costs[thing + 1] = np.inf
    return places, np.where(np.isnan(costs), np.inf, costs)


def _order(scene: Scene, thing: int, frames: Array, places: Array) -> Array:
    """Return what speaks against places of a thing in F frames, (K + 1, F, 3), in who covers whom: who is nearer to the
    camera covers the other. Of each other thing the frame counts in which most of both is seen, (K + 1,)."""
    told, camera = scene.sightings, scene.camera
    others = np.arange(told.found.shape[1])
    away = np.linalg.norm(camera.project(scene.hand[frames]) - told.centre[frames, thing], axis=-1)
    clear = ~(away < _BY_HAND * told.size[frames, thing].mean(axis=-1))[:, None]
    both = told.found[frames] & told.found[frames, thing][:, None] & clear
    at = np.where(both, told.visible[frames] + told.visible[frames, thing][:, None], -1).argmax(axis=0)
    counts, frame = both[at, others] & (others != thing), frames[at]
    gap = np.abs(told.centre[frame, others] - told.centre[frame, thing])
    overlap = (1 - gap / (0.5 * (told.size[frame, others] + told.size[frame, thing]))).clip(0).prod(axis=-1)
    farther = np.linalg.norm(scene.xyz[frame, others] - camera.position, axis=-1)
    nearer = (farther - np.linalg.norm(places[:, at] - camera.position, axis=-1)) / _NEARER
    covers = (told.visible[frame, thing] - told.visible[frame, others]).clip(-overlap, overlap)
    costs = 0.5 * ((covers - nearer.clip(-1, 1) * overlap) / _COVERS) ** 2
    against: Array = np.where(counts, np.minimum(costs, _MOST), 0).sum(axis=1)
    return against


def _apart(places: Array, hand: Array) -> Array:
    """Return what it costs that a thing is at places (K + 1, 3) when the hand is at (3,)."""
    away = (places - hand) / np.array([_ACROSS, _ACROSS, _UP])
    return np.fmin(0.5 * (away**2).sum(axis=-1), _MOST)
