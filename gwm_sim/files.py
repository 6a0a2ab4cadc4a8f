"""Files that appear whole or not at all, JSON, and one process at a time."""

import fcntl
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from gwm_sim.errors import ConfigError, GwmError, StorageError
from gwm_sim.storage import lacks_locks, trouble


@contextmanager
def replacing(path: str | Path, suffix: str = ".tmp") -> Iterator[Path]:
    """Give a temporary file to write, `path` and a suffix, which takes the place of `path` when the block ends well.

    After a crash, of the program or of the machine, `path` is the old file or the new one, never a piece of it; what is
    left of the temporary file is written over the next time. Folders that it needs are made. A link stays and leads to
    the new file, and what is no file, such as /dev/stdout, is written to as it is.
    """
    path = Path(path).resolve() if Path(path).is_file() else Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        yield path
        return
    temporary = path.with_name(f"{path.name}{suffix}")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # a write that fails does not say it
            error.filename = os.fspath(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole, in UTF-8; what of a file's name is none is written as its escape."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as JSON, whole: a path as text, and null for a number that is not finite, which JSON cannot say."""
    write_text(path, json.dumps(_finite(value), indent=1, allow_nan=False, default=os.fspath) + "\n")


def check_json(path: Path) -> None:
    """Refuse to write the numbers of a verb over something else, such as the data that they are of.

    Raises:
        ConfigError: There is a folder, or a file that is no JSON.
    """
    if path.is_dir():
        raise ConfigError(f"--json {path} is a folder: give the name of a file.")
    if path.is_file():
        with path.open("rb") as file:
            if file.read(64).lstrip()[:1] not in (b"", b"{", b"["):
                raise ConfigError(f"--json {path} exists and is no JSON: it is left as it is. Give another name.")


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock on the file `path`, which is made if need be; it ends with the process that holds it.

    Storage without locks, as clusters have it, is told to the user, who then has to see to it.

    Args:
        path: Lock file.
        what: What it protects, for the message.

    Raises:
        ConfigError: Another process holds it.
    """
    with open(path, "a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another process works on {what}: stop it first, or give another --out") from None
        except OSError as error:
            if not lacks_locks(error):
                raise
            note = f"note: the storage of {what} has no file locks: let no second process work on it."
            print(note, file=sys.stderr, flush=True)
        yield


@contextmanager
def keeping(kept: Callable[[], str]) -> Iterator[None]:
    """Let what stops a block, the user or the storage, say what is kept of its work.

    Args:
        kept: Says what, and how to go on; empty where there is nothing.

    Raises:
        KeyboardInterrupt: The user stopped it.
        StorageError: The storage did, such as a full disk.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(kept()) from None
    except StorageError as error:  # of a worker process, or of a block within this one
        if kept() in str(error):
            raise
        raise StorageError(f"{error} {kept()}") from error
    except GwmError:
        raise
    except Exception as error:
        if (why := trouble(error)) is None:
            raise
        raise StorageError(f"{why}. {kept()}".rstrip()) from error


def _finite(value: Any) -> Any:
    """A value with None in place of numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flush(path: Path) -> None:
    """Make sure that a file, or what a folder lists, is on the disk; some storage cannot say so of folders."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError) if path.is_dir() else nullcontext():
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
