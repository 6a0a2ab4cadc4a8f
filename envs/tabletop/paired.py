"""Both worlds of a task from the same starts, as vector environments for the one evaluation loop.

The twin is reset with a seed and held for the frames that a learned world is given; there both begin. Afterwards each
runs by itself to the time limit of the task.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from gwm_sim.envs.spaces import Observation, picture
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT

World = Literal["twin", "learned"]
WORLDS: Final[tuple[World, ...]] = ("twin", "learned")


class PairedStart(NamedTuple):
    """What the learned world was given; C is at most `CONTEXT`."""

    frames: NDArray[np.uint8]  # (C, H, V*W, 3), the views side by side
    telemetry: NDArray[np.float32]  # (C, P)
    actions: NDArray[np.float32]  # (C-1, A)
    properties: dict[str, float]


class PairedWorlds:
    """Makes the two worlds, and remembers the starts that it has shown."""

    names: ClassVar[tuple[World, ...]] = WORLDS

    def __init__(self, ids: Mapping[World, str], model: str | Path = "gwm-mini", rows: int = 20) -> None:
        """Prepare.

        Args:
            ids: Environment ids of the worlds, such as `spec.world_ids("stack")`.
            model: World model of the learned side.
            rows: Episodes that run at a time.
        """
        self.rows = rows
        self.world_model = WorldModel.load(model)
        self._ids = ids
        self._model = model
        self._twin: gym.Env[Any, Any] | None = None
        self._starts: dict[int, PairedStart] = {}

    def make(self, world: World, sees: bool = True) -> VectorEnv[Any, Any, Any]:
        """One of the worlds; its `reset(seed=s)` begins row i at the start of seed s + i, or of s[i].

        Args:
            world: "twin" or "learned".
            sees: Whether anybody looks at frames; drawing them takes most of the time of both.
        """
        if world == "learned":
            learned: Any = gym.make_vec(self._ids["learned"], num_envs=self.rows, model=self._model)
            if not sees:
                learned.unwrapped.observe_state(())
            return _PairedRows(learned, self)
        options = twin_options(self.world_model.config) | ({} if sees else {"rendering": "fast"})
        limit = gym.spec(self._ids["twin"]).max_episode_steps
        assert limit is not None
        limit += CONTEXT - 1
        return _WaitingTwin(gym.make_vec(self._ids["twin"], num_envs=self.rows, max_episode_steps=limit, **options))

    def start(self, seed: int) -> PairedStart:
        """What the learned world is given for the start of a seed."""
        if seed not in self._starts:
            if self._twin is None:
                self._twin = gym.make(self._ids["twin"], **twin_options(self.world_model.config))
            self._starts[seed] = start_twin(self._twin, self.world_model.config, seed)
        return self._starts[seed]


class _WaitingTwin(VectorWrapper):
    """The twin, still for a moment after every reset."""

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        for action in hold_still(self.action_space):
            observation, _, _, _, info = self.env.step(action)
        return observation, info


class _PairedRows(VectorWrapper):
    """A learned world whose rows begin where the twin waits."""

    def __init__(self, env: VectorEnv[Any, Any, Any], pair: PairedWorlds) -> None:
        super().__init__(env)
        self._pair = pair

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        seeds = [seed + row for row in range(self.num_envs)] if isinstance(seed, int) else list(seed or ())
        if len(seeds) != self.num_envs or None in seeds:
            raise ValueError(f"paired starts need the seed of the first row, or of every row, got {seed!r}")
        # The first reset must be of all rows.
        observation, info = self.env.reset(seed=seeds)  # type: ignore[arg-type]  # as vector environments take it
        for row, own in enumerate(seeds):
            mask = np.arange(self.num_envs) == row
            start = self._pair.start(int(own))  # type: ignore[arg-type]  # none is None
            observation, info = self.env.reset(options={"reset_mask": mask, **start._asdict()})
        return observation, info


def twin_options(world: WorldModelConfig) -> dict[str, Any]:
    """Keyword arguments that make the twin look like the data of a model."""
    return {
        "size": world.tokenizer.height,
        "cameras": world.cameras,
        "rendering": world.schema.env_kwargs.get("rendering", "rich"),  # as twins are, where data do not say
    }


def hold_still(space: gym.Space[Any]) -> NDArray[np.float32]:
    """Actions (T, ...) of `space` that hold the twin still for the frames that a learned world is given."""
    return np.zeros((CONTEXT - 1, *(space.shape or ())), np.float32)


def start_pair(
    twin: gym.Env[Any, Any],
    learned: gym.Env[Any, Any],
    seed: int | None,
    actions: NDArray[np.float32] | None = None,
    properties: Mapping[str, float] | None = None,
) -> PairedStart:
    """Begin both worlds in the same moment of the twin's.

    Args:
        twin: The physics twin, made with the `twin_options` of the learned world.
        learned: The learned environment.
        seed: Seed of the twin's start.
        actions: What the twin does before the moment, (T, A), by default nothing for as long as a learned world is
            shown; of more that world sees the last frames.
        properties: Physics of the episode by name, the defaults where not given; both worlds are told.

    Returns:
        What the learned world was given.
    """
    model: WorldModelConfig = learned.unwrapped.world_model.config  # type: ignore[attr-defined]
    start = start_twin(twin, model, seed, actions, properties)
    learned.reset(seed=seed, options=start._asdict())
    return start


def start_twin(
    twin: gym.Env[Any, Any],
    model: WorldModelConfig,
    seed: int | None,
    actions: NDArray[np.float32] | None = None,
    properties: Mapping[str, float] | None = None,
) -> PairedStart:
    """Begin the twin alone, and return what a learned world has to be given to begin there; see `start_pair`."""
    if actions is None:
        actions = hold_still(twin.action_space)
    observation, _ = twin.reset(seed=seed, options={"properties": dict(properties or {})})
    observations = [observation, *(twin.step(action)[0] for action in actions)][-CONTEXT:]
    told: dict[str, float] = twin.unwrapped.properties  # type: ignore[attr-defined]
    return PairedStart(
        frames=np.stack([picture(seen, model.cameras) for seen in observations]),
        telemetry=np.stack([seen["agent_pos"] for seen in observations]),
        actions=np.asarray(actions[len(actions) + 1 - len(observations) :], np.float32),
        properties={name: value for name, value in told.items() if name in model.properties},
    )
