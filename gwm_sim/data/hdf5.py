"""HDF5 files of any storage: read where there are no locks, and written where the disk may be full.

The HDF5 library does not survive a write that fails: it tries again whenever an object is let go, prints what it thinks
of that, and at times ends the process. So it writes to what never fails, and what the disk refused is raised after.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from gwm_sim.errors import DataError
from gwm_sim.storage import lacks_locks, reason

_METADATA_BYTES = 2**18
"""What is kept in memory of how a file is built. HDF5 would keep up to 32 MB of each, and read no faster."""


def open_file(path: Path) -> h5py.File:
    """Open a file to read.

    Raises:
        DataError: It cannot be read; the message says whether that lies in the storage or in the file.
    """
    try:
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            if not lacks_locks(error):
                raise
            file = h5py.File(path, "r", locking=False)
        config = file.id.get_mdc_config()
        config.set_initial_size = True
        config.initial_size = config.min_size = config.max_size = _METADATA_BYTES
        file.id.set_mdc_config(config)
        return file
    except OSError as error:
        if (why := reason(error)) is not None:
            raise DataError(f"{path} cannot be read: {why}.") from error
        raise DataError(f"{path} is truncated or no HDF5 file: {error}. Copy it again.") from error


class NewFile(h5py.File):  # type: ignore[misc]  # h5py has no types
    """A file that is being written."""

    def __init__(self, raw: Any, **options: Any) -> None:
        self.sink = _Sink(raw)
        super().__init__(self.sink, "w", **options)

    def check(self) -> None:
        """Raise what the disk has refused until now, so that long work does not go on for nothing."""
        self.sink.check()


@contextmanager
def new_file(path: Path, **options: Any) -> Iterator[NewFile]:
    """Give a file to write at `path`, in place of what is there; `options` are those of `h5py.File`.

    Raises:
        OSError: The disk refuses, as the end of the block or `NewFile.check` says.
    """
    with open(path, "w+b", buffering=0) as raw:
        file = NewFile(raw, **options)
        try:
            with file:
                yield file
        except Exception:
            file.check()  # what else went wrong may come of it
            raise
        file.check()


class _Sink:
    """A file object that keeps the first error for later: whatever is written after it is lost, and read as zeros."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._error: OSError | None = None

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._raw.seek(offset, whence))

    def tell(self) -> int:
        return int(self._raw.tell())

    def read(self, size: int) -> bytes:
        data = bytearray(size)
        self.readinto(data)
        return bytes(data)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        read = 0
        while read < len(view) and (more := self._raw.readinto(view[read:])):
            read += more
        view[read:] = bytes(len(view) - read)
        return len(view)

    def write(self, data: Any) -> int:
        view = memoryview(data)
        rest = view
        try:
            while self._error is None and len(rest):
                rest = rest[self._raw.write(rest) :]
        except OSError as error:
            self._keep(error)
        return len(view)

    def truncate(self, size: int) -> int:
        try:
            if self._error is None:
                self._raw.truncate(size)
        except OSError as error:
            self._keep(error)
        return size

    def flush(self) -> None:
        """Nothing is held back."""

    def _keep(self, error: OSError) -> None:
        error.filename = self._raw.name
        self._error = error
