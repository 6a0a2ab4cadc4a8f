"""Connected pieces of one look in a picture, and the places of things that they may be."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gwm_sim.arrays import Array

_FITS = 1.25
"""Times the usual width or height that a thing's pixels may span."""

_BESIDE = 0.75
"""Share of the pixels beyond a side that must be background for the side to be the thing's own."""

_LINE, _ENOUGH = 0.25, 2
"""Share of the pixels of its fullest line, or number of them, that a thing has in its first and last one."""


class Piece(NamedTuple):
    """Pixels that may be one thing, or what is seen of it."""

    column: float
    """Centroid [px]."""
    row: float
    area: int
    left: int
    """First and last columns and rows of its box [px]."""
    top: int
    right: int
    bottom: int
    ends: tuple[bool, bool, bool, bool]
    """Whether the thing ends at its left, top, right and bottom side, rather than being covered there."""
    sure: float | None = None
    """How probably this is the thing, in [0, 1], if that was asked."""

    @property
    def width(self) -> int:
        """[px]."""
        return self.right - self.left + 1

    @property
    def height(self) -> int:
        """[px]."""
        return self.bottom - self.top + 1


def completed(piece: Piece, width: float, height: float) -> tuple[float, float]:
    """Return column and row of the middle of the whole thing [px], of whose sides some may be covered.

    Args:
        piece: What is seen of it.
        width: Its usual width [px].
        height: [px]
    """
    column = _middle(piece.left, piece.right, piece.ends[0], piece.ends[2], piece.column, width)
    row = _middle(piece.top, piece.bottom, piece.ends[1], piece.ends[3], piece.row, height)
    return column, row


def find_pieces(mask: Array, covers: Array, usual: tuple[float, float, float], count: int) -> list[Piece]:
    """Find pieces of a look that can be things of it.

    Args:
        mask: Pixels of that look, (H, W) bool.
        covers: Pixels that show something else in front of the background, (H, W) bool.
        usual: Width, height [px] and area of a thing when nothing covers it.
        count: Number of things of that look.
    """
    import cv2

    width, height, area = usual
    number, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    least = max(2.0, 0.05 * area)
    kept = [i for i in range(1, number) if stats[i, cv2.CC_STAT_AREA] >= least]
    pieces = [_piece(labels == i, covers) for i in kept]
    if len(pieces) > 1 and (whole := _united(pieces, width, height)):
        pieces.append(_piece(np.isin(labels, [kept[i] for i in whole]), covers))
    for i, piece in zip(kept, list(pieces), strict=False):
        if piece.width > _FITS * width or piece.height > _FITS * height:
            pieces += _split(labels == i, piece, covers, usual, count > 1)
    return pieces


def _piece(mask: Array, covers: Array) -> Piece:
    rows, columns = np.nonzero(mask)
    left, right = _extent(mask.sum(axis=0))
    top, bottom = _extent(mask.sum(axis=1))
    ends = (
        _free(covers[rows[columns <= left + 1], left - 1]) if left else False,
        _free(covers[top - 1, columns[rows <= top + 1]]) if top else False,
        _free(covers[rows[columns >= right - 1], right + 1]) if right < mask.shape[1] - 1 else False,
        _free(covers[bottom + 1, columns[rows >= bottom - 1]]) if bottom < mask.shape[0] - 1 else False,
    )
    return Piece(float(columns.mean()), float(rows.mean()), len(rows), left, top, right, bottom, ends)


def _extent(counts: Array) -> tuple[int, int]:
    """Return the first and last line that has more than a few of the pixels: single ones at an edge are noise."""
    lines = np.flatnonzero(counts >= min(_LINE * counts.max(), _ENOUGH))
    return int(lines[0]), int(lines[-1])


def _free(covered: Array) -> bool:
    return bool(1 - covered.mean() >= _BESIDE)


def _united(pieces: list[Piece], width: float, height: float) -> list[int]:
    """Return the pieces around the largest one that fit with it into one thing, none where it stands alone."""
    first = max(range(len(pieces)), key=lambda i: pieces[i].area)
    box = list(pieces[first][3:7])
    whole = [first]
    for i in sorted(range(len(pieces)), key=lambda i: -pieces[i].area):
        piece = pieces[i]
        wider = [min(box[0], piece.left), min(box[1], piece.top), max(box[2], piece.right), max(box[3], piece.bottom)]
        if i != first and wider[2] - wider[0] < _FITS * width and wider[3] - wider[1] < _FITS * height:
            box = wider
            whole.append(i)
    return whole if len(whole) > 1 else []


def _split(mask: Array, piece: Piece, covers: Array, usual: tuple[float, float, float], two: bool) -> list[Piece]:
    """Place boxes of the usual size in the corners of a piece that is too large for one thing: for two things in the
    opposite corners that fit best, for one in each corner."""
    width, height = round(usual[0]), round(usual[1])
    left, right = piece.left, max(piece.left, piece.right - width + 1)
    top, bottom = piece.top, max(piece.top, piece.bottom - height + 1)
    corners = [(left, top), (right, bottom), (left, bottom), (right, top)]
    if two:
        drawn = [np.zeros_like(mask), np.zeros_like(mask)]
        for i, (x, y) in enumerate(corners):
            drawn[i // 2][y : y + height, x : x + width] = True
        first, second = ((one & mask).sum() / (one | mask).sum() for one in drawn)
        corners = corners[:2] if first >= second else corners[2:]
    found = []
    for x, y in dict.fromkeys(corners):
        part = np.zeros_like(mask)
        part[y : y + height, x : x + width] = mask[y : y + height, x : x + width]
        if part.any():
            found.append(_piece(part, covers | (mask & ~part)))
    return found


def _middle(first: int, last: int, begins: bool, ends: bool, centroid: float, usual: float) -> float:
    """Return the middle of a thing of the usual extent whose first or last pixel may be covered."""
    if begins and ends:
        return (first + last) / 2
    if last - first + 1 >= usual:
        return centroid
    if begins:
        return first + (usual - 1) / 2
    if ends:
        return last - (usual - 1) / 2
    return centroid
