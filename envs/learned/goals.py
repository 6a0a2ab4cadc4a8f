"""Goal images as reward: how far a world's latents are from those of a picture.

For worlds without labels, where no head knows a reward. The distance is taken in the tokenizer's integers and divided
by that of the empty scene (the median background), so that it does not depend on how much of the picture never changes:
the reward is 0 at the goal and -1 where nothing of what the goal shows is there; showing it elsewhere is about -2.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gwm_sim.model.latents import distance
from gwm_sim.model.world_model import WorldModel


class Goal(NamedTuple):
    """A goal image, read."""

    codes: Tensor  # (N, M) uint8
    scale: Tensor  # (), its distance from the empty scene


def read_goal(model: WorldModel, image: NDArray[np.uint8]) -> Goal:
    """Read a goal image, uint8 (H, W, 3) as the model's main camera sees, or (H, V*W, 3) as all of them.

    Raises:
        ValueError: It is no such image.
    """
    config = model.config
    picture = np.array(image, order="C")  # torch takes neither negative strides nor read-only arrays
    shape = (config.tokenizer.height, config.tokenizer.width, 3)
    if picture.shape not in (shape, config.tokenizer.frame) or picture.dtype != np.uint8:
        raise ValueError(
            f"goal must be an image {shape} uint8, as the camera {config.camera!r} of {config.name} sees, "
            f"got {picture.shape} {picture.dtype}"
        )
    empty = model.empty_scene()[None, :, : picture.shape[1]].cpu()
    goal, empty = model.tokenize(torch.cat((torch.from_numpy(picture)[None], empty)))
    return Goal(goal, distance(goal, empty).clamp_min(1.0))


class Goals:
    """The goals of n worlds; those without one keep their own reward."""

    def __init__(self) -> None:
        """Begin without goals."""
        self._goals: dict[int, Goal] = {}

    def set(self, rows: Sequence[int], goal: Goal | None) -> None:
        """Give some worlds a goal, or take it away."""
        for row in rows:
            self._goals.pop(row, None)
        if goal is not None:
            self._goals |= dict.fromkeys(rows, goal)

    def __len__(self) -> int:
        """Return the number of worlds that have a goal."""
        return len(self._goals)

    def reward(self, codes: Tensor, otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rewards of n worlds with latents (n, N, M), (n,); `otherwise` where there is no goal."""
        if not self._goals:
            return otherwise
        rows, goals = list(self._goals), list(self._goals.values())
        away = torch.stack([distance(codes[row], goal.codes) for row, goal in self._goals.items()])
        rewards = otherwise.copy()
        rewards[rows] = -(away / torch.stack([goal.scale for goal in goals])).cpu().numpy()
        return rewards
