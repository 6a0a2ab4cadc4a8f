"""Parquet files by strangers: some columns, of one episode if told; and which file holds the rows of which episode."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from gwm_sim.data.reading.checks import brief, reading
from gwm_sim.errors import DataError
from gwm_sim.storage import reason

EPISODE = "episode_index"
"""Column that says to which episode a row belongs."""


_MOST_BYTES = 200_000_000
"""Size of a file whose numbers are kept for its other episodes; LeRobot writes files of at most half of it."""


def read_numbers(path: Path, columns: Sequence[str], episode: int) -> Any:
    """Read columns of numbers of an episode; those of all episodes of a file are read once.

    One group of rows may hold a whole file, which would else be decoded for every episode again.
    """
    with reading(path):
        status = path.stat()
    if status.st_size > _MOST_BYTES:
        return read_table(path, columns, episode)
    try:
        table = _kept_table(path, tuple(columns), status.st_size, status.st_mtime_ns)
    except DataError:  # perhaps of another episode
        return read_table(path, columns, episode)
    with reading(path):
        return table.filter(table[EPISODE].to_numpy() == episode)


@lru_cache(maxsize=3)
def _kept_table(path: Path, columns: tuple[str, ...], size: int, changed: int) -> Any:
    return read_table(path, columns)


def read_table(path: Path, columns: Sequence[str], episode: int | None = None, optional: Sequence[str] = ()) -> Any:
    """Read columns of a file, and others where it has them; statistics of the row groups keep other episodes unread."""
    import pyarrow.parquet  # late: it is optional

    filters = None if episode is None else [(EPISODE, "=", episode)]
    try:
        found = set(pyarrow.parquet.read_schema(path).names)
        missing = [name for name in columns if name not in found]
        if missing:
            raise DataError(f"{path} has no column {missing[0]!r}; it has {brief(sorted(found))}.")
        wanted = [*columns, *(name for name in optional if name in found)]
        return pyarrow.parquet.read_table(path, columns=wanted, filters=filters, partitioning=None)
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, MemoryError) as error:
        if (refused := reason(error)) is not None:
            raise DataError(f"{path} cannot be read: {refused}.") from error
        raise DataError(
            f"{path} is damaged or was never finished ({str(error).splitlines()[0][:200]}). "
            "A recording must end with dataset.finalize(); else copy the file again."
        ) from error


def first_cell(path: Path, column: str) -> Any:
    """Read the first cell of a column, and as little else as can be."""
    import pyarrow.parquet

    with reading(path), pyarrow.parquet.ParquetFile(path) as file:
        return next(file.iter_batches(1, columns=[column]))[column][0].as_py()


def rows_by_episode(files: Sequence[Path]) -> dict[int, dict[Path, int]]:
    """Count the rows of every episode in every file; a file that cannot be read holds none."""
    counts: dict[int, dict[Path, int]] = {}
    for path in files:
        try:
            found = read_table(path, [EPISODE]).column(EPISODE).value_counts().to_pylist()
        except DataError:
            continue
        for item in found:
            if isinstance(item["values"], int):
                counts.setdefault(item["values"], {})[path] = item["counts"]
    return counts
