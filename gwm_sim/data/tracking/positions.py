"""Where tracked things are in metres, how surely, and how that is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.schema import Schema
from gwm_sim.data.tracking.calibration import Calibration, Take, View
from gwm_sim.data.tracking.carrying import Carry, Hand, find_carries
from gwm_sim.data.tracking.heights import Heights
from gwm_sim.data.tracking.supports import TABLE, Rest, Scene, find_supports

_PASSES = 3
_TILT = 0.025
"""Height [m] by which the hand may take a thing above or below its middle."""


class Basis(IntEnum):
    """How the place of a thing in a frame is known."""

    LAST_KNOWN = 0
    """It was not seen: where it was before, or is next."""
    TABLE = 1
    STACKED = 2
    """It lies on another thing."""
    HELD = 3
    FALLING = 4
    """Between two supports, or between the hand and one."""
    CAMERAS = 5
    """The views of several cameras meet there."""
    DEPTH = 6


@dataclass(frozen=True)
class Places:
    """Where K things are in T frames."""

    xyz: Array
    """Middles of the things [m], (T, K, 3), never NaN."""
    confidence: Array
    """How surely each thing is there, (T, K) in [0, 1]."""
    basis: Array
    """How that is known, (T, K), values of `Basis`."""


def locate(take: Take, schema: Schema, calibration: Calibration) -> Places:
    """Tell where things are in one episode.

    Args:
        take: The episode; sightings of all cameras that the calibration has, and depth where it is measured.
        schema: What the columns mean.
        calibration: How metres are had.
    """
    if calibration.way == "heights":
        assert calibration.heights is not None
        return _by_heights(take, schema, calibration.view, calibration.heights, next(iter(calibration.views)))
    raise NotImplementedError


def _by_heights(take: Take, schema: Schema, view: View, heights: Heights, name: str) -> Places:
    told = take.sightings[name]
    count, things = told.found.shape
    if schema.effector:
        hand = Hand.of(schema, take.telemetry)
        carries, where = find_carries(told, hand, view.hand(hand.place)), hand.place
    else:
        carries, where = [], np.zeros((count, 3))
    xyz = np.nan_to_num(view.camera.at_height(told.centre, heights.rest))
    for carry in carries:
        xyz[carry.frames, carry.thing] = where[carry.frames]
    scene = Scene(view.camera, heights, told, where, carries, xyz)
    basis = np.full((count, things), int(Basis.TABLE))
    spans = [(k, span, scene.rests(k, *span)) for k in range(things) for span in scene.spans(k)]
    supports: dict[tuple[int, int], list[int]] = {}
    for _ in range(_PASSES):
        before = dict(supports)
        for thing, span, rests in spans:
            found = supports[thing, span[0]] = find_supports(scene, thing, rests)
            _settle(scene, basis, thing, span, rests, found)
        if supports == before:
            break
    for carry in carries:
        _hold(scene, basis, view, carry)
    for thing, span, rests in spans:
        _settle(scene, basis, thing, span, rests, supports[thing, span[0]])
    confidence = np.where(told.found, told.confidence, np.where(basis == Basis.HELD, 0.5, 0.0))
    basis[~told.found & (basis != Basis.HELD)] = Basis.LAST_KNOWN
    return Places(scene.xyz, confidence, basis)


def _settle(
    scene: Scene, basis: Array, thing: int, span: tuple[int, int], rests: list[Rest], supports: list[int]
) -> None:
    """Write where a thing is between two carries into the scene, given what it rests on."""
    centre = scene.sightings.centre[:, thing]
    levels = scene.levels(thing, np.s_[span[0] : span[1]])
    for rest, support in zip(rests, supports, strict=True):
        frames = slice(rest.start, rest.stop)
        z = levels[support + 1, rest.start - span[0] : rest.stop - span[0]]
        scene.xyz[frames, thing] = scene.camera.at_height(centre[frames], z)
        basis[frames, thing] = Basis.TABLE if support == TABLE else Basis.STACKED
    ends = [span[0], *(edge for rest in rests for edge in (rest.start, rest.stop)), span[1]]
    around = [None, *supports, None]
    for k, (start, stop) in enumerate(zip(ends[::2], ends[1::2], strict=True)):
        if stop > start:
            _move(scene, basis, levels[:, start - span[0] : stop - span[0]], thing, (start, stop), around[k : k + 2])


def _move(
    scene: Scene, basis: Array, levels: Array, thing: int, frames: tuple[int, int], supports: list[int | None]
) -> None:
    """Write where a thing is that moves in no hand, from one support (None is a hand, or unknown) to the next."""
    start, stop = frames
    first, last = supports
    moving = slice(start, stop)
    pixels = scene.sightings.centre[moving, thing]
    if first == last and first is not None:
        scene.xyz[moving, thing] = scene.camera.at_height(pixels, levels[first + 1])
        basis[moving, thing] = Basis.TABLE if first == TABLE else Basis.STACKED
        return
    count = len(scene.hand)
    begin = scene.xyz[start - 1, thing] if start else None
    end = scene.xyz[stop, thing] if stop < count else None
    if end is None:
        support = TABLE if last is None else last
        end = scene.camera.at_height(pixels[-1], levels[support + 1, -1])
    if begin is None:
        begin = end
    rays = scene.camera.rays(pixels)
    share = _along(scene.camera.position, rays, begin, end - begin)
    z = begin[2] + share * (end[2] - begin[2])
    scene.xyz[moving, thing] = scene.camera.at_height(pixels, z)
    basis[moving, thing] = Basis.FALLING


def _along(origin: Array, rays: Array, begin: Array, way: Array) -> Array:
    """Return how far along a way (3,) from `begin` rays (F, 3) pass nearest to it, (F,) in [0, 1]."""
    length = float(way @ way)
    if length < 1e-9:
        return np.zeros(len(rays))
    unit = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    across = begin - origin
    skew = unit @ way
    share = ((unit @ across) * skew - across @ way) / np.maximum(length - skew**2, 1e-9)
    return share.clip(0, 1)


def _hold(scene: Scene, basis: Array, view: View, carry: Carry) -> None:
    """Write where a thing in the hand is: it moves as the hand does, from where it was taken to where it was left."""
    hand, frames = scene.hand[carry.frames], carry.frames
    ends = []
    if carry.start > 0:
        ends.append(scene.xyz[carry.start - 1, carry.thing, 2] - hand[0, 2])
    if carry.stop < len(scene.hand):
        ends.append(scene.xyz[carry.stop, carry.thing, 2] - hand[-1, 2])
    ends = [end for end in ends if abs(end) < _TILT]
    place = hand + np.array([0.0, 0.0, float(np.mean(ends)) if ends else 0.0])
    seen = scene.sightings.found[frames, carry.thing]
    if seen.any():
        beside = (scene.sightings.centre[frames, carry.thing] - view.hand(place))[seen]
        shift = np.median(beside, axis=0)
        place = scene.camera.at_height(scene.camera.project(place) + shift, place[:, 2])
    scene.xyz[frames, carry.thing] = place
    basis[frames, carry.thing] = Basis.HELD
