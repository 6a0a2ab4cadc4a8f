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
    rows = np.tensordot(_area_weights(height, size), picture.astype(np.float32), axes=1)  # (size, W, 3)
    pixels = np.tensordot(rows, _area_weights(width, size), axes=(1, 1))  # (size, 3, size)
    return np.asarray(np.moveaxis(pixels, 2, 1).round(), dtype=np.uint8)


def shrink_depth(image: Array, size: int) -> Array:
    """Resize a depth image (H, W) float32 [m] to (size, size): each new pixel is one of the old ones, at its middle.

    A mean over an edge would be a distance at which nothing is.
    """
    rows, columns = (((np.arange(size) + 0.5) * old / size).astype(np.int64) for old in image.shape)
    return image[rows][:, columns]


@lru_cache(maxsize=16)
def _area_weights(old: int, new: int) -> Array:
    """Return how much of each new pixel every old one covers, (new, old) float32, rows summing to 1."""
    edges = np.arange(new + 1)[:, None] * (old / new)
    pixels = np.arange(old)
    overlap = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return np.asarray(np.maximum(overlap, 0) * (new / old), dtype=np.float32)
