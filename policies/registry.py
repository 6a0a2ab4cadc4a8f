"""Policies by name: the one place that says what `--policy` and `--policies` mean.

    scripted                  the task's expert, on where the world says its cubes are; what it holds it tells by
                              sight, which is the same in both worlds (`gwm collect` records experts that feel it)
    scripted:noise=0.1        the same with Gaussian noise on its movements, with scripted:lapse=0.2 a random action in
                              20 % of the steps, with scripted:offset=0.03 misjudging the cubes by 3 cm, with
                              scripted:press=1 closing or opening on where it would hold still; options add up:
                              scripted:lapse=0.2:offset=0.03
    uniform, hold             the floors
    cem, icem, mppi           planning for the task in the world model, with neither goal picture nor demonstrations;
                              options are population, iterations and horizon
    sac-reach, sac-grasp, sac-stack
                              shipped agents that learned inside gwm-mini
    FOLDER                    an agent as `gwm rl train` makes it

A new kind is a function here that takes the options, the environment, a seed and the world model.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Final, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from gwm_sim.envs.blocks.domain import grasped_by_sight
from gwm_sim.envs.blocks.spec import GRIPPER
from gwm_sim.envs.blocks.tasks import TaskState
from gwm_sim.envs.learned.observations import LATENTS
from gwm_sim.envs.wrappers import (
    LatentObservation,
    TernaryAction,
    VectorLatentObservation,
    VectorTernaryAction,
)
from gwm_sim.errors import ConfigError
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.blocks.experts import EXPERTS, ScriptedPolicy
from gwm_sim.policies.planning import PLANNERS, CemSettings, Goal, MpcConfig, MpcPolicy
from gwm_sim.policies.policy import Observation, Policy, State
from gwm_sim.policies.uniform import HoldPolicy, UniformPolicy

SHIPPED: Final = ("sac-reach", "sac-grasp", "sac-stack")
"""Agents that come with the package."""

NOISE: Final = np.array([1.0, 1.0, 1.0, 0.0])  # of the movements alone: an unsteady gripper drops whatever it holds

Env = gym.Env[Any, Any] | VectorEnv[Any, Any, Any]


class PolicySpec(NamedTuple):
    """A policy, and the environment as it wants to see it."""

    policy: Policy
    env: Env


def make_policy(spec: str, env: Env, seed: int = 0, model: str | Path | WorldModel = "gwm-mini") -> PolicySpec:
    """Make the policy that `spec` names for an environment, single or vector; see the module for the specs.

    Args:
        spec: Name with options, or folder.
        env: Where it will act.
        seed: Of what the policy draws; row i from seed + i where it draws by row.
        model: In which planners plan.

    Raises:
        ConfigError: The spec is unknown, or the policy is for other spaces.
        CheckpointError: The folder holds no agent.
    """
    name, *words = spec.split(":")
    if name in KINDS and not Path(spec).is_dir():
        return KINDS[name](_options(spec, words), env, seed, model)
    return _agent(spec, env)


def needs_pixels(spec: str) -> bool:
    """Whether the policy of a spec looks at frames, so that they have to be drawn for it."""
    name = spec.partition(":")[0]
    return name in PLANNERS or name not in KINDS


def _scripted(options: Mapping[str, float], env: Env, seed: int, model: Any) -> PolicySpec:
    _only(options, "noise", "lapse", "offset", "press")
    task = getattr(env.unwrapped, "task", None)
    if task not in EXPERTS or not hasattr(env.unwrapped, "task_state"):
        raise ConfigError(f"no expert for {env.spec.id if env.spec else env}: it is scripted for {', '.join(EXPERTS)}")
    judged: Any = _Numb(env)
    if "offset" in options:
        judged = _Misjudged(judged, options["offset"], seed)
    policy: Policy = ScriptedPolicy(judged, EXPERTS[task], f"scripted-{task}", seed)
    if clumsy := {name: options[name] for name in ("noise", "lapse", "press") if name in options}:
        policy = _Clumsy(policy, seed, **clumsy)
    return PolicySpec(policy, env)


def _uniform(options: Mapping[str, float], env: Env, seed: int, model: Any) -> PolicySpec:
    _only(options)
    return PolicySpec(UniformPolicy(seed, _width(env)), env)


def _hold(options: Mapping[str, float], env: Env, seed: int, model: Any) -> PolicySpec:
    _only(options)
    return PolicySpec(HoldPolicy(_width(env)), env)


def _width(env: Env) -> int:
    """Numbers of an action, whatever the robot."""
    space = env.single_action_space if isinstance(env, VectorEnv) else env.action_space
    return int(np.prod(space.shape or ()))


def _plan(planner: str, options: Mapping[str, float], env: Env, seed: int, model: Any) -> PolicySpec:
    _only(options, "population", "iterations", "horizon")
    world = model if isinstance(model, WorldModel) else WorldModel.load(model)
    task = getattr(env.unwrapped, "task", None)
    if task is None:
        raise ConfigError(f"no task to plan for in {env.spec.id if env.spec else env}")
    size: dict[str, Any] = {
        "population": int(options.get("population", 24)),
        "iterations": int(options.get("iterations", 3)),
    }
    if isinstance(PLANNERS[planner], CemSettings):
        size["elites"] = max(2, size["population"] // 4)
    config = MpcConfig(replace(PLANNERS[planner], **size), horizon=int(options.get("horizon", 3)), seed=seed)
    return PolicySpec(MpcPolicy(world, Goal.solve(world, task), config=config), env)


def find_agent(spec: str) -> Path | None:
    """Folder of an agent: the one that is named, or the shipped one of that name; None if there is neither."""
    if Path(spec).exists():
        return Path(spec)
    return Path(str(resources.files("gwm_sim"))) / "pretrained/agents" / spec if spec in SHIPPED else None


def _agent(spec: str, env: Env) -> PolicySpec:
    folder = find_agent(spec)
    if folder is None:
        known = ", ".join((*KINDS, *SHIPPED))
        raise ConfigError(f"no policy {spec!r}: give {known} or a folder as `gwm rl train` makes it")
    from gwm_sim.policies.rl.agents import AgentPolicy  # late: the other policies need no stable-baselines3

    policy = AgentPolicy(folder)
    space: Any = env.single_observation_space if isinstance(env, VectorEnv) else env.observation_space
    if not set(policy.config.readings) <= set(space):
        wrapper: Any = VectorLatentObservation if isinstance(env, VectorEnv) else LatentObservation
        try:
            env = wrapper(env, policy.config.readings, policy.config.model)
        except ValueError as error:
            raise ConfigError(f"{spec} cannot see in this environment: {error}") from error
        reader: Any = env
        if LATENTS in policy.config.readings and reader.reader.digest() != policy.config.model_hash:
            raise ConfigError(
                f"{spec} reads latents of the model {policy.config.model_hash}, here they are those of "
                f"{reader.reader.digest()} and mean something else: train a policy with this model"
            )
        space = env.single_observation_space if isinstance(env, VectorEnv) else env.observation_space
    given = {name: entry.shape for name, entry in space.items()}
    for key, box in policy.observation_space.items():
        if given.get(key) != box.shape:
            raise ConfigError(
                f"{spec} is a policy for other spaces: it needs {key!r} of shape {box.shape}, got {given}"
            )
    if policy.config.ternary:
        clear: Any = VectorTernaryAction if isinstance(env, VectorEnv) else TernaryAction
        env = clear(env, policy.config.ternary)
    return PolicySpec(policy, env)


KINDS: Final[Mapping[str, Callable[[Mapping[str, float], Env, int, Any], PolicySpec]]] = {
    "scripted": _scripted,
    "uniform": _uniform,
    "hold": _hold,
    **{name: partial(_plan, name) for name in PLANNERS},
}


def _options(spec: str, words: list[str]) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in (word.split("=") for word in words)}
    except ValueError:
        raise ConfigError(f"options of a policy are name=number, separated by colons, got {spec!r}") from None


def _only(options: Mapping[str, float], *known: str) -> None:
    if unknown := sorted(options.keys() - set(known)):
        raise ConfigError(f"unknown options {unknown} of a policy; it takes {', '.join(known) or 'none'}")


class _Clumsy:
    """A policy with Gaussian noise on its movements, random ones in place of a share of them, or a pressing hand."""

    def __init__(self, policy: Policy, seed: int, noise: float = 0.0, lapse: float = 0.0, press: float = 0.0) -> None:
        self._policy, self._noise, self._lapse, self._press = policy, noise, lapse, bool(press)
        self._rate: NDArray[np.float32] = np.zeros((), np.float32)  # of the gripper, the last one that was not zero
        self._rng = np.random.default_rng([seed, 2])

    def predict(
        self,
        observation: Observation,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], State | None]:
        begins = state is None
        action, state = self._policy.predict(observation, state, episode_start, deterministic)
        if self._press:
            rate = action[..., GRIPPER]
            fresh = begins if episode_start is None else episode_start.reshape(rate.shape)
            self._rate = np.where(rate == 0, np.where(fresh, 0.0, self._rate), rate)
            action = np.concatenate([action[..., :GRIPPER], self._rate[..., None]], axis=-1)
        noisy = (action + self._noise * self._rng.normal(size=action.shape) * NOISE).clip(-1.0, 1.0)
        lapses = self._rng.random((*action.shape[:-1], 1)) < self._lapse
        return np.where(lapses, self._rng.uniform(-1.0, 1.0, action.shape), noisy).astype(np.float32), state


class _Numb:
    """An environment in which nobody feels a cube: grasps are told by sight.

    A policy must be told the same in both worlds to be compared. The twin's fingers lose touch for a moment whenever a
    held cube is pressed on something; an expert that minds picks again, and a learned world knows nothing of it.
    """

    def __init__(self, env: Env) -> None:
        self.unwrapped = self
        self._env: Any = env.unwrapped
        self.num_envs = getattr(env, "num_envs", 1)
        self._opening: NDArray[np.float64] | None = None

    def task_state(self) -> TaskState:
        state: TaskState = self._env.task_state()
        before = state.gripper_opening if self._opening is None else self._opening
        self._opening = np.array(state.gripper_opening)
        grasped = grasped_by_sight(state.position, state.end_effector, state.gripper_opening, before)
        return replace(state, grasped=grasped)


class _Misjudged:
    """An environment whose cubes seem to be `offset` [m] aside, in a direction drawn once per row."""

    def __init__(self, env: _Numb, offset: float, seed: int) -> None:
        self.unwrapped = self
        self._env = env
        rows = env.num_envs
        angle = np.random.default_rng([seed, 3]).uniform(0, 2 * np.pi, rows)
        self._shift = offset * np.stack([np.cos(angle), np.sin(angle), np.zeros(rows)], axis=-1)

    def task_state(self) -> TaskState:
        state: TaskState = self._env.task_state()
        shift = self._shift[:, None] if state.position.ndim == 3 else self._shift[0]
        return replace(state, position=state.position + shift)


__all__ = ["PolicySpec", "make_policy", "needs_pixels"]
