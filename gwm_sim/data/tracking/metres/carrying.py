"""Which thing the hand carries when: the one whose pixels go where the hand goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.schema import Schema
from gwm_sim.data.tracking.metres.pinhole import affine_map
from gwm_sim.data.tracking.sightings import Sightings

_STRIDE = 3
"""Frames over which the motion of hand and thing is compared."""

_MOTION, _FOLLOWS, _NOISE = 1.5, 0.3, 0.7
"""Pixels that a carried thing moves at least; share of the motion, and pixels, by which that of the hand differs."""

_REACH, _LEAST_REACH = 0.55, 2.0
"""Distance of thing and hand in the picture, in widths of the thing, and least [px], up to which it is in the hand."""

_STEADY = 0.045
"""Change of the gripper, in its range, within which it holds what it holds."""

_OPENS = 0.3
"""Change of the gripper, in its range, in an episode from which it opens in it."""

_STILL = 1.5
"""Pixels by which a thing in the hand may seem to move in it."""

_LYING, _STIRS = 4, 1.2
"""Frames before and after a carry that tell where a thing lies, and pixels from there at which it lies no more."""

_HYPOTHESES, _MOST_MOMENTS, _LEAST_MOMENTS = 600, 1500, 12


@dataclass(frozen=True)
class Hand:
    """What telemetry says of the hand."""

    place: Array
    """Position [m], (T, 3)."""
    opening: Array | None
    """How far the gripper is open, in its range, (T,); None where telemetry does not say it."""

    @classmethod
    def of(cls, schema: Schema, telemetry: Array) -> Hand:
        """Read it from telemetry (T, P)."""
        place = telemetry[:, list(schema.effector)].astype(np.float64)
        span = sum(schema.telemetry_high[k] - schema.telemetry_low[k] for k in schema.gripper)
        return cls(place, np.abs(telemetry[:, list(schema.gripper)]).sum(axis=1) / span if span > 0 else None)


@dataclass(frozen=True)
class Carry:
    """A thing in the hand, from frame `start` up to but not including `stop`."""

    thing: int
    start: int
    stop: int
    taken: int
    """When the hand took it: the hand's place is the thing's where it lay."""
    left: int
    """When the hand let it go."""

    @property
    def frames(self) -> slice:
        """The frames in which it is in the hand."""
        return slice(self.start, self.stop)


def find_carries(sightings: Sightings, hand: Hand, seen: Array, reach: float = 1.0) -> list[Carry]:
    """Find all carries of an episode, in the order of their starts.

    Args:
        sightings: Things in T pictures.
        hand: The hand at these instants.
        seen: Where a thing in the hand is seen [px], (T, 2).
        reach: Factor on how far from there it may be.
    """
    apart = _smooth(sightings.centre - seen[:, None])
    limit = reach * np.maximum(_REACH * np.median(sightings.size[..., 0], axis=0), _LEAST_REACH)
    near = np.linalg.norm(apart, axis=-1) < limit
    moved = np.linalg.norm(_differences(seen), axis=-1)
    slid = np.linalg.norm(_differences(apart), axis=-1)
    follows = (moved[:, None] > _MOTION) & (slid < _FOLLOWS * moved[:, None] + 0.5 * _NOISE)
    follows &= near[_STRIDE:] & near[:-_STRIDE] & sightings.found[_STRIDE:] & sightings.found[:-_STRIDE]
    if hand.opening is not None:
        follows &= (np.abs(_differences(hand.opening)) < _STEADY)[:, None]
        if np.ptp(hand.opening) > _OPENS:  # as wide open as it gets it holds nothing
            follows &= (hand.opening[_STRIDE:] < hand.opening.max() - _STEADY)[:, None]
    carries = []
    for thing in range(near.shape[1]):
        stop = 0
        for first in np.flatnonzero(follows[:, thing]):
            if first >= stop:
                begin, end = _grown(int(first), near[:, thing], apart[:, thing], hand.opening)
                start, stop = max(begin, stop), end
                taken, left = _contacts(sightings.centre[:, thing], hand.place[:, 2], start, stop)
                carries.append(Carry(thing, start, stop, taken, left))
    return sorted(carries, key=lambda carry: carry.start)


def hand_map(hands: Sequence[Hand], sightings: Sequence[Sightings], seed: int = 0) -> Array | None:
    """Find the one map of the hand's position to pixels that most moving things follow, with nothing known before.

    Returns:
        Matrix (4, 2) that takes (x, y, z, 1) to (column, row), that is a camera infinitely far away; None where too few
        things move with the hand.
    """
    widest = max((float(hand.opening.max()) for hand in hands if hand.opening is not None), default=0.0)
    moments = [_moments(hand, told, widest) for hand, told in zip(hands, sightings, strict=True)]
    start, stop, begin, end = (np.concatenate(part) for part in zip(*moments, strict=True))
    if len(start) < _LEAST_MOMENTS:
        return None
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(start))[:_MOST_MOMENTS]
    start, stop, begin, end = (part[chosen] for part in (start, stop, begin, end))
    width = np.median(np.concatenate([told.size[..., 0].ravel() for told in sightings]))
    limit = max(_REACH * float(width), _LEAST_REACH)
    before, after = (np.c_[part, np.ones(len(part))] for part in (start, stop))

    def followers(maps: Array) -> Array:
        """Which moments follow which map, (..., 4, 2) -> (..., M)."""
        first, last = before @ maps, after @ maps
        length = np.linalg.norm(end - begin, axis=-1)
        near = (np.linalg.norm(first - begin, axis=-1) < limit) & (np.linalg.norm(last - end, axis=-1) < limit)
        slid = np.linalg.norm(last - first - (end - begin), axis=-1)
        follows: Array = near & (slid < _FOLLOWS * length + _NOISE)
        return follows

    drawn = rng.integers(len(start), size=(_HYPOTHESES, 4))
    system = before[drawn] + 1e-9 * np.eye(4)
    solvable = np.abs(np.linalg.det(system)) > 1e-9
    maps = np.linalg.solve(system[solvable], begin[drawn][solvable])
    if not len(maps):
        return None
    best = followers(maps[followers(maps).sum(axis=-1).argmax()])
    for _ in range(3):
        if best.sum() < _LEAST_MOMENTS:
            return None
        found = affine_map(np.r_[start[best], stop[best]], np.r_[begin[best], end[best]])
        best = followers(found)
    return found


def _moments(hand: Hand, sightings: Sightings, widest: float) -> tuple[Array, Array, Array, Array]:
    """Return where the hand [m] and a thing [px] were, and where some frames later, whenever both moved.

    With a gripper only moments count in which it is steady and not as wide open as it gets.
    """
    centre = _smooth(sightings.centre)
    moves = np.linalg.norm(_differences(centre), axis=-1) > _MOTION
    moves &= sightings.found[_STRIDE:] & sightings.found[:-_STRIDE]
    moves &= (np.linalg.norm(_differences(hand.place), axis=-1) > 0.005)[:, None]
    if hand.opening is not None:
        moves &= ((np.abs(_differences(hand.opening)) < _STEADY) & (hand.opening[_STRIDE:] < widest - _STEADY))[:, None]
    frame, thing = np.nonzero(moves)
    later = frame + _STRIDE
    return hand.place[frame], hand.place[later], centre[frame, thing], centre[later, thing]


def _contacts(centre: Array, height: Array, start: int, stop: int) -> tuple[int, int]:
    """Return when a thing (T, 2) is taken and left: the lowest moment of the hand (T,) around which it lies still."""
    first, last = max(start - 1, 0), min(stop, len(centre) - 1)
    before, after = centre[max(start - _LYING, 0) : start], centre[stop : stop + _LYING]
    taken, left = start, stop - 1
    if len(before):
        stirs = np.linalg.norm(centre[start:stop] - np.median(before, axis=0), axis=1) > _STIRS
        still = int(stirs.argmax()) if stirs.any() else 0
        taken = first + int(height[first : start + max(still, 1)].argmin())
    if len(after):
        stirs = np.linalg.norm(centre[start:stop] - np.median(after, axis=0), axis=1)[::-1] > _STIRS
        still = int(stirs.argmax()) if stirs.any() else 0
        begin = stop - max(still, 1)
        left = begin + int(height[begin : last + 1].argmin())
    return taken, left


def _grown(first: int, near: Array, apart: Array, opening: Array | None) -> tuple[int, int]:
    """Return from when until when a thing is in the hand that surely follows it from frame `first` on."""
    core = slice(first, first + _STRIDE + 1)
    holds = near & (np.linalg.norm(apart - np.median(apart[core], axis=0), axis=-1) < _STILL)
    if opening is not None:
        holds &= np.abs(opening - np.median(opening[core])) < _STEADY
    holds[core] = True
    ends = np.flatnonzero(~holds)
    before, after = ends[ends < first], ends[ends > first]
    return int(before[-1]) + 1 if len(before) else 0, int(after[0]) if len(after) else len(near)


def _differences(values: Array) -> Array:
    return values[_STRIDE:] - values[:-_STRIDE]


def _smooth(centre: Array) -> Array:
    """Return the median of three frames in a row, (T, K, 2)."""
    padded = np.concatenate([centre[:1], centre, centre[-1:]])
    return np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
