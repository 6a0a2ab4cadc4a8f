"""Single environments and wrappers, which are written once: as vectors of one row.

`SingleEnv` is one row of a vector environment, `SingleWrapper` the form of a vector wrapper that takes a single one.
"""

import inspect
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from gwm_sim.envs.spaces import UNCERTAINTY, check_action
from gwm_sim.envs.vector_world import Frame, VectorWorld

AnyVector = VectorEnv[Any, Any, Any]
Step = tuple[Any, float, bool, bool, dict[str, Any]]


class _OneRow:
    """The spaces of a single environment, those of the vector of one row behind it."""

    rows: AnyVector

    @property
    def observation_space(self) -> gym.Space[Any]:
        """That of the row, also when it changes later."""
        return self.rows.single_observation_space

    @observation_space.setter
    def observation_space(self, space: gym.Space[Any]) -> None:
        self.rows.single_observation_space, self.rows.observation_space = space, batch_space(space, 1)

    @property
    def action_space(self) -> gym.Space[Any]:
        """That of the row."""
        return self.rows.single_action_space

    @action_space.setter
    def action_space(self, space: gym.Space[Any]) -> None:
        self.rows.single_action_space, self.rows.action_space = space, batch_space(space, 1)


class SingleEnv(_OneRow, gym.Env[Any, Any]):
    """One row of a vector environment of this package, as an environment of its own."""

    vector: ClassVar[type[VectorWorld]]
    """The vector form."""
    rows: VectorWorld

    def __init_subclass__(cls) -> None:
        """Say what the class takes, unless it says so itself."""
        super().__init_subclass__()
        says_itself = "__init__" in vars(cls) or not hasattr(cls, "vector")  # or is what several environments share
        cls.__signature__ = None if says_itself else _for_one(cls.vector)  # type: ignore[attr-defined]

    def __init__(self, *args: Any, **options: Any) -> None:
        """Make the environment; the arguments are those of the vector form that are not about many rows."""
        self.rows = self.vector(num_envs=1, **_for_one(self.vector).bind(*args, **options).arguments)
        self.rows.autoreset_mode = None  # whoever steps a single environment resets it, and may also go on
        self.render_mode = self.rows.render_mode
        self.metadata = {key: value for key, value in self.rows.metadata.items() if key != "autoreset_mode"}

    @property
    def np_random(self) -> np.random.Generator:
        """The generator of the row."""
        return self.rows.np_random[0]

    @np_random.setter
    def np_random(self, generator: np.random.Generator) -> None:
        self.rows.np_random = (generator,)

    _np_random = np_random  # where Gymnasium's checker looks

    @property
    def np_random_seed(self) -> int:
        """The seed of the row."""
        return self.rows.np_random_seed[0]

    @property
    def task(self) -> str | None:
        """Task that reward and success are read for."""
        return self.rows.task

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; see the class for the options."""
        if "reset_mask" in (options or {}):
            raise ValueError("Unknown reset option 'reset_mask': it chooses among rows, a single environment has none")
        observation, infos = self.rows.reset(seed=seed, options=options)
        return first(observation), row_of(infos, 0)

    def step(self, action: Any) -> Step:
        """Advance by one control step."""
        checked: Any = check_action(action, self.action_space)[None]
        observation, rewards, terminated, truncated, infos = self.rows.step(checked)
        return first(observation), float(rewards[0]), bool(terminated[0]), bool(truncated[0]), row_of(infos, 0)

    def render(self) -> Frame:
        """The present picture, large enough to look at."""
        return self.rows.render()[0]

    def close(self) -> None:
        """Free what the environment holds."""
        self.rows.close()


class SingleWrapper(_OneRow, gym.Wrapper[Any, Any, Any, Any]):
    """A vector wrapper around any single environment: what the wrapper does not change passes as it is, infos too."""

    vector: ClassVar[type[VectorWrapper]]
    """The vector form."""

    def __init__(self, env: gym.Env[Any, Any], *args: Any, **options: Any) -> None:
        """Wrap `env`; the arguments are those of the vector form."""
        super().__init__(env)
        self._wrapped = _VectorOfOne(env)
        self.rows = self.vector(self._wrapped, *args, **options)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observations, _ = self.rows.reset(seed=seed, options=options)
        return self._own(observations), self._wrapped.info

    def step(self, action: Any) -> Step:
        """Advance by one control step."""
        observations, rewards, terminated, truncated, _ = self.rows.step([action])
        reward = self._wrapped.reward if rewards is self._wrapped.rewards else float(rewards[0])
        return self._own(observations), reward, bool(terminated[0]), bool(truncated[0]), self._wrapped.info

    def _own(self, observations: Any) -> Any:
        return self._wrapped.observation if observations is self._wrapped.observations else first(observations)


class _VectorOfOne(AnyVector):
    """Any single environment as a vector of one row, which is reset by whoever steps it.

    What the environment said last is kept beside the batches made of it; of its info wrappers see the uncertainty.
    """

    num_envs = 1
    observation: Any
    observations: Any
    reward: Any
    rewards: Any
    info: dict[Any, Any]

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._env = env
        self.action_space = batch_space(env.action_space, 1)
        self.single_action_space = env.action_space
        self.metadata = {**env.metadata, "autoreset_mode": None}

    @property
    def single_observation_space(self) -> gym.Space[Any]:  # type: ignore[override]
        return self._env.observation_space

    @property
    def observation_space(self) -> gym.Space[Any]:  # type: ignore[override]
        return batch_space(self._env.observation_space, 1)

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        return (self._env.unwrapped.np_random,)

    @property
    def unwrapped(self) -> Any:
        return self._env.unwrapped

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.observation, self.info = self._env.reset(seed=seed, options=options)
        self.observations = _alone(self.observation)
        return self.observations, {UNCERTAINTY: np.array([self.info.get(UNCERTAINTY, 0.0)], float)}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self.observation, self.reward, terminated, truncated, self.info = self._env.step(actions[0])
        self.observations, self.rewards = _alone(self.observation), np.array([self.reward], float)
        infos = {key: np.array([self.info[key]], float) for key in (UNCERTAINTY,) if key in self.info}
        return self.observations, self.rewards, np.array([terminated]), np.array([truncated]), infos


def first(batch: Any) -> Any:
    """The first row of a batch of observations."""
    return {key: first(value) for key, value in batch.items()} if isinstance(batch, dict) else batch[0]


def _for_one(vector: type[VectorWorld]) -> inspect.Signature:
    """The arguments of a vector form that are not about many rows."""
    of_many = ("num_envs", "max_episode_steps", "autoreset_mode")
    signature = inspect.signature(vector)
    return signature.replace(parameters=[p for name, p in signature.parameters.items() if name not in of_many])


def _alone(observation: Any) -> Any:
    """A batch of one observation; what is neither an array nor made of arrays is not looked at and stays as it is."""
    if isinstance(observation, dict):
        return {key: _alone(value) for key, value in observation.items()}
    return observation[None] if isinstance(observation, np.ndarray) else [observation]


def row_of(infos: dict[str, Any], row: int) -> dict[str, Any]:
    """Info of one row as Python values; what its `_key` mask denies to the row is left out."""
    info = {}
    for key, value in infos.items():
        is_mask = key.startswith("_") and key[1:] in infos
        mask = infos.get(f"_{key}")
        if is_mask or (mask is not None and not mask[row]):
            continue
        if isinstance(value, dict):
            info[key] = row_of(value, row)
        elif isinstance(value, np.ndarray):
            info[key] = value[row].item() if isinstance(value[row], np.generic) else value[row]
        else:
            info[key] = value
    return info


__all__ = ["SingleEnv", "SingleWrapper", "first", "row_of"]
