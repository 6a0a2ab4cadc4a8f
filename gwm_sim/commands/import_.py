"""`gwm import`: recordings in the formats of others become an episode file.

One episode at a time is in memory, its videos are decoded frame by frame. Every finished episode is a part file at
once; the same command goes on where a killed one stopped. With `--track` the objects are found once all is imported,
and the file with them takes the place of the one without.
"""

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import tyro

from gwm_sim.data.conversion.conversion import Conversion, Selection
from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter, resumable
from gwm_sim.data.formats import Readable, open_source
from gwm_sim.data.inspection import Summary, summarize
from gwm_sim.data.tracking import readiness
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
    track: bool = False
    """Find and follow the objects in what was imported, as gwm track does with its usual options. Where that cannot
    be done, the import stands."""
    json: Path | None = None
    """Write the printed numbers here."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.track and self.shard is not None:
            raise ConfigError(
                "--track looks for the things of one file, and --shard imports a part: import all parts, find the "
                "things of one by gwm track, and follow them in the others by gwm track --like"
            )


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
        if (finished := _tracked_already(config, conversion)) is not None:
            return finished
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


def _tracked_already(config: ImportConfig, conversion: Conversion) -> Import | None:
    """Say what an earlier call has imported and tracked; refuse the file where it was another import."""
    if not (config.track and config.out.is_file()):
        return None
    from gwm_sim.data.tracking.tracked_file import Tracking  # late: it needs what an import does not

    with EpisodeFile(config.out) as file:
        if not file.schema.tracked:
            return None
        tracking = Tracking.of(config.out)
        assert tracking is not None  # it was tracked
        if differences := tracking.recorded.differences(replace(conversion.schema, versions={})):
            raise ConfigError(
                f"{config.out} was made with other settings: {'; '.join(differences)}. Repeat the command that made "
                "it, or write to another file."
            )
        more = f"the source holds {len(conversion.clips)} episodes now, and {config.out}, which is tracked, {len(file)}"
        where = f"import it into another file, and give gwm track --like {config.out}"
        new = [f"{more}: what is new is left out; {where}"] * (len(file) < len(conversion.clips))
        return Import(summarize(file), 0, conversion.notes + new)


def _check_paths(config: ImportConfig) -> None:
    if not config.source.exists():
        raise DataError(f"{config.source} does not exist.")
    out, source = config.out.resolve(), config.source.resolve()
    if out == source or (source.is_dir() and out.is_relative_to(source)):
        raise ConfigError(f"--out {config.out} lies in the source, which is never changed. Write elsewhere.")


def main(config: ImportConfig) -> int:
    """Run `gwm import`."""
    if config.track:
        readiness.require()
    result = import_episodes(config)
    for note in result.notes:
        print(f"note: {note}")
    print(f"imported {result.imported} episodes" if result.imported else "nothing new to import")
    print(result.summary)
    numbers = asdict(result.summary) | {"imported": result.imported, "notes": result.notes}
    if config.json is not None:
        write_json(config.json, numbers)
    if config.track and result.summary.objects is None:
        numbers |= {"tracking": _track(config.out)}
        with EpisodeFile(config.out) as file:
            numbers |= asdict(summarize(file))
        if config.json is not None:
            write_json(config.json, numbers)
    return 0


def _track(out: Path) -> dict[str, Any]:
    """Find and follow the objects in an imported file, which the one with them replaces; say and return what they are.

    Raises:
        NothingToTrack: There is nothing to follow; the file stays as it is.
    """
    # Late: an import without it needs none of the packages that tracking needs.
    from gwm_sim.commands.track import words
    from gwm_sim.data.tracking.job import Job, track_episodes
    from gwm_sim.data.tracking.tracker import NothingToTrack

    tracked = out.with_name(f"{out.name}.tracked")
    try:
        result = track_episodes(Job(file=out, out=tracked))
    except NothingToTrack as error:
        raise NothingToTrack(f"nothing was tracked, the import stands: {error}") from error
    os.replace(tracked, out)
    result = replace(result, file=str(out))
    print("\n".join(words(result)))
    return asdict(result)
