"""A session as a recording: an episode file or a film, made in memory, so that a server writes nothing to its disk."""

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

import gwm_sim
from gwm_sim.data import demos
from gwm_sim.data.episode_file import Episode, TaskLabels
from gwm_sim.data.schema import IMAGINED, TRACKER, Schema
from gwm_sim.data.views import apart
from gwm_sim.envs.spaces import picture
from gwm_sim.media.video import encode_video, enlarge
from gwm_sim.model.imagination import UPRIGHT
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.serving.errors import refused
from gwm_sim.policies.serving.moments import Frame, Moment
from gwm_sim.policies.serving.worlds import Row, Worlds

GAP: Final = 4  # pixels between a world and its twin in a film
MOST_PIXELS: Final = 1_500_000  # of a frame of a film


class Past(NamedTuple):
    """What a session remembers, in order."""

    moments: list[Moment]
    frames: Frame  # (N+1, H, V*W, 3)


def past(worlds: Worlds, row: Row, first: int = 0, last: int | None = None) -> Past:
    """Moments from step `first` to step `last` with their pictures; those that were not looked at are drawn now.

    Raises:
        ServingError: None of them is remembered.
    """
    moments = [m for m in row.moments if m.step >= first and (last is None or m.step <= last)]
    if not moments:
        raise refused(f"steps {first} to {last} are not remembered: {row.moments.first} to {row.moments.now.step} are")
    return Past(moments, worlds.frames(row, moments))


def episode_file(worlds: Worlds, row: Row, told: Past) -> bytes:
    """The session as an episode file of one episode, HDF5; what is in it was imagined, and it says so.

    Raises:
        ServingError: Nothing was done yet.
    """
    moments, frames = told
    if len(moments) < 2:
        raise refused("an episode has at least one step: step the session first, or ask for more than one moment")
    cameras = worlds.model.config.cameras
    objects = np.stack([moment.objects for moment in moments])
    placed = objects.shape[1] > 0 and bool(np.isfinite(objects).all())  # files have no place for what is not there
    task = worlds.imagination(row.kind).task
    judged = task is not None and task in worlds.model.tasks and row.goal is None
    labels = TaskLabels(
        np.array([moment.reward for moment in moments], np.float32), np.array([moment.success for moment in moments])
    )
    episode = Episode(
        frames=apart(frames, cameras),
        telemetry=np.stack([moment.telemetry for moment in moments]),
        actions=np.stack([moment.action for moment in moments[1:] if moment.action is not None]),
        labels={str(task): labels} if judged else {},
        objects=poses(objects) if placed else None,
        properties=moments[0].properties,
        seed=None,
        policy="served",
    )
    schema = served_schema(worlds.model, (str(task),) if judged else (), placed)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        data = demos.write_head(file, schema)
        demos.write_demo(data, "demo_0", episode, schema)
        data.attrs["total"] = len(episode)
    return buffer.getvalue()


def poses(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Poses (T, K, 7) of things at places (T, K, 3): models do not say how they are turned in space."""
    turns = np.broadcast_to(np.array(UPRIGHT, np.float32), (*places.shape[:2], 4))
    return np.concatenate([places, turns], axis=-1)


def served_schema(model: WorldModel, tasks: tuple[str, ...], placed: bool) -> Schema:
    """What a recorded session says of itself: the model's own words, and that it was imagined."""
    learned = model.config.schema
    things = {key: learned.settings[key] for key in (TRACKER,) if placed and key in learned.settings}
    return replace(
        learned if placed else learned.without_objects(),
        cameras={name: learned.cameras[name] for name in model.config.cameras},
        depth=(),
        tracked=(),
        tasks=tasks,
        task=tasks[0] if tasks else None,
        settings=things | {IMAGINED: {"model": model.config.name, "hash": model.digest()}},
        versions={"gwm_sim": gwm_sim.__version__, "torch": torch.__version__},
    )


def film(told: Past, cameras: Sequence[str], rate: float, scale: int, twin: bool) -> bytes:
    """The session as a film, MP4, frames enlarged; with its twin at the right of it, where it has one.

    Raises:
        ServingError: There is no twin, or the frames would be too large.
    """
    moments, frames = told
    if twin:
        beside = [picture(moment.twin.pictures, cameras) for moment in moments if moment.twin is not None]
        if len(beside) < len(moments):
            raise refused("this session has no twin beside it")
        gap = np.full((len(frames), frames.shape[1], GAP, 3), 255, np.uint8)
        frames = np.concatenate([frames, gap, np.stack(beside)], axis=2)
    if frames[0].size // 3 * scale**2 > MOST_PIXELS:
        raise refused(f"a frame of a film has at most {MOST_PIXELS} pixels: give a smaller scale")
    return encode_video((enlarge(frame, scale) for frame in frames), rate)
