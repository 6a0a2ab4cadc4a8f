"""Sub-goals from demonstrations: what somebody did in a similar situation, moved to where the objects are now.

A demonstration is kept as its waypoints: telemetry and object positions at the few moments at which its end-effector
turns. For a new situation the most similar stretch is looked up, and each of its waypoints is shifted with the object
that it is close to, as MimicGen does with whole trajectories (Mandlekar et al., 2023,
https://arxiv.org/abs/2310.17596).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gwm_sim.model.config import DynamicsConfig
from gwm_sim.model.state import PhysicalState
from gwm_sim.policies.planning.prior.waypoints import linger, waypoints

MOST_SUBGOALS = 4  # before the goal itself
TOLERANCE = 0.01  # how far a movement may stray from the straight lines between its waypoints [m]
MOVED = 0.01  # an object that is displaced by more than this was moved by the robot [m]


class Demonstrations(NamedTuple):
    """D demonstrations of W waypoints each, their first frame included; shorter ones repeat their last."""

    telemetry: Tensor  # (D, W, P)
    objects: Tensor  # (D, W, K, 3) [m]
    length: Tensor  # (D,) waypoints that count

    @classmethod
    def of(cls, config: DynamicsConfig, paths: Sequence[PhysicalState]) -> "Demonstrations":
        """Keep the waypoints of whole demonstrations, telemetry (T, P) and object positions (T, K, 3) each."""
        size = MOST_SUBGOALS + 2
        rows = []
        for telemetry, objects in paths:
            chosen = [0, *turning_points(telemetry, config, MOST_SUBGOALS)]
            padded = chosen + [chosen[-1]] * (size - len(chosen))
            rows.append((telemetry[padded], objects[padded], torch.tensor(len(chosen))))
        return cls(*(torch.stack(values) for values in zip(*rows, strict=True)))

    def subgoals(
        self, config: DynamicsConfig, objects: Tensor, goal: PhysicalState, columns: Sequence[int], scale: Tensor
    ) -> PhysicalState:
        """What to reach on the way to a goal: the demonstration that began and ended most alike, moved to here.

        Args:
            config: The dynamics, which say where the end-effector is.
            objects: Where the objects are now, (K, 3) [m].
            goal: Telemetry (P,) and object positions (K, 3) of the goal, NaN where it does not matter.
            columns: Telemetry that says how the robot stands, G of its columns.
            scale: What counts as a unit in these columns (G,); the first one's is that of positions, too.

        Returns:
            Telemetry (S, P) and object positions (S, K, 3) of at most `MOST_SUBGOALS` sub-goals, the goal left out.
        """
        rows, last = torch.arange(len(self.length)), self.length - 1
        stance = (self.telemetry[rows, last] - goal.telemetry)[:, list(columns)] / scale
        ending = (self.objects[rows, last] - goal.objects) / scale[0]
        beginning = (self.objects[:, 0] - objects) / scale[0]
        difference = torch.cat((stance, ending.flatten(1), beginning.flatten(1)), dim=1).nan_to_num(0.0)
        demo = int(difference.square().sum(dim=1).argmin())
        chosen = slice(1, int(last[demo]))
        telemetry, places, before = (
            self.telemetry[demo, chosen].clone(),
            self.objects[demo, chosen],
            self.objects[demo, 0],
        )
        if not config.effector or not len(before):
            return PhysicalState(telemetry, places)
        effector = list(config.effector)
        nearest = (telemetry[:, None, effector] - before).norm(dim=-1).argmin(dim=-1)  # (S,)
        shift = (objects - before)[nearest]  # (S, 3)
        telemetry[:, effector] += shift
        moved = (places - before).norm(dim=-1, keepdim=True) > MOVED
        return PhysicalState(telemetry, torch.where(moved, places + shift[:, None], objects))


def turning_points(telemetry: Tensor, config: DynamicsConfig, most: int | None = None) -> list[int]:
    """Moments of telemetry (T, P) at which the end-effector turns, the last moment included.

    Where it rests, as a gripper does while it closes, the end of the rest is meant.
    """
    columns = list(config.effector) or list(range(config.telemetry))
    path = telemetry[:, columns].double().numpy()
    return sorted({linger(path, int(i), TOLERANCE / 2) for i in waypoints(path, TOLERANCE, most)})
