"""What a world model reads from the present: latents and object positions beside the telemetry, without pictures.

The same numbers in both worlds. In the physics twin they are read from rendered frames; a learned world already holds
them, and decoding a picture only to read it again is what costs there. An MLP learns from them within minutes.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from gwm_sim.envs.learned.goals import turns_of
from gwm_sim.envs.spaces import Observation, picture
from gwm_sim.model.latents import centred
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel

OBJECTS: Final = "objects"  # positions of the tracked objects, (K * 3,) [m] or in the image frame; least if absent
TURNS: Final = "turns"  # how they are turned in the picture, cosine and sine, (K * 2,), 0 where that is not told
LATENTS: Final = "latents"  # integers of the tokenizer, scaled to [-1, 1], (N * M,)
STATE_KEYS: Final = (OBJECTS, TURNS, LATENTS)
MISREAD: Final = 0.0025  # how far off object positions are read from pictures [m]


def state_space(model: WorldModel, space: spaces.Space[Any], keys: Sequence[str]) -> spaces.Dict:
    """Space of one observation: `agent_pos` as it is in `space`, and what is read of a state, `keys`.

    Raises:
        ValueError: A key is unknown, or the model does not have it.
    """
    if unknown := sorted(set(keys) - set(STATE_KEYS)):
        raise ValueError(f"keys must be among {STATE_KEYS}, got {unknown}")
    assert isinstance(space, spaces.Dict)
    dynamics = model.config.dynamics
    if OBJECTS in keys and not dynamics.objects:
        raise ValueError(f"{model.config.name} tracks no objects, its data has no poses: leave out {OBJECTS!r}")
    if TURNS in keys and not dynamics.turns:
        raise ValueError(f"{model.config.name} does not know how objects are turned: leave out {TURNS!r}")
    low, high = (bound.repeat(dynamics.objects).cpu().numpy() for bound in object_bounds(model))
    boxes = {
        OBJECTS: spaces.Box(low, high, dtype=np.float32),
        TURNS: spaces.Box(-1.0, 1.0, (2 * dynamics.objects,), np.float32),
        LATENTS: spaces.Box(-1.0, 1.0, (dynamics.tokens * dynamics.token_numbers,), np.float32),
    }
    return spaces.Dict({"agent_pos": space["agent_pos"], **{key: boxes[key] for key in keys}})


def usual_keys(model: WorldModel) -> tuple[str, ...]:
    """What there is to observe of a model's worlds without pictures: things where it tracks them, else latents."""
    dynamics = model.config.dynamics
    if not dynamics.objects:
        return (LATENTS,)
    return (OBJECTS, TURNS) if dynamics.turns else (OBJECTS,)


def object_bounds(model: WorldModel) -> tuple[Tensor, Tensor]:
    """Bounds (3,) [m] to which object positions are clipped: the range of the data, and half of it around."""
    low, high = model.statistics.objects_low, model.statistics.objects_high
    margin = (high - low) / 2
    return low - margin, high + margin


def read_state(model: WorldModel, state: WorldState, keys: Sequence[str]) -> Observation:
    """What is observed of imagined worlds, each (B, ...), in fresh memory."""
    return {
        "agent_pos": state.telemetry.cpu().numpy().copy(),
        **_observe(
            model, model.draw(state).codes if LATENTS in keys else state.codes, state.objects, state.residual, keys
        ),
    }


def read_frames(model: WorldModel, observation: Observation, keys: Sequence[str]) -> Observation:
    """What is read of frames, batched: `observation` has the cameras' frames (B, H, W, 3) and `agent_pos` (B, P)."""
    frames = torch.from_numpy(np.ascontiguousarray(picture(observation, model.config.cameras)))
    telemetry = torch.from_numpy(np.asarray(observation["agent_pos"], np.float32))
    no_actions = torch.zeros(len(frames), 0, model.config.dynamics.actions)
    read = model.read(frames[:, None], telemetry[:, None], no_actions)
    return {
        "agent_pos": observation["agent_pos"],
        **_observe(model, read.codes[:, 0], read.objects[:, 0], read.residual[:, 0], keys),
    }


def _observe(model: WorldModel, codes: Tensor, objects: Tensor, residual: Tensor, keys: Sequence[str]) -> Observation:
    observation = {}
    if OBJECTS in keys:
        low, high = object_bounds(model)
        observation[OBJECTS] = objects.where(objects.isfinite(), low).clamp(low, high).flatten(1).cpu().numpy()
    if TURNS in keys:
        observation[TURNS] = turns_of(model, residual).clamp(-1, 1).flatten(1).cpu().numpy()
    if LATENTS in keys:
        observation[LATENTS] = centred(codes, model.config.tokenizer.levels).flatten(1).cpu().numpy()
    return observation
