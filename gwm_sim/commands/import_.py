"""`gwm import`: recordings in the formats of others become an episode file.

One episode at a time is in memory, its videos are decoded frame by frame. Every finished episode is a part file at
once; the same command goes on where a killed one stopped.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter, parts_folder
from gwm_sim.data.formats import Readable, open_source
from gwm_sim.data.importers.conversion import Conversion, Selection
from gwm_sim.data.importers.source import Kind
from gwm_sim.data.inspection import Summary, summarize
from gwm_sim.errors import ConfigError, DataError
from gwm_sim.files import exclusive
from gwm_sim.progress import progress

INTERRUPTED = 130


@dataclass(frozen=True)
class ImportConfig:
    """Import recordings of other formats; the same command resumes an interrupted import."""

    format: tyro.conf.Positional[Readable]
    """Who wrote the recordings; gwm inspect tells."""
    source: tyro.conf.Positional[Path]
    """File or folder to read; it is never changed."""
    out: Path
    """Episode file to write."""
    camera: tuple[str, ...] = ()
    """Cameras to take; by default all."""
    size: int = 64
    """Height and width of the frames in pixels; pictures that are not square are squeezed."""
    fps: float | None = None
    """Frames per second, by default the source's. Fewer leave frames out and join the actions between."""
    actions: Kind | None = None
    """How actions add up where the source does not say: delta sums, target takes the last, rate averages."""
    limit: int | None = None
    """Take only the first recordings."""
    json: Path | None = None
    """Write the printed numbers here."""


@dataclass(frozen=True)
class Import:
    """What a call of `import_episodes` did."""

    summary: Summary
    """What the file holds now."""
    imported: int
    """Episodes written by this call."""
    notes: list[str]
    """What was left out, in words."""

    def to_json(self) -> dict[str, Any]:
        """Return the printed numbers as a JSON object."""
        return asdict(self.summary) | {"imported": self.imported, "notes": self.notes}


def import_episodes(config: ImportConfig) -> Import:
    """Import what is missing in `config.out` and finish the file.

    Raises:
        ConfigError: The options are impossible, or `config.out` was made with others.
        DataError: The source is damaged; episodes before the damage are kept as parts.
        KeyboardInterrupt: The user interrupted; finished episodes are kept as parts.
    """
    _check(config)
    selection = Selection(config.camera, config.size, config.fps, config.actions, config.limit)
    name = f"{config.format} {config.source.resolve().name}"
    with open_source(config.format, config.source) as source:
        with progress("scan") as show:
            conversion = Conversion(source, selection, name, show)
        writer = EpisodeWriter(config.out, conversion.schema)
        with exclusive(parts_folder(config.out) / "lock", str(config.out)), progress("import") as show:
            imported, count = 0, len(conversion.clips)
            for index, episode in conversion.episodes(lambda index: not writer.has(index)):
                writer.write(index, episode)
                imported += 1
                show((index + 1) / count, f"{index + 1} of {count} episodes")
            writer.merge()
    with EpisodeFile(config.out) as file:
        return Import(summarize(file), imported, conversion.notes)


def _check(config: ImportConfig) -> None:
    for name, value in (("size", config.size), ("limit", config.limit)):
        if value is not None and value < 1:
            raise ConfigError(f"--{name} must be at least 1, got {value}")
    if config.size > 1024:
        raise ConfigError(f"--size must be at most 1024, got {config.size}")
    if config.fps is not None and not 0 < config.fps <= 1000:
        raise ConfigError(f"--fps must be above 0 and at most 1000, got {config.fps:g}")
    if not config.source.exists():
        raise DataError(f"{config.source} does not exist.")
    out, source = config.out.resolve(), config.source.resolve()
    if out == source or (source.is_dir() and out.is_relative_to(source)):
        raise ConfigError(f"--out {config.out} lies in the source, which is never changed. Write elsewhere.")


def main(config: ImportConfig) -> int:
    """Run `gwm import`."""
    try:
        result = import_episodes(config)
    except KeyboardInterrupt:
        print(
            f"\nInterrupted. Finished episodes are kept in {parts_folder(config.out)}: the same command goes on.",
            file=sys.stderr,
        )
        return INTERRUPTED
    summary = result.summary
    for note in result.notes:
        print(f"note: {note}")
    print(f"imported {result.imported} episodes" if result.imported else "nothing to import: the file is complete")
    cameras = ", ".join(summary.cameras)
    print(f"{config.out}: {summary.episodes} episodes, {summary.frames:,} frames of {cameras}, {summary.rate:g} Hz")
    print(f"digest {summary.digest}")
    if config.json is not None:
        config.json.parent.mkdir(parents=True, exist_ok=True)
        config.json.write_text(json.dumps(result.to_json(), indent=2) + "\n")
    return 0
