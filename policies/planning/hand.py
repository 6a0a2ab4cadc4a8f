"""The part of a robot that meets things: where it is in the frame of the things, and how actions move it.

Where the data say which commands move the end-effector, they are held to it. Of any other robot the learned world
tells: each action is tried out both ways for some steps, in imagination.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

from gwm_sim.data.schema import Schema
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning.moves import Moves

TRIED: Final = 6  # steps for which an action is tried out
GRIPPER: Final = "gripper"  # in the names of its telemetry
STIRRED: Final = 0.5  # of the usual spread of an opening, by which an action has to move it to be the gripper's


class Hand(NamedTuple):
    """N points of a robot in D dimensions, in one world."""

    places: Tensor  # (N, D) [m], or in the image frame; where they are commanded to be, if that is known
    answers: Tensor  # (N, D, A), how far a unit of each action moves them in a step


class Hands:
    """Finds the hand of one robot, and what opens and closes it."""

    def __init__(self, model: WorldModel, moves: Moves) -> None:
        """Find out what the data say: which actions move where the end-effector is commanded to be."""
        c = model.config.dynamics
        self._model, self._moves = model, moves
        self._grips: Tensor | None = None
        found = {command.measured: command for command in c.commands}
        axes = [found[column] for column in c.effector if column in found]
        told = len(axes) == len(c.effector) and not any(axis.absolute for axis in axes)
        self.axes = axes if told else []
        """Commands of the end-effector's coordinates; none where actions do not simply add up to them."""

    def find(self, world: WorldState, before: Tensor, steps: int) -> Hand:
        """The hand in one world, behind actions `before` (1, A), from what comes of actions within so many steps,
        at most `TRIED`."""
        if self.axes:
            places = world.telemetry[0, [axis.telemetry for axis in self.axes]]
            answers = places.new_zeros(1, len(places), before.shape[1])
            for i, axis in enumerate(self.axes):
                answers[0, i, axis.action] = axis.scale
            return Hand(places[None], answers)
        places = robot_points(self._model, world.telemetry[:, None])[0, 0]
        steps = min(steps, TRIED)
        reached = robot_points(self._model, self._tried(world, before)[:, steps - 1 : steps])[:, 0]
        low, high = self._moves.bounds
        answers = (reached[1::2] - reached[::2]) / (steps * (high - low))[:, None, None]  # (A, N, D)
        answers[self.grips(world, before) != 0] = 0
        return Hand(places, answers.movedim(0, -1))

    def grips(self, world: WorldState, before: Tensor) -> Tensor:
        """What closes the gripper: 1 for an action that does at its highest, -1 at its lowest, else 0, (A,)."""
        if self._grips is None:
            self._grips = torch.zeros_like(before[0])
            columns = openings(self._model.config.schema)
            if columns:
                opening = self._tried(world, before)[:, -1, columns].sum(dim=-1)
                spread = self._model.statistics.telemetry_std[columns].sum()
                opened = (opening[1::2] - opening[::2]) / spread  # (A,), by how much the highest opens it further
                strongest = int(opened.abs().argmax())
                if abs(float(opened[strongest])) > STIRRED:
                    self._grips[strongest] = -opened[strongest].sign()
        return self._grips

    def _tried(self, world: WorldState, before: Tensor) -> Tensor:
        """Telemetry (2A, T, P) of each action alone at its lowest and then at its highest."""
        low, high = self._moves.bounds
        alone = torch.stack((low.diag(), high.diag()), dim=1).flatten(0, 1)  # (2A, A)
        many = world.select([0] * len(alone))
        steps = alone[:, None].expand(-1, TRIED, -1)
        actions = self._moves.actions(steps, before.expand(len(alone), -1))
        return self._model.imagine(many, actions, judged=False, draw=False).telemetry


def openings(schema: Schema) -> list[int]:
    """Telemetry that says how far a gripper is open, in metres or in a unit of its own; by its name if nobody says."""
    named = (i for i, name in enumerate(schema.telemetry_names) if GRIPPER in name)
    return list(schema.gripper) or list(named)


def robot_points(model: WorldModel, telemetry: Tensor) -> Tensor:
    """Where points of the robot are that reports telemetry (R, T, P), in the frame of the objects, (R, T, N, 2 or 3);
    none where that is not known."""
    if model.config.dynamics.object_frame == "image":
        return model.dynamics.points(telemetry)[..., 0, :, :]
    return model.dynamics.effector(telemetry)
