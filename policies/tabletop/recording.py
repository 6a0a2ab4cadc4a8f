"""Single episodes recorded in the physics twins of worlds on a table.

Episode i starts from seed S + i and its behaviour draws from the same seed, so an episode is the same whoever records
it, and when.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

import gymnasium as gym
import numpy as np

import gwm_sim
from gwm_sim.data.demos import pack
from gwm_sim.data.episode_file import DEPTH_UNIT, Episode, TaskLabels
from gwm_sim.data.schema import Command, Schema
from gwm_sim.envs.spaces import depth_key, image_key
from gwm_sim.envs.tabletop import robot
from gwm_sim.errors import ConfigError
from gwm_sim.policies.engines.options import EngineOptions
from gwm_sim.policies.registry import SHIPPED, find_agent
from gwm_sim.policies.rollout import rollout

Behaviour = Callable[[Any, int], Any]
"""Makes the policy of an episode, which has a name, from environment and seed."""


@dataclass(frozen=True)
class CollectConfig(EngineOptions):
    """Record episodes in the physics twin; the same command resumes an interrupted recording."""

    episodes: int
    """Number of episodes."""
    out: Path
    """Episode file to write."""
    env: str = "MuJoCo-BlockStack-v0"
    """Environment to record, such as MuJoCo-Table-v0."""
    task: str | None = None
    """Task of MuJoCo-Table-v0: grasp, stack, push, tower or drop; by default stack. Block environments name theirs."""
    seed: int = 0
    """Episode i uses seed + i; seeds from 300000 are for evaluation data."""
    policy: str = "mixed"
    """Who acts: mixed (behaviours of every quality), scripted (the task's expert), uniform (smooth random actions),
    hold (nobody), or a folder as `gwm rl train` makes it; with cubes also handling (grips of every quality), towers
    (built by hands of every steadiness) and loose (strikes and drops)."""
    steps: int | None = None
    """Length of every episode in steps, whatever the time limit; by default the time limit."""
    size: int | None = None
    """Height of the frames in pixels; by default 64, and 144 of the 16:9 camera film of MuJoCo-Table-v0."""
    cameras: tuple[str, ...] = ("front",)
    """Cameras to record."""
    pictures: bool = True
    """Record pictures; without, MuJoCo-Table-v0 gives motion alone, many times faster."""
    depth: bool = False
    """Record depth images of these cameras too."""
    rendering: Literal["fast", "rich"] = "rich"
    """rich has shadows and smooth edges, as the shipped models saw them; fast has neither and takes a thirtieth of the
    time where no GPU draws."""
    properties: Literal["default", "random"] = "default"
    """Draw friction, gravity and what else there is anew for every episode, or keep the defaults."""
    json: Path | None = None
    """Write the printed numbers here."""


class Recorder(ABC):
    """Records single episodes of one environment; lives in a worker process."""

    behaviours: ClassVar[Mapping[str, Behaviour]]
    """Who may act in this world, by the names that `CollectConfig.policy` explains."""

    def __init__(self, config: CollectConfig, behaviour: Behaviour | None = None) -> None:
        """Make the environment without its time limit; `behaviour` acts in place of `config.policy`, if given."""
        self._config = config
        self._task = self._find_task()
        self._behaviour = behaviour or find_behaviour(config.policy, self.behaviours)
        self._cameras = config.cameras if config.pictures else ()
        self._depth = self._cameras if config.depth else ()
        self._env_kwargs = self._keywords() | ({"depth": True} if self._depth else {})
        self._steps = config.steps or self._time_limit()
        self._options = {"properties": "random"} if config.properties == "random" else None
        try:
            self._env: Any = gym.make(config.env, max_episode_steps=-1, disable_env_checker=True, **self._making())
        except (gym.error.Error, ValueError) as error:
            raise ConfigError(f"--env {config.env} cannot be made: {error}") from error
        self._twin: Any = self._env.unwrapped
        if not hasattr(self._twin, "objects"):
            raise ConfigError(f"--env {config.env} does not know where its objects are. Record a MuJoCo environment.")

    @abstractmethod
    def _find_task(self) -> str:
        """The task that is recorded; a ConfigError where there is none."""

    @abstractmethod
    def _keywords(self) -> dict[str, Any]:
        """Keyword arguments of the environment, as the file tells them."""

    @abstractmethod
    def _time_limit(self) -> int:
        """Length of an episode of the task [steps]."""

    @abstractmethod
    def _things(self) -> dict[str, Any]:
        """What the schema says of objects and tasks."""

    def _making(self) -> dict[str, Any]:
        """Keyword arguments that make the environment."""
        return self._env_kwargs

    def _see(self) -> dict[str, Any]:
        """What is recorded of every frame beside the observation."""
        return {"labels": self._twin.labels(), "objects": self._twin.objects()}

    def _say(self) -> dict[str, Any]:
        """What is recorded of an episode that has begun, beside what every world says."""
        return {}

    def schema(self) -> Schema:
        """Describe the file that these episodes belong to."""
        self._env.reset(seed=self._config.seed, options=self._options)
        actions = robot.action_space()
        command, effector = np.r_[robot.COMMAND].tolist(), np.r_[robot.EE].tolist()
        return Schema(
            env_id=self._config.env,
            rate=robot.CONTROL_RATE,
            telemetry_names=robot.TELEMETRY_NAMES,
            telemetry_units=robot.TELEMETRY_UNITS,
            telemetry_low=tuple(robot.TELEMETRY_LOW.tolist()),
            telemetry_high=tuple(robot.TELEMETRY_HIGH.tolist()),
            action_names=robot.ACTION_NAMES,
            action_low=tuple(actions.low.tolist()),
            action_high=tuple(actions.high.tolist()),
            commands=tuple(
                Command(telemetry=told, action=i, scale=robot.ACTION_SCALE, measured=measured)
                for i, (told, measured) in enumerate(zip(command, effector, strict=True))
            ),
            effector=tuple(effector),
            gripper=(robot.OPENING,),
            cameras={name: self._twin.camera_info()[name] for name in self._cameras},
            task=self._task,
            depth=self._depth,
            env_kwargs=self._env_kwargs,
            settings={name: getattr(self._config, name) for name in ("policy", "seed", "steps", "properties")}
            | {"steps": self._steps},
            versions={
                "gwm_sim": gwm_sim.__version__,
                "mujoco": version("mujoco"),
                "mujoco_gl": os.environ.get("MUJOCO_GL", "default"),
            },
            **self._things(),
        )

    def record(self, index: int) -> Episode:
        """Record episode `index` from its first frame to its last."""
        seed = self._config.seed + index
        observation, _ = self._env.reset(seed=seed, options=self._options)
        policy, said = self._behaviour(self._env, seed), self._say()
        observations, sights, actions = [observation], [self._see()], []
        for step in islice(rollout(policy, self._env, observation, deterministic=False, clip=True), self._steps):
            observations.append(step.observation)
            sights.append(self._see())
            actions.append(step.action)

        def seen(key: str) -> Any:
            return np.stack([observation[key] for observation in observations])

        said |= {key: np.stack([sight[key] for sight in sights]) for key in sights[0] if key != "labels"}
        return Episode(
            frames={name: seen(image_key(name)) for name in self._cameras},
            telemetry=seen("agent_pos"),
            actions=np.stack(actions),
            labels={
                task: TaskLabels(
                    reward=np.array([sight["labels"][task][0] for sight in sights], dtype=np.float32),
                    success=np.array([sight["labels"][task][1] for sight in sights], dtype=bool),
                )
                for task in sights[0]["labels"]
            },
            properties={name: float(value) for name, value in self._twin.properties.items()},
            seed=seed,
            policy=policy.name,
            depth={
                name: (seen(depth_key(name)) / DEPTH_UNIT).round().clip(0, 65535).astype(np.uint16)
                for name in self._depth
            },
            **said,
        )

    def part(self, index: int) -> tuple[int, bytes]:
        """Record episode `index` as a part of the file, which the process that writes it adds under this number."""
        return index, pack(index, self.record(index), self._schema)

    @cached_property
    def _schema(self) -> Schema:
        return self.schema()

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


def find_behaviour(policy: str, behaviours: Mapping[str, Behaviour]) -> Behaviour:
    """Who acts, by name; a ConfigError says which names there are."""
    if policy in behaviours:
        return behaviours[policy]
    folder = find_agent(policy)
    if folder is None:
        known = ", ".join((*behaviours, *SHIPPED))
        raise ConfigError(f"--policy is one of {known}, or a folder of `gwm rl train`; got {policy!r}")
    import torch  # late: the others need neither this nor stable-baselines3

    from gwm_sim.policies.rl.agents import SeeingAgent

    agent = SeeingAgent(folder)

    def seeded(env: Any, seed: int) -> Any:
        torch.manual_seed(seed)  # its actions are drawn from torch's own numbers
        return agent

    return seeded
