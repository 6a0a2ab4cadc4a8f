"""Which way is up: the turn that a camera wrote beside its pictures, in their EXIF or in the matrix of a film.

Phones and many other cameras store pictures as their sensor reads them, and say how to turn them.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gwm_sim.arrays import Array


class Turn(NamedTuple):
    """What makes a stored picture upright, in this order."""

    transposed: bool = False
    """Rows become columns."""
    rows: bool = False
    """The last row comes first."""
    columns: bool = False
    """The last column comes first."""


AS_IT_IS = Turn()

_ORIENTATIONS = {
    2: Turn(columns=True),
    3: Turn(rows=True, columns=True),
    4: Turn(rows=True),
    5: Turn(transposed=True),
    6: Turn(transposed=True, columns=True),
    7: Turn(transposed=True, rows=True, columns=True),
    8: Turn(transposed=True, rows=True),
}
"""The values of EXIF's orientation; 1 is upright."""

_ORIENTATION_TAG, _SHORT = 0x0112, 3
_QUARTERS = (AS_IT_IS, _ORIENTATIONS[6], _ORIENTATIONS[3], _ORIENTATIONS[8])
"""Turns by quarters, clockwise."""


def upright(picture: Array, turn: Turn) -> Array:
    """Turn a picture (H, W, ...) as told."""
    if turn == AS_IT_IS:
        return picture
    turned = picture.swapaxes(0, 1) if turn.transposed else picture
    turned = turned[::-1] if turn.rows else turned
    turned = turned[:, ::-1] if turn.columns else turned
    return np.ascontiguousarray(turned)


def turn_of_degrees(clockwise: float) -> Turn:
    """Return the turn by an angle [deg], to the nearest quarter: pictures have four sides."""
    return _QUARTERS[round(clockwise / 90) % 4]


def turn_of_matrix(matrix: Sequence[int]) -> Turn:
    """Return the turn that a film's display matrix asks for, (9,): (p, q) is shown at (a p + c q, b p + d q).

    Args:
        matrix: The numbers a, b, u, c, d, v, x, y, w in their order; only signs and which is larger count.
    """
    a, b, _, c, d = matrix[:5]
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Turn(transposed=True, rows=b < 0, columns=c < 0)
    return Turn(rows=d < 0, columns=a < 0)


def turn_of_file(data: bytes) -> Turn:
    """Return the turn that the EXIF of a picture file asks for; what is damaged or missing asks for none."""
    try:
        orientation = next((found for exif in _exif(data) if (found := _orientation(exif)) is not None), None)
    except struct.error:
        return AS_IT_IS
    return AS_IT_IS if orientation is None else _ORIENTATIONS.get(orientation, AS_IT_IS)


def _exif(data: bytes) -> Iterator[bytes]:
    """Yield the EXIF blocks of a JPEG, PNG or TIFF file."""
    if data.startswith(b"\xff\xd8"):
        yield from _segments(data)
    elif data.startswith(b"\x89PNG"):
        yield from _chunks(data)
    elif data.startswith((b"II*\0", b"MM\0*")):
        yield data


def _segments(data: bytes) -> Iterator[bytes]:
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        kind, length = data[place + 1], struct.unpack_from(">H", data, place + 2)[0]
        if kind == 0xFF:  # any number of these may fill the space between segments
            place += 1
            continue
        if kind == 0xDA or length < 2:  # the picture itself begins
            return
        segment = data[place + 4 : place + 2 + length]
        if kind == 0xE1 and segment.startswith(b"Exif\0\0"):
            yield segment[6:]
        place += 2 + length


def _chunks(data: bytes) -> Iterator[bytes]:
    place = 8
    while place + 8 <= len(data):
        length = struct.unpack_from(">I", data, place)[0]
        if data[place + 4 : place + 8] == b"eXIf":
            yield data[place + 8 : place + 8 + length]
        place += 12 + length


def _orientation(exif: bytes) -> int | None:
    """Find the orientation in the first directory of an EXIF block, which is laid out as a TIFF file."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return None
    start = struct.unpack_from(f"{order}I", exif, 4)[0]
    for entry in range(struct.unpack_from(f"{order}H", exif, start)[0]):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * entry)
        if (tag, kind) == (_ORIENTATION_TAG, _SHORT):
            return int(value)
    return None
