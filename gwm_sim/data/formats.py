"""Formats of others that are read and written: every module in `importers` and `exporters` that has a `FORMAT`.

A new format is a new file there; commands, their help and `detect` know it from then on.
"""

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gwm_sim.data import exporters, importers
from gwm_sim.data.exporters.recordings import ExportFormat
from gwm_sim.data.importers.source import ImportFormat, Source
from gwm_sim.data.reading.checks import reading
from gwm_sim.data.recording import AS_STORED, SourceOptions
from gwm_sim.errors import ConfigError, DataError, GwmError
from gwm_sim.extras import missing


def _formats_in(package: Any) -> Iterator[Any]:
    modules = (import_module(found.name) for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."))
    return (module.FORMAT for module in modules if hasattr(module, "FORMAT"))


IMPORT_FORMATS: dict[str, ImportFormat] = {
    format.name: format for format in sorted(_formats_in(importers), key=lambda format: format.rank)
}
"""Formats that are read, by name, in the order in which `detect` asks."""

EXPORT_FORMATS: dict[str, ExportFormat] = {format.name: format for format in _formats_in(exporters)}
"""Formats that are written, by name."""

_SLOW, _MOST_NEARBY = 6, 50
"""Rank of formats that walk through all folders to find an episode, and files and folders that are looked at beside
the one that was given."""

_NO_TELEMETRY = (
    "there is no telemetry: a model knows the robot by its pictures and actions only. Nothing says where its "
    "end-effector is and whether actions were obeyed, and its motion is that of the actions"
)

if TYPE_CHECKING:
    Readable = str
    Writable = str
else:  # the choice that commands offer
    Readable = Literal[tuple(IMPORT_FORMATS)]
    Writable = Literal[tuple(EXPORT_FORMATS)]


def open_source(format: Readable, path: Path, options: SourceOptions = AS_STORED) -> Source:
    """Open the recording at `path`, a file or a folder, as the format has it.

    Raises:
        ConfigError: An option means nothing to the format.
        DataError: There is no such recording, or it is damaged.
        MissingDependency: The format needs a package that is not installed.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    require(IMPORT_FORMATS[format])
    _check_options(IMPORT_FORMATS[format], options)
    try:
        with reading(path):
            source = IMPORT_FORMATS[format].source(path, options)
    except DataError as error:
        found = detect(path)
        if found is None:
            raise DataError(f"{error}{unknown(path, format)}") from error
        if found != format and not _recognises(format, path):
            raise DataError(f"{error}\n{path} looks like {found}.") from error
        raise
    if not source.layout.telemetry:
        source.remark(_NO_TELEMETRY)
    return source


def _recognises(format: Readable, path: Path) -> bool:
    with reading(path):
        return IMPORT_FORMATS[format].recognises(path)


def _check_options(format: ImportFormat, options: SourceOptions) -> None:
    heeded = {"camera", "actions", "source_fps", *format.options}
    for name, flag in options.given.items():
        if name not in heeded:
            others = [other.name for other in IMPORT_FORMATS.values() if name in other.options]
            raise ConfigError(f"{flag} means nothing for {format.name}; it is for {', '.join(others)}.")


def detect(path: Path) -> Readable | None:
    """Return the format of a recording, None when it is no known one."""
    if not path.exists():
        return None
    with reading(path):
        return next((format.name for format in IMPORT_FORMATS.values() if format.recognises(path)), None)


def unknown(path: Path, format: Readable | None = None) -> str:
    """Say what the formats looked for that do not know a path, and where else it may have been meant.

    Args:
        path: What was given.
        format: Ask this one only.
    """
    asked = [other for other in IMPORT_FORMATS.values() if format in (None, other.name)]
    wanted = [f"\n  {other.name}: {other.looks_for}" for other in asked if other.looks_for]
    meant = [f"\n{near} looks like {found}: give that." for near, found in _nearby(path)]
    return "".join(["\nWhat was looked for:", *wanted, *meant])


def _nearby(path: Path) -> list[tuple[Path, str]]:
    """List recordings in the folder `path`, or around it, and their formats; a few at most."""
    quick = [format for format in IMPORT_FORMATS.values() if format.rank < _SLOW]
    around = list(path.resolve().parents[:2])
    below = sorted(item for item in path.iterdir() if not item.is_symlink()) if path.is_dir() else []
    found = []
    for near in [*around, *below[:_MOST_NEARBY]]:
        try:
            format = next((format.name for format in quick if format.recognises(near)), None)
        except (GwmError, OSError):
            continue
        if format is not None:
            found.append((near, format))
    return found[:3]


def require(format: ImportFormat | ExportFormat) -> None:
    """Raise MissingDependency unless the optional packages of a format are installed."""
    for package in format.packages:
        if find_spec(package) is None:
            raise missing(package, f"{format.name} data")
