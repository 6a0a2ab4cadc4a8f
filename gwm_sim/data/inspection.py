"""`gwm inspect`: what is in an episode file, or in a recording of a foreign format, in numbers and in pictures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from gwm_sim.data.episode_file import Episode, EpisodeFile
from gwm_sim.data.formats import Readable, detect
from gwm_sim.data.ranges import Range, range_table
from gwm_sim.data.survey import Survey, show_survey, survey
from gwm_sim.media.sheets import chosen_episodes, chosen_rows, write_film, write_picture
from gwm_sim.protocol import SUSTAINED_STEPS

Array = NDArray[Any]


@dataclass(frozen=True)
class InspectConfig:
    """Summarise an episode file or a foreign recording, and check every number in it."""

    file: tyro.conf.Positional[Path]
    """Episode file, finished or still being written; or a recording that gwm import reads."""
    format: Readable | None = None
    """Who wrote the recording; by default found out."""
    video: Path | None = None
    """Write a contact sheet here: a picture if the name ends in .png, else a film of the episodes side by side."""
    json: Path | None = None
    """Write the printed numbers here."""


@dataclass(frozen=True)
class TaskSuccess:
    """Shares of the episodes in which a task was fulfilled."""

    any: float
    """At some step."""
    held: float
    """At `SUSTAINED_STEPS` consecutive steps."""
    end: float
    """At the last step."""


@dataclass(frozen=True)
class Summary:
    """What is in an episode file."""

    file: str
    env_id: str
    unfinished: bool
    bytes: int
    episodes: int
    frames: int
    """Frames per camera, over all episodes."""
    shortest: int
    """Fewest actions in an episode."""
    longest: int
    rate: float
    """[Hz]"""
    cameras: dict[str, tuple[int, int]]
    """Height and width [px]."""
    policies: dict[str, int]
    """Episodes by behaviour."""
    seeds: tuple[int, int] | None
    """Lowest and highest."""
    success: dict[str, TaskSuccess]
    actions: dict[str, Range]
    telemetry: dict[str, Range]
    properties: dict[str, tuple[float, float]]
    """Lowest and highest value of each physics property."""
    settings: dict[str, Any]
    versions: dict[str, str]
    digest: str
    """Fingerprint of the content."""


def summarize(file: EpisodeFile) -> Summary:
    """Read a whole file once, check its numbers and say what is in it."""
    schema = file.schema
    episodes = [file.read(k, cameras=()) for k in range(len(file))]
    seeds = [seed for seed in file.seeds if seed is not None]
    return Summary(
        file=str(file.path),
        env_id=schema.env_id,
        unfinished=file.unfinished,
        bytes=file.size,
        episodes=len(file),
        frames=sum(file.lengths) + len(file),
        shortest=min(file.lengths),
        longest=max(file.lengths),
        rate=schema.rate,
        cameras={name: (camera.height, camera.width) for name, camera in schema.cameras.items()},
        policies=dict(sorted(Counter(file.policies).items())),
        seeds=(min(seeds), max(seeds)) if seeds else None,
        success={task: _success([episode.labels[task].success for episode in episodes]) for task in schema.tasks},
        actions=_ranges(
            np.concatenate([episode.actions for episode in episodes]),
            schema.action_names,
            [""] * len(schema.action_names),
            schema.action_low,
            schema.action_high,
        ),
        telemetry=_ranges(
            np.concatenate([episode.telemetry for episode in episodes]),
            schema.telemetry_names,
            schema.telemetry_units,
            schema.telemetry_low,
            schema.telemetry_high,
        ),
        properties=_property_ranges(episodes),
        settings=schema.settings,
        versions=schema.versions,
        digest=file.digest(),
    )


def _success(success: Sequence[Array]) -> TaskSuccess:
    steps = [instants[1:] for instants in success]
    return TaskSuccess(
        any=float(np.mean([instants.any() for instants in steps])),
        held=float(np.mean([is_held(instants) for instants in steps])),
        end=float(np.mean([instants[-1:].any() for instants in steps])),
    )


def is_held(success: Array) -> bool:
    """Return whether a task was fulfilled at `SUSTAINED_STEPS` consecutive steps, (N,) bool."""
    if len(success) < SUSTAINED_STEPS:
        return False
    return bool(np.lib.stride_tricks.sliding_window_view(success, SUSTAINED_STEPS).all(axis=-1).any())


def _ranges(
    values: Array, names: Sequence[str], units: Sequence[str], low: Sequence[float], high: Sequence[float]
) -> dict[str, Range]:
    at_limit = ((values <= np.array(low, values.dtype)) | (values >= np.array(high, values.dtype))).mean(axis=0)
    columns = zip(names, units, values.min(axis=0), values.max(axis=0), at_limit, strict=True)
    return {
        name: Range(unit, float(lowest), float(highest), float(share)) for name, unit, lowest, highest, share in columns
    }


def _property_ranges(episodes: Sequence[Episode]) -> dict[str, tuple[float, float]]:
    names = sorted({name for episode in episodes for name in episode.properties})
    values = {name: [e.properties[name] for e in episodes if name in e.properties] for name in names}
    return {name: (min(drawn), max(drawn)) for name, drawn in values.items()}


def show(summary: Summary, console: Console) -> None:
    """Print a summary as tables."""
    facts = Table(show_header=False, title=summary.file + (" (unfinished)" if summary.unfinished else ""))
    cameras = ", ".join(f"{name} {height}x{width}" for name, (height, width) in summary.cameras.items())
    facts.add_row("environment", f"{summary.env_id}, {summary.rate:g} Hz")
    facts.add_row("episodes", f"{summary.episodes:,} of {summary.shortest} to {summary.longest} steps")
    facts.add_row("frames", f"{summary.frames:,} per camera, {summary.bytes / 1e6:,.1f} MB")
    facts.add_row("cameras", cameras)
    facts.add_row("policies", ", ".join(f"{name} {count}" for name, count in summary.policies.items()))
    facts.add_row("seeds", "none" if summary.seeds is None else f"{summary.seeds[0]} to {summary.seeds[1]}")
    for name, (low, high) in summary.properties.items():
        facts.add_row(name, f"{low:.3g} to {high:.3g}" if low < high else f"{low:.3g}")
    facts.add_row("settings", ", ".join(f"{name} {value}" for name, value in summary.settings.items()))
    facts.add_row("versions", ", ".join(f"{name} {version}" for name, version in summary.versions.items()))
    console.print(facts)
    if summary.success:
        console.print(success_table(summary.success))
    console.print(range_table("actions", summary.actions))
    console.print(range_table("telemetry", summary.telemetry))
    console.print(f"digest {summary.digest}", soft_wrap=True)


def success_table(success: dict[str, TaskSuccess]) -> Table:
    """Lay out success shares as a table."""
    table = Table(
        "task", "at some step", f"held {SUSTAINED_STEPS} steps", "at the end", title="success, share of episodes"
    )
    for task, shares in success.items():
        table.add_row(task, *(f"{share:.1%}" for share in (shares.any, shares.held, shares.end)))
    return table


def write_summary(summary: Summary | Survey, path: Path) -> None:
    """Write a summary as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(summary), indent=2) + "\n")


def write_sheet(file: EpisodeFile, path: Path) -> None:
    """Show episodes spread over the file: as rows of moments in a picture, or playing side by side in a film."""
    camera = next(iter(file.schema.cameras))
    episodes = {k: file.read(k, cameras=(camera,)).frames[camera] for k in chosen_episodes(len(file))}
    if path.suffix.lower() == ".png":
        moments = {
            f"{k} {file.policies[k]}": [frames[row] for row in chosen_rows(len(frames))]
            for k, frames in episodes.items()
        }
        write_picture(moments, path)
    else:
        write_film(list(episodes.values()), path, file.schema.rate)


def main(config: InspectConfig) -> int:
    """Run `gwm inspect`."""
    console = Console()
    format = config.format or detect(config.file)
    result: Summary | Survey
    if format is None:
        with EpisodeFile(config.file) as file:
            result = summarize(file)
            show(result, console)
            if config.video is not None:
                write_sheet(file, config.video)
    else:
        result = survey(format, config.file, config.video)
        show_survey(result, console)
    if config.json is not None:
        write_summary(result, config.json)
    if config.video is not None:
        console.print(f"wrote {config.video}", soft_wrap=True)
    return 0
