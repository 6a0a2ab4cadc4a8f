"""Things in recordings that say nothing of objects: found and followed before anything is learned.

They are found in the first such file, and followed in the others. The recordings stay as they are: copies with the
things in them lie in the run's folder, each beside a sheet of what was found. Where tracking is refused, training goes
on without things. What came of it is part of the run's claim, so that a run goes on as it began.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.schema import TRACKER
from gwm_sim.data.tracking import readiness
from gwm_sim.data.tracking.tracked_file import Tracking
from gwm_sim.data.tracking.tracker import NothingToTrack
from gwm_sim.errors import ConfigError, MissingDependency
from gwm_sim.files import write_json
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.claim import begun, check_claim
from gwm_sim.training.config import TrainConfig
from gwm_sim.training.dataset import TrainingData, check_file
from gwm_sim.training.dataset.checks import episode_files
from gwm_sim.training.dataset.loading import digests

FOLDER = "tracked"
"""Of a run: the recordings that it was given, with the things that were found in them."""

CLOCK_FILE = "seconds.json"
SAVE_EVERY = 10.0  # [s]
MOST = 0.5
"""Share of the minutes that tracking uses up at most: however long it took, the rest is for learning."""


@dataclass(frozen=True)
class Recordings:
    """What a run learns from, and how it came to know of things."""

    config: TrainConfig
    """With the tracked copies in place of the files that were given."""
    digest: str | None = None
    """Of the files that were given, where there are copies."""
    copies: tuple[Path, ...] = ()
    why: str = ""
    """Why no things were looked for or found in recordings that say nothing of any, and what helps."""
    seconds: float = 0.0
    """That tracking took."""

    @property
    def learning(self) -> TrainConfig:
        """The options with what tracking left of the budget; steps are those of learning alone."""
        if self.config.minutes is None:
            return self.config
        left = max(self.config.minutes - self.seconds / 60, (1 - MOST) * self.config.minutes)
        return replace(self.config, minutes=left)

    @property
    def tracking(self) -> Tracking | None:
        """What was found, where this run tracked."""
        return Tracking.of(self.copies[0]) if self.copies else None

    def to_json(self) -> dict[str, Any]:
        """What the run's claim says of it."""
        return {"tracked": [path.name for path in self.copies], "why": self.why, "seconds": round(self.seconds, 1)}


def prepare(config: TrainConfig, source: WorldModel | None, tell: Callable[[str], None]) -> Recordings:
    """Find out what there is to learn from; track, or go on with it, where the files say nothing of objects.

    Args:
        config: What is asked for.
        source: The model to start from, whose things are followed where it has some.
        tell: Told in a line that things are looked for.

    Raises:
        ConfigError: The files do not fit together; the folder holds another run; or things are asked for, and tracking
            is refused.
    """
    paths = (*config.data, *config.motion)
    if config.path == "video" or not paths:
        return Recordings(config)
    files = episode_files(paths)
    for number, file in enumerate(files):
        check_file(file, files[0], config.camera if number < len(config.data) else ())
    raw = [path for path, file in zip(paths, files, strict=True) if not file.schema.object_names]
    known = [file for file in files if file.schema.object_names]
    if not raw or any(Tracking.of(file.path) is None for file in known):  # of measured ones nobody knows the looks
        return Recordings(config)
    before = begun(config)
    if (why := reason_against(config, source, before)) is not None:
        return Recordings(config, why=why)
    digest = "-".join(digest[:16] for digest in digests(files))
    check_claim(config, digest)
    clock = Clock(config.out / FOLDER / CLOCK_FILE)
    copies = dict(zip(raw, copy_paths(config.out / FOLDER, raw), strict=True))
    if before is None:
        like = known[0].path if known else things_of(source, files[0], config.camera[0])
        tell(f"{', '.join(map(str, raw))}: nothing is said of objects, so they are looked for first")
        try:
            follow_all(copies, config.camera[0], like, clock)
        except (NothingToTrack, MissingDependency) as error:
            return refused(config, error)
    elif missing := {path: copy for path, copy in copies.items() if not copy.is_file()}:
        follow_all(missing, config.camera[0], next(iter(set(copies.values()) - set(missing.values())), None), clock)
    seconds = clock.seconds if before is None else before["things"]["seconds"]
    data, motion = (tuple(copies.get(path, path) for path in some) for some in (config.data, config.motion))
    return Recordings(replace(config, data=data, motion=motion), digest, tuple(copies.values()), seconds=seconds)


def reason_against(config: TrainConfig, source: WorldModel | None, before: dict[str, Any] | None) -> str | None:
    """Why things are not even looked for, and what helps; None where they are."""
    if not config.track:
        return "these data say nothing of objects, and --no-track leaves it at that"
    if before is not None:
        things = before.get(
            "things", {"tracked": [], "why": "these data say nothing of objects, as when the run began"}
        )
        return None if things["tracked"] else str(things["why"])
    alone = source is not None and not source.config.dynamics.from_pixels and not source.config.dynamics.objects
    if alone and config.path == "auto":
        return (
            f"these data say nothing of objects, and {config.init} knows of none either; --path objects looks for some"
        )
    return None


def refused(config: TrainConfig, error: NothingToTrack | MissingDependency) -> Recordings:
    """Go on without things, or say that they cannot be had where somebody asked for them."""
    more = " gwm track has these options: train on the file that it writes." if "--" in str(error) else ""
    why = f"{error}{more}"
    if config.path == "objects":
        raise ConfigError(f"--path objects needs to know where things are, and they cannot be tracked: {why}")
    return Recordings(config, why=f"no things can be tracked in these data: {why}")


def copy_paths(folder: Path, paths: list[Path]) -> list[Path]:
    """A file in `folder` for each of these, of the same name unless that is taken."""
    names = [path.stem for path in paths]
    taken = [f"-{names[:i].count(name) + 1}" if name in names[:i] else "" for i, name in enumerate(names)]
    return [folder / f"{name}{number}.hdf5" for name, number in zip(names, taken, strict=True)]


def things_of(source: WorldModel | None, file: EpisodeFile, camera: str) -> Path | None:
    """The tracked file in the folder of another model whose things it knows, if they can be seen in `file`, too."""
    if source is None or source.folder is None:
        return None
    size = file.schema.cameras[camera].height, file.schema.cameras[camera].width
    for path in tracked_copies(source.folder):
        tracking = Tracking.of(path)
        if tracking is None or tracking.tracker.digest() != source.config.schema.settings.get(TRACKER):
            continue
        if tracking.tracker.camera == camera and tracking.tracker.background.picture.shape[:2] == size:
            return path
    return None


def tracked_copies(folder: Path) -> list[Path]:
    """The recordings that the model in a folder was trained on, where its training tracked them."""
    return sorted((folder / FOLDER).glob("*.hdf5"))


def follow_all(copies: dict[Path, Path], camera: str, like: Path | None, clock: Clock) -> None:
    """Track what is missing of some files in their copies: the things of `like`, else those that the first shows."""
    readiness.require()
    from gwm_sim.data.tracking.job import Job, track  # which needs the extra

    with clock:
        for path, copy in copies.items():
            sheet = copy.with_suffix(".png")
            job = Job(file=path, out=copy, camera=camera, like=like, sheet=None if sheet.exists() else sheet)
            track(job, clock.tick)
            like = like or copy


class Clock:
    """Counts the seconds of work that is interrupted and goes on, in a file."""

    def __init__(self, path: Path) -> None:
        self.path, self.seconds = path, 0.0
        if path.exists():
            self.seconds = float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
        self._since = self._saved = time.monotonic()

    def __enter__(self) -> Clock:
        self._since = self._saved = time.monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        self.tick()
        self.save()

    def tick(self) -> None:
        """Take in the time that passed, and save it now and then."""
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now
        if now - self._saved > SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Write it down, so that what is killed later does not lose it."""
        self._saved = time.monotonic()
        write_json(self.path, {"seconds": self.seconds})


def what_was_chosen(recordings: Recordings, data: TrainingData, from_pixels: bool) -> str:
    """Say in a line what is learned of things, and why."""
    config, stored = recordings.config, data.stored
    names = ", ".join(stored.object_names)
    if config.path == "video":
        left_out = f"where {names} are is left out; " if names else ""
        return f"--path video: {left_out}learning from pictures alone"
    if not names:
        return f"learning {'from pictures' if from_pixels else 'the robot'} alone: {recordings.why}"
    where = "in metres" if stored.object_frame == "metres" else f"in the pictures of {', '.join(stored.tracked)}"
    return f"learning where {names} are, {where}: {how_known(recordings, data)}"


def how_known(recordings: Recordings, data: TrainingData) -> str:
    """Say how it is known where things are."""
    tracking = recordings.tracking
    if tracking is None:
        return f"{data.stored.provenance}, as the data say"
    took = f"{recordings.seconds:.0f} s"
    if recordings.config.minutes is not None:
        took += f" of the {recordings.config.minutes:g} minutes"
    lacks = "" if tracking.placement.frame == "metres" else f"; no metres: {tracking.placement.words}"
    return f"found by tracking, which took {took}{lacks}; {recordings.copies[0].with_suffix('.png')} shows them"
