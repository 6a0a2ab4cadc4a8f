"""Worlds of one's own as policies meet them: what is to be done there, and where they are scored.

The block world has a twin and tasks by its ids. Any other learned world is asked for by `GWM-World-v0` and its model,
and success is what a label, a function or a goal picture says.
"""

from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from gwm_sim.data.episode_file import Episode
from gwm_sim.data.views import side_by_side
from gwm_sim.envs import WORLD_ID, is_learned
from gwm_sim.envs.blocks.spec import TASKS, task_of, world_ids
from gwm_sim.envs.learned.goals import PictureGoal, judge_goal, read_goal
from gwm_sim.envs.learned.tasks import FunctionTask, is_function, world_options
from gwm_sim.envs.tabletop.paired import PairedWorlds, World
from gwm_sim.errors import ConfigError
from gwm_sim.model.world_model import WorldModel


class OwnWorld:
    """A learned world alone, in the place of `PairedWorlds`."""

    names: ClassVar[tuple[World, ...]] = ("learned",)

    def __init__(self, options: dict[str, Any], rows: int) -> None:
        """Prepare.

        Args:
            options: Keyword arguments of the environment, see `world_options`.
            rows: Episodes that run at a time.
        """
        self.rows, self._options = rows, options
        self.world_model = WorldModel.load(options["model"])

    def make(self, world: World, sees: bool = True) -> VectorEnv[Any, Any, Any]:
        """The world; nothing is drawn where nobody looks."""
        env: Any = gym.make_vec(WORLD_ID, num_envs=self.rows, **self._options)
        if not sees:
            env.unwrapped.observe_state(())
        return env


def check_task(env_id: str, task: str | None, goal: Path | None) -> str | None:
    """The task that is asked for: that of a block environment, else `task`; None where success is a goal.

    Raises:
        ConfigError: Nothing says what is to be done, or two things do.
    """
    own = task_of(env_id)
    if own is not None:
        if task is not None or goal is not None:
            raise ConfigError(f"--env {env_id} has the task {own}: --task and --goal are for {WORLD_ID}")
        return own
    if not is_learned(env_id):
        raise ConfigError(
            f"--env {env_id} names none of the tasks {', '.join(TASKS)}, so success is unknown: try GWM-BlockGrasp-v0, "
            f"or {WORLD_ID} with the --model of your own world"
        )
    if (task is None) == (goal is None):
        raise ConfigError(
            f"--env {env_id} does not say what is to be done: give either --task, a label of the model's data or a "
            "function FILE.py:NAME, or --goal, a picture"
        )
    return task


def check_tasks(model: WorldModel, task: str) -> None:
    """Refuse a model of another world than the blocks'.

    Raises:
        ConfigError: It does not know that task.
    """
    if task not in model.tasks:
        raise ConfigError(
            f"--model {model.config.name} knows no task {task}, it learned another world than the blocks': act in that "
            f"by --env {WORLD_ID}, and say what is to be done by --task or --goal"
        )


def scored_worlds(env_id: str, name: str, rows: int, task: str | None, goal: Path | None) -> PairedWorlds | OwnWorld:
    """Where policies are scored that act in `env_id`: in the block world the learned world beside its twin."""
    model = WorldModel.load(name)
    if task_of(env_id) is not None:
        check_tasks(model, str(task_of(env_id)))
        return PairedWorlds(world_ids(str(task_of(env_id))), name, rows)
    return OwnWorld(world_options(model, name, task, goal), rows)


Wanted = str | FunctionTask | PictureGoal
"""What is to be done: a label, a function or a picture."""


def read_wanted(model: WorldModel, task: str | None, goal: NDArray[np.uint8] | None) -> Wanted:
    """A task or goal picture, read once for many episodes."""
    if task is not None:
        return FunctionTask(task) if is_function(task) else task
    assert goal is not None
    return read_goal(model, goal)


def rewards_of(model: WorldModel, episode: Episode, wanted: Wanted) -> NDArray[Any] | None:
    """Rewards (T,) of a recorded episode's steps, as a world would have given them; None where it lacks the label."""
    if isinstance(wanted, str):
        return np.asarray(episode.labels[wanted].reward[1:]) if wanted in episode.labels else None
    frames = torch.from_numpy(side_by_side(episode.frames, model.config.cameras))
    telemetry = torch.from_numpy(episode.telemetry)
    read = model.read(frames[:, None], telemetry[:, None], torch.zeros(len(frames), 0, model.config.dynamics.actions))
    if isinstance(wanted, FunctionTask):
        return wanted.judged(model, telemetry, read.objects[:, 0])[0][1:]
    reward, _ = judge_goal(model, read.codes[:, 0], read.objects[:, 0], read.residual[:, 0], wanted)
    return reward[1:].cpu().numpy()
