"""What recordings show of getting things from one place to another: paths of the hand, moved to where things are now.

A search is given candidates by way of them. A stretch of a recording is alike if its thing was moved and turned as this
one has to be, seen from the thing, and if the hand began and ended beside it as it does now. Any recordings will do, of
whatever quality: what a path leads to here the world model says (retrieval of segments with the object as the frame of
reference, as in MimicGen, Mandlekar et al., 2023, https://arxiv.org/abs/2310.17596).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gwm_sim.envs.learned.goals import TURNED, near
from gwm_sim.errors import CheckpointError
from gwm_sim.model.checkpoint import CLONED_FILE, STATES_FILE, find_checkpoint
from gwm_sim.model.residual import turned_back
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning.hand import openings, robot_points
from gwm_sim.policies.planning.prior.cloned import ClonedPolicy, last_frames

BESIDE: Final = 4.0  # times what is near enough: where the hand begins and ends counts so much less than the thing
APART: Final = 3  # frames between which no more than one stretch begins


class Errand(NamedTuple):
    """One thing that is to be brought somewhere by a point of a robot, in D dimensions."""

    thing: int
    point: int
    place: Tensor  # (D,), of the thing
    target: Tensor  # (D,)
    turns: Tensor  # (2, 2), how it is turned and should be, cosine and sine; 0 where that does not matter
    hand: Tensor  # (D,), where the point is
    end: Tensor  # (D,), where it should be in the end


class Examples:
    """States of recordings, and the stretches that begin in each."""

    policy: ClonedPolicy | None
    """Cloned from these recordings, of robots with a gripper."""

    def __init__(self, model: WorldModel, states: dict[str, Tensor], policy: ClonedPolicy | None = None) -> None:
        """Take F frames: `telemetry` (F, P), `objects` (F, K, 3), `turns` (F, K, 2), `actions` (F, A), and the first
        frame of each episode, `starts` (E,)."""
        self.policy = policy
        self._near = near(model)
        self._hands = robot_points(model, states["telemetry"][None].to(model.device))[0].cpu()  # (F, N, D)
        self._things = states["objects"][..., : self._hands.shape[-1]]  # (F, K, D)
        self._turns, self._actions = states["turns"], states["actions"]
        self._upright = self._level(self._turns)  # (F, K, D, D)
        self._last = last_frames(states["starts"], len(self._actions))

    def paths(self, errand: Errand, grips: Tensor, lengths: int, block: int, count: int) -> tuple[Tensor, Tensor]:
        """The `count` stretches that are most like an errand.

        Args:
            errand: What is to be done.
            grips: What closes the gripper, see `Hands.grips`, (A,).
            lengths: Places in a path, at most.
            block: Steps from place to place.
            count: Number of paths.

        Returns:
            Places (S, lengths, D) of the hand on the way, which stays at the last one, and what the gripper does on the
            way to each, (S, lengths), where S may be less than `count`.
        """
        begins, ends = self._alike(errand, lengths, block, count)
        steps = block * torch.arange(1, lengths + 1)
        frames = torch.minimum(begins[:, None] + steps, ends[:, None])  # (S, lengths)
        thing = self._things[begins, errand.thing]
        back = self._turned(self._turns[begins, errand.thing], errand.turns[0].expand(len(begins), -1))
        path = self._hands[frames, errand.point] - thing[:, None]
        places = errand.place + torch.einsum("sij,slj->sli", back, path)
        acting = (self._actions[(frames - block).clamp_min(0)] * grips).sum(dim=-1)
        return places, acting

    @classmethod
    def beside(cls, model: WorldModel, name: str | Path) -> Examples | None:
        """Those of the recordings that a checkpoint was learned from, given by name or folder as for `WorldModel.load`;
        None where it brought none. For a robot with a gripper a policy is cloned from them the first time.

        Raises:
            CheckpointError: They cannot be read.
        """
        path = find_checkpoint(name) / STATES_FILE
        if not path.exists():
            return None
        try:
            states = load_file(path)
            examples = cls(model, states)
        except (OSError, KeyError, ValueError, IndexError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"{path} does not hold states of recordings: {error}") from error
        if openings(model.config.schema):
            examples.policy = ClonedPolicy.beside(model, path.with_name(CLONED_FILE), states)
        return examples

    def _alike(self, errand: Errand, lengths: int, block: int, count: int) -> tuple[Tensor, Tensor]:
        """First and last frame of the stretches that are most like an errand, (S,) each."""
        frames = torch.arange(len(self._last))
        unlike = []
        for length in range(block, block * lengths + 1, block):
            ends = torch.minimum(frames + length, self._last)
            unlike.append(self._unlike(errand, ends).masked_fill(frames + length > self._last, torch.inf))
        least, chosen = (torch.stack(unlike) + self._begun_unlike(errand)).nan_to_num(torch.inf, torch.inf).min(dim=0)
        grouped = F.pad(least, (0, -len(least) % APART), value=torch.inf).view(-1, APART)
        least, which = grouped.min(dim=1)
        groups = least.topk(min(count, len(least)), largest=False).indices
        groups = groups[least[groups].isfinite()]
        begins = APART * groups + which[groups]
        return begins, begins + block * (1 + chosen[begins])

    def _begun_unlike(self, errand: Errand) -> Tensor:
        """How much the hand is elsewhere beside the thing than at the outset of an errand, (F,)."""
        beside = self._hands[:, errand.point] - self._things[:, errand.thing]
        wanted = self._level(errand.turns[0]) @ (errand.hand - errand.place)
        return self._apart(self._upright[:, errand.thing], beside, wanted, BESIDE)

    def _unlike(self, errand: Errand, ends: Tensor) -> Tensor:
        """How much the stretches that lead from each frame to `ends` (F,) differ from an errand in what comes of them,
        (F,); NaN where something was not there."""
        k, turns, upright = errand.thing, self._turns[:, errand.thing], self._upright[:, errand.thing]
        thing, hand = self._things[:, k], self._hands[:, errand.point]
        now, then = (self._level(turn) for turn in errand.turns)
        moved = self._apart(upright, thing[ends] - thing, now @ (errand.target - errand.place), 1.0)
        ended = self._apart(upright[ends], (hand - thing)[ends], then @ (errand.end - errand.target), BESIDE)
        turned = _between(turns, turns[ends]) - _between(*errand.turns)
        turned = (turned + torch.pi) % (2 * torch.pi) - torch.pi
        told = (turns.norm(dim=-1) > 0) & (errand.turns.norm(dim=-1) > 0).all()
        return moved + ended + torch.where(told, torch.rad2deg(turned) / TURNED, 0.0).square()

    def _apart(self, upright: Tensor, offsets: Tensor, wanted: Tensor, unit: float) -> Tensor:
        """Squared distances of offsets (F, D), seen from things that matrices (F, D, D) put upright, from the one that
        is wanted, in so many times what is near enough, (F,)."""
        seen = torch.einsum("fij,fj->fi", upright, offsets)
        return ((seen - wanted) / (unit * self._near)).square().sum(dim=-1)

    def _level(self, turns: Tensor) -> Tensor:
        """Matrices that undo turns (..., 2), (..., D, D)."""
        return self._turned(turns, torch.tensor([1.0, 0.0]).expand_as(turns))

    def _turned(self, turns: Tensor, wanted: Tensor) -> Tensor:
        """Matrices that lead from turns (..., 2) to those that are wanted, (..., D, D): the identity where not told, or
        in metres, as turns are those in the picture."""
        across = self._hands.shape[-1]
        return turned_back(wanted, turns) if across == 2 else torch.eye(across).expand(*turns.shape[:-1], -1, -1)


def _between(turns: Tensor, others: Tensor) -> Tensor:
    """Angles from turns (..., 2) to others [rad]."""
    cross = turns[..., 0] * others[..., 1] - turns[..., 1] * others[..., 0]
    return torch.atan2(cross, (turns * others).sum(dim=-1))
