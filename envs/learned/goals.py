"""Goal images as tasks: how far a world is from what a picture shows, and whether it is there.

Where a model tracks things, what counts is where they are and how they are turned in its state, so that nothing has to
be drawn. Where it does not, the distance is taken in the tokenizer's integers and divided by that of the empty scene
(the median background), so that it does not depend on how much of the picture never changes: the reward is 0 at the
goal and -1 where nothing of what the goal shows is there; showing it elsewhere is about -2.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gwm_sim.model.heads import nearest_order
from gwm_sim.model.latents import distance
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel

NEAR: Final = 0.03
"""Distance at which a thing is where it should be, as a share of the longest side of the box in which things were."""
TURNED: Final = 20.0  # [degrees] by which it may be turned away
ALIKE: Final = 0.25  # distance of latents at which pictures are alike, 1 being that of the empty scene


Verdict = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""Reward and success of n worlds, each (n,)."""


class PictureGoal(NamedTuple):
    """A goal image, read."""

    codes: Tensor  # (N, M) uint8
    scale: Tensor  # (), its distance from the empty scene
    objects: Tensor  # (K, 3) [m], or in the image frame, NaN of what is not there; (0, 3) where the codes count
    turns: Tensor  # (K, 2), cosine and sine of how each thing is turned, 0 where that is not told


def read_goal(model: WorldModel, image: NDArray[np.uint8]) -> PictureGoal:
    """Read one goal image; `goal_pictures` says which."""
    pictures = goal_pictures(model, image)
    if len(pictures) != 1:
        raise ValueError(f"a world has one goal, got {len(pictures)} images")
    goal, empty = model.tokenize(torch.cat((pictures, model.empty_scene()[None, :, : pictures.shape[2]].cpu())))
    objects, turns = (x[0] for x in read_things(model, pictures))
    seen = len(objects) if objects.isfinite().any() else 0
    return PictureGoal(goal, distance(goal, empty).clamp_min(1.0), objects[:seen], turns[:seen])


def read_things(model: WorldModel, pictures: Tensor, telemetry: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Where things are in pictures (B, H, W, 3) uint8, (B, K, 3), and how they are turned (B, K, 2), 0 where that is
    not told; of no thing, (B, 0, ...), where the model tracks none or cannot read them.

    What the robot reports there, (B, P), is guessed from the picture where nobody says.
    """
    dynamics = model.config.dynamics
    reported = model.guess_telemetry(pictures) if telemetry is None else telemetry
    if reported is None or not dynamics.objects:
        nothing = torch.zeros(len(pictures), 0, 3, device=model.device)
        return nothing, nothing[..., :2]
    no_actions = torch.zeros(len(pictures), 0, dynamics.actions)
    read = model.read(pictures[:, None], reported[:, None], no_actions)
    return read.objects[:, 0], turns_of(model, read.residual[:, 0])


def turns_of(model: WorldModel, residual: Tensor) -> Tensor:
    """How things are turned, (..., K, 2), as residuals (..., R) say, 0 where nothing tells."""
    dynamics = model.config.dynamics
    if not dynamics.turns:
        return residual.new_zeros(*residual.shape[:-1], dynamics.objects, 2)
    return residual[..., dynamics.of_scene :].unflatten(-1, (dynamics.objects, 2))


def near(model: WorldModel) -> float:
    """Distance [m], or in the image frame, at which a thing is where it should be."""
    across = 2 if model.config.dynamics.object_frame == "image" else 3  # the third number is a size
    statistics = model.statistics
    return NEAR * float((statistics.objects_high - statistics.objects_low)[:across].max())


def away(model: WorldModel, objects: Tensor, goal: Tensor) -> Tensor:
    """How far things (..., K, 3) are from where they should be, (..., K), 0 where the goal is NaN: in its unit, and in
    the image frame across the picture alone. What is not there is as far away as can be."""
    across = 2 if model.config.dynamics.object_frame == "image" else 3
    offset = (objects - goal)[..., :across]
    lost = objects.isnan().any(dim=-1)
    offset = offset.where(goal[..., :across].isfinite(), 0.0).nan_to_num(0.0)
    return offset.norm(dim=-1).masked_fill(lost & goal.isfinite().any(dim=-1), near(model) / NEAR)


def turned_away(turns: Tensor, goal: Tensor) -> Tensor:
    """Cosine of the angle between turns (..., K, 2) and those of a goal, 1 where one of them is not told."""
    lengths = turns.norm(dim=-1) * goal.norm(dim=-1)
    return torch.where(lengths > 0, (turns * goal).sum(dim=-1) / lengths.clamp_min(1e-9), 1.0)


def matched(model: WorldModel, objects: Tensor, turns: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
    """Things (B, K, 3) and their turns (B, K, 2), of those that look alike each where it is nearest to a goal of
    places (B, K, 3)."""
    kinds = model.config.dynamics.kinds
    if not kinds:
        return objects, turns
    low, high = model.statistics.objects_low, model.statistics.objects_high
    far = low - 10 * (high - low)  # what is absent is nearest to what should be
    objects_there, goal = (x.where(x.isfinite(), far) for x in (objects, goal.expand_as(objects)))
    order = nearest_order(objects_there, goal, kinds)[..., None]
    return objects.take_along_dim(order, dim=1), turns.take_along_dim(order, dim=1)


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
    """The goals of n worlds; those without one have their own task."""

    def __init__(self, model: WorldModel) -> None:
        """Begin without goals."""
        self._model = model
        self._goals: dict[int, PictureGoal] = {}

    def set(self, rows: Sequence[int], goal: PictureGoal | None) -> None:
        """Give some worlds a goal, or take it away."""
        for row in rows:
            self._goals.pop(row, None)
        if goal is not None:
            self._goals |= dict.fromkeys(rows, goal)

    def __len__(self) -> int:
        """Return the number of worlds that have a goal."""
        return len(self._goals)

    @property
    def pictured(self) -> bool:
        """Whether any goal is compared with latents, which take time to draw."""
        return any(not len(goal.objects) for goal in self._goals.values())

    def judge(self, state: WorldState, reward: NDArray[np.float64], success: NDArray[np.bool_]) -> Verdict:
        """Reward and success (n,) of n worlds, those given of worlds without a goal."""
        if not self._goals:
            return reward, success
        reward, success = reward.copy(), success.copy()
        codes = self._model.draw(state).codes if self.pictured else state.codes
        for goal in {id(goal): goal for goal in self._goals.values()}.values():
            rows = [row for row, own in self._goals.items() if own is goal]
            score, there = judge_goal(self._model, codes[rows], state.objects[rows], state.residual[rows], goal)
            reward[rows], success[rows] = score.cpu().numpy(), there.cpu().numpy()
        return reward, success


def judge_goal(
    model: WorldModel, codes: Tensor, objects: Tensor, residual: Tensor, goal: PictureGoal
) -> tuple[Tensor, Tensor]:
    """Reward and success (n,) of worlds with latents (n, N, M), things (n, K, 3) and residuals (n, R): by where things
    are, and by the picture where the goal says nothing of them."""
    if len(goal.objects):
        return things_there(model, objects, residual, goal)
    apart = torch.stack([distance(code, goal.codes) for code in codes]) / goal.scale
    return -apart, apart < ALIKE


def things_there(model: WorldModel, objects: Tensor, residual: Tensor, goal: PictureGoal) -> tuple[Tensor, Tensor]:
    """Reward and success (n,) of worlds with things (n, K, 3) and residuals (n, R), for where a goal has its things:
    minus the mean distance, 1 being the longest side of the box in which things were or half a turn."""
    objects, turns = matched(model, objects, turns_of(model, residual), goal.objects[None])
    apart, cosine = away(model, objects, goal.objects), turned_away(turns, goal.turns)
    there = (apart < near(model)) & (cosine > math.cos(math.radians(TURNED)))
    return -(apart * (NEAR / near(model)) + (1 - cosine) / 2).mean(dim=-1), there.all(dim=-1)
