"""What planners search where robots are told where to be: changes from one action to the next, which become targets."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gwm_sim.model.world_model import WorldModel

FASTEST = 3.0  # usual changes of what is measured that a target may be moved by in one step


class Moves:
    """The moves of a robot: changes of its targets, and all other actions as they are.

    Zeros hold still, whatever kind of robot it is, and a search finds no target that is out of reach. A target goes on
    from the one before and not from where the robot is, which lags behind while it moves.
    """

    def __init__(self, model: WorldModel) -> None:
        """Learn from a model which actions are targets, and how fast these usually change."""
        schema, device = model.config.control, model.device
        low, high = (torch.tensor(side, device=device) for side in (schema.action_low, schema.action_high))
        self.targets = [command.action for command in schema.targets]
        self.low, self.high = low[self.targets], high[self.targets]
        self._columns = [command.measured for command in schema.targets]
        self._scale = torch.tensor([command.scale for command in schema.targets], device=device)
        usual = model.dynamics.telemetry_change[self._columns] / self._scale.abs()
        self.largest = FASTEST * usual
        self._bounds = low.clone(), high.clone()
        for bound, sign in zip(self._bounds, (-1, 1), strict=True):
            bound[self.targets] = sign * self.largest

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Least and largest moves, (A,) each."""
        return self._bounds

    @property
    def steps(self) -> NDArray[np.float32]:
        """Largest change of each target in one step, (A,), of other actions of no meaning."""
        return self._bounds[1].cpu().numpy()

    def hold(self, telemetry: Tensor) -> Tensor:
        """The actions (B, A) that hold robots still which report telemetry (B, P)."""
        still = telemetry.new_zeros(len(telemetry), len(self._bounds[0]))
        still[:, self.targets] = telemetry[:, self._columns] / self._scale
        return still

    def actions(self, moves: Tensor, before: Tensor) -> Tensor:
        """Actions (B, T, A) of moves (B, T, A) step by step, behind actions `before` (B, A)."""
        if not self.targets:
            return moves
        actions, begun = moves.clone(), before[:, None, self.targets]
        course = begun + moves[..., self.targets].cumsum(dim=1)
        low, high = torch.minimum(self.low, begun), torch.maximum(self.high, begun)  # it may begin out of bounds
        actions[..., self.targets] = torch.minimum(torch.maximum(course, low), high)
        return actions

    def of(self, actions: Tensor, before: Tensor, block: int = 1) -> Tensor:
        """The moves (B, T, A) that lead to actions (B, T, A), each in `block` equal steps, as fast as they may: the
        inverse of `actions`."""
        if not self.targets:
            return actions
        moves, place = actions.clone(), before[:, self.targets]
        for t in range(actions.shape[1]):
            way = (actions[:, t, self.targets] - place) / block
            way = torch.minimum(torch.maximum(way, -self.largest), self.largest)
            moves[:, t, self.targets], place = way, place + block * way
        return moves
