"""Single pictures: decode PNG and JPEG, and bring every camera to one size."""

from functools import lru_cache
from typing import Any

import av
import numpy as np

from gwm_sim.data.pictures.upright import turn_of_file, upright
from gwm_sim.data.pictures.videos import MAX_PIXELS, colours, level_bits, levels
from gwm_sim.data.reading.checks import Array, reading
from gwm_sim.errors import DataError

_CODECS = {b"\x89PNG": "png", b"\xff\xd8": "mjpeg"}
_DEPTH_CODECS = _CODECS | {b"II*\0": "tiff", b"MM\0*": "tiff"}


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
    """Resize a picture (H, W, 3) uint8 to (size, size, 3): each new pixel is the mean over its area.

    The whole picture is kept, whatever its shape: what the camera saw at its sides may matter, and a world model
    does not mind pixels that are not square.
    """
    height, width = picture.shape[:2]
    if (height, width) == (size, size):
        return np.array(picture)  # a copy: a view would keep the block that it was read with
    rows = _means(picture, size)  # (size, W, 3)
    return _means(rows.swapaxes(0, 1), size).swapaxes(0, 1).round().astype(np.uint8)


def shrink_depth(image: Array, size: int) -> Array:
    """Resize a depth image (H, W) float32 [m] to (size, size): each new pixel is one of the old ones, at its middle.

    A mean over an edge would be a distance at which nothing is.
    """
    rows, columns = (((np.arange(size) + 0.5) * old / size).astype(np.int64) for old in image.shape)
    return image[rows][:, columns]


def _means(values: Array, new: int) -> Array:
    """Return the means of `new` equal parts of the first axis, (new, ...) float32.

    A new row takes part of few old ones, so those are added one after the other. A product of matrices would multiply
    mostly zeros, in threads that stall each other where another program wants a core.
    """
    means = np.zeros((new, *values.shape[1:]), np.float32)
    part = np.empty_like(means)
    for rows, shares in zip(*_shares(len(values), new), strict=True):
        means += np.multiply(values[rows], shares[:, None, None], out=part)
    return means


@lru_cache(maxsize=16)
def _shares(old: int, new: int) -> tuple[Array, Array]:
    """Return which old rows each new one takes, (most, new), and their shares in it, float32 with sums of 1."""
    edges = np.arange(new + 1) * (old / new)
    begins, ends = edges[:-1, None], edges[1:, None]
    pixels = np.arange(old)
    overlap = np.maximum(np.minimum(ends, pixels + 1) - np.maximum(begins, pixels), 0) * (new / old)  # (new, old)
    most = int((overlap > 0).sum(axis=1).max())
    rows = np.argsort(overlap <= 0, axis=1, kind="stable")[:, :most]  # those of any share first, in their order
    shares = np.take_along_axis(overlap, rows, axis=1)
    return rows.T.copy(), shares.T.astype(np.float32)
