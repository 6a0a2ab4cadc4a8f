"""The same start in both worlds: the physics twin goes there, and the learned world is given its last frames."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.blocks import spec
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.protocol import CONTEXT

HELD: Final = np.zeros((CONTEXT - 1, len(spec.ACTION_NAMES)), np.float32)
"""Actions (T, A) that hold the arm still for the frames that a learned world is given."""


class PairedStart(NamedTuple):
    """What the learned world was given; C is at most `CONTEXT`."""

    frames: NDArray[np.uint8]  # (C, H, V*W, 3), the views side by side
    telemetry: NDArray[np.float32]  # (C, P)
    actions: NDArray[np.float32]  # (C-1, A)
    properties: dict[str, float]


def twin_options(world: WorldModelConfig) -> dict[str, Any]:
    """Keyword arguments that make the twin look like the data of a model."""
    return {
        "size": world.tokenizer.height,
        "cameras": world.cameras,
        "rendering": world.schema.env_kwargs.get("rendering", "rich"),  # as twins are, where data do not say
    }


def start_pair(
    twin: gym.Env[Any, Any],
    learned: gym.Env[Any, Any],
    seed: int | None,
    actions: NDArray[np.float32] = HELD,
    properties: Mapping[str, float] | None = None,
) -> PairedStart:
    """Begin both worlds in the same moment of the twin's.

    Args:
        twin: The physics twin, made with the `twin_options` of the learned world.
        learned: The learned environment.
        seed: Seed of the twin's start.
        actions: What the twin does before the moment, (T, A); the learned world sees the last frames of it.
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
    actions: NDArray[np.float32] = HELD,
    properties: Mapping[str, float] | None = None,
) -> PairedStart:
    """Begin the twin alone, and return what a learned world has to be given to begin there; see `start_pair`."""
    observation, _ = twin.reset(seed=seed, options={"properties": dict(properties or {})})
    observations = [observation, *(twin.step(action)[0] for action in actions)][-CONTEXT:]
    told: dict[str, float] = twin.unwrapped.properties  # type: ignore[attr-defined]
    return PairedStart(
        frames=np.stack([spec.picture(seen, model.cameras) for seen in observations]),
        telemetry=np.stack([seen["agent_pos"] for seen in observations]),
        actions=np.asarray(actions[len(actions) + 1 - len(observations) :], np.float32),
        properties={name: value for name, value in told.items() if name in model.properties},
    )
