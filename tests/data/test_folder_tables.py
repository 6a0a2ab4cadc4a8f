"""Clocks and cells of tables in the folder layout: what is told, read, and refused by line and column."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from takes import RATE, ROWS, opened, said, shown, take, write_table

from gwm_sim.errors import DataError

# Clocks


@pytest.mark.parametrize(("unit", "ticks"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("start", [0, 1_717_171_717])  # of the films, and in 1970
@pytest.mark.parametrize("stated", [True, False])
def test_the_unit_of_a_clock_is_stated_or_told_by_the_films(
    unit: str, ticks: int, start: int, stated: bool, tmp_path: Path
) -> None:
    times = [start * ticks + (r * ticks / RATE if unit == "s" else r * ticks // RATE) for r in range(ROWS)]
    source = opened(take(tmp_path, times, f"time [{unit}]" if stated else "time"))
    assert source.layout.rate == RATE
    assert shown(source) == list(range(ROWS))
    assert source.recording(0).telemetry[:, 0].tolist() == list(range(ROWS))
    told = unit != "s" and not stated
    assert (f"time is in {unit}, as the length of the films tells: name it time [{unit}] (a)" in said(source)) == told
    assert ("another clock than the films" in said(source)) == (start > 0)


@pytest.mark.parametrize("zone", ["", "Z", "+02:00"])
def test_dates_are_a_clock(zone: str, tmp_path: Path) -> None:
    first = datetime(2024, 12, 31, 23, 59, 59, 900_000, tzinfo=UTC)
    dates = [(first + timedelta(seconds=r / RATE)).replace(tzinfo=None).isoformat() + zone for r in range(ROWS)]
    source = opened(take(tmp_path, dates))
    assert source.layout.rate == RATE and shown(source) == list(range(ROWS))


@pytest.mark.parametrize(
    ("times", "name", "message"),
    [
        ([r * 5.0 for r in range(ROWS)], "time", r"time goes from 0\.0 to 55\.0, the films last 0\.55 s.*time \[s\]"),
        (
            [r / RATE for r in range(ROWS)],
            "time [ms]",
            r"lasts 0\.00055 s, but the films last 0\.55 s\. Correct the unit",
        ),
        ([r / RATE for r in range(ROWS)], "time [h]", r"'time \[h\]' is in no unit of time"),
        ([r / RATE for r in range(ROWS)], "timestamp", r"'timestamp' is no column name\. Call it time \[s\]"),
        (["noon"] * ROWS, "time", r"line 2, column 'time': 'noon' is neither a number nor a date"),
        ([0.0, "", *(r / RATE for r in range(2, ROWS))], "time", r"line 3, column 'time': there is no time"),
        ([0.0, "nan", *(r / RATE for r in range(2, ROWS))], "time", r"line 3, column 'time': 'nan' is no time"),
        (
            [r // 2 / 10 for r in range(ROWS)],
            "time",
            r"line 3, column 'time': 0\.0 is on line 2 too\. Write more digits",
        ),
        ([abs(r - 3) + r / 100 for r in range(ROWS)], "time", r"line 3, .*: 2\.01 comes after 3\.0\. Sort the rows"),
    ],
)
def test_a_clock_that_cannot_be_read_is_named(times: list[object], name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        opened(take(tmp_path, times, name))


# Cells


def lines_of(folder: Path) -> list[list[str]]:
    return [line.split(",") for line in (folder / "a/robot.csv").read_text().splitlines()]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\n\r\n", "\n  \n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_any_delimiter_and_blank_lines_are_read(end: str, delimiter: str, tmp_path: Path) -> None:
    folder = take(tmp_path, [r / RATE for r in range(ROWS)])
    expected = opened(folder).recording(0)
    write_table(folder / "a/robot.csv", lines_of(folder), delimiter, end)
    np.testing.assert_array_equal(opened(folder).recording(0).actions, expected.actions)


def test_decimal_commas_are_read_where_nothing_else_is_one(tmp_path: Path) -> None:
    folder = take(tmp_path, [r / RATE for r in range(ROWS)])
    expected = opened(folder).recording(0)
    lines = lines_of(folder)
    german = [lines[0], *([cell.replace(".", ",") for cell in line] for line in lines[1:])]
    write_table(folder / "a/robot.csv", german, ";")
    np.testing.assert_array_equal(opened(folder).recording(0).actions, expected.actions)
    german[4][2] = "0.25"
    write_table(folder / "a/robot.csv", german, ";")
    with pytest.raises(DataError, match=r"decimal commas \(line 2\) and decimal points \(line 5\)"):
        opened(folder)
    write_table(folder / "a/robot.csv", german[:3])
    with pytest.raises(DataError, match=r"line 2 has 6 values, expected 3 .* Are there decimal commas"):
        opened(folder)


def no_value(lines: list[list[str]]) -> None:
    lines[3][1] = ""


def text(lines: list[list[str]]) -> None:
    lines[3][2] = "fast"


def infinite(lines: list[list[str]]) -> None:
    lines[3][2] = "-inf"


def short(lines: list[list[str]]) -> None:
    del lines[3][2]


def empty(lines: list[list[str]]) -> None:
    lines[3] = ["", "", ""]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_value, r"robot\.csv, line 4, column 'state\.x \[m\]': there is no value\. Fill it in, or delete the line"),
        (text, r"line 4, column 'delta\.dx \[m\]': 'fast' is no number"),
        (infinite, r"line 4, column 'delta\.dx \[m\]': '-inf' is no number"),
        (short, r"line 4 has 2 values, expected 3 as named in the header"),
        (empty, r"line 4 holds no value"),
    ],
)
def test_a_wrong_cell_is_named_by_line_and_column(
    damage: Callable[[list[list[str]]], None], message: str, tmp_path: Path
) -> None:
    folder = take(tmp_path, [r / RATE for r in range(ROWS)])
    lines = lines_of(folder)
    damage(lines)
    write_table(folder / "a/robot.csv", lines)
    with pytest.raises(DataError, match=message):
        opened(folder)


def test_empty_rows_at_the_end_of_a_spreadsheet_do_no_harm(tmp_path: Path) -> None:
    folder = take(tmp_path, [r / RATE for r in range(ROWS)])
    write_table(folder / "a/robot.csv", [*lines_of(folder), ["", "", ""], ["", "", ""]])
    assert len(opened(folder).recording(0)) == ROWS
