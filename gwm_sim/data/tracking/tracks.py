"""From looks of pixels to sightings: pieces of each picture, joined over time and completed where they are covered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.tracking.appearance import Appearance, inputs_of
from gwm_sim.data.tracking.chains import best_chain
from gwm_sim.data.tracking.pieces import Piece, completed, find_pieces
from gwm_sim.data.tracking.sightings import Sightings

_WHOLE = 0.85
"""Share of its usual pixels from which on a thing counts as uncovered."""

_RECENT = 9
"""Uncovered sightings whose median size is taken as the thing's own for now."""

_LEAST_SURE = 0.01
"""Confidence of the least sure sighting; 0 says that there is none."""

_UNKNOWN = 1e6
"""Distance from a place that is not known yet [px]: farther than any picture is wide."""


@dataclass(frozen=True)
class Look:
    """Things that look alike."""

    count: int
    width: float
    """Usual width [px]."""
    height: float
    area: float
    """Usual pixels when nothing covers it."""
    place: tuple[float, float] = (0.0, 0.0)
    """Column and row [px] where they usually are, for episodes that never show them."""
    appearance: Appearance | None = None
    """What tells them from others that have their colours, where there are such."""

    @property
    def usual(self) -> tuple[float, float, float]:
        return self.width, self.height, self.area


def follow(looks_of_pixels: Array, front: Array, lit: Array, looks: Sequence[Look]) -> Sightings:
    """Follow all things through the pictures of one episode.

    Args:
        looks_of_pixels: Number of the look of each pixel, from 1, 0 for none, (T, H, W).
        front: Where something is in front of the background, (T, H, W) bool.
        lit: The pictures under the light of the background, (T, H, W, 3) uint8.
        looks: What things look like.
    """
    parts = []
    for number, look in enumerate(looks, 1):
        masks = (looks_of_pixels == number) & front
        covers = front & ~masks
        times, pieces = _all_pieces(masks, covers, look)
        if look.appearance is not None and pieces:
            sure = look.appearance.probability(inputs_of(lit, front, masks, times, pieces, look.usual))
            pieces = [piece._replace(sure=share) for piece, share in zip(pieces, sure.tolist(), strict=True)]
        parts += _chains(times, pieces, look, len(front))
    stacked = [np.stack(column, axis=1) for column in zip(*parts, strict=True)]
    return Sightings(*stacked)


def _all_pieces(masks: Array, covers: Array, look: Look) -> tuple[Array, list[Piece]]:
    times: list[int] = []
    pieces: list[Piece] = []
    for t in np.flatnonzero(masks.any(axis=(1, 2))).tolist():
        found = find_pieces(masks[t], covers[t], look.usual, look.count)
        pieces += found
        times += [t] * len(found)
    return np.array(times, dtype=np.int64), pieces


def _worth(pieces: Sequence[Piece], look: Look) -> Array:
    """What a piece is worth as a sighting: most when it has the usual area and size, nothing when it has far more, or
    less than nothing when it is hardly the thing at all."""
    area = np.array([piece.area for piece in pieces]) / look.area
    wide = np.array([piece.width for piece in pieces]) / look.width
    high = np.array([piece.height for piece in pieces]) / look.height
    doubt = np.array([0.0 if piece.sure is None else 1 - piece.sure for piece in pieces])
    too_large = np.maximum(0, np.maximum(np.maximum(wide, high) - 1.35, area - 1.5))
    worth: Array = np.minimum(area, 1.0) - 2 * too_large - doubt
    return worth


def _chains(times: Array, pieces: list[Piece], look: Look, length: int) -> list[tuple[Array, ...]]:
    """Follow each thing of a look: the best chain first, then the best of what is left."""
    worth = _worth(pieces, look) if pieces else np.zeros(0)
    free = np.ones(len(pieces), dtype=bool)
    size = float(np.hypot(look.width, look.height) / np.sqrt(2))
    chains: list[list[tuple[int, Piece]]] = []
    for _ in range(look.count):
        left = np.flatnonzero(free)
        places = np.array([[pieces[i].column, pieces[i].row] for i in left]).reshape(-1, 2)
        chain = left[best_chain(times[left], places, worth[left], size)].tolist()
        for i in chain:
            free[[j for j in np.flatnonzero(times == times[i]) if _share(pieces[i], pieces[j])]] = False
        chains.append([(int(times[i]), pieces[i]) for i in chain])
    if look.count > 1:
        chains = _relinked(chains, length)
    return [_complete(chain, look, length) for chain in chains]


def _relinked(chains: list[list[tuple[int, Piece]]], length: int) -> list[list[tuple[int, Piece]]]:
    """Give pieces of things that look alike to whom they are nearest: a chain may have changed from one to another."""
    from scipy.optimize import linear_sum_assignment

    by_time: list[list[Piece]] = [[] for _ in range(length)]
    for chain in chains:
        for t, piece in chain:
            by_time[t].append(piece)
    linked: list[list[tuple[int, Piece]]] = [[] for _ in chains]
    last = np.full((len(chains), 2), np.nan)
    for t, pieces in enumerate(by_time):
        if not pieces:
            continue
        places = np.array([(piece.column, piece.row) for piece in pieces])
        distance = np.linalg.norm(last[:, None] - places, axis=-1)
        for i, j in zip(*linear_sum_assignment(np.nan_to_num(distance, nan=_UNKNOWN)), strict=True):
            linked[i].append((t, pieces[j]))
            last[i] = places[j]
    return linked


def _share(one: Piece, other: Piece) -> bool:
    """Whether two pieces overlap so much that they cannot be two things."""
    wide = min(one.right, other.right) - max(one.left, other.left) + 1
    high = min(one.bottom, other.bottom) - max(one.top, other.top) + 1
    if wide <= 0 or high <= 0:
        return False
    return wide * high > 0.6 * min(one.width * one.height, other.width * other.height)


def _complete(chain: list[tuple[int, Piece]], look: Look, length: int) -> tuple[Array, ...]:
    """Complete what is covered, and fill pictures without a sighting with the last or next known place.

    Returns:
        Centre (T, 2), size (T, 2), visible, confidence and area (T,).
    """
    centre, size = np.full((length, 2), np.nan), np.full((length, 2), np.nan)
    visible, confidence, area = np.zeros(length), np.zeros(length), np.zeros(length)
    whole = [piece for _, piece in chain if all(piece.ends) and piece.area > _WHOLE * look.area][:_RECENT]
    recent = [(p.width, p.height, p.area) for p in whole]
    for t, piece in chain:
        spans = piece.width, piece.height
        own = np.median(recent[-_RECENT:], axis=0) if recent else np.array(look.usual)
        if all(piece.ends) and piece.area > _WHOLE * own[2]:
            recent.append((*spans, piece.area))
            centre[t], size[t] = (piece.column, piece.row), spans
        else:
            centre[t], size[t] = completed(piece, *own[:2]), np.maximum(spans, own[:2])
        visible[t], area[t] = min(1.0, piece.area / own[2]), piece.area
        confidence[t] = min(1.0, 0.3 + visible[t]) if piece.sure is None else max(piece.sure, _LEAST_SURE)
    usual = look.width, look.height
    return _filled(centre, chain, look.place), _filled(size, chain, usual), visible, confidence, area


def _filled(values: Array, chain: list[tuple[int, Piece]], otherwise: tuple[float, float]) -> Array:
    """Put the last known value, before the first one the next, where there is none."""
    if not chain:
        return np.broadcast_to(np.array(otherwise), values.shape).copy()
    known = np.array([t for t, _ in chain])
    latest = np.maximum(np.searchsorted(known, np.arange(len(values)), side="right") - 1, 0)
    filled: Array = values[known[latest]]
    return filled
