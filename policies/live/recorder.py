"""A live run as an episode: what the model saw, what the robot reported, and what was really sent."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import gwm_sim
from gwm_sim.data.episode_file import Episode, EpisodeWriter, parts_folder
from gwm_sim.data.schema import Schema
from gwm_sim.errors import ConfigError
from gwm_sim.policies.live.camera import Picture
from gwm_sim.policies.live.safety import Vector


class LiveRecorder:
    """Collects frames and the one action between each two, in memory: half a gigabyte an hour at 64 px and 10 Hz."""

    def __init__(self) -> None:
        self._frames: list[Picture] = []
        self._telemetry: list[Vector] = []
        self._actions: list[Vector] = []
        self._closed = False

    def see(self, frame: Picture, telemetry: Vector) -> None:
        """Add a frame (H, W, 3) and its telemetry (P,); they replace the last ones if nothing was done since."""
        if self._closed:
            return
        done = len(self._actions)
        self._frames[done:] = [frame]
        self._telemetry[done:] = [telemetry]

    def act(self, action: Vector) -> None:
        """Add the action (A,) that followed the last frame; a hold that cuts it short changes nothing."""
        if not self._closed and len(self._actions) < len(self._frames):
            self._actions.append(action)

    def close(self) -> None:
        """Take no more: a frame is missing, and what follows would be misaligned."""
        self._closed = True

    def __len__(self) -> int:
        """Return the number of actions that are followed by a frame."""
        return max(0, min(len(self._frames) - 1, len(self._actions)))

    def write(self, path: Path, schema: Schema) -> None:
        """Store the run so far, which needs at least one action, as an episode file with one episode."""
        rows, (camera,) = len(self) + 1, schema.cameras
        episode = Episode(
            frames={camera: np.stack(self._frames[:rows])},
            telemetry=np.stack(self._telemetry[:rows]),
            actions=np.stack(self._actions[: rows - 1]),
            labels={},
            objects=None,
            properties={},
            seed=None,
            policy="live",
        )
        writer = EpisodeWriter(path, schema)
        writer.write(0, episode)
        writer.merge()


def live_schema(learned: Schema, camera: str, robot: str, rate: float, settings: Mapping[str, Any]) -> Schema:
    """What the recording of a live run says about itself.

    Names, units, bounds and calibration are those of the data that were learned; the rate [Hz] is the loop's, and the
    settings are whatever else decided the run.
    """
    return replace(
        learned.without_objects(),
        env_id=f"robot:{robot}",
        rate=rate,
        cameras={camera: learned.cameras[camera]},
        depth=(),
        tasks=(),
        task=None,
        env_kwargs={},
        settings=dict(settings),
        versions={"gwm_sim": gwm_sim.__version__},
    )


def check_vacant(path: Path) -> None:
    """Raise ConfigError where a recording would meet an older one."""
    if path.exists() or parts_folder(path).exists():
        raise ConfigError(f"--record {path} exists already: name a new file")
