"""`gwm export`: an episode file becomes a dataset of others, for their training code, or a recording without labels; a
world model becomes ONNX files, for runtimes without torch, or a folder that runs in the browser.

One episode at a time is in memory. What is written appears under its name when it is complete, or not at all.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Literal

import tyro

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.exporters.recordings import Recordings
from gwm_sim.data.exporters.videos import Codec
from gwm_sim.data.formats import EXPORT_FORMATS, require
from gwm_sim.errors import ConfigError, check_at_least_one
from gwm_sim.extras import missing
from gwm_sim.files import keeping, write_json
from gwm_sim.progress import progress

MODEL_FORMATS: Final = {"onnx": ("starts",), "web": ("starts", "runtime")}
"""What world models are written as, and the options that are for that."""

if TYPE_CHECKING:
    Format = str
else:  # the choice that the command offers
    Format = Literal[(*EXPORT_FORMATS, *MODEL_FORMATS)]


@dataclass(frozen=True)
class ExportConfig:
    """Write an episode file in the format of others, or `raw`: as a recording without labels. Or a world model: `onnx`
    for runtimes without torch, `web` as a page that runs in the browser."""

    format: tyro.conf.Positional[Format]
    """Who shall read it."""
    file: tyro.conf.Positional[Path]
    """Episode file: collected, imported or imagined. onnx, web: name of a shipped model, or the folder of one."""
    out: tyro.conf.Positional[Path]
    """What to write, which must not exist yet: a file for robomimic, raw and onnx, a folder for the others."""
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
    starts: int | None = None
    """onnx, web: how many initial states go along, 16 by default."""
    runtime: Path | None = None
    """web: package of ONNX Runtime Web as `npm pack` makes it; by default it is fetched from the registry of npm."""
    json: Path | None = None
    """Write the printed numbers here."""

    def __post_init__(self) -> None:
        if not 0 <= self.valid < 1:
            raise ConfigError(f"--valid must be a share from 0 to below 1, got {self.valid:g}")
        options = {name: format.options for name, format in EXPORT_FORMATS.items()} | MODEL_FORMATS
        for name in ("valid", "task", "calibration", "starts", "runtime"):
            if getattr(self, name) and name not in options[self.format]:
                owners = ", ".join(format for format, own in options.items() if name in own)
                raise ConfigError(f"--{name} is for {owners}; {self.format} has no place for it")
        if self.limit is not None and self.format in MODEL_FORMATS:
            raise ConfigError(f"--limit is for episodes; {self.format} is a world model's")
        check_at_least_one(limit=self.limit, starts=self.starts)


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


def export_model(config: ExportConfig) -> dict[str, Any]:
    """Write the world model `config.file` to `config.out` and return the numbers to print: of `starts`, of bytes in
    `files`, and of a page that are `transferred`.

    Raises:
        CheckpointError: There is no such model.
        ConfigError: `config.out` exists, the model cannot be exported, or the runtime cannot be had.
        MissingDependency: A package is not installed.
    """
    for needed in ("onnx", "onnxscript"):
        if find_spec(needed) is None:
            raise missing(needed, f"`gwm export {config.format}`")
    from gwm_sim.export import onnx, runtime, web  # late: episodes need neither these packages nor torch
    from gwm_sim.export.starts import STARTS
    from gwm_sim.model.world_model import WorldModel

    model = WorldModel.load(str(config.file), "cpu")
    starts = STARTS if config.starts is None else config.starts
    outs = onnx.beside(config.out) if config.format == "onnx" else (config.out,)
    for path in outs:
        _refuse_existing(path)
    with progress("export") as show, keeping(lambda: f"{config.out} was not written."):
        if config.format == "onnx":
            count = onnx.export_onnx(model, config.out, starts, show)
        else:
            package = runtime.fetch() if config.runtime is None else runtime.read(config.runtime)
            with _appearing_whole(config.out) as folder:
                count = web.export_web(model, package, folder, starts, show)
    written = [path for out in outs for path in (sorted(out.rglob("*")) if out.is_dir() else [out])]
    result = {
        "out": str(config.out),
        "format": config.format,
        "model": model.config.name,
        "starts": count,
        "files": {str(path): path.stat().st_size for path in written if path.is_file()},
    }
    return result | ({"transferred": web.transferred(config.out)} if config.format == "web" else {})


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
    if config.format in MODEL_FORMATS:
        result = export_model(config)
        _say_model(result)
    else:
        result = export_episodes(config)
        _say_episodes(config, result)
    if config.json is not None:
        write_json(config.json, result)
    return 0


def _say_model(result: dict[str, Any]) -> None:
    size = sum(result["files"].values()) / 1e6
    print(f"{result['out']}: {result['model']} with {result['starts']} initial states, {size:.1f} MB")
    if result["format"] == "onnx":
        print(f"files: {', '.join(result['files'])}; examples/onnx_rollout.py steps them")
        return
    print(f"look at it: python -m http.server --bind 127.0.0.1 --directory {result['out']}, then http://localhost:8000")
    print(f"a browser loads {result['transferred'] / 1e6:.1f} MB of it at most, where the host compresses")


def _say_episodes(config: ExportConfig, result: dict[str, Any]) -> None:
    content = f"{result['episodes']} episodes, {result['frames']:,} frames of {', '.join(result['cameras'])}"
    print(f"{config.out}: {content}, {result['rate']:g} Hz")
    if result["left_out"]:
        print(f"left out: {', '.join(result['left_out'])}{EXPORT_FORMATS[config.format].why}")
    if result["tracked"]:
        print("positions of objects were tracked, not measured; the metadata say so")
    if who := result["imagined"]:
        print(f"imagined by {who['model']} ({who['hash']}); the metadata say so")
