"""The robot of every world on a table: spaces, units, rates, workspace, telemetry, and what its controller integrates.

The physics twins and the learned environments share this page, so a policy that runs in one runs in the other. It needs
numpy and Gymnasium only. Axes: A action, P telemetry.
"""

from typing import Final

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

CONTROL_RATE: Final = 10.0  # [Hz]

ACTION_NAMES: Final = ("dx", "dy", "dz", "gripper")
GRIPPER: Final = ACTION_NAMES.index("gripper")
ACTION_SCALE: Final = 0.03  # change of the commanded end-effector position per unit of action [m]
GRIPPER_SCALE: Final = 0.02  # change of the commanded gripper opening per unit of action [m]
GRIPPER_MAX: Final = 0.08  # widest opening [m]

# The commanded end-effector (the point between the finger pads) stays in this box; the table top is at z = 0.
WORKSPACE_LOW: Final[NDArray[np.float64]] = np.array([0.38, -0.15, 0.02])  # [m]
WORKSPACE_HIGH: Final[NDArray[np.float64]] = np.array([0.62, 0.15, 0.30])  # [m]

TELEMETRY_NAMES: Final = (
    *(f"joint_{i}" for i in range(1, 8)),
    *("ee_x", "ee_y", "ee_z"),
    "gripper_opening",
    *("cmd_x", "cmd_y", "cmd_z"),
)
TELEMETRY_UNITS: Final = ("rad",) * 7 + ("m",) * 7
# The arm's published joint limits with a small margin, the workspace with a margin for tracking error.
_JOINT_LOW = [-2.9, -1.8, -2.9, -3.1, -2.9, -0.05, -2.9]
_JOINT_HIGH = [2.9, 1.8, 2.9, 0.0, 2.9, 3.8, 2.9]
_EE_MARGIN = np.array([0.1, 0.1, 0.1])
TELEMETRY_LOW: Final[NDArray[np.float32]] = np.concatenate(
    [_JOINT_LOW, WORKSPACE_LOW - _EE_MARGIN, [-0.005], WORKSPACE_LOW]
).astype(np.float32)
TELEMETRY_HIGH: Final[NDArray[np.float32]] = np.concatenate(
    [_JOINT_HIGH, WORKSPACE_HIGH + _EE_MARGIN, [GRIPPER_MAX + 0.005], WORKSPACE_HIGH]
).astype(np.float32)

# Slices of a telemetry vector.
JOINTS: Final = slice(0, 7)
EE: Final = slice(7, 10)
OPENING: Final = 10
COMMAND: Final = slice(11, 14)


def action_space() -> Box:
    """Action space of one environment: change of the commanded end-effector position, gripper rate."""
    return Box(-1.0, 1.0, (len(ACTION_NAMES),), np.float32)


def integrate_command(command: NDArray[np.float64], action: NDArray[np.float64]) -> NDArray[np.float64]:
    """Commanded end-effector position (..., 3) [m] after one step of `action` (..., A), kept in the workspace."""
    return (command + ACTION_SCALE * action[..., :3]).clip(WORKSPACE_LOW, WORKSPACE_HIGH)
