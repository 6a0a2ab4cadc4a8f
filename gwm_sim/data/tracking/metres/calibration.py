"""How tracked things come by metres: which cameras are known or can be fitted, and how high things lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.cameras import Camera
from gwm_sim.data.schema import Schema
from gwm_sim.data.tracking.metres.carrying import Carry, Hand, find_carries, hand_map
from gwm_sim.data.tracking.metres.heights import Heights, estimate_heights
from gwm_sim.data.tracking.metres.pinhole import Fit, fit_pinhole
from gwm_sim.data.tracking.sightings import Sightings
from gwm_sim.errors import DataError

_CLEAN_PAIRS = 30
"""Moments with a thing at rest and in full sight without which no offset of half-hidden ones is fitted."""

_CARRIES, _PAIRS = 4, 24
"""Carries, and pairs, without which no camera is fitted."""

_SPREAD = 0.015
"""Standard deviation [m] of the hand's positions in their narrowest direction without which no camera is fitted."""

_MOST_RESIDUAL = 0.25
"""Median residual of a fit, in widths of the things, above which it is no camera."""

_PER_CARRY = 12
"""Pairs that are taken from one carry: they repeat each other."""

_IN_SIGHT, _AT_REST, _BEFORE = 0.9, 0.8, 6
"""Share of a thing in sight, pixels that it stays within, and frames that are looked at before a grasp."""

_ROUNDS = 3

_GRIP = 0.01
"""Height [m] above or below the middle of a thing at which the hand takes it."""

_GRAZING = 8.0
"""Angle [deg] between a view and the table below which heights do not tell how far away things are."""


class NoMetres(DataError):
    """Where things are in metres cannot be told; the message says why."""


class Take(NamedTuple):
    """What is known of one episode."""

    sightings: Mapping[str, Sightings]
    """By camera; all of the same K things."""
    telemetry: Array
    """(T, P)."""
    depth: Mapping[str, Array] = {}
    """Depth images [m] by camera, (T, H, W), 0 where nothing was measured."""


@dataclass(frozen=True)
class View:
    """A camera, and how well it is known."""

    camera: Camera
    fitted: bool
    """Whether it was fitted to what the hand carries, and not given."""
    offset: Array = field(default_factory=lambda: np.zeros(2))
    """Pixels (column, row) by which a thing in the hand is seen beside its place."""
    residual: tuple[float, float] = (0.0, 0.0)
    """Median and 90th percentile [px] of the pairs around the camera; zeros where none were there."""
    air_pairs: int = 0
    clean_pairs: int = 0
    """Pairs of hand and thing while it was carried, and with it at rest in full sight before or after."""

    def hand(self, place: Array) -> Array:
        """Return where a thing in a hand at (..., 3) is seen [px], (..., 2)."""
        return self.camera.project(place) + self.offset

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        numbers = {"offset": self.offset.tolist(), "residual": list(self.residual)}
        counts = {"air_pairs": self.air_pairs, "clean_pairs": self.clean_pairs}
        return {"camera": self.camera.to_json(), "fitted": self.fitted, **numbers, **counts}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> View:
        """Make one from what `to_json` returned."""
        return cls(
            Camera.from_json(value["camera"]),
            bool(value["fitted"]),
            np.asarray(value["offset"], dtype=np.float64),
            (float(value["residual"][0]), float(value["residual"][1])),
            int(value["air_pairs"]),
            int(value["clean_pairs"]),
        )


@dataclass(frozen=True)
class Calibration:
    """How metres are had of the things of a file."""

    way: str
    """`cameras` (several of them meet), `depth` (one measures it) or `heights` (one sees things at heights known)."""
    views: dict[str, View]
    heights: Heights | None
    """How high things lie; None where no hand tells."""

    @property
    def view(self) -> View:
        """The view that counts where one does."""
        return next(iter(self.views.values()))

    def __str__(self) -> str:
        """Say in a sentence or two how metres are had and how surely."""
        ways = {
            "cameras": f"metres from where the views of {' and '.join(self.views)} meet",
            "depth": f"metres from the depth that camera {next(iter(self.views))} measures",
            "heights": f"metres from camera {next(iter(self.views))} and the heights at which the hand takes things",
        }
        told = [
            f"camera {name} was fitted to {view.air_pairs} moments with a thing in the hand and {view.clean_pairs} "
            f"before or after ({view.residual[0]:.2f} px median, {view.residual[1]:.2f} at the 90th percentile)"
            for name, view in self.views.items()
            if view.fitted
        ]
        grasps = "heights are known up to how far from the middle of a thing the hand takes it"
        told += [grasps] if self.way == "heights" or told else []
        return "; ".join([ways[self.way], *told])

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object, for the file."""
        views = {name: view.to_json() for name, view in self.views.items()}
        heights = None if self.heights is None else self.heights.to_json()
        return {"way": self.way, "views": views, "heights": heights, "says": str(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Calibration:
        """Make one from what `to_json` returned."""
        heights = None if value["heights"] is None else Heights.from_json(value["heights"])
        return cls(value["way"], {name: View.from_json(view) for name, view in value["views"].items()}, heights)


def calibrate(takes: Sequence[Take], schema: Schema, table: float | None = None) -> Calibration:
    """Find the best way to metres that recordings allow.

    Args:
        takes: Episodes of one scene, each with sightings from the same cameras; their depth is not looked at.
        schema: What the columns mean, which cameras are known, and which measure depth.
        table: Height of the table top [m], where somebody knows it.

    Raises:
        NoMetres: There is none; the message says why.
    """
    names = [name for name in next(iter(takes)).sightings if not schema.cameras[name].moving]
    if not names:
        raise NoMetres("no metres: the only cameras that see things move with the robot, and where they are is unknown")
    given = schema.settings.get("calibrated", True)
    hands = [Hand.of(schema, take.telemetry) for take in takes] if schema.effector else []
    views: dict[str, View] = {}
    reasons = []
    for name in names:
        told = [take.sightings[name] for take in takes]
        try:
            views[name] = (_given if given else _fitted)(schema.cameras[name], told, hands)
        except NoMetres as error:
            reasons.append(f"camera {name}: {error}")
    if not views:
        raise NoMetres(f"no metres: {'; '.join(reasons)}")
    measuring = [name for name in views if name in schema.depth]
    way = "cameras" if len(views) > 1 else "depth" if measuring else "heights"
    used = views if way == "cameras" else {name: views[name] for name in (measuring or list(views))[:1]}
    name, view = next(iter(used.items()))
    if way == "heights":
        _check_angle(name, view.camera, [take.sightings[name] for take in takes])
    heights = _heights(takes, schema, hands, name, view, table)
    if heights is None and way == "heights":
        raise NoMetres("no metres: no hand takes things, so nothing tells how high the table is")
    return Calibration(way, used, heights)


def _check_angle(name: str, camera: Camera, sightings: Sequence[Sightings]) -> None:
    """Refuse a camera that looks nearly along the table: there a pixel is many centimetres."""
    rays = camera.rays(np.mean(np.concatenate([told.centre.reshape(-1, 2) for told in sightings]), axis=0))
    angle = float(np.rad2deg(np.arcsin(-rays[2] / np.linalg.norm(rays))))
    if angle < _GRAZING:
        raise NoMetres(
            f"no metres: camera {name} sees things {angle:.0f} degrees from above, nearly along the table (at least "
            f"{_GRAZING:.0f} are needed), so that it cannot tell how far away they are"
        )


def _fitted(nominal: Camera, sightings: Sequence[Sightings], hands: Sequence[Hand]) -> View:
    """Fit a camera to what the hand carries before it."""
    if not hands:
        raise NoMetres("telemetry does not say where the hand is, and the camera is not calibrated")
    _check_spread(np.concatenate([hand.place for hand in hands]), "moves")
    map_ = hand_map(hands, sightings)
    if map_ is None:
        raise NoMetres("too few things move with the hand to fit a camera")
    view, reach = None, 1.5
    heights = None
    for _ in range(_ROUNDS):
        seen = [
            np.c_[hand.place, np.ones(len(hand.place))] @ map_ if view is None else view.hand(hand.place)
            for hand in hands
        ]
        pairs = _pairs(sightings, hands, seen, reach, heights)
        view, reach = _fit(nominal, pairs), 1.0
        carries = [find_carries(told, hand, view.hand(hand.place)) for told, hand in zip(sightings, hands, strict=True)]
        heights = estimate_heights(sightings, hands, carries, view.camera)
    assert view is not None
    width = float(np.median(np.concatenate([told.size[told.found][:, 0] for told in sightings])))
    if view.residual[0] > _MOST_RESIDUAL * width:
        raise NoMetres(
            f"a camera fitted to what the hand carries is off by {view.residual[0]:.1f} px on the median, things are "
            f"{width:.1f} px wide: it may have moved, or things may slip in the hand"
        )
    return view


def _given(camera: Camera, sightings: Sequence[Sightings], hands: Sequence[Hand]) -> View:
    """Return the view of a known camera, with the offset that things in the hand are seen at."""
    if not hands:
        return View(camera, False)
    seen = [camera.project(hand.place) for hand in hands]
    pairs = _pairs(sightings, hands, seen, 1.0)
    clean = int(pairs.clean.sum())
    air = len(pairs.clean) - clean
    if clean < _CLEAN_PAIRS or air < _PAIRS:
        return View(camera, False)
    beside = pairs.pixels - camera.project(pairs.points)
    # What is taken above its middle is seen beside the hand at rest as well: only the rest is for being half hidden.
    offset = np.median(beside[~pairs.clean], axis=0) - np.median(beside[pairs.clean], axis=0)
    apart = np.linalg.norm(beside - np.where(pairs.clean[:, None], 0, offset), axis=1)
    median, most = np.percentile(apart, [50, 90])
    return View(camera, False, offset, (float(median), float(most)), air, clean)


def _check_spread(points: Array, does: str) -> None:
    """Refuse positions (M, 3) of the hand that nearly lie in a plane."""
    spread = float(np.sqrt(max(np.linalg.eigvalsh(np.cov(points.T))[0], 0.0)))
    if spread < _SPREAD:
        raise NoMetres(
            f"the hand {does} nearly in a plane ({100 * spread:.1f} cm about it, at least {100 * _SPREAD:.1f} are "
            "needed), which does not tell where the camera is"
        )


class _Pairs(NamedTuple):
    points: Array
    pixels: Array
    weights: Array
    clean: Array
    carries: int


def _fit(nominal: Camera, pairs: _Pairs) -> View:
    """Fit a camera to pairs, with an offset of what is half hidden in the hand if they can tell it."""
    clean = int(pairs.clean.sum())
    air = len(pairs.clean) - clean
    if pairs.carries < _CARRIES or air < _PAIRS:
        raise NoMetres(
            f"things are carried {pairs.carries} times, in {air} moments that can be used: at least {_CARRIES} and "
            f"{_PAIRS} are needed to fit a camera"
        )
    _check_spread(pairs.points[~pairs.clean], "carries things")
    use = ~pairs.clean | (clean >= _CLEAN_PAIRS)
    fit: Fit = fit_pinhole(
        pairs.points[use], pairs.pixels[use], (nominal.width, nominal.height), pairs.weights[use], ~pairs.clean[use]
    )
    median, most = np.percentile(fit.residuals, [50, 90])
    return View(fit.camera, True, fit.offset, (float(median), float(most)), air, clean)


def _pairs(
    sightings: Sequence[Sightings],
    hands: Sequence[Hand],
    seen: Sequence[Array],
    reach: float,
    heights: Heights | None = None,
) -> _Pairs:
    """Collect moments at which a thing was where the hand was: in it, or at rest where it is taken or put.

    Where it is known how high things lie, a hand that takes one a bit higher or lower is corrected by that.
    """
    points, pixels, weights, clean, carries = [], [], [], [], 0
    for told, hand, expected in zip(sightings, hands, seen, strict=True):
        for carry in find_carries(told, hand, expected, reach):
            carries += 1
            frames = np.arange(carry.start, carry.stop)[told.found[carry.frames, carry.thing]]
            frames = frames[np.unique(np.linspace(0, len(frames) - 1, _PER_CARRY).astype(int))]
            lower = _grip(carry.thing, hand.place[carry.taken, 2], heights)
            points += list(hand.place[frames] + [0, 0, lower])
            pixels += list(told.centre[frames, carry.thing])
            weights += [1.0] * len(frames)
            clean += [False] * len(frames)
            for frame, pixel in _at_rest(told, carry):
                points.append(hand.place[frame] + [0, 0, _grip(carry.thing, hand.place[frame, 2], heights)])
                pixels.append(pixel)
                weights.append(_BEFORE)
                clean.append(True)
    return _Pairs(
        np.asarray(points).reshape(-1, 3),
        np.asarray(pixels).reshape(-1, 2),
        np.asarray(weights),
        np.asarray(clean, bool),
        carries,
    )


def _grip(thing: int, height: float, heights: Heights | None) -> float:
    """Return how much higher than a hand at a height [m] the middle of the thing lies that it takes or leaves there."""
    if heights is None:
        return 0.0
    levels = heights.rest[thing] + np.array([0.0, heights.tall[thing]]) - height
    nearest = float(levels[np.abs(levels).argmin()])
    return nearest if abs(nearest) < _GRIP else 0.0


def _at_rest(told: Sightings, carry: Carry) -> Iterator[tuple[int, Array]]:
    """Yield when a thing is taken and left, each with the pixel at which it lay just before or after."""
    count = len(told)
    before = np.arange(carry.start - 1, max(carry.start - 1 - _BEFORE, -1), -1)
    after = np.arange(carry.stop, min(carry.stop + _BEFORE, count))
    for frames, frame in ((before, carry.taken), (after, carry.left)):
        sure = frames[(told.visible[frames, carry.thing] >= _IN_SIGHT) & told.found[frames, carry.thing]]
        if len(sure) < 2:
            continue
        pixels = told.centre[sure, carry.thing]
        pixel = np.median(pixels, axis=0)
        away = np.linalg.norm(told.centre[frame, carry.thing] - pixel)
        if np.linalg.norm(pixels - pixel, axis=1).max() < _AT_REST and away < 2 * _AT_REST:
            yield frame, pixel


def _heights(
    takes: Sequence[Take], schema: Schema, hands: Sequence[Hand], name: str, view: View, table: float | None
) -> Heights | None:
    """Tell how high things lie from where the hand takes and leaves them."""
    told = [take.sightings[name] for take in takes]
    carries = [find_carries(one, hand, view.hand(hand.place)) for one, hand in zip(told, hands, strict=False)]
    return estimate_heights(told, hands, carries, view.camera, schema.object_size or None, table)
