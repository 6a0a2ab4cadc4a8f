"""How high things lie on the table, and how tall they are: where the hand most often takes and leaves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.cameras import Camera
from gwm_sim.data.tracking.metres.carrying import Carry, Hand
from gwm_sim.data.tracking.sightings import Sightings

_BANDWIDTH = 0.004
"""Width [m] of the kernel with which densities of heights are estimated."""

_FINE = 0.0015
"""Width [m] of the kernel that tells where in a peak most heights lie: the tail above it is long."""

_ALIKE = 0.15
"""Share by which the apparent sizes of things that lie alike differ at most."""

_PEAK = 0.3
"""Density of a peak, over that of the highest, from which it counts."""

_FEW = 6
"""Grasps and releases of a thing below which those of the others count as well."""

_NEAR = 0.01
"""Distance [m] from where it should lie up to which the height at which a thing is taken is where it lies."""

_TALL = (0.8, 1.25)
"""How tall a thing may be, in heights that its apparent size tells."""


@dataclass(frozen=True)
class Heights:
    """How high K things lie."""

    rest: Array
    """Height z of the middle of each thing while it lies on the table [m], (K,)."""
    tall: Array
    """How much higher another thing lies on top of it [m], (K,)."""
    grasps: int
    """Grasps and releases that tell."""

    def to_json(self) -> dict[str, Any]:
        """Return them as a JSON object."""
        return {"rest": self.rest.tolist(), "tall": self.tall.tolist(), "grasps": self.grasps}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Heights:
        """Make them from what `to_json` returned."""
        return cls(np.asarray(value["rest"], float), np.asarray(value["tall"], float), int(value["grasps"]))


def estimate_heights(
    sightings: Sequence[Sightings],
    hands: Sequence[Hand],
    carries: Sequence[Sequence[Carry]],
    camera: Camera,
    size: float | None = None,
    table: float | None = None,
) -> Heights | None:
    """Tell how high things lie.

    Args:
        sightings: What the camera saw of K things, by episode.
        hands: The hand, by episode.
        carries: Which thing it carried when, by episode.
        camera: Whose pixels these are.
        size: Edge length of the things [m], where it is known.
        table: Height of the table top [m], where it is known.

    Returns:
        Heights; None if the hand never takes a thing and no table is known.
    """
    count = sightings[0].centre.shape[1]
    events: list[list[float]] = [[] for _ in range(count)]
    for told, hand, episode in zip(sightings, hands, carries, strict=False):
        for carry in episode:
            events[carry.thing] += [float(hand.place[frame, 2]) for frame in _ends(carry, len(told))]
    together = np.array([height for told in events for height in told])
    if table is None and not len(together):
        return None
    level = table if table is not None else _peaks(together)[0]
    apparent = (
        np.full(count, size) if size else np.array([_apparent(sightings, k, camera, level) for k in range(count)])
    )
    if table is not None:
        return Heights(table + 0.5 * apparent, apparent, len(together))
    rest = _rest(events, apparent)
    tall = apparent if size else _tall(events, rest, apparent)
    return Heights(rest, tall, len(together))


def _ends(carry: Carry, frames: int) -> list[int]:
    """Return the frames at which a thing was taken and left, both within the episode."""
    return [carry.taken] * (carry.start > 0) + [carry.left] * (carry.stop < frames)


def _rest(events: Sequence[Sequence[float]], apparent: Array) -> Array:
    """Return how high the middle of each thing is while it lies on the table, (K,).

    One that is mostly taken from others is seldom taken there: all share the table that one of them is taken from, and
    what is known of things that look as large counts for each of them.
    """
    enough = [k for k, told in enumerate(events) if len(told) >= _FEW]
    if not enough:
        return np.full(len(events), _peaks(np.concatenate([np.array(told) for told in events]))[0])
    table = min(_peaks(np.array(events[k]))[0] - 0.5 * apparent[k] for k in enough)
    rest = table + 0.5 * apparent
    found = rest.copy()
    for k in range(len(events)):
        alike = np.flatnonzero(np.abs(apparent - apparent[k]) <= _ALIKE * apparent[k])
        told = np.concatenate([np.array(events[j]) + 0.5 * (apparent[k] - apparent[j]) for j in alike.tolist()])
        if len(told) < _FEW:
            continue
        peaks = _peaks(told, least=0.1)
        nearest = peaks[np.abs(peaks - rest[k]).argmin()]
        found[k] = _top(told, nearest) if abs(nearest - rest[k]) < _NEAR else rest[k]
    return found


def _peaks(values: Array, least: float = _PEAK) -> Array:
    """Return the peaks of the density of values (N,), lowest first, that come near the highest one."""
    grid = np.arange(values.min() - _BANDWIDTH, values.max() + 1.5 * _BANDWIDTH, 0.25 * _BANDWIDTH)
    density = np.exp(-0.5 * ((grid[:, None] - values) / _BANDWIDTH) ** 2).sum(axis=1)
    padded = np.r_[-np.inf, density, -np.inf]
    tops = (density >= padded[:-2]) & (density > padded[2:]) & (density >= least * density.max())
    found: Array = grid[tops]
    return found


def _top(values: Array, peak: float) -> float:
    """Return where in a peak of the density of values (N,) most of them lie."""
    grid = np.arange(peak - _BANDWIDTH, peak + _BANDWIDTH, 0.25 * _FINE)
    density = np.exp(-0.5 * ((grid[:, None] - values) / _FINE) ** 2).sum(axis=1)
    return float(grid[density.argmax()])


def _apparent(sightings: Sequence[Sightings], thing: int, camera: Camera, height: float) -> float:
    """Return how large a thing looks from the camera while it lies at a height z [m]."""
    sizes, centres = [], []
    for told in sightings:
        sure = told.found[:, thing] & (told.visible[:, thing] > 0.95)
        sizes.append(told.size[sure, thing])
        centres.append(told.centre[sure, thing])
    size, centre = np.concatenate(sizes), np.concatenate(centres)
    if not len(size):
        return 0.0
    scale = camera.metres_per_pixel(camera.at_height(centre, height))
    # Turned boxes look up to 1.4 times as wide as they are; those that stand square to the camera are the narrow ones.
    return float(np.nanpercentile(size[:, 0] * scale, 20))


def _tall(events: Sequence[Sequence[float]], rest: Array, apparent: Array) -> Array:
    """Return how tall things are: how much higher than on the table others are taken and left, or how they look."""
    steps = np.concatenate([np.array(told) - height for told, height in zip(events, rest, strict=True)])
    tall = apparent.copy()
    for k, size in enumerate(apparent):
        near = steps[(steps > _TALL[0] * size) & (steps < _TALL[1] * size)]
        if len(near) >= _FEW:
            peaks = _peaks(near)
            density = np.exp(-0.5 * ((peaks[:, None] - near) / _BANDWIDTH) ** 2).sum(axis=1)
            tall[k] = _top(near, peaks[density.argmax()])
    return tall
