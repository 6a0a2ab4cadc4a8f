"""Practice in telling a thing from all else of its colours.

In a picture in which a thing lies apart, everything else of its colours is known to be something else. It is shown as
it is, and with the thing cut out and put elsewhere, before or behind what is there: such pictures teach a detector well
(Dwibedi and others 2017), and here they show covered things.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gwm_sim.arrays import Array, in_steps
from gwm_sim.data.tracking.appearance import WEIGHT_BITS, Appearance, active, concluded, inputs_of, with_one
from gwm_sim.data.tracking.discovery.choice import Found
from gwm_sim.data.tracking.discovery.evidence import Blob, Evidence
from gwm_sim.data.tracking.palette import Palette, bins
from gwm_sim.data.tracking.pieces import Piece, completed, find_pieces

_SHARED = 0.5
"""Share of its pixels whose colours are a thing's alone from which on they tell it well enough."""

_PICTURES, _MOVED = 1000, 0.75
"""Pictures to practise on, and the share of them in which a thing was put elsewhere."""

_FEWEST = 60
"""Pictures with the thing apart that teach something, at least."""

_SMALLEST, _LARGEST, _OWN = 0.75, 1.3, 0.7
"""Share of the usual area that a thing has which lies apart, and least share of its pixels that have its look."""

_RIGHT, _WRONG = 0.3, 0.5
"""Distance from a thing, in sizes of it, up to which a place is right and from which on it is wrong."""

_UNITS, _STEPS, _BATCH, _RATE, _DECAY = 24, 200, 256, 2e-3, 1.0
_FIRST_MOMENT, _SECOND_MOMENT = 0.9, 0.99
"""How the network is fitted: by Adam (Kingma and Ba 2015) with decay, the rate falling to nothing."""

_ERROR_BITS = 26
"""Binary places of its errors: its sums are exact, see `in_steps`."""


class _Scene(NamedTuple):
    """A picture in which it is known where all things of a look are."""

    lit: Array
    """(H, W, 3) uint8."""
    front: Array
    """(H, W) bool."""
    explained: Array
    """(H, W) bool."""
    places: Array
    """Columns and rows of the middles of these things [px], (K, 2)."""


def practise(evidence: Evidence, palette: Palette, number: int, item: Found) -> Appearance | None:
    """Learn what a thing looks like beside all else of its colours.

    Args:
        evidence: Pictures of many moments.
        palette: Looks of all things.
        number: That of this one, from 1.
        item: The thing.

    Returns:
        None where its colours tell it well enough, or where it hardly ever lies apart.
    """
    if item.candidate.colors(evidence).distinct >= _SHARED:
        return None
    apart = _lying_apart(evidence, palette, number, item)
    if len(apart) < _FEWEST:
        return None
    generator = np.random.default_rng(0)
    order = np.resize(generator.permutation(len(apart)), _PICTURES)
    scenes = [_scene(evidence, apart[i], generator) for i in order.tolist()]
    return _fitted(*_examples(scenes, palette, number, item), generator)


def _lying_apart(evidence: Evidence, palette: Palette, number: int, item: Found) -> list[list[Blob]]:
    """Return the blobs of each picture in which all things of a look lie apart."""
    by_moment: dict[int, list[Blob]] = {}
    for blob in evidence.blobs():
        if not _SMALLEST <= blob.area / item.size[2] <= _LARGEST:
            continue
        colors = evidence.colors[blob.moment][blob.window][blob.mask]
        looks = palette.read(colors, np.ones(len(colors), bool), np.zeros(len(colors), bool))
        if (looks == number).mean() >= _OWN:
            by_moment.setdefault(blob.moment, []).append(blob)
    return [blobs for blobs in by_moment.values() if len(blobs) == item.candidate.count]


def _scene(evidence: Evidence, blobs: list[Blob], generator: np.random.Generator) -> _Scene:
    """Return the picture in which blobs lie as it is or, mostly, with one of them put elsewhere."""
    moment = blobs[0].moment
    places = np.array([_middle(blob.mask, blob.left, blob.top) for blob in blobs])
    lit, front, explained = (part[moment].copy() for part in (evidence.lit, evidence.front, evidence.explained))
    scene = _Scene(lit, front, explained, places)
    if generator.random() < _MOVED:
        which = int(generator.integers(len(blobs)))
        places[which] = _put_elsewhere(scene, evidence, blobs[which], generator)
    return scene


def _middle(mask: Array, left: int, top: int) -> tuple[float, float]:
    height, width = mask.shape
    return left + (width - 1) / 2, top + (height - 1) / 2


def _put_elsewhere(
    scene: _Scene, evidence: Evidence, blob: Blob, generator: np.random.Generator
) -> tuple[float, float]:
    """Cut a blob out of a scene and paste it where it touches something; return its new place."""
    pixels = scene.lit[blob.window][blob.mask]
    scene.lit[blob.window][blob.mask] = evidence.background.picture[blob.window][blob.mask]
    scene.front[blob.window] &= ~blob.mask
    left, top = _touching(scene.front, blob.mask, generator)
    rows, columns = np.nonzero(blob.mask)
    rows, columns = rows + top, columns + left
    seen = (rows >= 0) & (rows < scene.front.shape[0]) & (columns >= 0) & (columns < scene.front.shape[1])
    if generator.random() < 0.5:  # behind what is there
        seen[seen] = ~scene.front[rows[seen], columns[seen]]
    at = rows[seen], columns[seen]
    # What telemetry explained there it does no more, unless the thing looks the same.
    scene.explained[at] &= evidence.background.explains(pixels[seen].astype(np.float32), scene.lit[at])
    scene.lit[at] = pixels[seen]
    scene.front[at] = True
    return _middle(blob.mask, left, top)


def _touching(front: Array, mask: Array, generator: np.random.Generator) -> tuple[int, int]:
    """Return first column and row of a box as large as `mask` that touches or covers something in front."""
    rows, columns = np.nonzero(front)
    if not len(rows):
        rows, columns = np.indices(front.shape).reshape(2, -1)
    i = int(generator.integers(len(rows)))
    down, right = (int(generator.integers(-1, length + 1)) for length in mask.shape)
    return int(columns[i]) - right, int(rows[i]) - down


def _examples(scenes: list[_Scene], palette: Palette, number: int, item: Found) -> tuple[Array, Array]:
    """Return what an appearance is told of the pieces of scenes (N, F), and whether they are the thing (N,) bool."""
    lit, front, explained = (np.stack(part) for part in list(zip(*scenes, strict=True))[:3])
    masks = (palette.read(bins(lit), front, explained) == number) & front
    times: list[int] = []
    pieces: list[Piece] = []
    right: list[bool] = []
    width, height, _ = item.size
    for t, scene in enumerate(scenes):
        for piece in find_pieces(masks[t], front[t] & ~masks[t], item.size, item.candidate.count):
            off = np.linalg.norm(scene.places - completed(piece, width, height), axis=1).min() / np.sqrt(width * height)
            if not _RIGHT < off < _WRONG:
                times.append(t)
                pieces.append(piece)
                right.append(bool(off <= _RIGHT))
    return inputs_of(lit, front, masks, np.array(times, dtype=np.intp), pieces, item.size), np.array(right)


def _fitted(inputs: Array, right: Array, generator: np.random.Generator) -> Appearance:
    """Fit a network to examples (N, F) and whether each is the thing (N,)."""
    told, answers = with_one(inputs), right[:, None]
    weights = [_drawn(told.shape[1], _UNITS, generator), _drawn(_UNITS + 1, 1, generator)]
    first, second = ([np.zeros_like(matrix) for matrix in weights] for _ in range(2))
    for step in range(1, _STEPS + 1):
        rows = generator.integers(len(told), size=_BATCH)
        units = active(told[rows], weights[0])
        error = in_steps((concluded(units, weights[1]) - answers[rows]) / _BATCH, _ERROR_BITS)
        back = in_steps(error * weights[1][:-1, 0] * (units[:, :-1] > 0), _ERROR_BITS)
        for i, slope in enumerate((told[rows].T @ back, units.T @ error)):
            first[i] += (1 - _FIRST_MOMENT) * (slope - first[i])
            second[i] += (1 - _SECOND_MOMENT) * (slope**2 - second[i])
            mean, square = first[i] / (1 - _FIRST_MOMENT**step), second[i] / (1 - _SECOND_MOMENT**step)
            change = mean / (np.sqrt(square) + 1e-8) + _DECAY * weights[i]
            weights[i] = in_steps(weights[i] - _RATE * (1 - step / _STEPS) * change, WEIGHT_BITS)
    return Appearance(*(matrix.astype(np.float32) for matrix in weights))


def _drawn(inputs: int, outputs: int, generator: np.random.Generator) -> Array:
    return in_steps(generator.normal(size=(inputs, outputs), scale=inputs**-0.5), WEIGHT_BITS)
