"""Files that appear whole or not at all, JSON, and one process at a time."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gwm_sim.errors import ConfigError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary file to write, which takes the place of `path` when the block ends well.

    After a crash, of the program or of the machine, `path` is the old file or the new one, never a piece of it. Folders
    that it needs are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
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
    """Write a value as JSON, whole; what JSON does not know, such as a path, as text.

    Raises:
        ValueError: A number is not finite, for which JSON has no word.
    """
    write_text(path, json.dumps(value, indent=1, allow_nan=False, default=str) + "\n")


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


def _flush(path: Path) -> None:
    """Make sure that a file, or what a folder lists, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
