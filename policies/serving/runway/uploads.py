"""What clients sent and mean to ask for: in memory alone, so much and no more, the oldest goes first."""

from collections import OrderedDict
from typing import Final

from gwm_sim.policies.serving.errors import unknown

MOST: Final = 256
MOST_BYTES: Final = 32_000_000


class Uploads:
    """Files by name."""

    def __init__(self) -> None:
        """Begin with none."""
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    def put(self, name: str, data: bytes) -> None:
        """Keep a file, and let go what there is no place for."""
        self._bytes += len(data) - len(self._files.pop(name, b""))
        self._files[name] = data
        while len(self._files) > MOST or self._bytes > MOST_BYTES:
            self._bytes -= len(self._files.popitem(last=False)[1])

    def get(self, name: str) -> bytes:
        """The file of a name.

        Raises:
            ServingError: There is none, or none any more.
        """
        if name not in self._files:
            raise unknown("upload", name[:64])
        return self._files[name]
