"""Where tracked things are in metres, how surely, and how that is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.cameras import Camera
from gwm_sim.data.schema import Schema
from gwm_sim.data.tracking.metres.calibration import Calibration, Take, View
from gwm_sim.data.tracking.metres.carrying import Carry, Hand, find_carries
from gwm_sim.data.tracking.metres.heights import Heights
from gwm_sim.data.tracking.metres.ranging import depth_at, triangulate
from gwm_sim.data.tracking.metres.steadying import steadied
from gwm_sim.data.tracking.metres.supports import TABLE, Scene, Span, find_supports

_PASSES = 3
_DISAGREE, _LEAST_DISAGREE = 0.35, 2.0
"""Distance from where other cameras see a thing, in its widths, and least [px], from which a camera is wrong."""

_ALONE, _IN_AIR = 0.5, 0.5
"""Factor on the confidence of a place that one of several cameras tells, and of one between two supports."""

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
    if calibration.way == "cameras":
        alone = _by_each(take, schema, calibration)
        return _by_cameras(take, calibration, alone)
    by_heights = next(_by_each(take, schema, calibration), None)
    if calibration.way == "heights":
        assert by_heights is not None
        return by_heights
    return _by_depth(take, calibration, by_heights)


def _by_each(take: Take, schema: Schema, calibration: Calibration) -> Iterator[Places]:
    """Tell where things are from each camera alone, if heights are known."""
    if calibration.heights is not None:
        for name, view in calibration.views.items():
            yield _by_heights(take, schema, view, calibration.heights, name)


def _by_cameras(take: Take, calibration: Calibration, alone: Iterable[Places]) -> Places:
    """Let the views of several cameras meet; a thing that one alone sees is where that one would place it."""
    names = list(calibration.views)
    told = [take.sightings[name] for name in names]
    weights = np.stack([one.confidence * one.found for one in told])
    cameras, pixels = [calibration.views[name].camera for name in names], [one.centre for one in told]
    xyz, apart = triangulate(cameras, pixels, weights)
    widths = np.stack([one.size.mean(axis=-1) for one in told])
    off = (apart > np.maximum(_DISAGREE * widths, _LEAST_DISAGREE)) & (weights > 0)
    # Of three views that disagree, the one that is farthest off is wrong.
    if len(names) > 2 and off.any():
        worst = np.arange(len(names))[:, None, None] == np.where(weights > 0, apart, -1).argmax(axis=0)
        weights = np.where(worst & off.any(axis=0), 0, weights)
        xyz, apart = triangulate(cameras, pixels, weights)
        off = (apart > np.maximum(_DISAGREE * widths, _LEAST_DISAGREE)) & (weights > 0)
    sure = ((weights > 0).sum(axis=0) > 1) & ~off.any(axis=0)
    seen = np.sort(weights, axis=0)[-2]
    basis, confidence = np.where(sure, int(Basis.CAMERAS), int(Basis.LAST_KNOWN)), np.where(sure, seen, 0.0)
    for places, weight in zip(alone, weights, strict=False):
        use = ~sure & (weight > 0) & (weight == weights.max(axis=0)) & (places.basis != Basis.LAST_KNOWN)
        xyz, basis = np.where(use[..., None], places.xyz, xyz), np.where(use, places.basis, basis)
        confidence = np.where(use, _ALONE * places.confidence, confidence)
    return Places(_carried_on(xyz, basis != Basis.LAST_KNOWN), confidence, basis)


def _by_depth(take: Take, calibration: Calibration, otherwise: Places | None) -> Places:
    """Take the depth that is measured at the middle of each thing, and half its size behind."""
    name, view = next(iter(calibration.views.items()))
    told, camera = take.sightings[name], view.camera
    depth = take.depth[name].reshape(*take.depth[name].shape[:3])
    front = depth_at(depth, told)
    known = told.found & (front > 0)
    behind = 0.5 * told.size.min(axis=-1) * front / camera.focal_length
    if calibration.heights is not None:
        behind = np.broadcast_to(0.5 * calibration.heights.tall, front.shape)
    rays = camera.rays(told.centre)
    length = np.linalg.norm(rays, axis=-1)
    xyz = camera.position + (front + behind / length)[..., None] * rays
    if otherwise is not None:
        # In the hand, or behind it, what is measured may be the hand.
        use = known & (otherwise.basis != Basis.HELD)
        return Places(
            np.where(use[..., None], xyz, otherwise.xyz),
            otherwise.confidence,
            np.where(use, int(Basis.DEPTH), otherwise.basis),
        )
    basis = np.where(known, int(Basis.DEPTH), int(Basis.LAST_KNOWN))
    return Places(_carried_on(xyz, known), np.where(known, told.confidence, 0.0), basis)


def _carried_on(xyz: Array, known: Array) -> Array:
    """Fill places (T, K, 3) that are not known with the last one that is, or else the next."""
    count = len(xyz)
    last = np.maximum.accumulate(np.where(known, np.arange(count)[:, None], -1), axis=0)
    first = np.where(known.any(axis=0), known.argmax(axis=0), 0)
    at = np.where(last < 0, first, last)
    return np.nan_to_num(np.take_along_axis(xyz, at[..., None], axis=0))


def _by_heights(take: Take, schema: Schema, view: View, heights: Heights, name: str) -> Places:
    """Tell where things are from what they lie on and when the hand holds them."""
    told = take.sightings[name]
    count, things = told.found.shape
    if schema.effector:
        hand = Hand.of(schema, take.telemetry)
        carries, where = find_carries(told, hand, view.hand(hand.place)), hand.place
    else:
        carries, where = [], np.zeros((count, 3))
    held = np.zeros((count, things), bool)
    for carry in carries:
        held[carry.frames, carry.thing] = True
    told = steadied(told, held)
    xyz = np.where(held[..., None], where[:, None], np.nan_to_num(view.camera.at_height(told.centre, heights.rest)))
    scene = Scene(view.camera, heights, told, where, carries, xyz)
    basis = np.where(held, int(Basis.HELD), int(Basis.TABLE))
    spans = [span for thing in range(things) for span in scene.spans(thing)]
    supports: list[list[int]] = [[] for _ in spans]
    for _ in range(_PASSES):
        before = list(supports)
        for k, span in enumerate(spans):
            supports[k] = find_supports(scene, span)
            _settle(scene, basis, span, supports[k])
        if supports == before:
            break
    for carry in carries:
        _hold(scene, basis, view, carry)
    for span, found in zip(spans, supports, strict=True):
        _settle(scene, basis, span, found)
    seen = told.confidence * np.where(basis == Basis.FALLING, _IN_AIR, 1.0)
    confidence = np.where(told.found, seen, np.where(basis == Basis.HELD, 0.5, 0.0))
    basis[~told.found & (basis != Basis.HELD)] = Basis.LAST_KNOWN
    in_view = np.all(np.isfinite(scene.xyz), axis=-1)  # no height is seen above the horizon
    return Places(_carried_on(scene.xyz, in_view), np.where(in_view, confidence, 0.0), basis)


def _settle(scene: Scene, basis: Array, span: Span, supports: list[int]) -> None:
    """Write where a thing is between two carries into the scene, given what it rests on."""
    frames = np.arange(span.start, span.stop)
    for rest, support in zip(span.rests, supports, strict=True):
        _lie(scene, basis, span.thing, frames[rest.start - span.start : rest.stop - span.start], support)
    ends = [span.start, *(edge for rest in span.rests for edge in (rest.start, rest.stop)), span.stop]
    around = [None, *supports, None]
    for k, (start, stop) in enumerate(zip(ends[::2], ends[1::2], strict=True)):
        if stop > start:
            _move(scene, basis, span, np.arange(start, stop), (around[k], around[k + 1]))


def _lie(scene: Scene, basis: Array, thing: int, frames: Array, support: int) -> None:
    """Write that a thing lies on a support."""
    z = scene.levels(thing, frames)[support + 1]
    scene.xyz[frames, thing] = scene.camera.at_height(scene.sightings.centre[frames, thing], z)
    basis[frames, thing] = Basis.TABLE if support == TABLE else Basis.STACKED


def _move(scene: Scene, basis: Array, span: Span, frames: Array, supports: tuple[int | None, int | None]) -> None:
    """Write where a thing is that moves in no hand, from one support (None is a hand, or unknown) to the next."""
    thing, (first, last) = span.thing, supports
    # Nothing rises from where it lies: it slides there until the hand takes it, or comes to rest there again.
    taken = last is None and frames[-1] + 1 < len(scene.hand)
    if first is not None and (first == last or taken):
        _lie(scene, basis, thing, frames, first)
        return
    if first is not None and first != TABLE:  # it slides on another until its middle is no longer above that
        _lie(scene, basis, thing, frames, first)
        gap = np.linalg.norm(scene.xyz[frames, thing, :2] - scene.xyz[frames, first, :2], axis=1)
        off = gap > 0.5 * scene.heights.tall[first] + 0.01
        frames = frames[int(off.argmax()) :] if off.any() else frames[:0]
    if not len(frames):
        return
    pixels = scene.sightings.centre[frames, thing]
    begin = scene.xyz[frames[0] - 1, thing] if frames[0] else None
    if frames[-1] + 1 < len(scene.hand):
        end = scene.xyz[frames[-1] + 1, thing]
    else:
        end = scene.camera.at_height(pixels[-1], scene.heights.rest[thing])
    begin = end if begin is None else begin
    steps = np.arange(1, len(frames) + 1)[:, None] / (len(frames) + 1)
    z = _above(scene.camera, pixels, begin[:2] + steps * (end - begin)[:2])
    low, high = sorted((begin[2], end[2]))
    scene.xyz[frames, thing] = scene.camera.at_height(pixels, z.clip(low, high))
    basis[frames, thing] = Basis.FALLING


def _above(camera: Camera, pixels: Array, xy: Array) -> Array:
    """Return the heights [m], (F,), at which pixels (F, 2) show what is nearest to being above places xy (F, 2)."""
    ground, higher = (camera.at_height(pixels, height)[:, :2] for height in (0.0, 0.1))
    slope = (higher - ground) / 0.1
    heights: Array = ((xy - ground) * slope).sum(axis=1) / np.maximum((slope**2).sum(axis=1), 1e-9)
    return heights


def _hold(scene: Scene, basis: Array, view: View, carry: Carry) -> None:
    """Write where a thing in the hand is: it moves as the hand does, from where it was taken to where it was left."""
    hand, frames = scene.hand[carry.frames], carry.frames
    lies = [(carry.start - 1, carry.taken)] * (carry.start > 0) + [(carry.stop, carry.left)] * (
        carry.stop < len(scene.hand)
    )
    lies = [(at, touch) for at, touch in lies if basis[at, carry.thing] in (Basis.TABLE, Basis.STACKED)]
    ends = [scene.xyz[at, carry.thing, 2] - scene.hand[touch, 2] for at, touch in lies]
    ends = [end for end in ends if abs(end) < _TILT]
    # What was let go of above where it came to lie seems to have been taken higher than it was.
    place = hand + np.array([0.0, 0.0, max(ends, default=0.0)])
    seen = scene.sightings.found[frames, carry.thing]
    if seen.any():
        beside = (scene.sightings.centre[frames, carry.thing] - view.hand(place))[seen]
        shift = np.median(beside, axis=0)
        place = scene.camera.at_height(scene.camera.project(place) + shift, place[:, 2])
    scene.xyz[frames, carry.thing] = place
    basis[frames, carry.thing] = Basis.HELD
