"""Numbers of an action that mean one of three things."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorActionWrapper
from numpy.typing import NDArray

from gwm_sim.envs.single_env import AnyVector, SingleWrapper

COLUMNS: Final = (-1,)  # the last number of an action, which is the gripper's


class VectorTernaryAction(VectorActionWrapper):
    """Take some numbers of the action at three levels: lowest, middle or highest, whichever third they are in.

    A gripper that opens a little lets go altogether, and no camera sees how firmly it holds: a policy that may answer
    in shades learns to drop things where its model does not know better.
    """

    def __init__(self, env: AnyVector, columns: Sequence[int] = COLUMNS) -> None:
        """Wrap `env`; `columns` are the places in the action that are taken so, by default the gripper's."""
        super().__init__(env)
        self._columns = list(columns)

    def actions(self, actions: Any) -> NDArray[np.float32]:
        """Actions (num_envs, A) of the environment for those of the policy."""
        return ternary(actions, self._columns, self.single_action_space)


class TernaryAction(SingleWrapper):
    """`VectorTernaryAction` of a single environment."""

    vector = VectorTernaryAction
    rows: VectorTernaryAction

    def action(self, action: Any) -> NDArray[np.float32]:
        """Action (A,) of the environment for one of the policy."""
        return self.rows.actions(action)


def ternary(actions: Any, columns: Sequence[int], space: spaces.Space[Any]) -> NDArray[np.float32]:
    """Actions (..., A) with the numbers at `columns` taken to the lowest, the middle or the highest of `space`."""
    columns = list(columns)
    assert isinstance(space, spaces.Box)
    low, high = space.low[columns], space.high[columns]
    actions = np.array(actions, np.float32)
    unit = (2 * actions[..., columns] - low - high) / (high - low)
    actions[..., columns] = (low + high) / 2 + (high - low) / 2 * np.where(np.abs(unit) > 1 / 3, np.sign(unit), 0.0)
    return actions
