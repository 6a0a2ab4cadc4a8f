"""What a good rollout is: weighted sums of named terms, so that a plan can be explained by what it costs and when."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gwm_sim.envs.learned.goals import away, matched, near, turned_away, turns_of
from gwm_sim.envs.learned.tasks import FunctionTask, is_function
from gwm_sim.errors import ConfigError
from gwm_sim.model.state import Rollout
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning.goals import Goal
from gwm_sim.policies.planning.hand import robot_points

StageCost = Callable[[Rollout, Tensor, Goal], Tensor]
"""Maps rollouts of R rows and T environment steps, their actions (R, T, A) and a goal of R rows to costs of each step
(R, T) or of all together (R,), lower being better."""


@dataclass(frozen=True)
class Term:
    """One named part of an objective."""

    name: str
    cost: StageCost
    weight: float = 1.0
    ramp: float = 1.0
    """Step t of T counts in proportion to (t/T)^ramp: 0 for all steps alike, infinity for the last one alone."""
    judged: bool = False
    """Whether the cost reads reward or success, which take time to imagine."""
    pictured: bool = False
    """Whether the cost reads latents, which take time to draw."""

    def __call__(self, rollout: Rollout, actions: Tensor, goal: Goal) -> Tensor:
        """The term's share of the cost, which sums to its weighted mean over the steps: (R, T) or (R,)."""
        value = self.weight * self.cost(rollout, actions, goal)
        if value.ndim == 1:
            return value
        steps = value.shape[1]
        importance = (torch.arange(1, steps + 1, device=value.device) / steps) ** self.ramp
        return value * importance / importance.sum()


@dataclass(frozen=True)
class Objective:
    """A sum of terms."""

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        names = [term.name for term in self.terms]
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"an objective needs terms with different names, got {names}")

    @property
    def judged(self) -> bool:
        """Whether any term reads reward or success."""
        return any(term.judged for term in self.terms)

    @property
    def pictured(self) -> bool:
        """Whether any term reads latents."""
        return any(term.pictured for term in self.terms)

    def __call__(self, rollout: Rollout, actions: Tensor, goal: Goal) -> Tensor:
        """Costs of R rollouts, (R,)."""
        shares = self.explain(rollout, actions, goal).values()
        return torch.stack([share.reshape(len(actions), -1).sum(dim=1) for share in shares]).sum(dim=0)

    def explain(self, rollout: Rollout, actions: Tensor, goal: Goal) -> dict[str, Tensor]:
        """What each term adds to the cost, by name: (R, T) or (R,)."""
        return {term.name: term(rollout, actions, goal) for term in self.terms}


# --- distance to the goal ---------------------------------------------------------------------------------------------


def telemetry_distance(indices: tuple[int, ...]) -> StageCost:
    """Euclidean distance to the goal in some columns of the telemetry, in their unit."""

    def distance(rollout: Rollout, actions: Tensor, goal: Goal) -> Tensor:
        columns = list(indices)
        return _offset(rollout.telemetry[..., columns], _given(goal.telemetry, "telemetry")[..., columns]).norm(dim=-1)

    return distance


def object_distance(model: WorldModel) -> StageCost:
    """Sum of the distances of all objects from their goals, [m] or in the image frame."""

    def distance(rollout: Rollout, actions: Tensor, goal: Goal) -> Tensor:
        objects, _, wanted = _things(model, rollout, goal)
        return away(model, objects, wanted).sum(dim=-1)

    return distance


def object_turn(model: WorldModel) -> StageCost:
    """Sum of how far all objects are turned away from their goals, 1 being half a turn."""

    def turn(rollout: Rollout, actions: Tensor, goal: Goal) -> Tensor:
        cosine = turned_away(_things(model, rollout, goal)[1], _given(goal.turns, "turns")[:, None])
        return cosine.clamp(-1, 1).acos().sum(dim=-1) / torch.pi

    return turn


def approach(model: WorldModel) -> StageCost:
    """How far the robot is from objects that are not where they should be, [m] or in the image frame: what it does not
    touch it cannot move. Of its points the nearest counts."""

    def distance(rollout: Rollout, actions: Tensor, goal: Goal) -> Tensor:
        objects, _, wanted = _things(model, rollout, goal)
        out_of_place = (away(model, objects, wanted) / near(model)).clamp_max(1.0)
        points = robot_points(model, rollout.telemetry)  # (R, T, N, 2 or 3)
        apart = (objects[..., None, : points.shape[-1]] - points[:, :, None]).norm(dim=-1).amin(dim=-1)
        return (out_of_place * apart.nan_to_num(0.0)).mean(dim=-1)

    return distance


def robot_distance(model: WorldModel) -> StageCost:
    """Mean distance of the robot's points from where they are at the goal, in the frame of the objects."""

    def distance(rollout: Rollout, actions: Tensor, goal: Goal) -> Tensor:
        asked = _given(goal.telemetry, "telemetry")[:, None]
        telemetry = rollout.telemetry
        there, here = (robot_points(model, x) for x in (asked.where(asked.isfinite(), telemetry[:, :1]), telemetry))
        return (here - there).norm(dim=-1).mean(dim=-1)

    return distance


def _things(model: WorldModel, rollout: Rollout, goal: Goal) -> tuple[Tensor, Tensor, Tensor]:
    """Things (R, T, K, 3) of a rollout, their turns (R, T, K, 2) and their goals (R, 1, K, 3), of those that look alike
    each where it is nearest."""
    wanted = _given(goal.objects, "objects")[:, None]
    objects, turns = rollout.objects, turns_of(model, rollout.residual)
    if model.config.dynamics.kinds:
        flat = objects.flatten(0, 1), turns.flatten(0, 1), wanted.expand_as(objects).flatten(0, 1)
        objects, turns = (x.unflatten(0, objects.shape[:2]) for x in matched(model, *flat))
    return objects, turns, wanted


def latent_distance(levels: int) -> StageCost:
    """Mean squared difference from the goal's latents, as numbers in [-1, 1] that have `levels` values."""

    def distance(rollout: Rollout, actions: Tensor, goal: Goal) -> Tensor:
        target = _given(goal.codes, "picture")[:, None]  # (R, 1, N, M) of the views that the goal shows
        if not rollout.codes.numel():
            raise ConfigError(
                "a term of the objective reads latents, and nothing was drawn: set pictured=True on the term"
            )
        drawn = rollout.codes[..., : target.shape[-2], :]
        return ((drawn.float() - target.float()) * (2 / (levels - 1))).square().mean(dim=(-2, -1))

    return distance


def function_cost(model: WorldModel, task: FunctionTask) -> StageCost:
    """What reward and success that a function says lack to 1."""

    def cost(rollout: Rollout, actions: Tensor, goal: Goal) -> Tensor:
        seen = rollout.telemetry.flatten(0, 1), rollout.objects.flatten(0, 1)
        lacking = sum(1 - torch.from_numpy(np.asarray(said, np.float32)) for said in task.of(model, *seen))
        return torch.as_tensor(lacking).to(model.device).unflatten(0, rollout.telemetry.shape[:2])

    return cost


def missing_reward(task: int) -> StageCost:
    """What the reward lacks to 1, for the task of that column."""
    return lambda rollout, actions, goal: 1 - rollout.reward[..., task]


def failure(task: int) -> StageCost:
    """Probability of not having fulfilled the task of that column."""
    return lambda rollout, actions, goal: 1 - rollout.success[..., task]


def _offset(value: Tensor, goal: Tensor) -> Tensor:
    """Difference of (R, T, ...) from a goal (R, ...), 0 where the goal is NaN and does not matter."""
    target = goal[:, None]
    return torch.where(target.isnan(), 0.0, value - target)


def _given(value: Tensor | None, name: str) -> Tensor:
    if value is None:
        raise ConfigError(f"a term of the objective compares with the goal's {name}, which this goal does not have")
    return value


# --- prudence ---------------------------------------------------------------------------------------------------------


def uncertainty(rollout: Rollout, actions: Tensor, goal: Goal) -> Tensor:
    """Expected error of what is imagined, in the unit of `WorldModel.uncertainty`."""
    return rollout.uncertainty


def roughness(rollout: Rollout, actions: Tensor, goal: Goal) -> Tensor:
    """Mean squared change of the action since the step before; 0 for the first step."""
    change = actions.diff(dim=1, prepend=actions[:, :1])
    return change.square().mean(dim=-1)


# --- a good choice ----------------------------------------------------------------------------------------------------

OFF = 2.5  # times the distance that is near enough, at which an object costs 1
TURN = 4.0  # cost of an object that is turned by half a turn
LAST = 4.0  # ramp of what is only due at the end
DOUBT = 0.1  # of what an object costs that is as far off as is to be expected
ROBOT = 0.5  # of what an object costs, for points of the robot as far off
APPROACH = 0.1  # of what an object costs, as far away from the robot


def default_objective(model: WorldModel, goal: Goal) -> Objective:
    """Everything that a goal asks for and a model can tell, with weights to start from.

    Roughly, 1 is the cost of an end-effector 10 cm or an object 5 cm away, in the image frame of one that is two and a
    half times as far off as would be near enough. Where nobody says where the robot should be, it should go to what is
    to be moved. Latents count only where no position of the goal is known: in those of a picture the arm outweighs the
    objects, and they have to be drawn.

    Raises:
        ConfigError: The goal asks for nothing.
    """
    config = model.config
    terms: list[Term] = []
    if goal.telemetry is not None and config.dynamics.effector:
        terms.append(Term("effector", telemetry_distance(config.dynamics.effector), weight=10.0))
    if goal.telemetry is not None and config.schema.gripper:
        terms.append(Term("opening", telemetry_distance(config.schema.gripper), weight=10.0))
    if goal.objects is not None:
        metres = config.dynamics.object_frame == "metres"
        terms.append(Term("objects", object_distance(model), weight=20.0 if metres else 1 / (OFF * near(model))))
        if goal.turns is not None:
            terms.append(Term("turns", object_turn(model), weight=TURN))
        if goal.telemetry is not None and not metres and config.dynamics.points:
            terms.append(Term("robot", robot_distance(model), weight=ROBOT / (OFF * near(model)), ramp=LAST))
        if goal.telemetry is None and (config.dynamics.effector if metres else config.dynamics.points):
            terms.append(Term("approach", approach(model), weight=APPROACH / (OFF * near(model))))
    if goal.codes is not None and not terms:
        terms.append(Term("latents", latent_distance(config.tokenizer.levels), pictured=True))
    if goal.task is not None and is_function(goal.task):
        terms.append(Term("function", function_cost(model, FunctionTask(goal.task))))
    elif goal.task is not None:
        column = model.tasks.index(goal.task)
        terms += [Term("reward", missing_reward(column), judged=True), Term("success", failure(column), judged=True)]
    if not terms:
        raise ConfigError("the goal asks for nothing: give positions, an image or a task")
    unit = 1 / (OFF * near(model)) if config.dynamics.error_unit == "px" else 0.2  # cost of an object one unit off
    terms.append(Term("uncertainty", uncertainty, weight=DOUBT * unit))
    terms.append(Term("roughness", roughness, weight=0.01, ramp=0.0))
    return Objective(tuple(terms))
