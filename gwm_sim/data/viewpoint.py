"""Whether two recordings were seen from the same place, where arms and objects lie elsewhere in each.

The background decides, block by block: a camera that stands still shows most of them where they were, whatever else
changed. One that was moved shifts, turns and scales all of them alike; an arm or an object takes only its own along.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gwm_sim.arrays import Array

_BLOCK, _STEP = 12, 4
"""Edge of a block, and pixels from one to the next."""

_REACH = 10
"""Pixels by which a block is looked for in each direction."""

_TEXTURE = 8.0
"""Least grey levels by which the pixels of a block differ (standard deviation): a plain one is alike everywhere."""

_PLAIN = 5.0
"""Grey levels of noise below which no pattern is taken seriously."""

_UNSTEADY, _MOST_UNSTEADY = 12.0, 0.2
"""Grey levels that a pixel changes where the robot moves, and share of such pixels that spoils a block."""

_ALIKE, _NEARLY_BEST = 0.7, 0.1
"""Correlation of two blocks that are the same thing, and what less than the best is as good."""

_STAYS = 0.5
"""Share of the blocks that are where they were when the camera stands still."""

_FEW, _RICH = 32, 96
"""Blocks without which nothing is certain, and those that no arm has in a plain scene."""

_WIDE = 5
"""Ninths of the picture in which such blocks must lie: an arm or an object has fewer."""

_FOLLOW, _MORE = 0.45, 0.15
"""Share of the blocks that follow one motion when the camera made it, and by how much that is more than stay."""

_LEAST_MOVE = 2.0
"""Pixels that blocks move on average when it matters."""

_LOST, _SAME_LEVELS, _MOST_SAME = 0.8, 8, 0.3
"""Share of the blocks that are not where they were, and grey levels and share of the pixels that are the same, when
nothing of a scene is found again."""

_STEADY, _STEADIEST = 12.0, 30
"""Grey levels that the steadiest pixels before a camera that stands still change at most, and how many of a hundred
these are: two arms may cover most of a picture, and one on the arm sees no more than its own hand stand still."""

_HYPOTHESES = 400
_MOST_SCALE, _MOST_TURN = 0.2, 0.35
"""Change of scale, and turn [rad], of a camera that still sees the same."""


@dataclass(frozen=True)
class View:
    """What stands still before a camera."""

    background: Array
    """Median picture in grey levels, (64, 64)."""
    spread: Array
    """Grey levels by which each pixel changes over the episode (standard deviation), (64, 64)."""
    brief_spread: Array
    """The same over the part of the episode that the background is of: an arm that rests there is not seen in it."""

    @classmethod
    def of(cls, frames: Array, part: slice = slice(None)) -> "View":
        """Make one from a part of the pictures of an episode (F, H, W, 3) uint8."""
        grey = frames.mean(axis=-1)
        return cls(np.median(grey[part], axis=0), grey.std(axis=0), grey[part].std(axis=0))


class Change(NamedTuple):
    """How a view differs from another one."""

    pixels: float | None
    """Pixels by which everything lies elsewhere, on average; None when nothing of the scene is found again."""


class Move(NamedTuple):
    """Where a camera is found to have been moved."""

    place: int
    """Which of the stretches it is that is seen from elsewhere."""
    change: Change
    words: str
    """How, in words that go on `camera front ...`."""


def rides_along(stretches: Sequence[Array]) -> bool:
    """Return whether a camera moves all the time, as one on the arm does, from stretches (F, 64, 64, 3) uint8."""
    changes = [np.percentile(_evenly_lit(frames.mean(axis=-1)).std(axis=0), _STEADIEST) for frames in stretches]
    return bool(np.median(changes) > _STEADY)


def _evenly_lit(grey: Array) -> Array:
    """Undo a light that brightens or dims during some pictures in grey levels, (F, H, W)."""
    ratios = np.median(grey, axis=0) / np.maximum(grey, 1.0)
    lit: Array = grey * np.median(ratios, axis=(1, 2), keepdims=True)
    return lit


def moves(stretches: Sequence[Array]) -> Iterator[Move]:
    """Find where a camera was moved since the first of some stretches (F, 64, 64, 3) uint8, between or within them."""
    first: View | None = None
    for place, frames in enumerate(stretches):
        for part in (slice(len(frames) // 2 + 1), slice(len(frames) // 2, None)):
            view = View.of(frames, part)
            first = first or view
            if (change := change_of_view(first, view)) is not None:
                yield Move(place, change, _in_words(change, frames.shape[1]))


def _in_words(change: Change, size: int) -> str:
    if change.pixels is None:
        return "was moved, or the scene rebuilt,"
    return f"was moved, by about {change.pixels:.0f} of {size} pixels,"


def change_of_view(first: View, second: View) -> Change | None:
    """Return how a camera was moved from one view to the other; None where it stands still, as far as can be told."""
    at, alike = _matches(first, second, (first.spread, second.spread))
    if len(at) < _FEW:  # a camera that is moved meanwhile unsettles everything, as an arm does in a plain scene
        at, alike = _matches(first, second, (first.brief_spread, second.brief_spread))
        if len(at) < _RICH:
            return None
    if _ninths(at) < _WIDE:
        return None
    matches = alike >= np.maximum(_ALIKE, alike.max(axis=(1, 2), keepdims=True) - _NEARLY_BEST)
    near = _widened(matches)  # a block between pixels matches one or the other
    stays = float(near[:, _REACH, _REACH].mean())
    if stays >= _STAYS:
        return None
    share, width, pixels = _common_motion(at, alike, near)
    if share >= max(_FOLLOW, stays + _MORE) and width >= _WIDE:
        return Change(pixels)
    same = float((np.abs(first.background - second.background) < _SAME_LEVELS).mean())
    return Change(None) if 1 - stays >= _LOST and same < _MOST_SAME else None


def _matches(first: View, second: View, spreads: tuple[Array, Array]) -> tuple[Array, Array]:
    """Compare blocks of the first view with the second one around their place, where both are steady.

    Returns:
        Middles of the blocks as y, x from the middle of the picture [px], (N, 2), and their correlation with what lies
        up to `_REACH` pixels down and right of their place, (N, 2 * _REACH + 1, 2 * _REACH + 1), -1 outside.
    """
    others, levels = _blocks(second.background)
    others = others / np.maximum(levels, _PLAIN)[..., None]
    blocks, levels = (part[::_STEP, ::_STEP] for part in _blocks(first.background))
    unsteady = [_windows(spread > _UNSTEADY).mean(axis=(2, 3))[::_STEP, ::_STEP] > _MOST_UNSTEADY for spread in spreads]
    rows, columns = np.nonzero((levels >= _TEXTURE) & ~unsteady[0] & ~unsteady[1])
    patterns = blocks[rows, columns] / levels[rows, columns, None]
    correlation = np.tensordot(patterns, others, axes=(1, 2)) / _BLOCK**2
    padded = np.pad(correlation, ((0, 0), (_REACH, _REACH), (_REACH, _REACH)), constant_values=-1.0)
    steps = np.arange(2 * _REACH + 1)
    y, x = (_STEP * place[:, None, None] + steps[grid] for place, grid in ((rows, np.s_[:, None]), (columns, np.s_[:])))
    middles = _STEP * np.stack([rows, columns], axis=1) + (_BLOCK - len(first.background)) / 2
    return middles, padded[np.arange(len(rows))[:, None, None], y, x]


def _windows(picture: Array) -> Array:
    return np.lib.stride_tricks.sliding_window_view(picture, (_BLOCK, _BLOCK))


def _blocks(picture: Array) -> tuple[Array, Array]:
    """Return all blocks of a picture without their mean, (Y, X, pixels), and their standard deviations, (Y, X)."""
    windows = _windows(picture.astype(np.float32))
    blocks = windows.reshape(*windows.shape[:2], -1)
    blocks = blocks - blocks.mean(axis=-1, keepdims=True)
    return blocks, np.sqrt((blocks**2).mean(axis=-1))


def _widened(matches: Array) -> Array:
    """Let a match count at the places around it as well, (N, S, S) bool."""
    padded = np.pad(matches, ((0, 0), (1, 1), (1, 1)))
    wide: Array = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2)).max(axis=(3, 4))
    return wide


def _common_motion(at: Array, alike: Array, near: Array) -> tuple[float, int, float]:
    """Find the shift, turn and scale that most blocks follow, from many pairs of blocks that tell each one.

    Returns:
        Share of the blocks that follow it, in how many ninths of the picture they lie, and by how many pixels it moves
        all of them on average.
    """
    size = alike.shape[1]
    best = alike.reshape(len(alike), -1).argmax(axis=1)
    found = np.flatnonzero(alike.max(axis=(1, 2)) >= _ALIKE)
    if len(found) < 2:
        return 0.0, 0, 0.0
    one, other = np.random.default_rng(0).choice(found, (2, _HYPOTHESES))
    # As complex numbers a shift, turn and scale are one product and one sum.
    place = at[:, 0] + 1j * at[:, 1]
    goal = place + (best // size - _REACH) + 1j * (best % size - _REACH)
    apart = np.abs(place[one] - place[other]) > _BLOCK
    one, other = one[apart], other[apart]
    turn = (goal[one] - goal[other]) / (place[one] - place[other])
    possible = (np.abs(np.abs(turn) - 1) < _MOST_SCALE) & (np.abs(np.angle(turn)) < _MOST_TURN)
    turn, one = turn[possible, None], one[possible]
    moves = turn * (place - place[one, None]) + goal[one, None] - place  # (hypotheses, N)
    moves = moves[np.abs(moves).mean(axis=1) >= _LEAST_MOVE]
    if not len(moves):
        return 0.0, 0, 0.0
    down, right = (np.rint(part).astype(np.int64) + _REACH for part in (moves.real, moves.imag))
    inside = (np.minimum(down, right) >= 0) & (np.maximum(down, right) < size)
    follows = inside & near[np.arange(len(at)), down.clip(0, size - 1), right.clip(0, size - 1)]
    winner = int(follows.sum(axis=1).argmax())
    those = follows[winner]
    return float(those.mean()), _ninths(at[those]), float(np.abs(moves[winner]).mean())


def _ninths(at: Array) -> int:
    """Count the ninths of the picture in which some of the places (N, 2) lie."""
    return len(np.unique(np.floor(at * 3 / 64 + 0.5), axis=0))
