"""Problems for planning: where to begin and what to reach, by recordings, pictures or a task, and how many are solved.

In the block world tasks say what success is, in any other learned one the goal picture, a label or a function.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.episode_file import Episode, EpisodeFile
from gwm_sim.data.views import main_view
from gwm_sim.envs import WORLD_ID, is_learned
from gwm_sim.envs.blocks.spec import ACTION_NAMES, TASKS, TELEMETRY_NAMES, is_twin, task_of
from gwm_sim.envs.learned.goal_pictures import Picture, check_pictures, fit_goals, read_picture
from gwm_sim.envs.spaces import image_key
from gwm_sim.envs.tabletop.paired import twin_options
from gwm_sim.errors import ConfigError
from gwm_sim.media.video import contact_sheet
from gwm_sim.model.world_model import WorldModel, check_fit
from gwm_sim.policies.evaluation import EpisodeResult, evaluate
from gwm_sim.policies.planning.goals import Goal
from gwm_sim.policies.planning.mpc import MpcPolicy
from gwm_sim.policies.planning.plan_step import MpcConfig
from gwm_sim.policies.planning.prior.examples import Examples
from gwm_sim.policies.planning.prior.guide import Guide, read_goal
from gwm_sim.policies.policy import Observation, State
from gwm_sim.protocol import CONTEXT


class Problem(NamedTuple):
    """One run: where it starts and what it should reach."""

    seed: int
    options: dict[str, Any]  # of the reset
    goals: tuple[Goal, ...]
    picture: Picture | None  # of the last goal, None where it is a task


def make_env(env_id: str, model: WorldModel, name: str, task: str | None = None) -> gym.Env[Any, Any]:
    """The environment to act in: the twin as the model's camera would see it, or the world of the model `name` itself,
    for a `task` of it or none.

    Raises:
        ConfigError: There is no such environment to plan in, or the model's data are not of its twin.
    """
    if not (is_twin(env_id) or is_learned(env_id)):
        raise ConfigError(
            f"--env {env_id} is neither a learned world nor a twin: try {WORLD_ID} with the --model to act in, or "
            f"MuJoCo-BlockStack-v0 (tasks are {', '.join(TASKS)})"
        )
    if task is not None and task_of(env_id) is not None:
        raise ConfigError(f"--task {task} is for {WORLD_ID}: the task of --env {env_id} is {task_of(env_id)}")
    schema = model.config.schema
    if is_twin(env_id) and (schema.telemetry_names, schema.action_names) != (TELEMETRY_NAMES, ACTION_NAMES):
        raise ConfigError(
            f"--env {env_id} has another robot than {model.config.name}, which was learned from "
            f"{schema.env_id}: act in its own world by --env {WORLD_ID}, on the robot with `gwm run`, or plan in a "
            "model of the twin's data"
        )
    try:
        options = twin_options(model.config) if is_twin(env_id) else {"model": name}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* lacks labels", UserWarning)  # goals come with every reset
            return gym.make(env_id, **(options if task is None else options | {"task": task}))
    except (gym.error.Error, ValueError) as error:
        raise ConfigError(f"--env {env_id} cannot be made for {model.config.name}: {error}") from error


@dataclass(frozen=True)
class Recordings:
    """Where to begin and what to reach, as recorded episodes show it."""

    place: str
    """Episode file, FILE, or one of its episodes, FILE:K."""
    env_id: str
    """Where to act."""
    task: str | None = None
    """What was to be done, by its label; None asks for what the last frame shows."""
    ahead: int | None = None
    """Steps from the start to the goal; None takes the last frame at which the task was fulfilled, or of all."""
    most: int | None = None
    """Number of runs; None takes all episodes."""
    told: bool = False
    """Whether the goals say what the robot reported, too."""
    reached: bool = False
    """Whether success is that the goal is reached, whatever the task is."""

    def goal(self, episode: Episode) -> int | None:
        """Which frame of an episode is the goal; None if it shows none."""
        if self.ahead is not None:
            frame = self.first(episode) + self.ahead
            return frame if frame < len(episode.telemetry) else None
        if self.task is None:
            return len(episode.telemetry) - 1
        if self.task not in episode.labels:
            return None
        solved = np.flatnonzero(episode.labels[self.task].success)
        return int(solved[-1]) if len(solved) else None

    def first(self, episode: Episode) -> int:
        """Frame at which a run begins: the first of all, or the last of what a learned world has to be shown."""
        recorded = self.ahead is not None or self.task is None
        return min(CONTEXT, len(episode.telemetry)) - 1 if recorded else 0

    def start(self, episode: Episode, number: int, picture: Picture, model: WorldModel) -> dict[str, Any]:
        """Options of a reset that begins there."""
        if is_twin(self.env_id):
            if episode.seed is None:
                raise ConfigError(
                    f"{self.file} does not say from which seed episode {number} began, so no twin can begin there"
                )
            return {"properties": episode.properties}
        known = {name: value for name, value in episode.properties.items() if name in model.config.properties}
        options = {"episode": f"{self.file}:{number}", "step": self.first(episode), "properties": known}
        return options | ({"goal": picture} if self.reached else {})

    @property
    def file(self) -> str:
        """The episode file."""
        return self._split()[0]

    def numbers(self, count: int) -> Sequence[int]:
        """Which of so many episodes to look at."""
        only = self._split()[1]
        if only is not None and only >= count:
            raise ConfigError(f"{self.file} has {count} episodes, number {only} is not among them")
        return range(count) if only is None else [only]

    def _split(self) -> tuple[str, int | None]:
        path, _, number = self.place.rpartition(":")
        return (path, int(number)) if path and number.isdigit() else (self.place, None)


def episode_problems(
    recordings: Recordings, model: WorldModel, guide: Guide | None, env: gym.Env[Any, Any] | None = None
) -> tuple[list[Problem], int]:
    """Runs that begin where recorded episodes began, toward what they came to.

    Args:
        recordings: Where to begin and what to reach.
        model: The world to plan in.
        guide: Reads the goal pictures, if any.
        env: Where to act; given, goals that are reached where they begin are left out.

    Returns:
        The runs, and how many episodes were left out, or show no goal: never fulfilled the task, or are too short.
    """
    path, task, camera = recordings.file, recordings.task, model.config.camera
    if is_twin(recordings.env_id) and recordings.ahead is not None:
        raise ConfigError("--ahead begins in the middle of recordings, which no twin can: act in a learned world")
    problems: list[Problem] = []
    skipped = 0
    with EpisodeFile(path) as file:
        check_fit(model, file.schema, path)
        if task is not None and task not in file.schema.tasks:
            raise ConfigError(f"{path} has no labels for {task}; it has {', '.join(file.schema.tasks) or 'none'}")
        for k in recordings.numbers(len(file)):
            if len(problems) == recordings.most:
                break
            episode = file.read(k, cameras=(camera,))
            frame = recordings.goal(episode)
            if frame is None:
                skipped += task is None or task in episode.labels
                continue
            picture = episode.frames[camera][frame]
            goal = read_goal(model, guide, picture, episode.telemetry[frame] if recordings.told else None)
            options = recordings.start(episode, k, picture, model)
            problem = Problem(episode.seed or 0, options, (goal,), picture)
            if env is not None and env.reset(seed=problem.seed, options=options)[1]["success"]:
                skipped += 1
            else:
                problems.append(problem)
    if not problems:
        if recordings.ahead is not None:
            lack = f"no episode in {path} is {recordings.ahead} steps longer than its start, to another end"
        elif task is not None:
            lack = f"no demonstration in {path} fulfils {task}"
        else:
            lack = f"in {path} every goal is reached where it begins"
        raise ConfigError(f"{lack}: there is no goal to reach")
    return problems, skipped


def picture_problems(
    paths: Sequence[Path],
    model: WorldModel,
    guide: Guide | None,
    env: gym.Env[Any, Any],
    seed: int,
    runs: int,
    judged: bool = True,
) -> list[Problem]:
    """Runs from `seed` on toward pictures one after the other, which are held against what the camera sees first; where
    no task is `judged`, success is that the last one is reached."""
    pictures = [read_picture(path) for path in paths]
    seen = env.reset(seed=seed)[0][image_key(model.config.camera)]
    size = model.config.tokenizer.height, model.config.tokenizer.width
    fitted = fit_goals(paths, pictures, seen, size)
    check_pictures(model, paths, fitted, seen)
    goals = tuple(read_goal(model, guide, picture) for picture in fitted)
    options = {} if judged else {"goal": fitted[-1]}
    return [Problem(seed + i, options, goals, fitted[-1]) for i in range(runs)]


def task_problems(model: WorldModel, task: str, seed: int, runs: int) -> list[Problem]:
    """Runs from `seed` on for a task, a label or a function."""
    return [Problem(seed + i, {}, (Goal.solve(model, task),), None) for i in range(runs)]


# --- solving them -----------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """What came of a problem."""

    result: EpisodeResult
    plan_seconds: list[float]
    """Duration of every plan [s]."""
    film: list[Picture]
    """Every step, if it was filmed."""


def solve(
    problem: Problem,
    model: WorldModel,
    config: MpcConfig,
    guide: Guide | None,
    env: gym.Env[Any, Any],
    examples: Examples | None = None,
    filmed: bool = False,
) -> Run:
    """Run a problem until its success is sustained."""
    policy = MpcPolicy(model, problem.goals, config=config, guide=guide, examples=examples)
    film: list[Picture] = []
    watched = Filmed(policy, problem.picture, film) if filmed else policy
    (result,) = evaluate(watched, env, 1, problem.seed, problem.options, until_sustained=True).episodes
    return Run(result, policy.plan_seconds, film)


class Filmed:
    """A planning policy that is filmed: now, imagined and, where it is a picture, the goal, side by side."""

    def __init__(self, policy: MpcPolicy, goal: Picture | None, film: list[Picture]) -> None:
        """Film a policy that acts in a single environment, at the end of a film."""
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
        shown = {"now": seen, "imagined": expected} | ({} if self._goal is None else {"goal": self._goal})
        self._film.append(contact_sheet({"": list(shown.values())}, list(shown), scale=4))
        return action, memory
