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


class GoalLatents(NamedTuple):
    """A goal image, read."""

    codes: Tensor  # (N, M) uint8
    scale: Tensor  # (), its distance from the empty scene


def read_goal(model: WorldModel, image: NDArray[np.uint8]) -> GoalLatents:
    """Read one goal image; `goal_pictures` says which."""
    pictures = goal_pictures(model, image)
    if len(pictures) != 1:
        raise ValueError(f"a world has one goal, got {len(pictures)} images")
    goal, empty = model.tokenize(torch.cat((pictures, model.empty_scene()[None, :, : pictures.shape[2]].cpu())))
    return GoalLatents(goal, distance(goal, empty).clamp_min(1.0))


def goal_pictures(model: WorldModel, images: NDArray[np.uint8]) -> Tensor:
    """Goal images as the model's tokenizer takes them, (B, H, W, 3) or (B, H, V*W, 3).

    Args:
        model: Who is to read them.
        images: One or B pictures, uint8 (H, W, 3) as the model's main camera sees, or (H, V*W, 3) as all of them.

    Raises:
        ValueError: They are no such images.
    """
    config = model.config
    pictures = np.array(images, order="C")  # torch takes neither negative strides nor read-only arrays
    main, whole = (config.tokenizer.height, config.tokenizer.width, 3), config.tokenizer.frame
    if pictures.ndim not in (3, 4) or pictures.shape[-3:] not in (main, whole) or pictures.dtype != np.uint8:
        raise ValueError(
            f"a goal image for {config.name} must be {main} uint8, as its camera {config.camera!r} sees, "
            f"got {pictures.shape} {pictures.dtype}"
        )
    return torch.from_numpy(pictures.reshape(-1, *pictures.shape[-3:]))


class Goals:
    """The goals of n worlds; those without one keep their own reward."""

    def __init__(self) -> None:
        """Begin without goals."""
        self._goals: dict[int, GoalLatents] = {}

    def set(self, rows: Sequence[int], goal: GoalLatents | None) -> None:
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
