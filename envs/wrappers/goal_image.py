"""Goals that are pictures, in the form of goal-conditioned environments."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from gwm_sim.envs.learned.goals import ALIKE, read_goal
from gwm_sim.envs.learned.observations import LATENTS, OBJECTS
from gwm_sim.envs.single_env import AnyVector, SingleWrapper
from gwm_sim.envs.spaces import Observation
from gwm_sim.envs.vector_world import VectorStep
from gwm_sim.envs.wrappers.latent_observation import Model, VectorLatentObservation
from gwm_sim.model.world_model import WorldModel


class VectorGoalImage(VectorWrapper):
    """Ask for what a picture shows, in the form of goal-conditioned environments (HER).

    Observation: that of `LatentObservation`, with `achieved_goal` and `desired_goal` float32 (N * M,), the latents of
    the present and of the goal in the views that the goals show. Reward: 0 where they are nearly alike, else -1
    (`sparse`), or the negative distance. Whenever a row begins its goal is drawn from the pictures;
    `reset(options={"goal": index})` chooses one, for all rows or for each.
    """

    def __init__(
        self,
        env: AnyVector,
        goals: NDArray[np.uint8],
        keys: Sequence[str] = (OBJECTS,),
        model: Model = "gwm-mini",
        sparse: bool = True,
    ) -> None:
        """Wrap `env`.

        Args:
            env: As for `LatentObservation`.
            goals: Pictures (G, H, W, 3) of the main camera, or (G, H, V*W, 3) of all, to draw the goals from.
            keys: What to observe beside the goals.
            model: What reads pictures in the twin; a learned world is read by its own model.
            sparse: Whether the reward is 0 or -1 instead of the negative distance.
        """
        latent = VectorLatentObservation(env, tuple(dict.fromkeys([*keys, LATENTS])), model)
        super().__init__(latent)
        self.reader = reader = latent.reader
        read = [read_goal(reader, picture) for picture in goals]
        middle = (reader.config.dynamics.levels - 1) / 2
        self._goals = np.stack([(goal.codes.flatten().float() / middle - 1).cpu().numpy() for goal in read])  # (G, L)
        self._size = self._goals.shape[1]  # less than that of all latents where goals show the main view alone
        # Distances are in units of how far a goal is from the empty scene.
        self._scale = float(np.mean([goal.scale.item() for goal in read])) / middle
        self._keys, self._sparse = ("agent_pos", *keys), sparse
        self._chosen = np.zeros(env.num_envs, int)
        box, inner = spaces.Box(-1, 1, (self._size,), np.float32), latent.single_observation_space
        kept = {key: inner[key] for key in self._keys}  # type: ignore[index]
        self.single_observation_space = spaces.Dict({**kept, "achieved_goal": box, "desired_goal": box})
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
        return self._observe(observation, self._goals[self._chosen]), infos

    def step(self, actions: Any) -> VectorStep:
        """Step all rows and judge each by its goal."""
        observation, _, terminated, truncated, infos = self.env.step(actions)
        before = self._goals[self._chosen]
        finished = np.asarray(infos.get("_final_obs", np.zeros(self.num_envs, bool)))
        achieved = observation[LATENTS][:, : self._size].copy()
        if finished.any():
            final = infos["final_obs"].copy()
            for row in np.flatnonzero(finished):
                final[row] = self._observe(final[row], before[row])
                achieved[row] = final[row]["achieved_goal"]
            infos = {**infos, "final_obs": final}
            self._draw(finished)
        rewards = self.compute_reward(achieved, before, infos)
        return self._observe(observation, self._goals[self._chosen]), rewards, terminated, truncated, infos

    def compute_reward(self, achieved: NDArray[Any], desired: NDArray[Any], info: Any) -> NDArray[np.float32]:
        """Rewards (...) of latents (..., L) for goals of the same shape."""
        distance = np.abs(achieved - desired).sum(axis=-1) / self._scale
        return np.asarray(np.where(distance < ALIKE, 0.0, -1.0) if self._sparse else -distance, np.float32)

    def _observe(self, observation: Observation, goal: NDArray[np.float32]) -> Observation:
        kept = {key: observation[key] for key in self._keys}
        achieved = observation[LATENTS][..., : self._size]
        return {**kept, "achieved_goal": achieved, "desired_goal": goal.copy()}

    def _draw(self, rows: NDArray[np.bool_]) -> None:
        rngs: Any = self.np_random
        for row in np.flatnonzero(rows):
            self._chosen[row] = int(rngs[row].integers(len(self._goals)))


class GoalImage(SingleWrapper):
    """`VectorGoalImage` of a single environment."""

    vector = VectorGoalImage
    rows: VectorGoalImage

    @property
    def reader(self) -> WorldModel:
        """The model that reads pictures and goals."""
        return self.rows.reader

    def compute_reward(self, achieved: NDArray[Any], desired: NDArray[Any], info: Any) -> NDArray[np.float32]:
        """Rewards (...) of latents (..., L) for goals of the same shape."""
        return self.rows.compute_reward(achieved, desired, info)
