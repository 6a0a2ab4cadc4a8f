"""`gwm track`: find the objects in raw recordings, and follow them.

The file that is tracked is never changed. Things are found from many episodes together; then one episode at a time is
in memory. Every finished episode is a part file at once; the same command goes on where a killed one stopped, with the
things that it had found.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from gwm_sim.data.episode_file import EpisodeFile, resumable
from gwm_sim.data.formats import detect
from gwm_sim.data.schema import Schema
from gwm_sim.data.tracking import readiness, sheet
from gwm_sim.data.tracking.clicks import read_clicks
from gwm_sim.data.tracking.placement import Placement
from gwm_sim.data.tracking.sightings import COLUMNS
from gwm_sim.data.tracking.tracked_file import Follower, Tracking, write_tracked
from gwm_sim.data.tracking.tracker import NothingToTrack, Tracker
from gwm_sim.errors import ConfigError, DataError, check_at_least_one
from gwm_sim.files import write_json
from gwm_sim.progress import progress

_REASONS = 6
"""Lines about what was left out."""

_CONFIDENCE = COLUMNS.index("confidence")


@dataclass(frozen=True)
class TrackConfig:
    """Find the objects in raw recordings and follow them; the same command resumes an interrupted run."""

    file: tyro.conf.Positional[Path]
    """Episode file to track in; it is never changed."""
    out: Path
    """Episode file to write."""
    camera: str | None = None
    """Camera in whose pictures things are tracked; by default the first one."""
    objects: int | None = None
    """How many things there are, where somebody knows it."""
    click: Path | None = None
    """File with a place of each thing, a line EPISODE,FRAME,COLUMN,ROW or EPISODE,FRAME,COLUMN,ROW,NAME for each, or a
    JSON list of such objects; these things alone are looked for. The sheet has rulers to read them off."""
    drop: tuple[int, ...] = ()
    """Numbers of things, as they stand on the sheet, that are none."""
    like: Path | None = None
    """Tracked file whose things are followed here as well: they stay the same things."""
    again: bool = False
    """Track although the file has objects; those stay in the file and are left out of --out."""
    sheet: Path | None = None
    """Draw the things that were found, and where, into this PNG file."""
    json: Path | None = None
    """Write the printed numbers here."""

    def __post_init__(self) -> None:
        check_at_least_one(objects=self.objects)
        given = [name for name in ("objects", "click", "drop", "like") if getattr(self, name)]
        if len(given) > 1 and given != ["objects", "drop"]:
            raise ConfigError(f"--{given[0]} and --{given[1]} each say which things there are: give one of them.")
        if wrong := [number for number in self.drop if number < 0]:
            raise ConfigError(f"--drop takes numbers of things as on the sheet, from 0; got {wrong[0]}.")
        if self.out.resolve() == self.file.resolve():
            raise ConfigError(f"--out {self.out} is the file that is tracked, which is never changed. Write elsewhere.")
        if self.sheet is not None and self.sheet.suffix.lower() != ".png":
            raise ConfigError(f"--sheet is a picture whose name ends in .png, got {self.sheet}.")


@dataclass(frozen=True)
class Found:
    """One thing in the whole file."""

    number: int
    """That --drop takes."""
    name: str
    color: tuple[int, int, int]
    width: float
    """[px]"""
    height: float
    episodes: int
    """In how many of the episodes it was seen."""
    seen: float
    """Share of all frames in which it was seen."""
    confidence: float
    """How surely this is a thing, in [0, 1]."""


@dataclass(frozen=True)
class Result:
    """What a call of `track_episodes` did."""

    file: str
    camera: str
    things: list[Found]
    left_out: dict[str, list[sheet.Color]]
    """Colours of what was no thing, by the reason."""
    object_frame: str
    places: str
    """How metres are had, or why there are none."""
    cautions: list[str]
    episodes: int
    frames: int
    tracked: int
    """Episodes written by this call."""
    seconds_per_1000_frames: float | None
    """Of this call, with the search for things; None where it went on with those of an earlier one."""
    tracker: str
    """Fingerprint of the things: those of two files are the same only if it is the same."""
    digest: str


def track_episodes(config: TrackConfig) -> Result:
    """Track what is missing in `config.out` and finish the file.

    Raises:
        NothingToTrack: There is nothing to follow; nothing was written.
        ConfigError: The options are impossible, or `config.out` was made with others.
        DataError: The file is no episode file, or damaged.
        MissingDependency: The packages that tracking needs are not installed.
    """
    readiness.require()
    with resumable(config.out), _episodes(config.file) as file:
        camera = _camera(file.schema, config)
        options = _options(config, camera, file)
        tracking, started = _begun(config, options, file.schema), time.perf_counter()
        goes_on = tracking is not None
        tracker, cautions = _find(config, camera, file) if tracking is None else (tracking.tracker, list[str]())
        found = time.perf_counter() - started
        with progress("follow") as show:
            follower = Follower(file, tracker)
            if tracking is None:
                tracking = Tracking(tracker, _placement(config, camera, file, follower), options, file.schema)
            tracked = 0
            for k in write_tracked(file, config.out, tracking, follower):
                tracked += 1
                show((k + 1) / len(file), f"{k + 1} of {len(file)} episodes")
        seconds = (found + follower.seconds) / max(follower.frames, 1) * 1000
    return _result(config.out, tracking, cautions, tracked, None if goes_on else seconds)


def _episodes(path: Path) -> EpisodeFile:
    """Open an episode file; of recordings in other formats say what brings them in."""
    try:
        return EpisodeFile(path)
    except DataError as error:
        if (format := detect(path)) is not None:
            raise DataError(
                f"{path} is a {format} recording, no episode file: gwm import {format} {path} --out FILE --track "
                "imports and tracks it."
            ) from error
        raise


def _camera(schema: Schema, config: TrackConfig) -> str:
    """Return the camera to track with, and refuse to replace objects that nobody asked to replace."""
    if schema.object_names and not config.again:
        names, how = ", ".join(schema.object_names), schema.provenance
        raise ConfigError(
            f"{config.file} has {how} objects already ({names}). --again leaves them out of --out and tracks; "
            f"{config.file} keeps them."
        )
    if config.camera is not None and config.camera not in schema.cameras:
        raise ConfigError(f"{config.file} has no camera {config.camera!r}; it has {', '.join(schema.cameras)}.")
    if config.like is not None:
        return _same_camera(schema, config, _known(config.like).tracker)
    return config.camera or next(iter(schema.cameras))


def _same_camera(schema: Schema, config: TrackConfig, known: Tracker) -> str:
    """Return the camera before which the things are known; refuse pictures that are not like its."""
    if config.camera not in (None, known.camera) or known.camera not in schema.cameras:
        asked = config.camera or ", ".join(schema.cameras)
        raise ConfigError(
            f"the things of --like {config.like} are known before camera {known.camera}, not before {asked} of "
            f"{config.file}: they can be followed before the same camera only."
        )
    camera, (height, width) = schema.cameras[known.camera], known.background.picture.shape[:2]
    if (camera.height, camera.width) != (height, width):
        raise ConfigError(
            f"the things of --like {config.like} are known in pictures of {height}x{width} pixels; those of "
            f"{config.file} have {camera.height}x{camera.width}: import both at one --size."
        )
    return known.camera


def _options(config: TrackConfig, camera: str, file: EpisodeFile) -> dict[str, Any]:
    """Return what decides the things, as JSON: a run that goes on must be asked for the same."""
    clicks = _clicks(config, camera, file)
    said = {
        "camera": camera,
        "objects": config.objects,
        "click": [asdict(click) for click in clicks],
        "drop": sorted(set(config.drop)),
        "like": None if config.like is None else _known(config.like).tracker.digest(),
    }
    return {name: value for name, value in said.items() if value}


def _clicks(config: TrackConfig, camera: str, file: EpisodeFile) -> tuple[Any, ...]:
    return () if config.click is None else read_clicks(config.click, file.lengths, file.schema.cameras[camera])


def _begun(config: TrackConfig, options: dict[str, Any], recorded: Schema) -> Tracking | None:
    """Return what an earlier run has found; refuse to go on with it for other options."""
    tracking = Tracking.of(config.out)
    if tracking is None:
        if config.out.exists():
            raise ConfigError(f"{config.out} exists already, and gwm track did not write it: give another --out.")
        return None
    for name in sorted(options.keys() | tracking.options.keys()):
        was, now = (said.get(name, "not given") for said in (tracking.options, options))
        if was != now:
            raise ConfigError(
                f"{config.out} was made with other options: --{name} {was}, here {now}. Repeat the command that made "
                "it, or write to another file."
            )
    return replace(tracking, recorded=recorded)


def _find(config: TrackConfig, camera: str, file: EpisodeFile) -> tuple[Tracker, list[str]]:
    """Find the things, or take those of another file; cautions beside."""
    scene = readiness.scene_of(file, camera)
    judgement = readiness.judge(scene, told=config.click is not None or config.like is not None)
    try:
        if judgement.obstacles:
            raise NothingToTrack(f"{file.path}: {' '.join(judgement.obstacles)}")
        if config.like is not None:
            tracker = _known(config.like).tracker
            return tracker, [*judgement.cautions, *_moved(config.like, tracker, scene)]
        with progress("find") as show:
            tracker = Tracker.fit(
                file,
                camera,
                objects=config.objects,
                clicks=_clicks(config, camera, file),
                drop=tuple(sorted(set(config.drop))),
                show=show,
            )
    except NothingToTrack as error:
        if config.sheet is None:
            raise
        sheet.write_moments(file, camera, config.sheet)
        raise NothingToTrack(f"{error} {config.sheet} shows what camera {camera} sees, with rulers.") from error
    return tracker, [*judgement.cautions, *_missing(config, tracker)]


def _missing(config: TrackConfig, tracker: Tracker) -> list[str]:
    """Caution where fewer things were found than there are."""
    found = len(tracker.things) + len(set(config.drop))
    if config.objects is None or found >= config.objects:
        return []
    return [f"--objects {config.objects} asks for more than was found ({found}): show each with --click."]


def _moved(like: Path, tracker: Tracker, scene: readiness.Scene) -> list[str]:
    """Caution against a camera that does not stand where it stood when the things were found."""
    moved = readiness.moved_since(scene, tracker.background.picture)
    return [f"{moved} since {like}: places will be off by that, and things may be lost."] if moved else []


def _known(path: Path) -> Tracking:
    """Return the things of another tracked file."""
    tracking = Tracking.of(path) if path.exists() else None
    if tracking is None:
        raise ConfigError(f"--like {path} is no file that gwm track wrote.")
    return tracking


def _placement(config: TrackConfig, camera: str, file: EpisodeFile, follower: Follower) -> Placement:
    if config.like is not None:
        return _known(config.like).placement
    with progress("places") as show:
        return Placement.of(file, camera, follower.look_ahead, show)


def _result(path: Path, tracking: Tracking, cautions: list[str], tracked: int, seconds: float | None) -> Result:
    """Say what is in the finished file."""
    tracker = tracking.tracker
    with EpisodeFile(path) as file:
        confidence = [
            file.read(k, cameras=(), depth=False).sightings[tracker.camera][..., _CONFIDENCE] for k in range(len(file))
        ]
        seen = np.concatenate(confidence) > 0
        in_episode = np.stack([(told > 0).any(axis=0) for told in confidence])
        return Result(
            file=str(path),
            camera=tracker.camera,
            things=[
                Found(
                    number=number,
                    name=thing.name,
                    color=thing.color,
                    width=thing.width,
                    height=thing.height,
                    episodes=int(in_episode[:, i].sum()),
                    seen=float(seen[:, i].mean()),
                    confidence=thing.confidence,
                )
                for i, (number, thing) in enumerate(zip(sheet.numbers(tracking), tracker.things, strict=True))
            ],
            left_out=sheet.by_reason(tracker),
            object_frame=tracking.placement.frame,
            places=tracking.placement.words,
            cautions=cautions,
            episodes=len(file),
            frames=len(seen),
            tracked=tracked,
            seconds_per_1000_frames=seconds,
            tracker=tracker.digest(),
            digest=file.digest(),
        )


def words(result: Result) -> Iterator[str]:
    """Say in lines what was found, what was not, and how to correct it."""
    yield f"tracked {result.tracked} episodes" if result.tracked else "nothing new to track"
    count = len(result.things)
    yield f"{count} thing{'s' * (count != 1)} before camera {result.camera}:"
    width = max(len(thing.name) for thing in result.things)
    for thing in result.things:
        yield (
            f"  {thing.number} {thing.name:<{width}}  {thing.width:.0f} x {thing.height:.0f} px, in {thing.episodes} "
            f"of {result.episodes} episodes and {thing.seen:.1%} of the frames, confidence {thing.confidence:.2f}"
        )
    yield from sheet.left_out(result.left_out, _REASONS)
    frame = "in metres" if result.object_frame == "metres" else "in image coordinates, column and row [px]"
    yield f"places are {frame}: {result.places}"
    yield from (f"caution: {caution}" for caution in result.cautions)
    yield "to correct: --drop NUMBER what is no thing; --objects N or --click FILE what is missing; --sheet shows it"
    yield f"{result.file}: {result.episodes} episodes, {result.frames:,} frames\ndigest {result.digest}"


def main(config: TrackConfig) -> int:
    """Run `gwm track`."""
    result = track_episodes(config)
    for line in words(result):
        print(line)
    if config.sheet is not None:
        sheet.write_tracks(config.out, config.sheet)
        print(f"wrote {config.sheet}")
    if config.json is not None:
        write_json(config.json, asdict(result))
    return 0
