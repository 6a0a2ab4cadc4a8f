"""Problems for planning: where to begin and what to reach, from demonstrations or pictures, and how many are solved."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.views import main_view
from gwm_sim.envs.blocks.spec import ACTION_NAMES, TASKS, TELEMETRY_NAMES, is_twin, task_of
from gwm_sim.envs.spaces import image_key
from gwm_sim.envs.tabletop.paired import twin_options
from gwm_sim.errors import ConfigError
from gwm_sim.media.video import contact_sheet
from gwm_sim.model.world_model import WorldModel, check_fit
from gwm_sim.policies.evaluation import Evaluation, evaluate
from gwm_sim.policies.planning.goal_pictures import Picture, check_pictures, fit_goals, read_goal, read_picture
from gwm_sim.policies.planning.goals import Goal
from gwm_sim.policies.planning.mpc import MpcPolicy
from gwm_sim.policies.planning.plan_step import MpcConfig
from gwm_sim.policies.planning.prior.guide import Guide
from gwm_sim.policies.policy import Observation, State
from gwm_sim.progress import progress


class Problem(NamedTuple):
    """One run: where it starts and what it should reach."""

    seed: int
    options: dict[str, Any]  # of the reset
    goals: tuple[Goal, ...]
    picture: Picture  # of the last goal


def make_env(env_id: str, model: WorldModel, name: str) -> gym.Env[Any, Any]:
    """The environment to act in: the twin as the model's camera would see it, or the world of the model `name` itself.

    Raises:
        ConfigError: There is no such block environment, or the model's data are not of its twin.
    """
    if task_of(env_id) is None:
        raise ConfigError(
            f"--env {env_id} is no block environment; tasks are {', '.join(TASKS)}, try MuJoCo-BlockStack-v0"
        )
    schema = model.config.schema
    if is_twin(env_id) and (schema.telemetry_names, schema.action_names) != (TELEMETRY_NAMES, ACTION_NAMES):
        raise ConfigError(
            f"--env {env_id} has another robot than {model.config.name}, which was learned from "
            f"{schema.env_id}: plan in a model of the twin's data, or act with `gwm run`"
        )
    try:
        return gym.make(env_id, **(twin_options(model.config) if is_twin(env_id) else {"model": name}))
    except (gym.error.Error, ValueError) as error:
        raise ConfigError(f"--env {env_id} cannot be made for {model.config.name}: {error}") from error


def episode_problems(
    place: str, env_id: str, model: WorldModel, guide: Guide | None, most: int | None = None, told: bool = False
) -> tuple[list[Problem], int]:
    """Runs that begin where demonstrations began, toward the last frame at which those had fulfilled the task.

    Args:
        place: Episode file, FILE, or one of its demonstrations, FILE:K.
        env_id: Where to act; it says what the task is.
        model: The world to plan in.
        guide: Reads the goal pictures, if any.
        most: Number of runs; None takes all demonstrations.
        told: Whether the goals say what the robot reported, too.

    Returns:
        The runs, and how many demonstrations never fulfilled the task.
    """
    path, _, number = place.rpartition(":")
    path, only = (path, int(number)) if path and number.isdigit() else (place, None)
    task, camera = task_of(env_id), model.config.camera
    problems: list[Problem] = []
    skipped = 0
    with EpisodeFile(path) as file:
        check_fit(model, file.schema, path)
        if task not in file.schema.tasks:
            raise ConfigError(f"{path} has no labels for {task}; it has {', '.join(file.schema.tasks) or 'none'}")
        if only is not None and only >= len(file):
            raise ConfigError(f"{path} has {len(file)} episodes, number {only} is not among them")
        for k in range(len(file)) if only is None else [only]:
            if len(problems) == most:
                break
            episode = file.read(k, cameras=(camera,))
            if task not in episode.labels:
                continue
            solved = np.flatnonzero(episode.labels[task].success)
            if not len(solved):
                skipped += 1
                continue
            if episode.seed is None and is_twin(env_id):
                raise ConfigError(f"{path} does not say from which seed episode {k} began, so no twin can begin there")
            picture = episode.frames[camera][solved[-1]]
            goal = read_goal(model, guide, picture, episode.telemetry[solved[-1]] if told else None)
            options: dict[str, Any] = {"properties": episode.properties}  # the twin begins from the seed
            if not is_twin(env_id):
                known = {name: value for name, value in episode.properties.items() if name in model.config.properties}
                options = {"episode": f"{path}:{k}", "step": 0, "properties": known}
            problems.append(Problem(episode.seed or 0, options, (goal,), picture))
    if not problems:
        raise ConfigError(f"no demonstration in {path} fulfils {task}: there is no goal to reach")
    return problems, skipped


def picture_problems(
    paths: Sequence[Path], model: WorldModel, guide: Guide | None, env: gym.Env[Any, Any], seed: int, runs: int
) -> list[Problem]:
    """Runs from `seed` on toward pictures one after the other, which are held against what the camera sees first."""
    pictures = [read_picture(path) for path in paths]
    seen = env.reset(seed=seed)[0][image_key(model.config.camera)]
    size = model.config.tokenizer.height, model.config.tokenizer.width
    fitted = fit_goals(paths, pictures, seen, size)
    check_pictures(model, paths, fitted, seen)
    goals = tuple(read_goal(model, guide, picture) for picture in fitted)
    return [Problem(seed + i, {}, goals, fitted[-1]) for i in range(runs)]


# --- solving them -----------------------------------------------------------------------------------------------------

FILMED: Final = 5  # runs in a film


def solve(
    problems: Sequence[Problem],
    model: WorldModel,
    config: MpcConfig,
    guide: Guide | None,
    env: gym.Env[Any, Any],
    film: list[Picture] | None = None,
) -> tuple[Evaluation, list[float]]:
    """Run all problems, each until its success is sustained; the first ones are filmed if there is a film.

    Returns:
        Their results, and the duration of every plan [s].
    """
    runs: list[Evaluation] = []
    seconds: list[float] = []
    with progress("plan") as show:
        for number, problem in enumerate(problems, start=1):
            policy = MpcPolicy(model, problem.goals, config=config, guide=guide)
            watched = Filmed(policy, problem.picture, film) if film is not None and number <= FILMED else policy
            runs.append(evaluate(watched, env, 1, problem.seed, problem.options, until_sustained=True))
            seconds += policy.plan_seconds
            show(number / len(problems), f"{sum(run.successes for run in runs)} of {number} solved")
    return Evaluation(tuple(episode for run in runs for episode in run.episodes)), seconds


class Filmed:
    """A planning policy that is filmed: now, imagined and goal, side by side."""

    def __init__(self, policy: MpcPolicy, goal: Picture, film: list[Picture]) -> None:
        """Film a policy that acts in a single environment, toward a goal picture, at the end of a film."""
        self._policy, self._goal, self._film = policy, goal, film
        self._imagined: list[Picture] = []

    def predict(self, observation: Observation, *told: Any, **named: Any) -> tuple[NDArray[np.float32], State | None]:
        """As the policy does."""
        plans = len(self._policy.plan_seconds)
        action, memory = self._policy.predict(observation, *told, **named)
        config = self._policy.model.config
        seen = observation[image_key(config.camera)]
        if len(self._policy.plan_seconds) > plans:
            imagined = self._policy.explain(memory).frames[0].cpu().numpy()
            self._imagined = [seen, *main_view(imagined, config.cameras)]
        expected = self._imagined.pop(0) if self._imagined else seen
        self._film.append(contact_sheet({"": [seen, expected, self._goal]}, ["now", "imagined", "goal"], scale=4))
        return action, memory
