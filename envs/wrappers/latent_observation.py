"""What a model reads, in the place of pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorWrapper
from gymnasium.vector.utils import batch_space

from gwm_sim.envs.learned.domain import find_domain
from gwm_sim.envs.learned.observations import read_frames, state_space, usual_keys
from gwm_sim.envs.single_env import AnyVector, SingleWrapper
from gwm_sim.envs.spaces import Observation, image_key
from gwm_sim.envs.vector_world import VectorStep
from gwm_sim.model.world_model import WorldModel

Model = str | Path | WorldModel


class VectorLatentObservation(VectorWrapper):
    """Observe `agent_pos` and what the model reads, instead of pictures.

    Observation: Dict of `agent_pos` (P,) as before; `objects` float32 (K * 3,), positions of the tracked objects [m];
    `latents` float32 (N * M,), the tokenizer's integers scaled to [-1, 1].

    In the twin that takes one encoding per step for all rows, final observations included, in a learned world nothing.
    """

    def __init__(self, env: AnyVector, keys: Sequence[str] | None = None, model: Model = "gwm-mini") -> None:
        """Wrap `env`.

        Args:
            env: An environment with the pictures that the model was trained on, or a learned one.
            keys: What to observe; None for what the domain of the model says, or else `usual_keys`.
            model: What reads the pictures; a learned world is read by its own model.
        """
        super().__init__(env)
        self._model: WorldModel | None = None
        unwrapped: Any = env.unwrapped
        imagined = hasattr(unwrapped, "observe_state")
        if not imagined:
            self._model = _fitting(model, env.single_observation_space)
        domain = find_domain(self.reader.config.schema.env_id)
        self._keys = (domain.readings or usual_keys(self.reader)) if keys is None else tuple(keys)
        if imagined:
            unwrapped.observe_state(self._keys)
        else:
            self.single_observation_space = state_space(self.reader, env.single_observation_space, self._keys)
            self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    @property
    def reader(self) -> WorldModel:
        """The model that reads these."""
        own: WorldModel = self.unwrapped.world_model if self._model is None else self._model  # type: ignore[attr-defined]
        return own

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Reset rows of the environment."""
        observation, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        return self._read(observation), infos

    def step(self, actions: Any) -> VectorStep:
        """Step all rows."""
        observation, rewards, terminated, truncated, infos = self.env.step(actions)
        finished = np.flatnonzero(infos.get("_final_obs", []))
        if self._model is None or not len(finished):
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


class LatentObservation(SingleWrapper):
    """`VectorLatentObservation` of a single environment."""

    vector = VectorLatentObservation
    rows: VectorLatentObservation

    @property
    def reader(self) -> WorldModel:
        """The model that reads these."""
        return self.rows.reader


def _fitting(model: Model, space: spaces.Space[Any]) -> WorldModel:
    """The model that reads the pictures of `space`.

    Raises:
        ValueError: They are not of its kind.
    """
    loaded = model if isinstance(model, WorldModel) else WorldModel.load(model)
    config = loaded.config
    if not isinstance(space, spaces.Dict):
        raise ValueError(f"the environment must observe a Dict with pictures and 'agent_pos', its space is {space}")
    keys, shape = [image_key(camera) for camera in config.cameras], (config.tokenizer.height, config.tokenizer.width, 3)
    given = {name: box.shape for name, box in space.items()}
    if any(given.get(key) != shape for key in keys) or "agent_pos" not in given:
        wanted = " and ".join(map(repr, keys))
        raise ValueError(f"{config.name} reads {wanted} of shape {shape} and 'agent_pos', the environment has {given}")
    return loaded
