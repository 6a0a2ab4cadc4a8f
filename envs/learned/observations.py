"""What a world model reads from the present: latents and object positions beside the telemetry, without pictures.

The same numbers in both worlds. In the physics twin they are read from rendered frames; a learned world already holds
them, and decoding a picture only to read it again is what costs there. An MLP learns from them within minutes.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.tasks import TaskState
from gwm_sim.envs.vector_world import Observation
from gwm_sim.model.latents import centred
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel

Array = NDArray[Any]

OBJECTS: Final = "objects"  # positions of the tracked objects, (K * 3,) [m]
LATENTS: Final = "latents"  # integers of the tokenizer, scaled to [-1, 1], (N * M,)
READINGS: Final = (OBJECTS, LATENTS)
MISREAD: Final = 0.0025  # how far off object positions are read from pictures [m]

# When a cube is taken to be held, where no finger feels it.
HELD_WITHIN: Final = 0.025  # greatest distance of its centre from the end-effector [m]
FINGER_MARGIN: Final = 0.008  # greatest difference of the opening from a cube's width [m]
STOPPED: Final = 0.003  # greatest change of the opening in a step [m]


def readings_space(model: WorldModel, space: spaces.Space[Any], keys: Sequence[str]) -> spaces.Dict:
    """Space of one observation: `agent_pos` as it is in `space`, and the readings `keys`.

    Raises:
        ValueError: A reading is unknown, or the model does not have it.
    """
    if unknown := sorted(set(keys) - set(READINGS)):
        raise ValueError(f"keys must be among {READINGS}, got {unknown}")
    assert isinstance(space, spaces.Dict)
    dynamics = model.config.dynamics
    if OBJECTS in keys and not dynamics.objects:
        raise ValueError(f"{model.config.name} tracks no objects, its data has no poses: leave out {OBJECTS!r}")
    low, high = (bound.repeat(dynamics.objects).cpu().numpy() for bound in object_bounds(model))
    boxes = {
        OBJECTS: spaces.Box(low, high, dtype=np.float32),
        LATENTS: spaces.Box(-1.0, 1.0, (dynamics.tokens * dynamics.token_numbers,), np.float32),
    }
    return spaces.Dict({"agent_pos": space["agent_pos"], **{key: boxes[key] for key in keys}})


def object_bounds(model: WorldModel) -> tuple[Tensor, Tensor]:
    """Bounds (3,) [m] to which object positions are clipped: the range of the data, and half of it around."""
    low, high = model.statistics.objects_low, model.statistics.objects_high
    margin = (high - low) / 2
    return low - margin, high + margin


def read_state(model: WorldModel, state: WorldState, keys: Sequence[str]) -> Observation:
    """Readings of imagined worlds, each (B, ...), in fresh memory."""
    return {
        "agent_pos": state.telemetry.cpu().numpy().copy(),
        **_readings(model, state.codes, state.objects, keys),
    }


def read_frames(model: WorldModel, observation: Observation, keys: Sequence[str]) -> Observation:
    """Readings of real frames, batched: `observation` has the cameras' frames (B, H, W, 3) and `agent_pos` (B, P)."""
    frames = torch.from_numpy(np.ascontiguousarray(spec.picture(observation, model.config.cameras)))
    telemetry = torch.from_numpy(np.asarray(observation["agent_pos"], np.float32))
    no_actions = torch.zeros(len(frames), 0, model.config.dynamics.actions)
    read = model.read(frames[:, None], telemetry[:, None], no_actions)
    return {
        "agent_pos": observation["agent_pos"],
        **_readings(model, read.codes[:, 0], read.objects[:, 0], keys),
    }


def believed_state(model: WorldModel, state: WorldState) -> TaskState:
    """What the tasks look at, (B, ...), as far as the model tells: cubes stand upright, and are held by sight.

    Raises:
        ValueError: The model's robot and objects are not those of the block tasks.
    """
    if model.config.schema.telemetry_names != spec.TELEMETRY_NAMES or not model.config.dynamics.objects:
        raise ValueError(f"{model.config.name} does not track the cubes and the gripper of the block tasks")
    telemetry, before = (x.double().cpu().numpy() for x in (state.telemetry, state.previous_telemetry))
    place, place_before = (x.double().cpu().numpy() for x in (state.objects, state.previous_objects))
    upright = np.zeros((*place.shape[:2], 4))
    upright[..., 0] = 1.0
    return TaskState(
        end_effector=telemetry[:, spec.EE],
        gripper_opening=telemetry[:, spec.OPENING],
        position=place,
        quaternion=upright,
        linear_velocity=(place - place_before) * spec.CONTROL_RATE,
        angular_velocity=np.zeros_like(place),
        grasped=grasped_by_sight(place, telemetry[:, spec.EE], telemetry[:, spec.OPENING], before[:, spec.OPENING]),
    )


def grasped_by_sight(position: Array, end_effector: Array, opening: Array, opening_before: Array) -> NDArray[np.bool_]:
    """Whether each cube is held, (..., K), told without touch: it is between the fingers, which have stopped at its
    width.

    Args:
        position: Cube centres (..., K, 3) [m].
        end_effector: (..., 3) [m].
        opening: Of the gripper (...) [m].
        opening_before: The same one step earlier (...) [m].
    """
    inside = np.linalg.norm(position - end_effector[..., None, :], axis=-1) < HELD_WITHIN
    fits = (np.abs(opening - spec.CUBE_SIZE) < FINGER_MARGIN) & (np.abs(opening - opening_before) < STOPPED)
    return np.asarray(inside & fits[..., None])


def _readings(model: WorldModel, codes: Tensor, objects: Tensor, keys: Sequence[str]) -> Observation:
    readings = {}
    if OBJECTS in keys:
        readings[OBJECTS] = objects.clamp(*object_bounds(model)).flatten(1).cpu().numpy()
    if LATENTS in keys:
        readings[LATENTS] = centred(codes, model.config.tokenizer.levels).flatten(1).cpu().numpy()
    return readings
