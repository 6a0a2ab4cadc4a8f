"""`gwm export`: an episode file becomes a dataset of others, for their training code, or a recording without labels.

One episode at a time is in memory. What is written appears under its name when it is complete, or not at all.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tyro

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.exporters.recordings import Recordings
from gwm_sim.data.exporters.videos import Codec
from gwm_sim.data.formats import EXPORT_FORMATS, Writable, require
from gwm_sim.errors import ConfigError, check_at_least_one
from gwm_sim.files import keeping, write_json
from gwm_sim.progress import progress


@dataclass(frozen=True)
class ExportConfig:
    """Write an episode file in the format of others, or `raw`: as a recording without labels."""

    format: tyro.conf.Positional[Writable]
    """Who shall read it."""
    file: tyro.conf.Positional[Path]
    """Episode file: collected, imported or imagined."""
    out: tyro.conf.Positional[Path]
    """What to write, which must not exist yet: a file for robomimic and raw, a folder for the others."""
    codec: Codec = "av1"
    """lerobot: video codec. AV1 is smaller, H.264 plays everywhere and takes pictures below 64 pixels."""
    task: str | None = None
    """lerobot: what the robot was told to do, in words; by default each episode's instruction, or the task's name."""
    valid: float = 0.0
    """robomimic: share of the episodes for validation, named in mask/valid; the others are in mask/train. Masks that
    the episodes have are written without it."""
    calibration: bool = False
    """raw: keep where the cameras stand and how much they see, where the file says so."""
    limit: int | None = None
    """Take only the first episodes."""
    json: Path | None = None
    """Write the printed numbers here."""

    def __post_init__(self) -> None:
        if not 0 <= self.valid < 1:
            raise ConfigError(f"--valid must be a share from 0 to below 1, got {self.valid:g}")
        for name in ("valid", "task", "calibration"):
            if getattr(self, name) and name not in EXPORT_FORMATS[self.format].options:
                owners = ", ".join(format.name for format in EXPORT_FORMATS.values() if name in format.options)
                raise ConfigError(f"--{name} is for {owners}; {self.format} has no place for it")
        check_at_least_one(limit=self.limit)


def export_episodes(config: ExportConfig) -> dict[str, Any]:
    """Write the episodes of `config.file` to `config.out` and return the numbers to print: `frames` per camera over all
    episodes, `rate` in [Hz], and as `imagined` name and hash of the model that imagined them, None for recordings.

    Raises:
        ConfigError: `config.out` exists, or the options are impossible.
        DataError: The file is damaged; nothing is written.
        MissingDependency: The format needs a package that is not installed.
    """
    format = EXPORT_FORMATS[config.format]
    options = {name: getattr(config, name) for name in format.options}
    require(format)
    _refuse_existing(config.out)
    with EpisodeFile(config.file) as file, progress("export") as show:
        recordings = Recordings(file, config.limit, show)
        with keeping(lambda: f"{config.out} was not written."), _appearing_whole(config.out) as path:
            format.write(recordings, path, **options)
        return {
            "out": str(config.out),
            "format": config.format,
            "episodes": len(recordings),
            "frames": sum(recordings.lengths) + len(recordings),
            "cameras": list(recordings.schema.cameras),
            "rate": recordings.schema.rate,
            "imagined": recordings.imagined,
            "tracked": recordings.tracked if format.keeps_objects else None,
            "left_out": format.left_out(recordings, **options),
        }


@contextmanager
def _appearing_whole(out: Path) -> Iterator[Path]:
    """Give a path in a hidden folder beside `out`; it is renamed to `out` at the end, or removed when that fails."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        path = Path(folder) / out.name
        try:
            yield path
        except OSError as error:
            if str(error.filename).startswith(folder):  # of which the user knows nothing
                error.filename = os.fspath(out)
            raise
        _refuse_existing(out)
        os.rename(path, out)


def _refuse_existing(out: Path) -> None:
    if os.path.lexists(out):
        raise ConfigError(f"{out} exists already and is not overwritten: remove it, or give another name")


def main(config: ExportConfig) -> int:
    """Run `gwm export`."""
    result = export_episodes(config)
    content = f"{result['episodes']} episodes, {result['frames']:,} frames of {', '.join(result['cameras'])}"
    print(f"{config.out}: {content}, {result['rate']:g} Hz")
    if result["left_out"]:
        print(f"left out: {', '.join(result['left_out'])}{EXPORT_FORMATS[config.format].why}")
    if result["tracked"]:
        print("positions of objects were tracked, not measured; the metadata say so")
    if who := result["imagined"]:
        print(f"imagined by {who['model']} ({who['hash']}); the metadata say so")
    if config.json is not None:
        write_json(config.json, result)
    return 0
