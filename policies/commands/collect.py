"""`gwm collect`: record episodes in the physics twin, in parallel and in spite of being killed.

Episode i starts from seed S + i and its behaviour draws from the same seed, so neither the number of worker processes
nor the order in which they finish changes the content. Every finished episode is a part file at once; the same command
goes on where a killed one stopped.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from rich.console import Console

import gwm_sim
from gwm_sim.data.episode_file import (
    DEPTH_UNIT,
    Command,
    Episode,
    EpisodeFile,
    EpisodeWriter,
    Schema,
    TaskLabels,
    parts_folder,
)
from gwm_sim.data.inspection import Summary, success_table, summarize
from gwm_sim.envs.blocks import spec
from gwm_sim.envs.spaces import depth_key, image_key
from gwm_sim.errors import ConfigError
from gwm_sim.files import exclusive
from gwm_sim.policies.blocks.behaviours import BEHAVIOURS, make_behaviour
from gwm_sim.policies.registry import SHIPPED, find_agent
from gwm_sim.policies.worker_pool import WorkerPool
from gwm_sim.progress import progress

# Any, because the policy that it makes has a name, which a Policy need not have.
Behaviour = Callable[[Any, int], Any]

INTERRUPTED = 130


@dataclass(frozen=True)
class CollectConfig:
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
    workers: int | None = None
    """Processes that record; by default one per core."""
    json: Path | None = None
    """Write the printed numbers here."""


def _indices(part: slice) -> tuple[int, ...]:
    return tuple(range(part.start, part.stop))


class Recorder:
    """Records single episodes of one environment; lives in a worker process."""

    def __init__(self, config: CollectConfig, behaviour: Behaviour | None = None) -> None:
        """Make the environment without its time limit, since the recording ends by number of steps.

        Args:
            config: What to record.
            behaviour: Makes the policy of an episode from environment and seed, in place of `config.policy`.
        """
        self._config = config
        self._behaviour: Behaviour = behaviour or find_behaviour(config.policy)
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
                Command(telemetry=command, action=i, scale=spec.ACTION_SCALE, measured=measured)
                for i, (command, measured) in enumerate(zip(_indices(spec.COMMAND), _indices(spec.EE), strict=True))
            ),
            effector=_indices(spec.EE),
            cameras={name: self._twin.camera_info()[name] for name in self._config.cameras},
            object_names=spec.OBJECT_NAMES,
            object_size=spec.CUBE_SIZE,
            tasks=spec.TASKS,
            task=self._task,
            depth=self._config.cameras if self._config.depth else (),
            env_kwargs=self._env_kwargs,
            settings={
                "policy": self._config.policy,
                "seed": self._config.seed,
                "steps": self._steps,
                "properties": self._config.properties,
            },
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
        moments = [self._moment(observation)]
        actions = []
        state = None
        for _ in range(self._steps):
            proposal, state = policy.predict(observation, state)
            action = np.clip(proposal, -1.0, 1.0).astype(np.float32)
            observation, *_ = self._env.step(action)
            actions.append(action)
            moments.append(self._moment(observation))
        return Episode(
            frames={name: np.stack([moment.frames[name] for moment in moments]) for name in self._config.cameras},
            telemetry=np.stack([moment.telemetry for moment in moments]),
            actions=np.stack(actions),
            labels={
                task: TaskLabels(
                    reward=np.array([moment.labels[task][0] for moment in moments], dtype=np.float32),
                    success=np.array([moment.labels[task][1] for moment in moments], dtype=bool),
                )
                for task in spec.TASKS
            },
            objects=np.stack([moment.objects for moment in moments]),
            properties={name: float(value) for name, value in self._twin.properties.items()},
            seed=seed,
            policy=policy.name,
            depth={
                name: np.stack([moment.depth[name] for moment in moments])
                for name in (self._config.cameras if self._config.depth else ())
            },
        )

    def _moment(self, observation: dict[str, Any]) -> _Moment:
        return _Moment(
            frames={name: observation[image_key(name)] for name in self._config.cameras},
            depth={
                name: (observation[depth_key(name)] / DEPTH_UNIT).round().clip(0, 65535).astype(np.uint16)
                for name in (self._config.cameras if self._config.depth else ())
            },
            telemetry=observation["agent_pos"],
            labels=self._twin.labels(),
            objects=self._twin.objects(),
        )

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


def find_behaviour(policy: str) -> Behaviour:
    """What makes the policy of an episode from environment and seed.

    Raises:
        ConfigError: There is no such policy.
    """
    if policy in BEHAVIOURS:
        return partial(make_behaviour, policy)
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


@dataclass(frozen=True)
class Collection:
    """What a call of `collect` did."""

    summary: Summary
    """What the file holds now."""
    recorded: int
    """Episodes recorded by this call."""
    steps: int
    """Steps recorded by this call."""
    seconds: float
    """Time that took [s], start of the workers included."""

    def to_json(self) -> dict[str, Any]:
        """Return the printed numbers as a JSON object."""
        speed = self.steps / self.seconds
        return asdict(self.summary) | {"recorded": self.recorded, "seconds": self.seconds, "steps_per_second": speed}


@dataclass(frozen=True)
class _Moment:
    frames: dict[str, Any]
    depth: dict[str, Any]
    telemetry: Any
    labels: dict[str, tuple[float, bool]]
    objects: Any


class _Station:
    """A `Worker` that records episodes by number and stores each as a part of the file."""

    def __init__(self, config: CollectConfig) -> None:
        self._out = config.out
        self._recorder = Recorder(config)
        self.greeting = self._recorder.schema()

    def __call__(self, job: int) -> int:
        self._writer.write(job, self._recorder.record(job))
        return job

    @cached_property
    def _writer(self) -> EpisodeWriter:
        # Made with the first job: then the first process has accepted the file and its parts.
        return EpisodeWriter(self._out, self.greeting)


def collect(config: CollectConfig) -> Collection:
    """Record what is missing in `config.out` and finish the file.

    Raises:
        ConfigError: The options are impossible, or `config.out` was made with others.
        KeyboardInterrupt: The user interrupted; finished episodes are kept as parts.
    """
    _check(config)
    begin = time.perf_counter()
    with WorkerPool(partial(_Station, config)) as crew:
        schema: Schema = crew.greeting
        writer = EpisodeWriter(config.out, schema)
        with exclusive(parts_folder(config.out) / "lock", str(config.out)):
            missing = [index for index in range(config.episodes) if not writer.has(index)]
            workers = config.workers or len(os.sched_getaffinity(0))
            steps = schema.settings["steps"]
            with progress("collect") as show:
                for done, _ in enumerate(crew.run(missing, workers), start=1):
                    speed = done * steps / (time.perf_counter() - begin)
                    show(done / len(missing), f"{done} of {len(missing)} episodes, {speed:,.0f} steps/s")
            writer.merge()
    seconds = time.perf_counter() - begin
    with EpisodeFile(config.out) as file:
        return Collection(summarize(file), recorded=len(missing), seconds=seconds, steps=len(missing) * steps)


def _check(config: CollectConfig) -> None:
    for name, value in (("episodes", config.episodes), ("steps", config.steps), ("workers", config.workers)):
        if value is not None and value < 1:
            raise ConfigError(f"--{name} must be at least 1, got {value}")
    if config.seed < 0:
        raise ConfigError(f"--seed must not be negative, got {config.seed}")


def main(config: CollectConfig) -> int:
    """Run `gwm collect`."""
    try:
        collection = collect(config)
    except KeyboardInterrupt:
        print(
            f"\nInterrupted. Finished episodes are kept in {parts_folder(config.out)}: the same command goes on.",
            file=sys.stderr,
        )
        return INTERRUPTED
    summary = collection.summary
    console = Console()
    console.print(success_table(summary.success))
    if collection.recorded:
        speed = collection.steps / collection.seconds
        print(f"recorded {collection.recorded} episodes in {collection.seconds:.1f} s, {speed:,.0f} steps/s")
    else:
        print("nothing to record: the file is complete")
    print(f"{config.out}: {summary.episodes} episodes, {summary.frames:,} frames, {summary.bytes / 1e6:.1f} MB")
    print(f"digest {summary.digest}")
    if config.json is not None:
        config.json.parent.mkdir(parents=True, exist_ok=True)
        config.json.write_text(json.dumps(collection.to_json(), indent=2) + "\n")
    return 0
