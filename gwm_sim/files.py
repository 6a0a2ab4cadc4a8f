"""Files that appear whole or not at all, JSON, and one process at a time."""

import fcntl
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gwm_sim.errors import ConfigError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary file to write, which takes the place of `path` when the block ends well.

    After a crash, of the program or of the machine, `path` is the old file or the new one, never a piece of it; what is
    left of the temporary file is written over the next time. Folders that it needs are made. A link stays and leads to
    the new file, and what is no file, such as /dev/stdout, is written to as it is.
    """
    path = Path(path).resolve() if Path(path).is_file() else Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        yield path
        return
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as JSON, whole: a path as text, and null for a number that is not finite, which JSON cannot say."""
    write_text(path, json.dumps(_finite(value), indent=1, allow_nan=False, default=os.fspath) + "\n")


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock on the file `path`, which is made if need be; it ends with the process that holds it.

    Args:
        path: Lock file.
        what: What it protects, for the message.

    Raises:
        ConfigError: Another process holds it.
    """
    with open(path, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another process works on {what}: stop it first, or give another --out") from None
        yield


def _finite(value: Any) -> Any:
    """A value with None in place of numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flush(path: Path) -> None:
    """Make sure that a file, or what a folder lists, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
