"""Frames for a person to look at, where nobody else knows the truth, and the count that the person writes down.

The sheet shows frames that a seed draws from the test episodes, numbered from 0, each with the box of every thing and
its number; a dotted box is a guess, so the thing is not claimed there. A frame is *right* if there is a solid box of
the thing that the task is about, and its middle is on it, or if nothing of the thing is in sight and no box is solid.
The count goes into `COUNT`:

    {"tracker": "the fingerprint that tracking.json has for the sheet", "frames": 100, "right": 98,
     "wrong": {"17": "box on the hand", "64": "no box"}, "by": "who looked", "on": "2026-12-01"}
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.tracking.sightings import COLUMNS
from gwm_sim.errors import DataError
from gwm_sim.media.video import enlarge, text, write_png

COUNT = Path(__file__).resolve().parents[1] / "results/humanoid_by_eye.json"
FRAMES, PER_ROW, SCALE = 100, 10, 3
LEVELS = 16
"""Brightness steps that are told apart are so many levels wide; finer ones only make the file large."""

_BOX, _GAP = (255, 255, 0), 4
_CONFIDENCE = COLUMNS.index("confidence")


def moments(tracked: Path, seed: int, count: int = FRAMES) -> list[list[int]]:
    """Draw different frames of a file: episode and frame of each, in order."""
    with EpisodeFile(tracked) as file:
        everything = np.array([(k, t) for k, length in enumerate(file.lengths) for t in range(length + 1)])
    chosen = np.random.default_rng(seed).choice(len(everything), min(count, len(everything)), replace=False)
    drawn: list[list[int]] = everything[np.sort(chosen)].tolist()
    return drawn


def write_sheet(tracked: Path, camera: str, chosen: Sequence[Sequence[int]], picture: Path) -> None:
    """Draw frames of a tracked file with the boxes of the things."""
    with EpisodeFile(tracked) as file:
        episodes = {k: file.read(k, cameras=(camera,), depth=False) for k, _ in chosen}
    tiles = [
        _tile(number, episodes[k].frames[camera][t], episodes[k].sightings[camera][t])
        for number, (k, t) in enumerate(chosen)
    ]
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % PER_ROW)
    rows = [np.concatenate(tiles[start : start + PER_ROW], axis=1) for start in range(0, len(tiles), PER_ROW)]
    write_png(picture, np.concatenate(rows))


def _tile(number: int, frame: Array, seen: Array) -> Array:
    coarse = (frame // LEVELS * LEVELS + LEVELS // 2).astype(np.uint8)
    large = enlarge(coarse, SCALE)
    for thing, told in enumerate(seen):
        _draw_box(large, thing if len(seen) > 1 else None, told)
    label = text(str(number))
    tile = np.full((large.shape[0] + len(label) + 2 * _GAP, large.shape[1] + _GAP, 3), 255, np.uint8)
    tile[_GAP : _GAP + len(label), : label.shape[1]] = label
    tile[2 * _GAP + len(label) :, : large.shape[1]] = large
    return tile


def _draw_box(picture: Array, thing: int | None, told: Array) -> None:
    """Draw the box of a thing, as `COLUMNS` has it, into an enlarged picture, around what it holds."""
    middle, half = (told[:2] + 0.5) * SCALE, told[2:4] * SCALE / 2 + 2
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    across, down = np.abs(columns - middle[0]), np.abs(rows - middle[1])
    line = (across <= half[0]) & (down <= half[1]) & ~((across <= half[0] - 1) & (down <= half[1] - 1))
    if told[_CONFIDENCE] <= 0:
        line &= (rows + columns) % 4 < 2
    picture[line] = _BOX
    if thing is not None:
        label = text(str(thing))
        top, left = (
            int(np.clip(at, 0, size)) for at, size in zip((middle - half)[::-1], picture.shape[:2], strict=True)
        )
        room = picture[max(top - len(label), 0) :, left:][: len(label), : label.shape[1]]
        room[:] = label[: room.shape[0], : room.shape[1]]


def counted(tracker: str, path: Path = COUNT) -> dict[str, Any] | None:
    """Read the count of a person; None where nobody has looked.

    Raises:
        DataError: It is of another tracker than the one that the sheet shows, or does not add up.
    """
    if not path.exists():
        return None
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if told["tracker"] != tracker:
        raise DataError(f"{path.name} is a count of tracker {told['tracker']}, the sheet shows {tracker}: look again")
    if told["right"] + len(told["wrong"]) != told["frames"]:
        raise DataError(
            f"{path.name}: {told['right']} right and {len(told['wrong'])} wrong are not {told['frames']} frames"
        )
    return told
