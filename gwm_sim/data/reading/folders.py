"""What lies in a folder of strangers: files in the order that a person would give them, and no link followed."""

import re
from pathlib import Path

from gwm_sim.errors import DataError

PICTURES = (".png", ".jpg", ".jpeg")


def natural(path: Path) -> list[tuple[int, str]]:
    """Order names as people count: 2.jpg comes before 10.jpg."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", path.name)]


def files_in(folder: Path, *suffixes: str) -> list[Path]:
    """List what has one of some suffixes, in natural order; hidden files, such as macOS leaves behind, do not count."""
    found = (item for item in folder.iterdir() if item.suffix.lower() in suffixes and not item.name.startswith("."))
    return sorted(found, key=natural)


def unlinked(path: Path) -> Path:
    """Return a path that is no symbolic link.

    Raises:
        DataError: It is one, and could lead anywhere.
    """
    if path.is_symlink():
        raise DataError(f"{path} is a symbolic link, which is not followed. Copy with `cp -rL`.")
    return path
