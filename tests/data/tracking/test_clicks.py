"""Clicks are read from CSV and JSON, and what is none is named by line, value and what was expected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gwm_sim.data.cameras import Camera
from gwm_sim.data.tracking.clicks import read_clicks
from gwm_sim.data.tracking.tracker import Click
from gwm_sim.errors import DataError

CAMERA = Camera(np.zeros(3), np.eye(3), 45.0, height=64, width=80)
LENGTHS = [12, 30]


def written(folder: Path, text: str, name: str = "clicks.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "episode,frame,column,row,name\n0,12,79,63,cup\n\n1, 30, 4.5, 0\n"),
        ("a.txt", "\ufeff0,12,79,63,cup\n1,30,4.5,0,\n"),
        (
            "a.json",
            '[{"episode": 0, "frame": 12, "column": 79, "row": 63, "name": "cup"},'
            ' {"episode": 1, "frame": 30, "column": 4.5, "row": 0}]',
        ),
    ],
)
def test_clicks_are_read(name: str, text: str, tmp_path: Path) -> None:
    clicks = read_clicks(written(tmp_path, text, name), LENGTHS, CAMERA)
    assert clicks == (Click(0, 12, 79.0, 63.0, "cup"), Click(1, 30, 4.5, 0.0))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "0,1,2,3\n2,0,1,1\n", "a.csv, line 2: episode is '2', expected a whole number from 0 to 1"),
        ("a.csv", "0,13,2,3\n", "line 1: frame is '13', expected a whole number from 0 to 12"),
        ("a.csv", "0,1.5,2,3\n", "line 1: frame is '1.5', expected a whole number"),
        ("a.csv", "0,1,80,3\n", "line 1: column is '80', expected a number of pixels from 0 to 79"),
        ("a.csv", "0,1,2,nan\n", "line 1: row is 'nan', expected a number of pixels from 0 to 63"),
        ("a.csv", "0,1,2\n", "line 1: got 3 values in '0,1,2', expected episode,frame,column,row,name"),
        ("a.csv", "0,1,2,x\n", "line 1: row is 'x'"),
        ("a.csv", "episode,frame,column,row\n", "holds no click"),
        ("a.csv", "0,1,2,3,cup\n0,1,9,9,cup\n", "names two things 'cup'"),
        ("a.json", "[\n{]", "a.json, line 2: no JSON"),
        ("a.json", "{}", "holds no list"),
        ("a.json", '[{"episode": 0}]', "click 1: got .*, expected an object with episode"),
        ("a.json", '[{"episode": 0, "frame": null, "column": 1, "row": 1}]', "click 1: frame is None"),
    ],
)
def test_what_is_no_click_is_named(name: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_clicks(written(tmp_path, text, name), LENGTHS, CAMERA)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_clicks(tmp_path / "absent.csv", LENGTHS, CAMERA)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no text in UTF-8"):
        read_clicks(tmp_path / "bytes.csv", LENGTHS, CAMERA)
