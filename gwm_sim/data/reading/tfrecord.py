"""TFRecord files and the `tf.train.Example` messages in them, read without TensorFlow.

    length (8 bytes, little endian)    masked CRC-32C of it (4)    message    masked CRC-32C of it (4)

The packages that read them bring TensorFlow along, or read from the start of a file, believe every length and check
nothing. Here a record is found by its place, and one record is in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from gwm_sim.data.reading.checks import MAX_ROWS, Array, reading
from gwm_sim.errors import DataError

_MAX_BYTES = 1 << 31
"""Bytes of one message: more than that protobuf does not write."""

_LANE = 256
"""Bytes that the checksum takes one after the other, many lanes at once."""


@dataclass(frozen=True)
class Place:
    """Where a message lies in its file."""

    path: Path
    number: int
    start: int
    length: int

    def __str__(self) -> str:
        return f"{self.path}, record {self.number}"


def places(path: Path) -> list[Place]:
    """Find all records of a file by their lengths; reads no message.

    Raises:
        DataError: The file is truncated, or is no TFRecord file.
    """
    found: list[Place] = []
    at, size = 0, path.stat().st_size
    with reading(path), open(path, "rb") as file:
        while at < size:
            file.seek(at)
            head, where = file.read(12), f"{path}, record {len(found)}"
            if len(head) == 12 and masked(crc32c(head[:8])) != int.from_bytes(head[8:], "little"):
                raise DataError(
                    f"{where} begins with no length: the file is damaged, compressed, or no TFRecord. "
                    "Copy it again, or decompress it."
                )
            length = int.from_bytes(head[:8], "little")
            if len(head) < 12 or length > _MAX_BYTES or at + 16 + length > size:
                raise DataError(f"{where} is cut off at byte {size:,}: the file is truncated. Copy it again.")
            if len(found) >= MAX_ROWS:
                raise DataError(f"{path} has more than {MAX_ROWS:,} records.")
            found.append(Place(path, len(found), at + 12, length))
            at += 16 + length
    return found


def message(place: Place) -> bytes:
    """Read one record, and check that it is what was written."""
    with reading(place.path), open(place.path, "rb") as file:
        file.seek(place.start)
        data, checksum = file.read(place.length), file.read(4)
    if len(data) < place.length or masked(crc32c(data)) != int.from_bytes(checksum, "little"):
        raise DataError(f"{place} is damaged: its checksum is another one. Copy the file again.")
    return data


@dataclass(frozen=True)
class Values:
    """The values of one feature, not yet decoded."""

    kind: Literal["bytes", "floats", "integers"]
    message: memoryview

    def floats(self) -> Array:
        """Return numbers, (N,) float32, or int64 where integers are stored."""
        parts: list[Array] = []
        for number, wire, value in _fields(self.message):
            if number != 1:
                continue
            if self.kind == "floats" and wire in (2, 5):
                parts.append(np.frombuffer(value, "<f4"))
            elif self.kind == "integers" and wire in (0, 2):
                parts.append(_integers(value))
            else:
                raise ValueError(f"holds {self.kind} where numbers are expected")
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def texts(self) -> list[memoryview]:
        """Return strings of bytes, pictures or texts."""
        if self.kind != "bytes":
            raise ValueError(f"holds {self.kind} where bytes are expected")
        return [value for number, wire, value in _fields(self.message) if (number, wire) == (1, 2)]


def example(data: bytes) -> dict[str, Values]:
    """Return the features of a `tf.train.Example` by their names."""
    kinds: dict[int, Literal["bytes", "floats", "integers"]] = {1: "bytes", 2: "floats", 3: "integers"}
    found = {}
    for features in _members(memoryview(data), 1):
        for entry in _members(features, 1):
            name = b"".join(_members(entry, 1)).decode()
            for feature in _members(entry, 2):
                for number, wire, value in _fields(feature):
                    if number in kinds and wire == 2:
                        found[name] = Values(kinds[number], value)
    return found


def _members(data: memoryview, wanted: int) -> Iterator[memoryview]:
    return (value for number, wire, value in _fields(data) if (number, wire) == (wanted, 2))


def _fields(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield number, wire type and content of the fields of a protobuf message."""
    at = 0
    while at < len(data):
        tag, begin = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _, end = _varint(data, begin)
        elif wire == 2:
            length, begin = _varint(data, begin)
            end = begin + length
        elif wire in (1, 5):
            end = begin + (8 if wire == 1 else 4)
        else:
            raise ValueError(f"a field of wire type {wire}, which is no longer written")
        if end > len(data):
            raise ValueError("a field that is longer than its message")
        yield number, wire, data[begin:end]
        at = end


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for i in range(10):
        if at + i >= len(data):
            break
        value |= (data[at + i] & 0x7F) << 7 * i
        if data[at + i] < 0x80:
            return value, at + i + 1
    raise ValueError("a number without an end")


def _integers(data: memoryview) -> Array:
    """Decode numbers of seven bits per byte, (N,) int64."""
    stored = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(stored < 0x80)
    if not len(stored):
        return np.zeros(0, np.int64)
    if not len(ends) or ends[-1] != len(stored) - 1:
        raise ValueError("a number without an end")
    starts = np.concatenate([[0], ends[:-1] + 1])
    places = np.arange(len(stored)) - np.repeat(starts, ends - starts + 1)
    if places.max() > 9:
        raise ValueError("a number of more than 64 bits")
    parts = (stored & 0x7F).astype(np.uint64) << (7 * places).astype(np.uint64)
    return np.bitwise_or.reduceat(parts, starts).astype(np.int64)


def masked(checksum: int) -> int:
    """Return a checksum as it is stored, so that one of data with checksums in them is still a good one."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """Return the checksum of Castagnoli: lanes of bytes side by side, then joined."""
    table, advance = _tables()
    lanes = len(data) // _LANE
    checksum = 0xFFFFFFFF
    if lanes:
        rests = np.zeros(lanes, np.uint32)
        for column in np.ascontiguousarray(np.frombuffer(data, np.uint8, lanes * _LANE).reshape(lanes, _LANE).T):
            rests = table[(rests ^ column) & 0xFF] ^ rests >> 8
        a, b, c, d = advance
        for rest in rests.tolist():
            moved = a[checksum & 0xFF] ^ b[checksum >> 8 & 0xFF] ^ c[checksum >> 16 & 0xFF] ^ d[checksum >> 24]
            checksum = moved ^ rest
    steps = table.tolist() if len(data) > lanes * _LANE else []
    for byte in data[lanes * _LANE :]:
        checksum = steps[(checksum ^ byte) & 0xFF] ^ checksum >> 8
    return checksum ^ 0xFFFFFFFF


@cache
def _tables() -> tuple[Array, list[list[int]]]:
    """Return what one byte does to the checksum, (256,), and what a lane of zeros does to each of its four bytes."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(0x82F63B78), table >> 1)
    states = (np.arange(256, dtype=np.uint32) << np.arange(0, 32, 8, dtype=np.uint32)[:, None]).ravel()
    for _ in range(_LANE):
        states = table[states & 0xFF] ^ states >> 8
    return table, states.reshape(4, 256).tolist()
