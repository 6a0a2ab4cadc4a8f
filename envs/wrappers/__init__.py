"""Wrappers for both worlds, in single and in vector form: readings instead of pictures, clear actions, caution, goals.

Policies see what the model reads (`LatentObservation`), which in the physics twin takes one encoding per step for all
rows, and in a learned world nothing. What only an imagined world knows, its uncertainty, changes nothing in the twin.
The vector forms expect the autoreset mode SAME_STEP, which is the default here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorActionWrapper, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from gwm_sim.envs.blocks.spec import ACTION_NAMES, image_key
from gwm_sim.envs.learned.goals import read_goal
from gwm_sim.envs.learned.observations import LATENTS, OBJECTS, read_frames, readings_space
from gwm_sim.envs.vector_world import Observation
from gwm_sim.model.world_model import WorldModel

UNCERTAINTY: Final = "gwm/uncertainty"
GRIPPER: Final = ACTION_NAMES.index("gripper")
NEAR: Final = 0.25  # distance of latents at which a goal counts as reached, 1 being that of the empty scene

Model = str | Path | WorldModel
Step = tuple[Observation, float, bool, bool, dict[str, Any]]
VectorStep = tuple[Observation, NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class LatentObservation(gym.Wrapper[Any, Any, Any, Any]):
    """Observe `agent_pos` and what the model reads, instead of pictures.

    Observation: Dict of `agent_pos` (P,) as before; `objects` float32 (K * 3,), positions of the tracked objects [m];
    `latents` float32 (N * M,), the tokenizer's integers scaled to [-1, 1].
    """

    def __init__(
        self, env: gym.Env[Any, Any], keys: Sequence[str] = (OBJECTS, LATENTS), model: Model = "gwm-mini"
    ) -> None:
        """Wrap `env`.

        Args:
            env: An environment with the pictures that the model was trained on, or a learned one.
            keys: The readings to give.
            model: What reads the pictures; a learned world is read by its own model.
        """
        super().__init__(env)
        self._keys = tuple(keys)
        self._model: WorldModel | None = None
        if hasattr(env.unwrapped, "observe_readings"):
            env.unwrapped.observe_readings(keys)
        else:
            self._model = _load(model, env.observation_space)
            self.observation_space = readings_space(self._model, env.observation_space, keys)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Reset the environment."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._read(observation), info

    @property
    def reader(self) -> WorldModel:
        """The model whose readings these are."""
        return _reader(self._model, self.env)

    def step(self, action: Any) -> Step:
        """Step the environment."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._read(observation), float(reward), terminated, truncated, info

    def _read(self, observation: Observation) -> Observation:
        if self._model is None:
            return observation
        batch = {key: value[None] for key, value in observation.items()}
        return {key: value[0] for key, value in read_frames(self._model, batch, self._keys).items()}


class VectorLatentObservation(VectorWrapper):
    """`LatentObservation` in vector form: one batched reading per step, final observations included."""

    def __init__(
        self, env: VectorEnv[Any, Any, Any], keys: Sequence[str] = (OBJECTS, LATENTS), model: Model = "gwm-mini"
    ) -> None:
        """Wrap `env`; the arguments are those of `LatentObservation`."""
        super().__init__(env)
        self._keys = tuple(keys)
        self._model: WorldModel | None = None
        unwrapped: Any = env.unwrapped
        if hasattr(unwrapped, "observe_readings"):
            unwrapped.observe_readings(keys)
        else:
            self._model = _load(model, env.single_observation_space)
            self.single_observation_space = readings_space(self._model, env.single_observation_space, keys)
            self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Reset rows of the environment."""
        observation, info = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        return self._read(observation), info

    @property
    def reader(self) -> WorldModel:
        """The model whose readings these are."""
        return _reader(self._model, self.env)

    def step(self, actions: Any) -> VectorStep:
        """Step all rows."""
        observation, rewards, terminated, truncated, infos = self.env.step(actions)
        if self._model is None:
            return observation, rewards, terminated, truncated, infos
        finished = np.flatnonzero(infos.get("_final_obs", []))
        if not len(finished):
            return self._read(observation), rewards, terminated, truncated, infos
        last = [infos["final_obs"][row] for row in finished]
        both = {key: np.concatenate([value, [entry[key] for entry in last]]) for key, value in observation.items()}
        read = self._read(both)
        final = infos["final_obs"].copy()
        for i, row in enumerate(finished, start=self.num_envs):
            final[row] = {key: value[i] for key, value in read.items()}
        observation = {key: value[: self.num_envs] for key, value in read.items()}
        return observation, rewards, terminated, truncated, {**infos, "final_obs": final}

    def _read(self, observation: Observation) -> Observation:
        return observation if self._model is None else read_frames(self._model, observation, self._keys)


class TernaryAction(gym.ActionWrapper[Any, Any, Any]):
    """Take some numbers of the action as a word: lowest, middle or highest, whichever third of the range they are in.

    A gripper that opens a little lets go altogether, and no camera sees how firmly it holds: a policy that may answer
    in shades learns to drop things where its model does not know better.
    """

    def __init__(self, env: gym.Env[Any, Any], columns: Sequence[int] = (GRIPPER,)) -> None:
        """Wrap `env`; `columns` are the places in the action that are taken so."""
        super().__init__(env)
        self._columns = list(columns)

    def action(self, action: Any) -> NDArray[np.float32]:
        """Action (A,) of the environment for one of the policy."""
        return ternary(action, self._columns, self.action_space)


class VectorTernaryAction(VectorActionWrapper):
    """`TernaryAction` in vector form."""

    def __init__(self, env: VectorEnv[Any, Any, Any], columns: Sequence[int] = (GRIPPER,)) -> None:
        """Wrap `env`; `columns` are the places in the action that are taken so."""
        super().__init__(env)
        self._columns = list(columns)

    def actions(self, actions: Any) -> NDArray[np.float32]:
        """Actions (num_envs, A) of the environment for those of the policy."""
        return ternary(actions, self._columns, self.single_action_space)


class UncertaintyPenalty(gym.Wrapper[Any, Any, Any, Any]):
    """Take from the reward `weight` for every centimetre by which the uncertainty grew in this step.

    Where the model is unsure a policy would otherwise live on its errors (MOPO, https://arxiv.org/abs/2005.13239). The
    uncertainty of an imagined world adds up, so the growth is what this step is answerable for. In the twin nothing is
    uncertain and the reward stays.
    """

    def __init__(self, env: gym.Env[Any, Any], weight: float) -> None:
        """Wrap `env`; `weight` is the price [1/cm]."""
        super().__init__(env)
        self._weight = _positive("weight", weight)
        self._before = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Reset the environment."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._before = float(info.get(UNCERTAINTY, 0.0))
        return observation, info

    def step(self, action: Any) -> Step:
        """Step the environment and charge for the step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        now = float(info.get(UNCERTAINTY, 0.0))
        charged = float(reward) - self._weight * (now - self._before)
        self._before = now
        return observation, charged, terminated, truncated, info


class VectorUncertaintyPenalty(VectorWrapper):
    """`UncertaintyPenalty` in vector form."""

    def __init__(self, env: VectorEnv[Any, Any, Any], weight: float) -> None:
        """Wrap `env`; `weight` is the price [1/cm]."""
        super().__init__(env)
        self._weight = _positive("weight", weight)
        self._before = np.zeros(env.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Reset rows of the environment."""
        observation, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self._before = np.asarray(infos.get(UNCERTAINTY, self._before)).copy()
        return observation, infos

    def step(self, actions: Any) -> VectorStep:
        """Step all rows and charge each for its step."""
        observation, rewards, terminated, truncated, infos = self.env.step(actions)
        if UNCERTAINTY in infos:
            rewards = rewards - self._weight * (last_uncertainty(infos) - self._before)
            self._before = infos[UNCERTAINTY].copy()
        return observation, rewards, terminated, truncated, infos


class TruncateOnUncertainty(gym.Wrapper[Any, Any, Any, Any]):
    """End an episode whose uncertainty exceeds `limit`: what comes after is not worth learning from.

    It is a truncation, so that the value of going on is bootstrapped and ending early is no way to escape a penalty.
    """

    def __init__(self, env: gym.Env[Any, Any], limit: float) -> None:
        """Wrap `env`; `limit` is the greatest expected error to accept [cm]."""
        super().__init__(env)
        self._limit = _positive("limit", limit)

    def step(self, action: Any) -> Step:
        """Step the environment."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, float(reward), terminated, truncated or info.get(UNCERTAINTY, 0.0) > self._limit, info


class VectorTruncateOnUncertainty(VectorWrapper):
    """`TruncateOnUncertainty` in vector form: rows that are too uncertain are reset in the same step."""

    def __init__(self, env: VectorEnv[Any, Any, Any], limit: float) -> None:
        """Wrap `env`; `limit` is the greatest expected error to accept [cm]."""
        super().__init__(env)
        self._limit = _positive("limit", limit)

    def step(self, actions: Any) -> VectorStep:
        """Step all rows."""
        observation, rewards, terminated, truncated, infos = self.env.step(actions)
        uncertain = np.asarray(infos.get(UNCERTAINTY, np.zeros(self.num_envs))) > self._limit
        if not (lost := uncertain & ~(terminated | truncated)).any():
            return observation, rewards, terminated, truncated, infos
        fresh, begun = self.env.reset(options={"reset_mask": lost})
        final_obs, final_info = _objects(infos, "final_obs", self.num_envs), dict(infos.get("final_info", {}))
        for row in np.flatnonzero(lost):
            final_obs[row] = {key: value[row].copy() for key, value in observation.items()}
        ended = lost | infos.get("_final_obs", np.zeros(self.num_envs, bool))
        current = {key: value for key, value in infos.items() if isinstance(value, np.ndarray) and f"_{key}" in infos}
        for key, value in current.items():
            if key != "final_obs":
                kept = final_info.get(key, np.zeros_like(value))
                final_info |= {key: np.where(lost, value, kept), f"_{key}": ended.copy()}
        last = {"final_obs": final_obs, "_final_obs": ended, "final_info": final_info, "_final_info": ended.copy()}
        now = {key: np.where(lost, begun[key], value) for key, value in current.items() if key in begun}
        return fresh, rewards, terminated, truncated | lost, {**infos, **now, **last}


class GoalImage(gym.Wrapper[Any, Any, Any, Any]):
    """Ask for what a picture shows, in the form of goal-conditioned environments (HER).

    Observation: that of `LatentObservation`, with `achieved_goal` and `desired_goal` float32 (N * M,), the latents of
    the present and of the goal in the views that the goals show. Reward: 0 where they are nearly alike, else -1
    (`sparse`), or the negative distance. The goal of an episode is drawn from the pictures;
    `reset(options={"goal": index})` chooses one.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        goals: NDArray[np.uint8],
        keys: Sequence[str] = (OBJECTS,),
        model: Model = "gwm-mini",
        sparse: bool = True,
    ) -> None:
        """Wrap `env`.

        Args:
            env: As for `LatentObservation`.
            goals: Pictures (G, H, W, 3) of the main camera, or (G, H, V*W, 3) of all, to draw the goals from.
            keys: The readings to give beside the goals.
            model: What reads pictures in the twin; a learned world is read by its own model.
            sparse: Whether the reward is 0 or -1 instead of the negative distance.
        """
        super().__init__(LatentObservation(env, tuple(dict.fromkeys([*keys, LATENTS])), model))
        self._goals = _Goals(env.unwrapped, goals, keys, model, sparse)
        self._goal = 0
        self.observation_space = self._goals.space(self.env.observation_space)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Reset the environment and draw a goal."""
        options = dict(options or {})
        chosen = options.pop("goal", None)
        observation, info = self.env.reset(seed=seed, options=options)
        self._goal = self._goals.draw(self.env.unwrapped.np_random) if chosen is None else int(chosen)
        return self._goals.observe(observation, self._goals.codes[self._goal]), info

    def step(self, action: Any) -> Step:
        """Step the environment and judge by the goal."""
        observation, _, terminated, truncated, info = self.env.step(action)
        observed = self._goals.observe(observation, self._goals.codes[self._goal])
        reward = self.compute_reward(observed["achieved_goal"], observed["desired_goal"], info)
        return observed, float(reward), terminated, truncated, info

    def compute_reward(self, achieved: NDArray[Any], desired: NDArray[Any], info: Any) -> NDArray[np.float32]:
        """Rewards (...) of latents (..., N * M) for goals of the same shape."""
        return self._goals.reward(achieved, desired)


class VectorGoalImage(VectorWrapper):
    """`GoalImage` in vector form: each row draws its own goal whenever it begins."""

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        goals: NDArray[np.uint8],
        keys: Sequence[str] = (OBJECTS,),
        model: Model = "gwm-mini",
        sparse: bool = True,
    ) -> None:
        """Wrap `env`; the arguments are those of `GoalImage`."""
        super().__init__(VectorLatentObservation(env, tuple(dict.fromkeys([*keys, LATENTS])), model))
        self._goals = _Goals(env.unwrapped, goals, keys, model, sparse)
        self._chosen = np.zeros(env.num_envs, int)
        self.single_observation_space = self._goals.space(self.env.single_observation_space)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Reset rows and draw their goals, or choose them by the option `goal`: an index, or one for each row."""
        options = dict(options or {})
        chosen = options.pop("goal", None)
        mask = options.get("reset_mask", np.ones(self.num_envs, bool))
        observation, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        if chosen is None:
            self._draw(mask)
        else:
            self._chosen[mask] = np.broadcast_to(chosen, self.num_envs)[mask]
        return self._goals.observe(observation, self._goals.codes[self._chosen]), infos

    def step(self, actions: Any) -> VectorStep:
        """Step all rows and judge each by its goal."""
        observation, _, terminated, truncated, infos = self.env.step(actions)
        before = self._goals.codes[self._chosen]
        finished = np.asarray(infos.get("_final_obs", np.zeros(self.num_envs, bool)))
        achieved = self._goals.achieved(observation).copy()
        if finished.any():
            final = infos["final_obs"].copy()
            for row in np.flatnonzero(finished):
                achieved[row] = self._goals.achieved(final[row])
                final[row] = self._goals.observe(final[row], before[row])
            infos = {**infos, "final_obs": final}
            self._draw(finished)
        rewards = self.compute_reward(achieved, before, infos)
        return self._goals.observe(observation, self._goals.codes[self._chosen]), rewards, terminated, truncated, infos

    def compute_reward(self, achieved: NDArray[Any], desired: NDArray[Any], info: Any) -> NDArray[np.float32]:
        """Rewards (...) of latents (..., N * M) for goals of the same shape."""
        return self._goals.reward(achieved, desired)

    def _draw(self, rows: NDArray[np.bool_]) -> None:
        rngs: Any = self.env.unwrapped.np_random
        for row in np.flatnonzero(rows):
            self._chosen[row] = self._goals.draw(rngs[row])


class _Goals:
    """The goals of a wrapper, read."""

    def __init__(
        self, world: Any, pictures: NDArray[np.uint8], keys: Sequence[str], model: Model, sparse: bool
    ) -> None:
        own: WorldModel | None = getattr(world, "world_model", None)
        reader = own or (model if isinstance(model, WorldModel) else WorldModel.load(model))
        read = [read_goal(reader, picture) for picture in pictures]
        middle = (reader.config.dynamics.levels - 1) / 2
        self.codes = np.stack([(goal.codes.flatten().float() / middle - 1).cpu().numpy() for goal in read])
        self._size = self.codes.shape[-1]  # less than that of all latents where goals show the main view alone
        # Distances are in units of how far a goal is from the empty scene.
        self._scale = float(np.mean([goal.scale.item() for goal in read])) / middle
        self._keys, self._sparse = ("agent_pos", *keys), sparse

    def space(self, space: spaces.Space[Any]) -> spaces.Dict:
        inner = _dict(space)
        goal = spaces.Box(-1, 1, (self._size,), np.float32)
        return spaces.Dict({**{key: inner[key] for key in self._keys}, "achieved_goal": goal, "desired_goal": goal})

    def draw(self, rng: np.random.Generator) -> int:
        return int(rng.integers(len(self.codes)))

    def observe(self, observation: Observation, goal: NDArray[np.float32]) -> Observation:
        kept = {key: observation[key] for key in self._keys}
        return {**kept, "achieved_goal": self.achieved(observation), "desired_goal": goal.copy()}

    def achieved(self, observation: Observation) -> NDArray[np.float32]:
        """Latents of the views that goals show."""
        latents: NDArray[np.float32] = observation[LATENTS][..., : self._size]
        return latents

    def reward(self, achieved: NDArray[Any], desired: NDArray[Any]) -> NDArray[np.float32]:
        distance = np.abs(achieved - desired).sum(axis=-1) / self._scale
        reward = np.where(distance < NEAR, 0.0, -1.0) if self._sparse else -distance
        return np.asarray(reward, np.float32)


def ternary(actions: Any, columns: Sequence[int], space: spaces.Space[Any]) -> NDArray[np.float32]:
    """Actions (..., A) with the numbers at `columns` taken to the lowest, the middle or the highest of `space`."""
    columns = list(columns)
    assert isinstance(space, spaces.Box)
    low, high = space.low[columns], space.high[columns]
    actions = np.array(actions, np.float32)
    unit = (2 * actions[..., columns] - low - high) / (high - low)
    actions[..., columns] = (low + high) / 2 + (high - low) / 2 * np.where(np.abs(unit) > 1 / 3, np.sign(unit), 0.0)
    return actions


def last_uncertainty(infos: Mapping[str, Any]) -> NDArray[np.float64]:
    """Uncertainty (num_envs,) at the end of this step, also of rows that were reset in it."""
    now = np.asarray(infos[UNCERTAINTY])
    final = infos.get("final_info", {}).get(UNCERTAINTY)
    return now if final is None else np.where(infos["_final_info"], final, now)


def _objects(infos: Mapping[str, Any], key: str, num_envs: int) -> NDArray[Any]:
    """A copy of an info's array of objects, or an empty one."""
    return infos[key].copy() if key in infos else np.full(num_envs, None, dtype=object)


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")
    return value


def _reader(given: WorldModel | None, env: Any) -> WorldModel:
    own: WorldModel = env.unwrapped.world_model if given is None else given
    return own


def _load(model: Model, space: spaces.Space[Any]) -> WorldModel:
    """The model that reads the pictures of `space`.

    Raises:
        ValueError: They are not of its kind.
    """
    loaded = model if isinstance(model, WorldModel) else WorldModel.load(model)
    config = loaded.config
    keys, shape = [image_key(camera) for camera in config.cameras], (config.tokenizer.height, config.tokenizer.width, 3)
    given = {name: box.shape for name, box in _dict(space).items()}
    if any(given.get(key) != shape for key in keys) or "agent_pos" not in given:
        wanted = " and ".join(map(repr, keys))
        raise ValueError(f"{config.name} reads {wanted} of shape {shape} and 'agent_pos', the environment has {given}")
    return loaded


def _dict(space: spaces.Space[Any]) -> spaces.Dict:
    if not isinstance(space, spaces.Dict):
        raise ValueError(f"the environment must observe a Dict with pictures and 'agent_pos', its space is {space}")
    return space


__all__ = [
    "GoalImage",
    "LatentObservation",
    "TernaryAction",
    "TruncateOnUncertainty",
    "UncertaintyPenalty",
    "VectorGoalImage",
    "VectorLatentObservation",
    "VectorTernaryAction",
    "VectorTruncateOnUncertainty",
    "VectorUncertaintyPenalty",
    "ternary",
]
