"""What lies in a folder of strangers: files in the order that a person would give them, and no link followed."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gwm_sim.errors import DataError

PICTURES = (".png", ".jpg", ".jpeg")


def natural(path: Path) -> list[tuple[int, str]]:
    """Order names as people count: 2.jpg comes before 10.jpg."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", path.name)]


def files_in(folder: Path, *suffixes: str) -> list[Path]:
    """List what has one of some suffixes, in natural order; hidden files, such as macOS leaves behind, do not count."""
    found = (item for item in folder.iterdir() if item.suffix.lower() in suffixes and not item.name.startswith("."))
    return sorted(found, key=natural)


def jump(paths: Sequence[Path]) -> Path | None:
    """Return the file after which the first one is missing, of files that the last number in their names counts.

    Numbers that count something else, such as milliseconds, do not go on by equal steps, and nothing is missing.
    """
    steps = np.diff(_numbers(paths))
    if len(steps) < 2 or steps.min() < 1:
        return None
    wide = np.flatnonzero(steps > steps.min())
    counted = (steps % steps.min() == 0).all() and np.median(steps) == steps.min()
    return paths[int(wide[0])] if counted and len(wide) else None


def begins_late(paths: Sequence[Path]) -> bool:
    """Return whether files that are counted begin at 2 or later, as if the first ones were deleted."""
    return any(number > 1 for number in _numbers(paths)[:1])


def _numbers(paths: Sequence[Path]) -> list[int]:
    """Return the last number in each name; none where one has no number."""
    found = [re.findall(r"[0-9]+", path.stem)[-1:] for path in paths]
    return [int(digits[0]) for digits in found] if all(found) else []


def unlinked(path: Path) -> Path:
    """Return a path that is no symbolic link.

    Raises:
        DataError: It is one, and could lead anywhere.
    """
    if path.is_symlink():
        raise DataError(f"{path} is a symbolic link, which is not followed. Copy with `cp -rL`.")
    return path
