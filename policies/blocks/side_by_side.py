"""The learned world beside the physics twin, with the same actions from the same starts.

Scripted experts stack and grasp in the twin. The learned world is given the first four frames of an episode and then
only its actions: what it shows is its own. Everything is recorded anew, so what the report says holds for this machine.
"""

import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.episode_file import Episode, EpisodeWriter, parts_folder
from gwm_sim.envs.spaces import picture
from gwm_sim.envs.tabletop.paired import start_pair, twin_options
from gwm_sim.errors import ConfigError
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.policies.blocks.experts import EXPERTS, ScriptedPolicy
from gwm_sim.policies.blocks.motions import hold
from gwm_sim.policies.blocks.recording import BlockRecorder
from gwm_sim.policies.tabletop.recording import CollectConfig
from gwm_sim.protocol import CONTEXT, FIRST_EVALUATION_SEED

Frames = NDArray[np.uint8]

TASKS: Final = ("stack", "grasp")


@dataclass(frozen=True)
class DemoConfig:
    """Drive the learned world and the physics twin side by side, or a world of one's own beside its recordings."""

    model: str = "gwm-mini"
    """Name of a shipped model, or the folder of one."""
    out: Path = Path("out/demo")
    """Folder for film, picture, report and recording."""
    data: Path | None = None
    """Recordings of the model's own world, which is shown beside them; by default the twin of the block world."""
    episodes: int = 4
    """Episodes of each expert, or of the recordings."""
    steps: int = 100
    """Length of an episode in the twin; windows of 80 steps need a few more."""
    seed: int = FIRST_EVALUATION_SEED
    """Seed of the first episode in the twin."""

    def __post_init__(self) -> None:
        if self.episodes < 1 or self.steps < CONTEXT:
            raise ConfigError(
                f"--episodes must be at least 1 and --steps at least {CONTEXT}, got {self.episodes} and {self.steps}"
            )


def record(config: DemoConfig, world: WorldModelConfig) -> Path:
    """Record the experts, `config.episodes` of each task one after the other, and return the file."""
    path = config.out / "demo.hdf5"
    path.unlink(missing_ok=True)
    shutil.rmtree(parts_folder(path), ignore_errors=True)

    def behaviour(env: Any, seed: int) -> ScriptedPolicy:
        task = TASKS[(seed - config.seed) // config.episodes]
        # A learned world is given frames of holding still first.
        return ScriptedPolicy(
            env, lambda bench, rng: chain(hold(CONTEXT - 1), EXPERTS[task](bench, rng)), f"scripted-{task}", seed
        )

    count = len(TASKS) * config.episodes
    settings = CollectConfig(
        episodes=count, out=path, seed=config.seed, policy="scripted", steps=config.steps, **twin_options(world)
    )
    recorder = BlockRecorder(settings, behaviour)
    writer = EpisodeWriter(path, recorder.schema())
    for index in range(count):
        writer.write(index, recorder.record(index))
    writer.merge()
    recorder.close()
    return path


class Drive(NamedTuple):
    """What both worlds showed along the same T actions."""

    real: Frames  # (T, H, W, 3), the twin
    predicted: Frames  # (T, H, W, 3)
    seconds: dict[str, float]
    """Time that the steps took in each world [s]."""


def drive(episode: Episode, twin: gym.Env[Any, Any], learned: gym.Env[Any, Any], cameras: Sequence[str]) -> Drive:
    """Repeat an episode in both worlds from the last frame that the learned one is given."""
    start_pair(twin, learned, episode.seed, episode.actions[: CONTEXT - 1], episode.properties)
    actions = episode.actions[CONTEXT - 1 :]
    (real, twin_seconds), (predicted, learned_seconds) = (follow(env, actions, cameras) for env in (twin, learned))
    return Drive(real, predicted, {"twin": twin_seconds, "learned": learned_seconds})


def follow(env: gym.Env[Any, Any], actions: NDArray[np.float32], cameras: Sequence[str]) -> tuple[Frames, float]:
    """Frames (T, H, V*W, 3) that an environment shows along actions (T, A), and the time that it took [s]."""
    begin = time.perf_counter()
    frames = [picture(env.step(action)[0], cameras) for action in actions]
    return np.stack(frames), time.perf_counter() - begin


def steps_per_second(drives: Iterable[Drive], world: str) -> float:
    """Speed of one of the worlds."""
    steps, seconds = np.sum([(len(drive.real), drive.seconds[world]) for drive in drives], axis=0)
    return round(float(steps / seconds), 1)
