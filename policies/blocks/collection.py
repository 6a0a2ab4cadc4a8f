"""Episodes recorded in the physics twin, in parallel and in spite of being killed.

Episode i starts from seed S + i and its behaviour draws from the same seed, so neither the number of worker processes
nor the order in which they finish changes the content. Every finished episode is a part file at once; the same command
goes on where a killed one stopped.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import gymnasium as gym
import numpy as np

import gwm_sim
from gwm_sim.data.demos import pack
from gwm_sim.data.episode_file import DEPTH_UNIT, Episode, EpisodeFile, EpisodeWriter, TaskLabels, resumable
from gwm_sim.data.inspection import Summary, summarize
from gwm_sim.data.schema import Command, Schema
from gwm_sim.envs.blocks import spec
from gwm_sim.envs.spaces import depth_key, image_key
from gwm_sim.errors import ConfigError, check_at_least_one
from gwm_sim.policies.blocks.behaviours import let_loose, mixed, wander_on
from gwm_sim.policies.blocks.clumsy import build, handle
from gwm_sim.policies.blocks.experts import ScriptedPolicy, ScriptFactory, expert
from gwm_sim.policies.engines.options import EngineOptions
from gwm_sim.policies.registry import SHIPPED, find_agent
from gwm_sim.policies.rollout import rollout
from gwm_sim.policies.uniform import HoldPolicy
from gwm_sim.policies.worker_pool import Job
from gwm_sim.progress import progress

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
    """Environment to record."""
    seed: int = 0
    """Episode i uses seed + i; seeds from 300000 are for evaluation data."""
    policy: str = "mixed"
    """Who acts: mixed (behaviours of every quality), handling (grips of every quality), towers (built by hands of every
    steadiness), loose (strikes and drops), scripted (the task's expert), uniform (smooth random actions), hold
    (nobody), or a folder as `gwm rl train` makes it."""
    steps: int | None = None
    """Length of every episode in steps, whatever the time limit; by default the time limit."""
    size: int = 64
    """Height and width of the frames in pixels."""
    cameras: tuple[str, ...] = ("front",)
    """Cameras to record."""
    depth: bool = False
    """Record depth images of these cameras too."""
    rendering: Literal["fast", "rich"] = "rich"
    """rich has shadows and smooth edges, as the shipped models saw them; fast has neither and takes a thirtieth of the
    time where no GPU draws."""
    properties: Literal["default", "random"] = "default"
    """Draw friction and gravity anew for every episode, or keep the defaults."""
    json: Path | None = None
    """Write the printed numbers here."""


class Recorder:
    """Records single episodes of one environment; lives in a worker process."""

    def __init__(self, config: CollectConfig, behaviour: Behaviour | None = None) -> None:
        """Make the environment without its time limit; `behaviour` acts in place of `config.policy`, if given."""
        self._config = config
        self._behaviour = behaviour or find_behaviour(config.policy)
        self._depth = config.cameras if config.depth else ()
        self._env_kwargs = {"size": config.size, "cameras": list(config.cameras), "rendering": config.rendering}
        self._env_kwargs |= {"depth": True} if config.depth else {}
        task = spec.task_of(config.env)
        if task is None:
            raise ConfigError(f"--env {config.env} is no block environment. Try MuJoCo-BlockStack-v0.")
        self._task = task
        self._steps = config.steps or spec.TIME_LIMIT[task]
        self._options = {"properties": "random"} if config.properties == "random" else None
        try:
            self._env: Any = gym.make(config.env, max_episode_steps=-1, disable_env_checker=True, **self._env_kwargs)
        except (gym.error.Error, ValueError) as error:
            raise ConfigError(f"--env {config.env} cannot be made: {error}") from error
        self._twin: Any = self._env.unwrapped
        if not hasattr(self._twin, "objects"):
            raise ConfigError(f"--env {config.env} does not know where its objects are. Record a MuJoCo environment.")

    def schema(self) -> Schema:
        """Describe the file that these episodes belong to."""
        self._env.reset(seed=self._config.seed, options=self._options)
        actions = spec.action_space()
        command, effector = np.r_[spec.COMMAND].tolist(), np.r_[spec.EE].tolist()
        return Schema(
            env_id=self._config.env,
            rate=spec.CONTROL_RATE,
            telemetry_names=spec.TELEMETRY_NAMES,
            telemetry_units=spec.TELEMETRY_UNITS,
            telemetry_low=tuple(spec.TELEMETRY_LOW.tolist()),
            telemetry_high=tuple(spec.TELEMETRY_HIGH.tolist()),
            action_names=spec.ACTION_NAMES,
            action_low=tuple(actions.low.tolist()),
            action_high=tuple(actions.high.tolist()),
            commands=tuple(
                Command(telemetry=told, action=i, scale=spec.ACTION_SCALE, measured=measured)
                for i, (told, measured) in enumerate(zip(command, effector, strict=True))
            ),
            effector=tuple(effector),
            gripper=(spec.OPENING,),
            cameras={name: self._twin.camera_info()[name] for name in self._config.cameras},
            object_names=spec.OBJECT_NAMES,
            object_size=spec.CUBE_SIZE,
            tasks=spec.TASKS,
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
        )

    def record(self, index: int) -> Episode:
        """Record episode `index` from its first frame to its last."""
        seed = self._config.seed + index
        observation, _ = self._env.reset(seed=seed, options=self._options)
        policy = self._behaviour(self._env, seed)
        observations, labels, objects = [observation], [self._twin.labels()], [self._twin.objects()]
        actions = []
        for step in islice(rollout(policy, self._env, observation, deterministic=False, clip=True), self._steps):
            observations.append(step.observation)
            labels.append(self._twin.labels())
            objects.append(self._twin.objects())
            actions.append(step.action)

        def seen(key: str) -> Any:
            return np.stack([observation[key] for observation in observations])

        return Episode(
            frames={name: seen(image_key(name)) for name in self._config.cameras},
            telemetry=seen("agent_pos"),
            actions=np.stack(actions),
            labels={
                task: TaskLabels(
                    reward=np.array([label[task][0] for label in labels], dtype=np.float32),
                    success=np.array([label[task][1] for label in labels], dtype=bool),
                )
                for task in spec.TASKS
            },
            objects=np.stack(objects),
            properties={name: float(value) for name, value in self._twin.properties.items()},
            seed=seed,
            policy=policy.name,
            depth={
                name: (seen(depth_key(name)) / DEPTH_UNIT).round().clip(0, 65535).astype(np.uint16)
                for name in self._depth
            },
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


def _scripted(name: str, script: ScriptFactory) -> Behaviour:
    return lambda env, seed: ScriptedPolicy(env, script, name, seed)


BEHAVIOURS: Final[Mapping[str, Behaviour]] = {
    "mixed": mixed,
    "handling": _scripted("handling", handle),
    "towers": _scripted("towers", build),
    "loose": _scripted("loose", let_loose),
    "scripted": lambda env, seed: expert(env, seed=seed),
    "uniform": _scripted("uniform", wander_on),
    "hold": lambda env, seed: HoldPolicy(env.action_space),
}
"""Who may act, by the names that `CollectConfig.policy` explains."""


def find_behaviour(policy: str) -> Behaviour:
    """Who acts, by name; a ConfigError says which names there are."""
    if policy in BEHAVIOURS:
        return BEHAVIOURS[policy]
    folder = find_agent(policy)
    if folder is None:
        known = ", ".join((*BEHAVIOURS, *SHIPPED))
        raise ConfigError(f"--policy is one of {known}, or a folder of `gwm rl train`; got {policy!r}")
    import torch  # late: the others need neither this nor stable-baselines3

    from gwm_sim.policies.rl.agents import SeeingAgent

    agent = SeeingAgent(folder)

    def seeded(env: Any, seed: int) -> Any:
        torch.manual_seed(seed)  # its actions are drawn from torch's own numbers
        return agent

    return seeded


class Collection(NamedTuple):
    """What a call of `collect` did."""

    summary: Summary  # what the file holds now
    recorded: int  # episodes
    seconds: float  # that it took, start of the workers included
    steps_per_second: float


def collect(config: CollectConfig) -> Collection:
    """Record what is missing in `config.out` and finish the file.

    Raises:
        ConfigError: The options are impossible, or `config.out` was made with others.
    """
    check_at_least_one(episodes=config.episodes, steps=config.steps)
    if config.seed < 0:
        raise ConfigError(f"--seed must not be negative, got {config.seed}")
    begin = time.perf_counter()
    with resumable(config.out), config.pool(partial(Recorder, config)) as pool:
        (schema,) = pool.run([Recorder.schema])  # of a worker, so that nothing is written if there can be none
        writer = EpisodeWriter(config.out, schema)
        with writer.finishing():
            missing = [index for index in range(config.episodes) if not writer.has(index)]
            jobs = [Job(f"episode {index}", partial(Recorder.part, index=index)) for index in missing]
            steps = schema.settings["steps"]
            with progress("collect") as show:
                for done, part in enumerate(pool.run(jobs), start=1):
                    writer.add(*part)
                    speed = done * steps / (time.perf_counter() - begin)
                    show(done / len(missing), f"{done} of {len(missing)} episodes, {speed:,.0f} steps/s")
    seconds = time.perf_counter() - begin
    with EpisodeFile(config.out) as file:
        return Collection(summarize(file), len(missing), seconds, len(missing) * steps / seconds)
