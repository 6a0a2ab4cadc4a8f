"""The physics twin beside a learned world: begun in the same moment, and stepped by the same actions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.blocks import spec
from gwm_sim.envs.spaces import Observation, image_key, observed
from gwm_sim.envs.tabletop.paired import start_twin, twin_options
from gwm_sim.model.config import WorldModelConfig


@dataclass(frozen=True)
class TwinMoment:
    """One instant of the twin, with all that is needed to go on from it."""

    telemetry: NDArray[np.float32]  # (P,)
    objects: NDArray[np.float32]  # (K, 3) [m]
    reward: float
    success: bool
    pictures: Observation  # (H, W, 3) by key of the observation
    snapshot: Any

    @property
    def nbytes(self) -> int:
        """Bytes, about."""
        return 2000 + sum(picture.nbytes for picture in self.pictures.values())


def has_twin(model: WorldModelConfig) -> bool:
    """Whether a model's world can be stepped in MuJoCo, on this machine."""
    return model.schema.action_names == spec.ACTION_NAMES and find_spec("mujoco") is not None


class Twin:
    """The twin of one session."""

    def __init__(self, model: WorldModelConfig, task: str | None) -> None:
        """Make it look like the data of a model."""
        self._model = model
        self._task = task if task in spec.TASKS else spec.TASKS[-1]
        env = gym.make(spec.env_id("twin", self._task), max_episode_steps=-1, **twin_options(model))
        self._env: Any = env.unwrapped

    def begin(
        self, seed: int | None, properties: Mapping[str, float] | None = None
    ) -> tuple[dict[str, Any], TwinMoment]:
        """Begin at the start of a seed: reset options that begin a learned world there, and the first moment."""
        start = start_twin(self._env, self._model, seed, properties=properties)
        pictures = observed(start.frames[-1], self._model.cameras)
        return start._asdict(), self._moment({**pictures, "agent_pos": start.telemetry[-1]})

    def step(self, action: NDArray[np.float32]) -> TwinMoment:
        """Advance by one control step."""
        return self._moment(self._env.step(action)[0])

    def resume(self, moment: TwinMoment) -> None:
        """Go on from a moment of any twin of the model's world."""
        self._env.set_state(moment.snapshot)

    def edit(self, moment: TwinMoment, properties: Mapping[str, float]) -> TwinMoment:
        """Change physics properties from now on."""
        told = {**moment.snapshot.properties, **properties}
        changed = replace(moment, snapshot=replace(moment.snapshot, properties=told))
        self.resume(changed)
        return changed

    def close(self) -> None:
        """Free what it draws with."""
        self._env.close()

    def _moment(self, observation: Observation) -> TwinMoment:
        reward, success = self._env.labels()[self._task]
        return TwinMoment(
            telemetry=observation["agent_pos"],
            objects=self._env.objects()[:, :3],
            reward=float(reward),
            success=bool(success),
            pictures={key: observation[key] for key in map(image_key, self._model.cameras)},
            snapshot=self._env.get_state(),
        )
