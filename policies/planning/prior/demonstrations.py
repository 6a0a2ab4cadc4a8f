"""Sub-goals from demonstrations: what somebody did in a similar situation, moved to where the objects are now.

A demonstration is kept as its waypoints: telemetry and object positions at the few moments between which the path of
its end-effector is closest to straight lines (Shi et al., 2023, https://arxiv.org/abs/2307.14326). For a new situation
the most similar stretch is looked up, and each of its waypoints is shifted with the object that it is close to, as
MimicGen does with whole trajectories (Mandlekar et al., 2023, https://arxiv.org/abs/2310.17596).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gwm_sim.model.config import DynamicsConfig
from gwm_sim.model.state import PhysicalState

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
        telemetry, places = self.telemetry[demo, chosen].clone(), self.objects[demo, chosen]
        before = self.objects[demo, 0]
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


def deviations(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far a path (T, D) strays from its chords.

    Returns:
        Largest distance of the points i to j from the segment between point i and point j, (T, T); infinite for j <= i.
    """
    count = len(path)
    result = np.full((count, count), np.inf)
    for i in range(count - 1):
        chord = path[i + 1 :] - path[i]  # (J, D)
        offset = path[i:] - path[i]  # (M, D)
        length = np.maximum((chord**2).sum(axis=-1), 1e-18)
        along = np.clip(offset @ chord.T / length, 0.0, 1.0)  # (M, J)
        aside = np.linalg.norm(offset[:, None] - along[..., None] * chord, axis=-1)
        inside = np.arange(len(offset))[:, None] <= np.arange(1, len(offset))
        result[i, i + 1 :] = np.where(inside, aside, 0.0).max(axis=0)
    return result


def waypoints(path: NDArray[np.float64], tolerance: float, most: int | None = None) -> NDArray[np.intp]:
    """Moments that split a path into straight pieces.

    Args:
        path: Points (T, D).
        tolerance: How far a piece may stray from its chord, in the unit of the path; the fewest moments are taken.
        most: Number of moments before the last point; with more pieces needed the largest deviation is made smallest.

    Returns:
        Indices in ascending order, the first point left out and the last one included, (at most most + 1,).
    """
    count = len(path)
    if count < 2:
        return np.array([count - 1])
    stray = deviations(path)
    pieces = count - 1 if most is None else min(most + 1, count - 1)
    # worst[j]: smallest largest deviation on the way from the first point to point j in so many pieces.
    worst = stray[0]
    came_from = [np.zeros(count, np.intp)]
    while worst[-1] > tolerance and len(came_from) < pieces:
        through = np.maximum(worst[:, None], stray)  # (T, T), from i to j
        came_from.append(through.argmin(axis=0))
        worst = through.min(axis=0)
    chosen = [count - 1]
    for origin in reversed(came_from):
        chosen.append(int(origin[chosen[-1]]))
    return np.array(chosen[-2::-1])


def linger(path: NDArray[np.float64], index: int, tolerance: float) -> int:
    """The last moment of a rest: how long a path (T, D) stays within `tolerance` of where it is at `index`."""
    away = np.linalg.norm(path[index:] - path[index], axis=-1) > tolerance
    return index + (int(away.argmax()) if away.any() else len(away)) - 1
