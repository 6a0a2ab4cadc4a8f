"""Takes in the folder layout whose frames tell their number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from truths import make_pictures, write_mp4

from gwm_sim.data.formats import open_source
from gwm_sim.data.importers.source import Source, SourceOptions

RATE, ROWS = 20, 12


def take(folder: Path, times: Sequence[object] | None, name: str = "time", rows: int = ROWS) -> Path:
    """Write an episode of 12 frames at 20 Hz whose table says when its rows were; row r reports x = r."""
    write_mp4(folder / "a/front.mp4", make_pictures(0, ROWS), RATE)
    clock = [] if times is None else [name]
    lines = [[*clock, "state.x [m]", "delta.dx [m]"]]
    lines += [[*([] if times is None else [str(times[r])]), str(float(r)), str(r / 8)] for r in range(rows)]
    return write_table(folder / "a/robot.csv", lines)


def write_table(path: Path, lines: Sequence[Sequence[str]], delimiter: str = ",", end: str = "\n") -> Path:
    path.write_text("".join(delimiter.join(line) + end for line in lines), newline="")
    return path.parent.parent


def opened(folder: Path, **options: object) -> Source:
    return open_source("folder", folder, SourceOptions(**options))  # type: ignore[arg-type]


def said(source: Source) -> str:
    for k in range(len(source)):
        source.recording(k)
    return "\n".join(source.remarks)


def shown(source: Source) -> list[int]:
    """Numbers of the frames of the first episode's rows, by what they look like."""
    truth = make_pictures(0, ROWS).astype(int)
    pictures = source.frames(0, "front", range(len(source.recording(0))))
    return [int(np.abs(truth - picture).mean(axis=(1, 2, 3)).argmin()) for picture in pictures]
