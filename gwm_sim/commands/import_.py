"""`gwm import`: recordings in the formats of others become an episode file.

One episode at a time is in memory, its videos are decoded frame by frame. Every finished episode is a part file at
once; the same command goes on where a killed one stopped.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import tyro

from gwm_sim.data.conversion.conversion import Conversion, Selection
from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter, resumable
from gwm_sim.data.formats import Readable, open_source
from gwm_sim.data.inspection import Summary, summarize
from gwm_sim.errors import ConfigError, DataError
from gwm_sim.files import write_json
from gwm_sim.progress import progress


@dataclass(frozen=True)
class ImportConfig(Selection):
    """Import recordings of other formats; the same command resumes an interrupted import."""

    format: tyro.conf.Positional[Readable]
    """Who wrote the recordings; gwm inspect tells."""
    source: tyro.conf.Positional[Path]
    """File or folder to read; it is never changed."""
    out: Path
    """Episode file to write."""
    json: Path | None = None
    """Write the printed numbers here."""


class Import(NamedTuple):
    """What a call of `import_episodes` did."""

    summary: Summary
    """What the file holds now."""
    imported: int
    """Episodes written by this call."""
    notes: list[str]
    """What was left out or changed, in words."""


def import_episodes(config: ImportConfig) -> Import:
    """Import what is missing in `config.out` and finish the file.

    Raises:
        ConfigError: The options are impossible, or `config.out` was made with others.
        DataError: The source is damaged; episodes before the damage are kept as parts. Formats whose episodes can do
            without each other leave out what is damaged, and say so.
    """
    _check_paths(config)
    name = f"{config.format} {config.source.resolve().name}"
    with resumable(config.out), open_source(config.format, config.source, config) as source:
        with progress("scan") as show:
            conversion = Conversion(source, config, name, show)
        writer = EpisodeWriter(config.out, conversion.schema)
        with writer.finishing(), progress("import") as show:
            conversion.check_stored(writer.numbers())
            imported, lost, count = 0, 0, len(conversion.clips)
            for done, (index, clip) in enumerate(conversion.clips.items(), 1):
                if not writer.has(index):
                    if (episode := conversion.sound_episode(clip)) is None:
                        lost += 1
                        continue
                    writer.write(index, episode)
                    imported += 1
                    show(done / count, f"{done} of {count} episodes")
            if lost == count:
                raise source.nothing_sound("no episode is left.")
    with EpisodeFile(config.out) as file:
        return Import(summarize(file), imported, conversion.notes)


def _check_paths(config: ImportConfig) -> None:
    if not config.source.exists():
        raise DataError(f"{config.source} does not exist.")
    out, source = config.out.resolve(), config.source.resolve()
    if out == source or (source.is_dir() and out.is_relative_to(source)):
        raise ConfigError(f"--out {config.out} lies in the source, which is never changed. Write elsewhere.")


def main(config: ImportConfig) -> int:
    """Run `gwm import`."""
    result = import_episodes(config)
    for note in result.notes:
        print(f"note: {note}")
    print(f"imported {result.imported} episodes" if result.imported else "nothing new to import")
    print(result.summary)
    if config.json is not None:
        write_json(config.json, asdict(result.summary) | {"imported": result.imported, "notes": result.notes})
    return 0
