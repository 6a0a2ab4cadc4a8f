"""`gwm inspect`: what is in an episode file, or in a recording of a foreign format, in numbers and in pictures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gwm_sim.data.demos import is_own
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.formats import Readable, detect, unknown
from gwm_sim.data.importers.source import chosen_cameras
from gwm_sim.data.inspection import Objects, Range, Summary, TaskSuccess, summarize
from gwm_sim.data.recording import SourceOptions
from gwm_sim.data.survey import Survey, Watched, survey
from gwm_sim.data.tracking.readiness import outlook, scene_of
from gwm_sim.errors import ConfigError, DataError
from gwm_sim.files import write_json
from gwm_sim.media.sheets import chosen_rows, spread, write_sheet
from gwm_sim.progress import progress


@dataclass(frozen=True)
class InspectConfig(SourceOptions):
    """Summarise an episode file or a foreign recording, and check every number in it."""

    file: tyro.conf.Positional[Path]
    """Episode file, finished or still being written; or a recording that gwm import reads."""
    format: Readable | None = None
    """Who wrote the recording; by default found out."""
    video: Path | None = None
    """Write a contact sheet here: a picture if the name ends in .png, else a film of the episodes side by side."""
    json: Path | None = None
    """Write the printed numbers here."""


def main(config: InspectConfig) -> int:
    """Run `gwm inspect`."""
    console = Console()
    format = config.format or detect(config.file)
    result: Summary | Survey
    if format is None:
        with _episode_file(config.file) as file:
            cameras = chosen_cameras(tuple(file.schema.cameras), config.camera)
            if options := [flag for name, flag in config.given.items() if name != "camera"]:
                raise ConfigError(f"{options[0]} is for recordings of others; {config.file} is an episode file.")
            result, tracking = summarize(file), _tracking(file, cameras)
            _show_summary(result, console)
            _show_tracking(tracking, console)
            if config.video is not None:
                _draw_file(file, cameras[0], config.video)
    else:
        with progress("inspect") as show:
            result = survey(format, config.file, show, partial(_draw_recording, config.video), config)
        tracking = result.tracking
        _show_survey(result, console)
        _show_tracking(tracking, console)
    if config.json is not None:
        write_json(config.json, asdict(result) | {"tracking": tracking})
    if config.video is not None:
        console.print(f"wrote {config.video}", soft_wrap=True)
    return 0


def _episode_file(path: Path) -> EpisodeFile:
    """Open an episode file; of something else say what recordings look like."""
    try:
        return EpisodeFile(path)
    except DataError as error:
        if not path.exists() or is_own(path):
            raise
        raise DataError(f"{error} It is no recording of a known format either.{unknown(path)}") from error


def _tracking(file: EpisodeFile, cameras: Sequence[str]) -> str:
    """Say whether objects are known, and whether they can be tracked where they are not."""
    if file.schema.object_names:
        return f"not needed: the file has {', '.join(file.schema.object_names)} already."
    return outlook([scene_of(file, camera) for camera in cameras])


def _show_tracking(words: str, console: Console) -> None:
    console.print(f"tracking: {escape(words)}", highlight=False, soft_wrap=True)


def _draw_file(file: EpisodeFile, camera: str, path: Path) -> None:
    """Show episodes spread over the file: as rows of moments in a picture, or playing side by side in a film."""
    episodes = {k: file.read(k, cameras=(camera,)).frames[camera] for k in spread(len(file))}
    moments = {
        f"{k} {file.policies[k]}": [frames[row] for row in chosen_rows(len(frames))] for k, frames in episodes.items()
    }
    write_sheet(moments, list(episodes.values()), path, file.schema.rate)


def _draw_recording(path: Path | None, episodes: list[Watched], rate: float) -> None:
    if path is not None:
        moments = {str(watched.episode): watched.moments for watched in episodes}
        write_sheet(moments, [watched.stretch for watched in episodes], path, rate)


def _show_summary(summary: Summary, console: Console) -> None:
    facts = Table(show_header=False, title=summary.file + (" (unfinished)" if summary.unfinished else ""))
    cameras = ", ".join(
        f"{name} {height}x{width}{' with depth' * (name in summary.depth)}"
        for name, (height, width) in summary.cameras.items()
    )
    facts.add_row("environment", f"{summary.env_id}, {summary.rate:g} Hz")
    facts.add_row("episodes", f"{summary.episodes:,} of {summary.shortest} to {summary.longest} steps")
    facts.add_row("frames", f"{summary.frames:,} per camera, {summary.bytes / 1e6:,.1f} MB")
    facts.add_row("cameras", cameras)
    facts.add_row("objects", "none" if summary.objects is None else str(summary.objects))
    if summary.objects is not None and summary.objects.present is not None:
        fewest, most = summary.objects.present
        facts.add_row("objects there at once", f"{fewest} to {most}" if fewest < most else f"{most}")
        for name, (low, high) in summary.objects.attributes.items():
            facts.add_row(f"{name} of objects", f"{low:.3g} to {high:.3g}" if low < high else f"{low:.3g}")
        if symmetry := summary.objects.symmetry:
            told = ", ".join(f"{name} {kind}" for name, kind in symmetry.items())
            facts.add_row("orientation", f"of all, up to symmetry: {told}")
    facts.add_row("policies", ", ".join(f"{name} {count}" for name, count in summary.policies.items()))
    if summary.masks:
        facts.add_row("masks", ", ".join(f"{name} {count}" for name, count in summary.masks.items()))
    facts.add_row("seeds", "none" if summary.seeds is None else f"{summary.seeds[0]} to {summary.seeds[1]}")
    for name, (low, high) in summary.properties.items():
        facts.add_row(name, f"{low:.3g} to {high:.3g}" if low < high else f"{low:.3g}")
    facts.add_row("settings", ", ".join(f"{name} {value}" for name, value in summary.settings.items()))
    facts.add_row("versions", ", ".join(f"{name} {version}" for name, version in summary.versions.items()))
    console.print(facts)
    if summary.objects is not None and summary.objects.sightings:
        console.print(_sightings_table(summary.objects))
    if summary.success:
        console.print(success_table(summary.success))
    console.print(_range_table("actions", summary.actions))
    _show_ranges("telemetry", summary.telemetry, console)
    console.print(f"digest {summary.digest}", soft_wrap=True)


def _show_survey(result: Survey, console: Console) -> None:
    facts = Table(show_header=False, title=f"{result.source} ({result.format})")
    rate = "unknown rate" if result.rate is None else f"{result.rate:.4g} Hz"
    if result.measured_rates:
        rate += f" (measured {result.measured_rates[0]:.4g} to {result.measured_rates[1]:.4g} Hz)"
    facts.add_row("robot", f"{result.robot}, {rate}")
    facts.add_row(
        "episodes", f"{result.episodes:,} of {result.shortest} to {result.longest} rows, {result.rows:,} in all"
    )
    facts.add_row("cameras", ", ".join(f"{name} {height}x{width}" for name, (height, width) in result.cameras.items()))
    facts.add_row("outcomes", ", ".join(f"{name} {count}" for name, count in result.outcomes.items()))
    facts.add_row("actions", ", ".join(f"{name} {kind}" for name, kind in result.kinds.items()))
    facts.add_row("steps without motion", f"{result.still:.1%}")
    if result.coverage is not None:
        facts.add_row("coverage", f"{result.coverage:.0%} of the cells around the end-effector's places")
    console.print(facts)
    console.print(_range_table("actions", result.actions))
    _show_ranges("telemetry", result.telemetry, console)
    for warning in result.warnings:
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)


def success_table(success: dict[str, TaskSuccess]) -> Table:
    """Lay out success shares as a table."""
    table = Table("task", "episodes", "at some step", "sustained", "at the end", title="success, share of episodes")
    for task, shares in success.items():
        table.add_row(
            task, f"{shares.episodes:,}", *(f"{share:.1%}" for share in (shares.any, shares.held, shares.end))
        )
    return table


def _sightings_table(objects: Objects) -> Table:
    table = Table("known in", "object", "in sight", "confidence", "unknown", title="tracked objects, share of frames")
    for camera, seen in objects.sightings.items():
        for name, known in seen.items():
            table.add_row(camera, name, f"{known.in_sight:.1%}", f"{known.confidence:.2f}", f"{known.unknown:.1%}")
    if objects.frame == "metres":  # in image coordinates places are sightings, and known as surely
        for name, place in objects.placed.items():
            table.add_row("metres", name, "", f"{place.confidence:.2f}", f"{place.unknown:.1%}")
    return table


def _show_ranges(title: str, ranges: dict[str, Range], console: Console) -> None:
    if ranges:  # a robot may report nothing
        console.print(_range_table(title, ranges))


def _range_table(title: str, ranges: dict[str, Range]) -> Table:
    table = Table("name", "unit", "lowest", "highest", "at limit", title=title)
    for name, span in ranges.items():
        table.add_row(name, span.unit, f"{span.low:.3f}", f"{span.high:.3f}", f"{span.at_limit:.1%}")
    return table
