"""Which episode files make one set of training data: those of one robot, seen alike, that know the same things."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.errors import ConfigError
from gwm_sim.protocol import FIRST_EVALUATION_SEED
from gwm_sim.training.config import Route

ONE_ROBOT = (
    *("rate", "telemetry_names", "telemetry_low", "telemetry_high", "action_names", "action_low", "action_high"),
    *("commands", "effector", "tasks"),
)
"""What the files of one model must have in common, beside their objects: the model keeps these of the first file."""


def episode_files(paths: Iterable[str | Path]) -> list[EpisodeFile]:
    """Return the files at some paths, each open only from when it is read: thousands cannot be open at once."""
    files = []
    for path in paths:
        with EpisodeFile(path) as file:
            files.append(file)
    return files


def check_file(file: EpisodeFile, first: EpisodeFile, cameras: Sequence[str]) -> None:
    """Refuse a file that no model can be trained on together with the first one, or at all."""
    for name in ONE_ROBOT:
        given, expected = getattr(file.schema, name), getattr(first.schema, name)
        if given != expected:
            raise ConfigError(
                f"{file.path} does not fit {first.path}: {name} is {given}, not {expected}; train on files of one robot"
            )
    for camera in cameras:
        if camera not in file.schema.cameras:
            raise ConfigError(f"{file.path} has no camera {camera!r}; it has {list(file.schema.cameras)}")
        if not file.schema.cameras[camera].looks_as(first.schema.cameras[camera]):
            raise ConfigError(f"{file.path} and {first.path} differ in size or place of the camera {camera!r}")
    reserved = [seed for seed in file.seeds if seed is not None and seed >= FIRST_EVALUATION_SEED]
    if reserved:
        raise ConfigError(
            f"{file.path} holds {len(reserved)} episodes with seeds from {min(reserved)}: seeds from "
            f"{FIRST_EVALUATION_SEED} are for evaluation and never trained on; collect with a smaller --seed"
        )


def learns_objects(file: EpisodeFile, path: Route) -> bool:
    """Whether a model of this file learns where objects are; else there is robot alone, or with `video` the pictures.

    Raises:
        ConfigError: Objects are asked for, and the file does not say where they are.
    """
    known = bool(file.schema.object_names)
    if path == "objects" and not known:
        raise ConfigError(
            f"--path objects needs to know where things are, and {file.path} does not say: find them by gwm track"
        )
    return known and path != "video"


def check_objects(file: EpisodeFile, first: EpisodeFile) -> None:
    """Refuse a file whose objects are not those of the first one, or are known in another way."""
    if differing := file.schema.other_things(first.schema):
        raise ConfigError(
            f"{file.path} and {first.path} do not show the same things: {'; '.join(differing)}. Look for the same ones "
            f"by gwm track {file.path} --out FILE --like {first.path}, or leave objects out by --path video"
        )
