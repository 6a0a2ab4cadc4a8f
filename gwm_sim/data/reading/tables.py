"""CSV tables by strangers: numbers under names, whatever stands between them; what is wrong is named by its cell.

Commas, semicolons or tabs separate values. Where commas do not, they may be decimal ones. Blank lines are passed over.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gwm_sim.data.reading.checks import MAX_ROWS, Array, brief, reading
from gwm_sim.errors import DataError

_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class Table:
    """What a file holds, R rows."""

    names: tuple[str, ...]
    values: Array
    """(R, columns) float64, finite; zeros in the column of the moments."""
    moments: tuple[str, ...] | None
    """When each row was, as it is written; None without such a column."""
    lines: tuple[int, ...]
    """Line of the file that each row ends on."""


def read_table(path: Path, moments_in: Callable[[list[str]], int | None]) -> Table:
    """Read a table.

    Args:
        path: File, in UTF-8.
        moments_in: Given the names, refuses wrong ones and returns the column that holds moments, if there is one.

    Raises:
        DataError: A cell is no number, a row has too many or too few, or the file is damaged.
    """
    with reading(path), open(path, newline="", encoding="utf-8-sig") as file:
        text = _first_line(file)
        delimiter = max(_DELIMITERS, key=text.count)
        file.seek(0)
        lines = csv.reader(file, strict=True, delimiter=delimiter)
        names = next(([name.strip() for name in line] for line in lines if any(line)), [])
        clock = moments_in(names)
        rows = _Rows(path, names, clock, delimiter)
        for line in lines:
            rows.add(line, lines.line_num)
        return rows.table()


def _first_line(file: Any) -> str:
    return next((line for line in file if line.strip()), "")


class _Rows:
    """The rows of a table while they are read."""

    def __init__(self, path: Path, names: list[str], clock: int | None, delimiter: str) -> None:
        self._path, self._names, self._clock, self._delimiter = path, names, clock, delimiter
        self._rows: list[list[float]] = []
        self._moments: list[str] = []
        self._lines: list[int] = []
        self._empty: int | None = None  # line of delimiters alone: the end of a spreadsheet, if nothing follows
        self._decimals: dict[str, int] = {}  # line on which a point and a comma was first seen within a number

    def add(self, line: list[str], number: int) -> None:
        """Read a line."""
        if not line or (len(line) == 1 and not line[0].strip()):
            return
        if not any(cell.strip() for cell in line):
            self._empty = self._empty or number
            return
        if self._empty is not None:
            raise DataError(f"{self._path}, line {self._empty} holds no value. {self._remedy}")
        if len(line) != len(self._names):
            raise DataError(self._wrong_count(line, number))
        if len(self._rows) >= MAX_ROWS:
            raise DataError(f"{self._path} has more than {MAX_ROWS:,} rows.")
        self._rows.append([0.0 if i == self._clock else self._value(line, i, number) for i in range(len(line))])
        self._lines.append(number)
        if self._clock is not None:
            self._moments.append(self._plain(line[self._clock].strip(), number))

    def _plain(self, text: str, line: int) -> str:
        """Return a number with a decimal point, and a date as it is."""
        if ":" in text:
            return text
        if self._delimiter != "," and text.count(",") == 1:
            self._decimals.setdefault(",", line)
            return text.replace(",", ".")
        if "." in text:
            self._decimals.setdefault(".", line)
        return text

    def _value(self, cells: list[str], column: int, line: int) -> float:
        text = cells[column].strip()
        try:
            value = float(self._plain(text, line))
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            what = f"{brief(text)} is no number" if text else "there is no value"
            raise DataError(f"{self._path}, line {line}, column {self._names[column]!r}: {what}. {self._remedy}")
        return value

    @property
    def _remedy(self) -> str:
        if self._clock is not None:
            return "Fill it in, or delete the line: an import cuts the episode where rows are missing in time."
        return "Fill it in. A line can only be deleted with its frame, or from a table with a column time."

    def _wrong_count(self, line: list[str], number: int) -> str:
        wrong = (
            f"{self._path}, line {number} has {len(line)} values, expected {len(self._names)} as named in the header."
        )
        if self._delimiter == "," and len(line) > len(self._names):
            return f"{wrong} Are there decimal commas? Write 0.5, or separate the values with semicolons."
        return f"{wrong} {self._remedy}"

    def table(self) -> Table:
        """Return all rows."""
        if len(self._decimals) > 1:
            at = {mark: line for mark, line in sorted(self._decimals.items())}
            raise DataError(
                f"{self._path} has decimal commas (line {at[',']}) and decimal points (line {at['.']}). "
                "Write one of them throughout, and nothing between thousands."
            )
        values = np.array(self._rows, dtype=np.float64).reshape(len(self._rows), len(self._names))
        moments = None if self._clock is None else tuple(self._moments)
        return Table(tuple(self._names), values, moments, tuple(self._lines))
