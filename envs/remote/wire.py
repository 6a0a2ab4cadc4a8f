"""How answers with pictures travel: a JSON header, and after it the bytes that the header points to.

A message is the length of its header (4 bytes, little-endian), the header (JSON in UTF-8), and a tail. A picture stands
in the header as `{"format", "dtype", "shape", "at": [offset, length]}`, the offset counted from the beginning of the
tail. Server and client share this page, which needs numpy and the standard library alone.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

API: Final = 1  # version of the interface, also the first part of its paths
MOST_BYTES: Final = 4_000_000  # of a request
MEDIA_TYPE: Final = "application/x-gwm"
_LENGTH: Final = struct.Struct("<I")


def pack(header: Mapping[str, Any], tail: Sequence[bytes] = ()) -> bytes:
    """Return one message.

    Raises:
        ValueError: The header holds a number that is not finite.
    """
    told = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    return b"".join((_LENGTH.pack(len(told)), told, *tail))


def unpack(message: bytes) -> tuple[dict[str, Any], memoryview]:
    """Return header and tail of a message.

    Raises:
        ValueError: It is none.
    """
    if len(message) < _LENGTH.size:
        raise ValueError(f"a message has at least {_LENGTH.size} bytes, got {len(message)}")
    end = _LENGTH.size + _LENGTH.unpack_from(message)[0]
    if end > len(message):
        raise ValueError(f"the header ends at byte {end} of a message of {len(message)}")
    header = json.loads(bytes(message[_LENGTH.size : end]))
    if not isinstance(header, dict):
        raise ValueError("the header of a message is a JSON object")
    return header, memoryview(message)[end:]


def array(told: Mapping[str, Any], tail: memoryview) -> NDArray[Any]:
    """Return the array that a header tells of, which came as raw bytes, in fresh memory.

    Raises:
        ValueError: Its bytes are not there, or are those of a picture file.
    """
    if told["format"] != "raw":
        raise ValueError(f"an array comes as raw bytes, got {told['format']!r}")
    offset, length = told["at"]
    values = np.frombuffer(tail[offset : offset + length], np.dtype(told["dtype"]))
    return values.reshape(told["shape"]).copy()
