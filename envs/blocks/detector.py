"""Finds coloured cubes in pictures: one blob per colour, with its centroid and its area.

The same detector reads true and decoded frames, so its bias cancels. Hue says to which colour a pixel belongs and
saturation how much of the pixel the cube covers: shading and shadows leave both alone, and saturation falls about
linearly where an edge, or a cube that fades, blends into a grey background. Pixels of a colour that touch, also at
corners, form a blob; the largest one is the cube, so specks elsewhere do not pull the centroid. Knows numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

HUES = {
    "red": (315, 25),
    "orange": (25, 42),
    "yellow": (42, 75),
    "green": (75, 165),
    "cyan": (165, 200),
    "blue": (200, 285),
}
"""From and to which hue a colour reaches [deg]. Purple is left out: it is where red and blue edges blend."""

SATURATION = (0.2, 0.8)
"""Chroma over brightness of a pixel that a cube covers not at all, and wholly; at 0.5 it counts as half covered."""

MIN_CHROMA = 25
"""Difference of the largest and smallest channel, in grey levels: below it, hue and saturation are noise."""

MIN_AREA = 4  # smallest area that counts as a cube [px]

_CHUNK = 256  # pictures at once: keeps temporary arrays within some tens of megabytes


@dataclass(frozen=True)
class Blobs:
    """Cubes found in pictures; K colours."""

    centroid: Array
    """Mean (column, row), weighted by coverage, integers at pixel centres, (..., K, 2) float64; NaN where missing."""
    area: Array  # number of pixels that are at least half covered, (..., K) int64; 0 where missing

    @property
    def found(self) -> Array:
        """Whether there is a blob, (..., K) bool."""
        return self.area > 0


def colour_of(name: str) -> str | None:
    """Return the colour that an object's name says, as in `red` or `red_cube`; None if it says none."""
    return next((word for word in name.lower().replace("-", "_").split("_") if word in HUES), None)


def detect(frames: Array, colours: Sequence[str]) -> Blobs:
    """Find the largest blob of each colour in each picture.

    Args:
        frames: Pictures, (..., H, W, 3) uint8.
        colours: Keys of `HUES`, K of them.

    Raises:
        ValueError: The pictures have another shape or type, or a colour is unknown.
    """
    unknown = [colour for colour in colours if colour not in HUES]
    if unknown:
        raise ValueError(f"unknown colours {unknown}: choose from {', '.join(HUES)}")
    if frames.dtype != np.uint8 or frames.ndim < 3 or frames.shape[-1] != 3:
        raise ValueError(f"frames must be uint8 (..., H, W, 3), got {frames.dtype} {frames.shape}")
    lead = frames.shape[:-3]
    pictures = frames.reshape(-1, *frames.shape[-3:])
    centroid = np.full((len(pictures), len(colours), 2), np.nan)
    area = np.zeros((len(pictures), len(colours)), np.int64)
    for start in range(0, len(pictures), _CHUNK):
        rows = slice(start, start + _CHUNK)
        covered = coverage(pictures[rows], colours)
        found, area[rows] = _largest_blobs(covered.reshape(-1, *covered.shape[2:]), covered.shape[:2])
        centroid[rows] = found
    return Blobs(centroid.reshape(*lead, len(colours), 2), area.reshape(*lead, len(colours)))


def coverage(frames: Array, colours: Sequence[str]) -> Array:
    """Return how much of each pixel each colour covers, (B, H, W, 3) uint8 -> (B, K, H, W) float32 in [0, 1]."""
    covered = np.zeros((len(frames), len(colours), *frames.shape[1:3]), np.float32)
    brightest = frames.max(axis=-1)
    chroma = brightest - frames.min(axis=-1)
    none, whole = SATURATION
    where = np.nonzero((chroma >= MIN_CHROMA) & (chroma > none * brightest))
    share = np.clip((chroma[where] / brightest[where] - none) / (whole - none), 0, 1)
    hue = _hue(frames[where].astype(np.float32))
    for k, colour in enumerate(colours):
        low, high = HUES[colour]
        inside = (hue - low) % 360 < (high - low) % 360
        image, row, column = (index[inside] for index in where)
        covered[image, k, row, column] = share[inside]
    return covered


def _hue(pixels: Array) -> Array:
    """Hue of coloured pixels [deg], (M, 3) -> (M,) in [0, 360)."""
    red, green, blue = pixels.T
    brightest = pixels.max(axis=-1)
    chroma = brightest - pixels.min(axis=-1)
    sextant = np.select(
        [brightest == red, brightest == green],
        [(green - blue) / chroma, (blue - red) / chroma + 2],
        (red - green) / chroma + 4,
    )
    hue: Array = (60 * sextant) % 360
    return hue


def _largest_blobs(covered: Array, lead: tuple[int, ...]) -> tuple[Array, Array]:
    """Centroid (*lead, 2) and area (*lead,) of the blob of largest area in each coverage map, (B, H, W)."""
    image, row, column = np.nonzero(covered)
    weight = covered[image, row, column]
    blob = _label(covered > 0)
    size = np.bincount(blob, weights=weight >= 0.5, minlength=1).astype(np.int64)
    # Among blobs of equal size the first one wins: its label, the index of its first pixel, is the smallest.
    rank = size[blob] * (len(blob) + 1) - blob
    largest = np.full(len(covered), -len(blob) - 1)
    np.maximum.at(largest, image, rank)
    chosen = rank == largest[image]

    def total(values: Array) -> Array:
        return np.bincount(image[chosen], weights=values[chosen], minlength=len(covered))

    area = total(weight >= 0.5).astype(np.int64)
    area[area < MIN_AREA] = 0
    divisor = np.where(area > 0, total(weight), np.nan)
    centroid = np.stack([total(weight * axis) / divisor for axis in (column, row)], axis=-1)
    return centroid.reshape(*lead, 2), area.reshape(lead)


def _label(masks: Array) -> Array:
    """Number the blobs of masks (B, H, W) bool: for each of the M set pixels the first pixel of its blob, (M,) int64.

    Works on the set pixels alone, of which there are few. Every pixel takes the smallest label of its neighbours and
    then the label of that label, until nothing changes; the second step makes labels travel far in few rounds.
    """
    image, row, column = np.nonzero(masks)
    count = len(image)
    # Index of every set pixel among the set ones; unset pixels and the border hold `count`, a label that never wins.
    index = np.full(np.add(masks.shape, (0, 2, 2)), count, np.int64)
    index[image, row + 1, column + 1] = np.arange(count)
    neighbours = np.stack([index[image, row + down, column + right] for down in range(3) for right in range(3)])
    label = np.arange(count + 1)
    while True:
        smallest = np.append(label[neighbours].min(axis=0, initial=count), count)
        smallest = smallest[smallest]
        if np.array_equal(smallest, label):
            return label[:count]
        label = smallest
