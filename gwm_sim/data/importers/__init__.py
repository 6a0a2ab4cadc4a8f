"""Recordings in the formats of others, as episodes.

Each format is a module with a `Source` and a function `recognises(path)`. Core packages only; LeRobot data also needs
pyarrow, from the extra `[data]`. Nothing is ever unpickled, no link is followed, and what is wrong with a file is said
by a `DataError` that names file and place.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

from gwm_sim.data.importers.source import Source, reading
from gwm_sim.errors import DataError

Format = Literal["roboturk", "robomimic", "libero", "lerobot", "minari", "folder", "droid"]
"""Names of the formats, in the order in which `detect` asks.

RoboTurk's pilot also looks like raw robomimic, and to find an episode of DROID all folders must be walked through.
"""

_CLASSES: dict[Format, str] = {
    "roboturk": "RoboTurkSource",
    "robomimic": "RobomimicSource",
    "libero": "LiberoSource",
    "lerobot": "LeRobotSource",
    "minari": "MinariSource",
    "folder": "FolderSource",
    "droid": "DroidSource",
}


def open_source(format: Format, path: Path) -> Source:
    """Open a recording.

    Args:
        format: Who wrote it.
        path: File or folder, as the format has it.

    Raises:
        DataError: There is no such recording, or it is damaged.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    with reading(path):
        source: Source = getattr(_module(format), _CLASSES[format])(path)
        return source


def detect(path: Path) -> Format | None:
    """Return the format of a recording, None when it is no known one."""
    if not path.exists():
        return None
    with reading(path):
        return next((format for format in get_args(Format) if _module(format).recognises(path)), None)


def _module(format: Format) -> ModuleType:
    return import_module(f"gwm_sim.data.importers.{format}")
