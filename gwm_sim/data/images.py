"""Single pictures: decode PNG and JPEG, and bring every camera to one size."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import av
import numpy as np

from gwm_sim.data.pictures.upright import turn_of_file, upright
from gwm_sim.data.pictures.videos import MAX_PIXELS, colours, level_bits, levels
from gwm_sim.data.reading.checks import Array, reading
from gwm_sim.errors import DataError

_CODECS = {b"\x89PNG": "png", b"\xff\xd8": "mjpeg"}
_DEPTH_CODECS = _CODECS | {b"II*\0": "tiff", b"MM\0*": "tiff"}

SEEN = 0.02
"""By which share a picture may be squeezed unnoticed."""

MOST_CUT = 1 / 8
"""Most of a picture that is cut off so that it need not be squeezed."""


def decode_picture(data: bytes, where: str) -> Array:
    """Decode a PNG or JPEG file, given as bytes, to (H, W, 3) uint8, upright by what its EXIF says.

    Raises:
        DataError: It is damaged, or holds no colours but numbers of 16 bits.
    """
    frame = _decoded(data, where, _CODECS)
    with reading(where):
        return upright(colours(frame, where), turn_of_file(data))


def decode_levels(data: bytes, where: str) -> Array:
    """Decode a PNG or TIFF file of one channel, given as bytes, to its numbers (H, W) uint8 or uint16, upright."""
    frame = _decoded(data, where, _DEPTH_CODECS)
    with reading(where):
        return upright(levels(frame), turn_of_file(data))


def picture_bits(data: bytes, where: str) -> int:
    """Return the bits of each number of a picture file's single channel, or 0 where it shows colours or grey."""
    return level_bits(_decoded(data, where, _DEPTH_CODECS).format)


def _decoded(data: bytes, where: str, codecs: dict[bytes, str]) -> Any:
    codec = next((codec for magic, codec in codecs.items() if data.startswith(magic)), None)
    if codec is None:
        raise DataError(f"{where} is neither PNG nor JPEG.")
    with reading(where):
        context: Any = av.CodecContext.create(codec, "r")
        context.options = {"max_pixels": str(MAX_PIXELS)}
        decoded = [*context.decode(av.Packet(data)), *context.decode(None)]
        if len(decoded) != 1:
            raise DataError(f"{where} is a damaged picture.")
        return decoded[0]


def shrink(picture: Array, size: int) -> Array:
    """Resize a whole picture (H, W, 3) uint8 to (size, size, 3), whatever its shape: a wide one is squeezed."""
    return _resized(picture, (size, size), whole(picture.shape))


def shrink_depth(image: Array, size: int) -> Array:
    """Resize a whole depth image (H, W) float32 [m] to (size, size), as `shrink`."""
    return _resized_depth(image, (size, size), whole(image.shape))


def fit(picture: Array, size: tuple[int, int]) -> Array:
    """Bring a picture (H, W, 3) uint8 to height and width `size`, without squeezing where little is cut off, see
    `part_of`: (*size, 3)."""
    return _resized(picture, size, part_of(picture.shape, size))


def fit_depth(image: Array, size: tuple[int, int]) -> Array:
    """Bring a depth image (H, W) float32 [m] to height and width `size`, as `fit`."""
    return _resized_depth(image, size, part_of(image.shape, size))


class Part(NamedTuple):
    """A part of a picture, its sides parallel to those of the whole [px]; it may begin and end within a pixel."""

    top: float
    left: float
    height: float
    width: float

    def stretch(self, size: tuple[int, int]) -> float:
        """How many times as wide, for its height, things are when the part becomes a picture of some size."""
        return size[1] / size[0] * self.height / self.width


def part_of(shape: Sequence[int], size: tuple[int, int]) -> Part:
    """Return what of a picture of some shape (H, W, ...) becomes one of another size (H, W): the middle.

    It has the proportions of the new size exactly, so that the camera stays one with square pixels that looks the same
    way. The whole is taken where it has them but for `SEEN`, or where more than `MOST_CUT` of it would be cut off:
    what the camera saw at its sides may matter.
    """
    full = whole(shape)
    stretch = full.stretch(size)
    kept = min(stretch, 1 / stretch)
    if kept > 1 - SEEN or kept < 1 - MOST_CUT - 1e-9:
        return full
    height, width = full.height * (kept if stretch > 1 else 1), full.width * (kept if stretch < 1 else 1)
    return Part((full.height - height) / 2, (full.width - width) / 2, height, width)


def in_proportion(shape: Sequence[int], side: int) -> tuple[int, int]:
    """Return height and width of a picture of some shape (H, W, ...) whose smaller side becomes `side` [px].

    The larger side is a multiple of 16, which costs a model the least, or of less where `MOST_CUT` of the picture would
    have to go for that.
    """
    height, width = shape[:2]
    true = side * max(height, width) / min(height, width)
    for step in (16, 8, 4, 2, 1):
        below = int(true // step) * step
        other = min((side, max(side, below), below + step), key=lambda long: abs(math.log(long / true)))
        if abs(math.log(other / true)) <= -math.log(1 - MOST_CUT):
            break
    return (side, other) if height <= width else (other, side)


def whole(shape: Sequence[int]) -> Part:
    """Return all of a picture of some shape (H, W, ...)."""
    return Part(0.0, 0.0, float(shape[0]), float(shape[1]))


def _resized(picture: Array, size: tuple[int, int], part: Part) -> Array:
    """Bring a part of a picture (H, W, 3) uint8 to a size (H, W): each new pixel is the mean over its area."""
    if picture.shape[:2] == size and part == whole(size):
        return np.array(picture)  # a copy: a view would keep the block that it was read with
    rows = _means(picture, size[0], part.top, part.height)  # (H, old W, 3)
    return _means(rows.swapaxes(0, 1), size[1], part.left, part.width).swapaxes(0, 1).round().astype(np.uint8)


def _resized_depth(image: Array, size: tuple[int, int], part: Part) -> Array:
    """Bring a part of a depth image (H, W) to a size (H, W): each new pixel is one of the old ones, at its middle.

    A mean over an edge would be a distance at which nothing is.
    """
    rows = part.top + (np.arange(size[0]) + 0.5) * part.height / size[0]
    columns = part.left + (np.arange(size[1]) + 0.5) * part.width / size[1]
    return image[rows.astype(np.int64)][:, columns.astype(np.int64)]


def _means(values: Array, new: int, begin: float, span: float) -> Array:
    """Return the means of `new` equal parts of a stretch of the first axis, (new, ...) float32.

    A new row takes part of few old ones, so those are added one after the other. A product of matrices would multiply
    mostly zeros, in threads that stall each other where another program wants a core.
    """
    means = np.zeros((new, *values.shape[1:]), np.float32)
    part = np.empty_like(means)
    for rows, shares in zip(*_shares(len(values), new, begin, span), strict=True):
        means += np.multiply(values[rows], shares[:, None, None], out=part)
    return means


@lru_cache(maxsize=16)
def _shares(old: int, new: int, begin: float, span: float) -> tuple[Array, Array]:
    """Return which old rows each new one takes, (most, new), and their shares in it, float32 with sums of 1."""
    edges = begin + np.arange(new + 1) * (span / new)
    begins, ends = edges[:-1, None], edges[1:, None]
    pixels = np.arange(old)
    overlap = np.maximum(np.minimum(ends, pixels + 1) - np.maximum(begins, pixels), 0) * (new / span)  # (new, old)
    most = int((overlap > 0).sum(axis=1).max())
    rows = np.argsort(overlap <= 0, axis=1, kind="stable")[:, :most]  # those of any share first, in their order
    shares = np.take_along_axis(overlap, rows, axis=1)
    return rows.T.copy(), shares.T.astype(np.float32)
