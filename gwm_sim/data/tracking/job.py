"""A job: find the things in a file of recordings, or take those of another, and follow them into a tracked file.

The recordings are never changed. Things are found from many episodes together; then one episode at a time is in memory.
Every finished episode is a part file at once; the same job goes on where a killed one stopped, with the things that it
had found.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

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
from gwm_sim.progress import progress

_CONFIDENCE = COLUMNS.index("confidence")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be tracked, and how: options of `gwm track`, by whose names messages call them."""

    file: Path
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
class Done:
    """What a call of `track` did."""

    tracking: Tracking
    cautions: list[str]
    episodes: int
    """Written by this call."""
    seconds_per_1000_frames: float | None
    """Of this call, with the search for things; None where it went on with those of an earlier one."""


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
    """What is in the tracked file that a job made."""

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
    """Episodes written by the call that finished it."""
    seconds_per_1000_frames: float | None
    tracker: str
    """Fingerprint of the things: those of two files are the same only if it is the same."""
    digest: str


def track_episodes(job: Job) -> Result:
    """Do a job, and say what is in the file; see `track` for what it raises."""
    return _result(job.out, track(job))


def track(job: Job, each: Callable[[], None] = lambda: None) -> Done:
    """Track what is missing in `job.out`, finish the file, and draw the sheet where one is asked for.

    Args:
        job: What is asked for.
        each: Called after each episode that was written.

    Raises:
        NothingToTrack: There is nothing to follow; nothing was written but the sheet.
        ConfigError: The options are impossible, or `job.out` was made with others.
        DataError: The file is no episode file, or damaged.
        MissingDependency: The packages that tracking needs are not installed.
    """
    readiness.require()
    with resumable(job.out), _episodes(job.file) as file:
        camera = _camera(file.schema, job)
        options = _options(job, camera, file)
        tracking, started = _begun(job, options, file.schema), time.perf_counter()
        goes_on = tracking is not None
        tracker, cautions = _find(job, camera, file) if tracking is None else (tracking.tracker, list[str]())
        found = time.perf_counter() - started
        with progress("follow") as show:
            follower = Follower(file, tracker)
            if tracking is None:
                tracking = Tracking(tracker, _placement(job, camera, file, follower), options, file.schema)
            written = 0
            for k in write_tracked(file, job.out, tracking, follower):
                written += 1
                show((k + 1) / len(file), f"{k + 1} of {len(file)} episodes")
                each()
        seconds = (found + follower.seconds) / max(follower.frames, 1) * 1000
    if job.sheet is not None:
        sheet.write_tracks(job.out, job.sheet)
    return Done(tracking, cautions, written, None if goes_on else seconds)


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


def _camera(schema: Schema, job: Job) -> str:
    """Return the camera to track with, and refuse to replace objects that nobody asked to replace, and things of
    another file that cannot be seen there."""
    if schema.object_names and not job.again:
        names, how = ", ".join(schema.object_names), schema.provenance
        raise ConfigError(
            f"{job.file} has {how} objects already ({names}). --again leaves them out of --out and tracks; "
            f"{job.file} keeps them."
        )
    known = None if job.like is None else _known(job.like).tracker
    asked = job.camera or (known and known.camera) or next(iter(schema.cameras))
    if asked not in schema.cameras:
        raise ConfigError(f"{job.file} has no camera {asked!r}; it has {', '.join(schema.cameras)}.")
    if known is not None:
        _check_pictures(job, known, asked, schema)
    return asked


def _check_pictures(job: Job, known: Tracker, camera: str, schema: Schema) -> None:
    """Refuse to look for the things of another file in pictures that are not like those in which they were found."""
    if camera != known.camera:
        raise ConfigError(f"the things of {job.like} were found before camera {known.camera}, not {camera}.")
    size, (height, width) = schema.cameras[camera], known.background.picture.shape[:2]
    if (size.height, size.width) != (height, width):
        raise ConfigError(
            f"{job.file} has pictures of {size.width} x {size.height} px, the things of {job.like} were found in "
            f"ones of {width} x {height}: import the recordings again with pictures of that size."
        )


def _options(job: Job, camera: str, file: EpisodeFile) -> dict[str, Any]:
    """Return what decides the things, as JSON: a run that goes on must be asked for the same."""
    clicks = _clicks(job, camera, file)
    said = {
        "camera": camera,
        "objects": job.objects,
        "click": [asdict(click) for click in clicks],
        "drop": sorted(set(job.drop)),
        "like": None if job.like is None else _known(job.like).tracker.digest(),
    }
    return {name: value for name, value in said.items() if value}


def _clicks(job: Job, camera: str, file: EpisodeFile) -> tuple[Any, ...]:
    return () if job.click is None else read_clicks(job.click, file.lengths, file.schema.cameras[camera])


def _begun(job: Job, options: dict[str, Any], recorded: Schema) -> Tracking | None:
    """Return what an earlier run has found; refuse to go on with it for other options."""
    tracking = Tracking.of(job.out)
    if tracking is None:
        if job.out.exists():
            raise ConfigError(f"{job.out} exists already, and gwm track did not write it: give another --out.")
        return None
    for name in sorted(options.keys() | tracking.options.keys()):
        was, now = (said.get(name, "not given") for said in (tracking.options, options))
        if was != now:
            raise ConfigError(
                f"{job.out} was made with other options: --{name} {was}, here {now}. Repeat the command that made "
                "it, or write to another file."
            )
    return replace(tracking, recorded=recorded)


def _find(job: Job, camera: str, file: EpisodeFile) -> tuple[Tracker, list[str]]:
    """Find the things, or take those of another file; cautions beside."""
    scene = readiness.scene_of(file, camera)
    judgement = readiness.judge(scene, told=job.click is not None or job.like is not None)
    try:
        if judgement.obstacles:
            raise NothingToTrack(f"{file.path}: {' '.join(judgement.obstacles)}")
        if job.like is not None:
            tracker = _known(job.like).tracker
            return tracker, [*judgement.cautions, *_moved(job.like, tracker, scene)]
        with progress("find") as show:
            tracker = Tracker.fit(
                file,
                camera,
                objects=job.objects,
                clicks=_clicks(job, camera, file),
                drop=tuple(sorted(set(job.drop))),
                show=show,
            )
    except NothingToTrack as error:
        if job.sheet is None:
            raise
        sheet.write_moments(file, camera, job.sheet)
        raise NothingToTrack(f"{error} {job.sheet} shows what camera {camera} sees, with rulers.") from error
    found = len(tracker.things) + len(job.drop)
    counted = [f"--objects {job.objects}: {found} were found."] if job.objects not in (None, found) else []
    return tracker, [*judgement.cautions, *counted]


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


def _placement(job: Job, camera: str, file: EpisodeFile, follower: Follower) -> Placement:
    if job.like is not None:
        return _known(job.like).placement
    with progress("places") as show:
        return Placement.of(file, camera, follower.look_ahead, show)


def _result(path: Path, done: Done) -> Result:
    """Say what is in the finished file."""
    tracking = done.tracking
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
            cautions=done.cautions,
            episodes=len(file),
            frames=len(seen),
            tracked=done.episodes,
            seconds_per_1000_frames=done.seconds_per_1000_frames,
            tracker=tracker.digest(),
            digest=file.digest(),
        )
