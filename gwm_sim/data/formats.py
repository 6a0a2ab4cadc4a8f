"""Formats of others that are read and written: every module in `importers` and `exporters` that has a `FORMAT`.

A new format is a new file there; commands, their help and `detect` know it from then on.
"""

import pkgutil
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gwm_sim.data import exporters, importers
from gwm_sim.data.exporters.recordings import ExportFormat
from gwm_sim.data.importers.source import AS_STORED, ImportFormat, Source, SourceOptions
from gwm_sim.data.reading.checks import reading
from gwm_sim.errors import ConfigError, DataError
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
    with reading(path):
        return IMPORT_FORMATS[format].source(path, options)


def _check_options(format: ImportFormat, options: SourceOptions) -> None:
    heeded = {"actions", "source_fps", *format.options}
    for option in fields(SourceOptions):
        if option.name not in heeded and getattr(options, option.name) != option.default:
            others = [other.name for other in IMPORT_FORMATS.values() if option.name in other.options]
            flag = f"--{option.name.replace('_', '-')}"
            raise ConfigError(f"{flag} means nothing for {format.name}; it is for {', '.join(others)}.")


def detect(path: Path) -> Readable | None:
    """Return the format of a recording, None when it is no known one."""
    if not path.exists():
        return None
    with reading(path):
        return next((format.name for format in IMPORT_FORMATS.values() if format.recognises(path)), None)


def require(format: ImportFormat | ExportFormat) -> None:
    """Raise MissingDependency unless the optional packages of a format are installed."""
    for package in format.packages:
        if find_spec(package) is None:
            raise missing(package, f"{format.name} data")
