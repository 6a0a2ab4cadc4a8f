"""When the rows of a table were: seconds, parts of them, or dates, told by a unit or by how long the films last."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from gwm_sim.data.reading.checks import Array, brief
from gwm_sim.errors import DataError

_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_SPELLINGS = {
    "sec": "s",
    "second": "s",
    "seconds": "s",
    "msec": "ms",
    "usec": "us",
    "µs": "us",
    "μs": "us",
    "nsec": "ns",
}

_ANY_LENGTH = 30.0
"""Factor by which a table may be longer or shorter than its films and still be in the unit that it is said to be in."""

_ALIKE = 5.0
"""The same where only this tells the unit; the next one is a thousand away."""

_RATES = (0.1, 10_000.0)
"""Rates of rows [Hz] that are taken for seconds where there is no film to compare with."""


class Clock(NamedTuple):
    """Moments of rows."""

    times: Array
    """(R,) float64 [s], increasing; dates count from the first."""
    unit: str
    """s, ms, us, ns or date."""
    certain: bool
    """Whether the table itself says its unit."""


@dataclass(frozen=True)
class Moments:
    """The column of a table that says when, as it is written."""

    texts: Sequence[str]
    lines: Sequence[int]
    """Line of each, for messages."""
    name: str
    """Name of the column, perhaps with a [unit]."""
    where: str

    def read(self, lasting: float | None) -> Clock:
        """Tell the unit, and return the moments in seconds.

        Args:
            lasting: How long the films last [s], None where that is not known.

        Raises:
            DataError: A moment is neither number nor date, they do not increase, or their unit cannot be told.
        """
        dates = bool(self.texts) and not _is_number(self.texts[0])
        values = self._dates() if dates else self._numbers()
        self._check_order(values)
        stated = re.fullmatch(r"time\s*\[([^\[\]]*)\]", self.name)
        if dates:
            return Clock(values, "date", True)
        if stated:
            return self._stated(values, stated[1].strip(), lasting)
        unit = self._told(values, lasting)
        return Clock(values * _UNITS[unit], unit, unit == "s")

    def _numbers(self) -> Array:
        values = np.zeros(len(self.texts))
        for i, text in enumerate(self.texts):
            if not _is_number(text):
                what = f"{brief(text)} is no time" if text else "there is no time"
                raise DataError(f"{self._at(i)}: {what}. Write a number such as 0.05, or delete the line.")
            values[i] = float(text)
        return values

    def _dates(self) -> Array:
        read = []
        for i, text in enumerate(self.texts):
            try:
                moment = datetime.fromisoformat(text)
                # Without a zone: any, as long as it is the same one.
                read.append(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
            except ValueError:
                what = f"{brief(text)} is neither a number nor a date" if text else "there is no time"
                raise DataError(
                    f"{self._at(i)}: {what}. Write seconds as 0.05 or dates as 2024-05-31T12:00:00.050, or delete it."
                ) from None
        return np.array([(moment - read[0]).total_seconds() for moment in read])

    def _check_order(self, values: Array) -> None:
        wrong = np.flatnonzero(np.diff(values) <= 0)
        if not len(wrong):
            return
        before, after = int(wrong[0]), int(wrong[0]) + 1
        if values[before] == values[after]:
            remedy = f"{self.texts[after]} is on line {self.lines[before]} too. Write more digits, or delete one line."
        else:
            remedy = f"{self.texts[after]} comes after {self.texts[before]}. Sort the rows, or delete the line."
        raise DataError(f"{self._at(after)}: {remedy}")

    def _stated(self, values: Array, spelling: str, lasting: float | None) -> Clock:
        unit = _SPELLINGS.get(spelling.lower(), spelling.lower())
        if unit not in _UNITS:
            raise DataError(f"{self.where}: {brief(self.name)} is in no unit of time; write [s], [ms], [us] or [ns].")
        times = values * _UNITS[unit]
        if not _fits(times, lasting, _ANY_LENGTH):
            raise DataError(
                f"{self.where}: {self.name} lasts {_span(times):.4g} s, but the films last {lasting:.4g} s. "
                "Correct the unit, or give the films' true rate with --source-fps."
            )
        return Clock(times, unit, True)

    def _told(self, values: Array, lasting: float | None) -> str:
        """Tell the unit of a column that does not say it: seconds, unless the films say otherwise."""
        if lasting is None:
            step = float(np.median(np.diff(values))) if len(values) > 1 else 1.0
            if _RATES[0] <= 1 / step <= _RATES[1]:
                return "s"
        elif _fits(values, lasting, _ANY_LENGTH):
            return "s"
        else:
            for unit in ("ms", "us", "ns"):
                if _fits(values * _UNITS[unit], lasting, _ALIKE):
                    return unit
        films = "" if lasting is None else f", the films last {lasting:.4g} s"
        raise DataError(
            f"{self.where}: time goes from {self.texts[0]} to {self.texts[-1]}{films}: its unit cannot be told. "
            "Write it into the header: time [s], time [ms], time [us] or time [ns]."
        )

    def _at(self, i: int) -> str:
        return f"{self.where}, line {self.lines[i]}, column {self.name!r}"


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _span(times: Array) -> float:
    return float(times[-1] - times[0]) if len(times) else 0.0


def _fits(times: Array, lasting: float | None, factor: float) -> bool:
    """Return whether a table is about as long as its films; one of a single row or frame says nothing."""
    span = _span(times)
    return not lasting or not span or 1 / factor <= span / lasting <= factor
