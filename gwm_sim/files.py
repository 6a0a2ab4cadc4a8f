"""One process at a time: a lock that ends with the process that holds it, however that ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gwm_sim.errors import ConfigError


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock on the file `path`, which is made if need be.

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
