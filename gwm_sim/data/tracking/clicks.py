"""Clicks: where a person says that things are, one place of each thing, in a small file of JSON or CSV.

    episode,frame,column,row,name
    0,0,23,41,cup
    0,0,40,30,plate

The first line may be left out, and so may names. JSON is a list of objects with the same keys.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gwm_sim.data.cameras import Camera
from gwm_sim.data.tracking.tracker import Click
from gwm_sim.errors import DataError

_NUMBERS = ("episode", "frame", "column", "row")
_FIELDS = (*_NUMBERS, "name")


def read_clicks(path: Path, lengths: Sequence[int], camera: Camera) -> tuple[Click, ...]:
    """Read the clicks of a person.

    Args:
        path: JSON where the name ends in .json, else CSV.
        lengths: Number of actions of each episode.
        camera: Whose pictures were clicked into; column and row are pixels of its stored pictures, from 0.

    Raises:
        DataError: The file cannot be read, or a value is none; the message names its line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"--click {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"--click {path} is no text in UTF-8.") from error
    entries = _of_json(text, path) if path.suffix.lower() == ".json" else _of_csv(text, path)
    clicks = tuple(_click(entry, where, lengths, camera) for where, entry in entries)
    if not clicks:
        raise DataError(f"--click {path} holds no click; expected one line per thing: {','.join(_FIELDS)}.")
    names = [click.name for click in clicks if click.name is not None]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"--click {path} names two things {twice!r}: one click per thing.")
    return clicks


def _of_csv(text: str, path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the values of each line, and where it is."""
    lines = csv.reader(text.splitlines())
    for cells in lines:
        words = [cell.strip() for cell in cells]
        if not any(words) or words[0].lower() == _FIELDS[0]:
            continue
        where = f"{path}, line {lines.line_num}"
        if not len(_NUMBERS) <= len(words) <= len(_FIELDS):
            raise DataError(f"{where}: got {len(words)} values in {','.join(words)!r}, expected {','.join(_FIELDS)}.")
        yield where, dict(zip(_FIELDS, words, strict=False))


def _of_json(text: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: no JSON: {error.msg}.") from error
    if not isinstance(entries, list):
        raise DataError(f"{path} holds no list; expected objects with {', '.join(_FIELDS)} in a list.")
    for number, entry in enumerate(entries, 1):
        where = f"{path}, click {number}"
        if not isinstance(entry, dict) or not set(_NUMBERS) <= entry.keys() <= set(_FIELDS):
            raise DataError(f"{where}: got {json.dumps(entry)}, expected an object with {', '.join(_FIELDS)}.")
        yield where, entry


def _click(entry: Mapping[str, Any], where: str, lengths: Sequence[int], camera: Camera) -> Click:
    episode = _whole(entry, "episode", where, len(lengths) - 1)
    return Click(
        episode=episode,
        frame=_whole(entry, "frame", where, lengths[episode]),
        column=_number(entry, "column", where, camera.width - 1),
        row=_number(entry, "row", where, camera.height - 1),
        name=str(entry.get("name") or "").strip() or None,
    )


def _whole(entry: Mapping[str, Any], name: str, where: str, most: int) -> int:
    value = _number(entry, name, where, most)
    if value != int(value):
        raise _wrong(entry, name, where, most)
    return int(value)


def _number(entry: Mapping[str, Any], name: str, where: str, most: int) -> float:
    """Return a value that lies between 0 and `most`."""
    try:
        value = float(entry[name])
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value <= most:
        raise _wrong(entry, name, where, most)
    return value


def _wrong(entry: Mapping[str, Any], name: str, where: str, most: int) -> DataError:
    kind = "a whole number" if name in ("episode", "frame") else "a number of pixels"
    return DataError(f"{where}: {name} is {entry[name]!r}, expected {kind} from 0 to {most}.")
