"""`gwm export`: an episode file becomes a dataset of others, for their training code.

One episode at a time is in memory. What is written appears under its name when it is complete, or not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import tyro

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.exporters import Format
from gwm_sim.data.exporters.minari import write_minari
from gwm_sim.data.exporters.recordings import Recordings
from gwm_sim.data.exporters.robomimic import write_robomimic
from gwm_sim.data.exporters.videos import Codec
from gwm_sim.errors import ConfigError
from gwm_sim.progress import progress


@dataclass(frozen=True)
class ExportConfig:
    """Write an episode file in the format of others."""

    format: tyro.conf.Positional[Format]
    """Who shall read it."""
    file: tyro.conf.Positional[Path]
    """Episode file: collected, imported or imagined."""
    out: tyro.conf.Positional[Path]
    """What to write, which must not exist yet: a file for robomimic, a folder for the others."""
    codec: Codec = "av1"
    """lerobot: video codec. AV1 is smaller, H.264 plays everywhere and takes pictures below 64 pixels."""
    task: str | None = None
    """lerobot: what the robot was told to do, in words; by default the name of the task."""
    valid: float = 0.0
    """robomimic: share of the episodes for validation, named in mask/valid; the others are in mask/train."""
    limit: int | None = None
    """Take only the first episodes."""
    json: Path | None = None
    """Write the printed numbers here."""

    def __post_init__(self) -> None:
        if not 0 <= self.valid < 1:
            raise ConfigError(f"--valid must be a share from 0 to below 1, got {self.valid:g}")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"--limit must be at least 1, got {self.limit}")
        for name, owner in (("valid", "robomimic"), ("task", "lerobot")):
            if getattr(self, name) and self.format != owner:
                raise ConfigError(f"--{name} is for {owner}; {self.format} has no place for it")


@dataclass(frozen=True)
class Export:
    """What was written."""

    out: str
    format: Format
    episodes: int
    frames: int
    """Frames per camera, over all episodes."""
    cameras: list[str]
    rate: float
    """[Hz]"""
    imagined: dict[str, str] | None
    """Name and hash of the model that imagined the episodes; None when they were recorded."""


def export_episodes(config: ExportConfig) -> Export:
    """Write the episodes of `config.file` to `config.out`.

    Raises:
        ConfigError: `config.out` exists, or the options are impossible.
        DataError: The file is damaged; nothing is written.
        MissingDependency: The format needs a package that is not installed.
    """
    _refuse_existing(config.out)
    with EpisodeFile(config.file) as file, progress("export") as show:
        recordings = Recordings(file, config.limit, show)
        with _appearing_whole(config.out) as path:
            _write(config, recordings, path)
        return Export(
            out=str(config.out),
            format=config.format,
            episodes=len(recordings),
            frames=sum(recordings.lengths) + len(recordings),
            cameras=list(recordings.schema.cameras),
            rate=recordings.schema.rate,
            imagined=recordings.imagined,
        )


def _write(config: ExportConfig, recordings: Recordings, path: Path) -> None:
    match config.format:
        case "robomimic":
            write_robomimic(recordings, path, config.valid)
        case "lerobot":
            from gwm_sim.data.exporters.lerobot import write_lerobot  # late: it needs the extra [data]

            write_lerobot(recordings, path, config.codec, config.task)
        case "minari":
            write_minari(recordings, path)


@contextmanager
def _appearing_whole(out: Path) -> Iterator[Path]:
    """Give a path in a hidden folder beside `out`; it is renamed to `out` at the end, or removed when that fails."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        path = Path(folder) / out.name
        yield path
        _refuse_existing(out)
        os.rename(path, out)


def _refuse_existing(out: Path) -> None:
    if os.path.lexists(out):
        raise ConfigError(f"{out} exists already and is not overwritten: remove it, or give another name")


def main(config: ExportConfig) -> int:
    """Run `gwm export`."""
    result = export_episodes(config)
    cameras = ", ".join(result.cameras)
    print(f"{result.out}: {result.episodes} episodes, {result.frames:,} frames of {cameras}, {result.rate:g} Hz")
    if result.imagined:
        print(f"imagined by {result.imagined['model']} ({result.imagined['hash']}); the metadata say so")
    if config.json is not None:
        config.json.parent.mkdir(parents=True, exist_ok=True)
        config.json.write_text(json.dumps(asdict(result), indent=2) + "\n")
    return 0
