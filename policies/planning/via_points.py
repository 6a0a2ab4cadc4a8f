"""Plans by way of places that matter: where things are, where they should be, and where one pushes them from.

A search over actions seldom finds a push or a grasp, which is a few places in the right order, with the gripper open
and then closed. Here candidates are such orders, drawn at random: reach for the goal, push a thing along, pick it up
and carry it, let go. What actions lead from place to place follows from how they move the hand, what comes of it a
model has to say. No demonstrations are needed, and candidates are rough: a search refines the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from gwm_sim.envs.learned.goals import near, turned_away, turns_of
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning.goals import Goal
from gwm_sim.policies.planning.hand import Hand, Hands, robot_points
from gwm_sim.policies.planning.moves import Moves
from gwm_sim.policies.planning.prior.examples import Errand, Examples

BESIDE: Final = 4.0  # times what is near enough, from which a thing is reached for or pushed, at most
SCATTER: Final = 0.36  # times what is near enough, standard deviation of places
PLACES: Final = 7  # at most, in one candidate
STRAIGHT: Final = 0.7  # share of the pushes that go toward the goal
OPEN, CLOSED = -1.0, 1.0


class Way(NamedTuple):
    """A way to get something done, in S variants; what comes last goes on."""

    share: float
    """How often it is tried, beside the others."""
    places: list[Tensor]
    """Where to go one after the other, at most PLACES of (S, D)."""
    grips: list[Tensor]
    """What the gripper does on the way to each, (S,)."""


class Trips(NamedTuple):
    """S orders of places for points of a hand."""

    places: Tensor  # (S, N, D)
    grips: Tensor  # (S, N), what the gripper does on the way to each


class ViaPoints:
    """Draws such candidates for the robot of one model."""

    refined: ClassVar[bool] = True
    """They are rough."""

    def __init__(self, model: WorldModel, moves: Moves, examples: Examples | None = None) -> None:
        """Prepare; half of the candidates are by example, where there are any."""
        self._model, self._moves, self._examples = model, moves, examples
        self._hands = Hands(model, moves)

    @property
    def known(self) -> bool:
        """Whether the robot is known in the frame in which things are."""
        c = self._model.config.dynamics
        return c.objects > 0 and bool(c.points if c.object_frame == "image" else c.effector)

    def propose(
        self,
        worlds: WorldState,
        goal: Goal,
        before: Tensor,
        steps: int,
        block: int,
        count: int,
        generators: Sequence[torch.Generator],
    ) -> Tensor:
        """Moves (B, count, steps, A) for B worlds behind actions `before` (B, A), in each plan step `block` environment
        steps alike."""
        rows = []
        for i, generator in enumerate(generators):
            world, done = worlds.select([i]), before[i : i + 1]
            hand = Hand(*(x.cpu() for x in self._hands.find(world, done, block)))
            grips = self._hands.grips(world, done).cpu()
            own = goal.select([i if goal.rows > 1 else 0])
            known = self._follow_examples(world, own, hand, grips, steps, block, count // 2)
            reach = hand.answers.norm(dim=(1, 2)) + 1e-9
            point = torch.multinomial(reach, count - len(known), replacement=True, generator=generator)
            trips = self._draw(world, own, hand.places, point, bool(grips.any()), generator)
            rows.append(torch.cat((known, self._follow(hand, point, trips, grips, steps, block))))
        return torch.stack(rows).to(worlds.telemetry.device)

    def _follow_examples(
        self, world: WorldState, goal: Goal, hand: Hand, grips: Tensor, steps: int, block: int, count: int
    ) -> Tensor:
        """Moves (S, steps, A) that lead where recordings went to get things done, at most `count`."""
        nothing = torch.zeros(0, steps, len(grips))
        if self._examples is None:
            return nothing
        things, wanted, ends = self._known(world, goal, hand.places)
        lie = turns_of(self._model, world.residual)[0].cpu()
        turns = torch.stack((lie, torch.zeros_like(lie) if goal.turns is None else goal.turns[0].cpu()), dim=1)
        turned = 1 - turned_away(turns[:, 0], turns[:, 1])
        shares = (wanted - things).norm(dim=-1) / near(self._model) + turned
        shares = shares / shares.sum().clamp_min(1e-6)
        point = int(hand.answers.norm(dim=(1, 2)).argmax())
        found = [nothing]
        for thing, share in enumerate(shares.tolist()):
            errand = Errand(thing, point, things[thing], wanted[thing], turns[thing], hand.places[point], ends[point])
            places, acts = self._examples.paths(errand, grips, steps, block, int(share * count))
            end = ends[point].expand(len(places), 1, -1)
            trips = Trips(torch.cat((places, end), dim=1), torch.cat((acts, acts[:, -1:]), dim=1))
            found.append(self._follow(hand, torch.full((len(places),), point), trips, grips, steps, block))
        return torch.cat(found)

    def _draw(
        self, world: WorldState, goal: Goal, hand: Tensor, point: Tensor, grasps: bool, generator: torch.Generator
    ) -> Trips:
        """Trips for the points of a hand (N, D) that have the numbers `point` (S,)."""
        count, across, far = len(point), hand.shape[1], BESIDE * near(self._model)
        things, wanted, end = self._known(world, goal, hand)
        hand, end = hand[point], end[point]
        away = (wanted - things).norm(dim=-1)
        chosen = torch.multinomial(away + 0.1 * away.mean() + 1e-6, count, replacement=True, generator=generator)
        thing, target = things[chosen], wanted[chosen]  # (S, D)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator)

        bearing = 2 * torch.pi * uniform(count)
        level = pad(torch.stack((bearing.cos(), bearing.sin()), dim=1), (0, across - 2))
        up = torch.tensor([0.0, -1.0] if across == 2 else [0.0, 0.0, 1.0])
        way = target - thing
        straight = (uniform(count, 1) < STRAIGHT) & (way.norm(dim=-1, keepdim=True) > near(self._model) / 2)
        way = torch.where(straight, way, far * uniform(count, 1) * level)
        along = normalize(way + 1e-6, dim=-1)
        behind = thing - far * uniform(count, 1) * along
        if goal.turns is not None:  # pushed off its middle, a thing turns
            crosswise = pad(torch.stack((-along[:, 1], along[:, 0]), dim=1), (0, across - 2))
            aside = far * (uniform(count, 1) - 0.5) * crosswise
            behind = behind + aside
        pushed = behind + way
        around = thing + 1.5 * far * level
        above, carried = thing + far * uniform(count, 1) * up, target + hand - thing
        over = far * uniform(count, 1) * up
        letting_go = torch.where(uniform(count) < 0.5, OPEN, CLOSED)
        at_will = torch.randint(-1, 2, (count,), generator=generator).float()
        flat, other = across == 2, torch.randperm(count, generator=generator)  # nothing leads over things, but around
        opened, closed = torch.full((count,), OPEN), torch.full((count,), CLOSED)
        ways = [
            Way(0.15, [end], [at_will]),
            Way(0.2, [behind, pushed, end], [at_will]),
            Way(0.2 * flat, [around, behind, pushed, end], [at_will]),
            Way(0.4 * flat, [around, behind, pushed, behind, around[other], end], [at_will]),
            Way(0.1 * grasps, [carried, end], [closed, letting_go]),
            Way(0.1 * grasps, [carried + over, carried, carried, end], [closed, closed, opened, opened]),
            Way(
                0.25 * grasps,
                [above, thing, thing, thing, target, end],
                [opened, opened, closed, closed, closed, letting_go],
            ),
            Way(
                0.25 * grasps,
                [above, thing, thing, target + over, target, target, end],
                [opened, opened, closed, closed, closed, opened, opened],
            ),
        ]
        shares = torch.tensor([way.share for way in ways])
        chosen, number = torch.multinomial(shares, count, replacement=True, generator=generator), torch.arange(count)
        places, grips = (
            torch.stack([_whole(values) for values in kind])[chosen, number]
            for kind in ([way.places for way in ways], [way.grips for way in ways])
        )
        scatter = SCATTER * near(self._model) * torch.randn(count, PLACES, across, generator=generator)
        return Trips(places + scatter, grips)

    def _known(self, world: WorldState, goal: Goal, hand: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where things are and should be, (K, D), and where points of the hand should end, (N, D); what is not known
        stays where it is."""
        across = hand.shape[1]
        nowhere = hand.mean(dim=0)
        things = world.objects[0, :, :across].cpu()
        things = things.where(things.isfinite(), nowhere)
        wanted = things if goal.objects is None else goal.objects[0, :, :across].cpu()
        wanted = wanted.where(wanted.isfinite(), things)
        if goal.telemetry is None:
            return things, wanted, hand
        asked = goal.telemetry.where(goal.telemetry.isfinite(), world.telemetry)
        return things, wanted, robot_points(self._model, asked[:, None])[0, 0].cpu()

    def _follow(self, hand: Hand, point: Tensor, trips: Trips, grips: Tensor, steps: int, block: int) -> Tensor:
        """Moves that lead from place to place, at most as fast as the robot may go, (S, steps, A)."""
        count = len(point)
        low, high = (bound.cpu() for bound in self._moves.bounds)
        answers, place = hand.answers[point], hand.places[point]  # (S, D, A), (S, D)
        inverse = torch.linalg.pinv(answers, rtol=0.05)
        moves, number = torch.zeros(count, steps, len(low)), torch.arange(count)
        at = torch.zeros_like(number)
        for t in range(steps):
            way = (trips.places[number, at] - place) / block
            asked = (inverse @ way[..., None])[..., 0]
            move = torch.minimum(torch.maximum(asked, low), high)
            moves[:, t] = torch.where(grips != 0, trips.grips[number, at, None] * grips, move)
            place = place + block * (answers @ move[..., None])[..., 0]
            at = (at + (asked == move).all(dim=-1)).clamp_max(trips.places.shape[1] - 1)
        return moves


def _whole(values: list[Tensor]) -> Tensor:
    """PLACES values (S, ...) as (S, PLACES, ...), the last one again for those that are missing."""
    return torch.stack(values + values[-1:] * (PLACES - len(values)), dim=1)
