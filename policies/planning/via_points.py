"""Plans by way of places that matter: where the end-effector is commanded in the frame of things, those are known.

A search over actions seldom finds a grasp, which is a few places in the right order with the gripper open and then
closed. Here candidates are such orders, drawn at random around where things are and should be: reach for a goal, push a
thing along, pick it up and carry it, let go. What commands lead from place to place is computed, what comes of it a
model has to say. No demonstrations are needed, and candidates are rough: a search refines the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning.goals import Goal
from gwm_sim.policies.planning.moves import Moves

GRIPPER_RATE: Final = "gripper"
"""Name of the action that opens a gripper at its lowest and closes it at its highest."""

ABOVE: Final = 0.08  # [m] from which a thing is reached for, at most
BESIDE: Final = 0.08  # [m] from which it is pushed, at most
SCATTER: Final = 0.007  # [m] standard deviation of places
PLACES: Final = 6  # at most, in one candidate
OPEN, HOLD, CLOSED = -1.0, 0.0, 1.0


class Axis(NamedTuple):
    """A coordinate of the end-effector, and the action that changes where it is commanded to be."""

    action: int
    commanded: int  # column of the telemetry
    scale: float  # [m] per unit of action and step
    most: float  # units in a step


class ViaPoints:
    """Draws such candidates for the robot of one model."""

    def __init__(self, model: WorldModel, moves: Moves) -> None:
        """Find out which actions move the end-effector, and which one the gripper."""
        c, schema = model.config.dynamics, model.config.control
        self._objects = c.objects
        self._effector = list(c.effector)
        low, high = (bound.tolist() for bound in moves.bounds)
        found = {command.measured: command for command in c.commands}
        self._axes = [
            Axis(x.action, x.telemetry if x.reported and not x.absolute else x.measured, x.scale, high[x.action])
            for x in (found.get(column) for column in c.effector)
            if x is not None and high[x.action] == -low[x.action]
        ]
        names = schema.action_names
        self._gripper = names.index(GRIPPER_RATE) if GRIPPER_RATE in names else None
        self._actions = len(names)

    @property
    def known(self) -> bool:
        """Whether all coordinates of the end-effector are commanded, in the frame in which things are known."""
        return self._objects > 0 and len(self._axes) == 3

    def propose(
        self, worlds: WorldState, goal: Goal, steps: int, block: int, count: int, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """Candidates (B, count, steps, A) for B worlds, in each plan step `block` environment steps alike."""
        rows = []
        for i, generator in enumerate(generators):
            own = goal.select([i if goal.rows > 1 else 0])
            rows.append(self._follow(worlds.telemetry[i], *self._draw(worlds, i, own, count, generator), steps, block))
        return torch.stack(rows)

    def _draw(
        self, worlds: WorldState, row: int, goal: Goal, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Places (count, PLACES, 3) one after the other, and what the gripper does on the way, (count, PLACES)."""
        hand = worlds.telemetry[row, self._effector].cpu()
        things = worlds.objects[row].cpu()
        things = things.where(things.isfinite(), hand)
        wanted = things if goal.objects is None else goal.objects[0].cpu()
        wanted = wanted.where(wanted.isfinite(), things)
        end = hand if goal.telemetry is None else goal.telemetry[0, self._effector].cpu()
        end = end.where(end.isfinite(), hand)

        away = (wanted - things).norm(dim=-1)
        chosen = torch.multinomial(away + 0.1 * away.mean() + 1e-6, count, replacement=True, generator=generator)
        thing, target = things[chosen], wanted[chosen]  # (count, 3)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator)

        above = thing + torch.tensor([0.0, 0.0, ABOVE]) * uniform(count, 1)
        along = torch.nn.functional.normalize(target - thing + 1e-6, dim=-1)
        behind, pushed = (place - BESIDE * uniform(count, 1) * along for place in (thing, target))
        carried = target + hand - thing
        last = end.expand(count, 3)
        letting_go = torch.where(uniform(count) < 0.5, OPEN, CLOSED)
        at_will = torch.randint(-1, 2, (count,), generator=generator).float()
        same = torch.full((count,), 1.0)
        kinds = (
            ([last] * PLACES, [at_will] * PLACES),
            ([behind, pushed, *[last] * (PLACES - 2)], [at_will] * PLACES),
            ([carried, *[last] * (PLACES - 1)], [CLOSED * same, *[letting_go] * (PLACES - 1)]),
            ([above, thing, thing, thing, target, last], [OPEN * same] * 2 + [CLOSED * same] * 3 + [letting_go]),
        )
        places, grips = (torch.stack([torch.stack(kind[i], dim=1) for kind in kinds]) for i in (0, 1))
        kind = torch.multinomial(torch.tensor([0.15, 0.2, 0.2, 0.45]), count, replacement=True, generator=generator)
        number = torch.arange(count)
        scatter = SCATTER * torch.randn(count, PLACES, 3, generator=generator)
        return places[kind, number] + scatter, grips[kind, number]

    def _follow(self, telemetry: Tensor, places: Tensor, grips: Tensor, steps: int, block: int) -> Tensor:
        """What leads from place to place (S, J, 3), at most as fast as the robot may go, (S, steps, A)."""
        count, device = len(places), telemetry.device
        command = telemetry[[axis.commanded for axis in self._axes]].cpu().expand(count, 3)
        scale = torch.tensor([axis.scale for axis in self._axes])
        most = torch.tensor([axis.most for axis in self._axes])
        actions, at = torch.zeros(count, steps, self._actions), torch.zeros(count, dtype=torch.long)
        number, axes = torch.arange(count), [axis.action for axis in self._axes]
        for t in range(steps):
            way = (places[number, at] - command) / (scale * block)
            moved = torch.minimum(torch.maximum(way, -most), most)
            actions[:, t, axes] = moved
            if self._gripper is not None:
                actions[:, t, self._gripper] = grips[number, at]
            command = command + moved * scale * block
            there = (way == moved).all(dim=-1)
            at = (at + there).clamp_max(places.shape[1] - 1)
        return actions.to(device)
