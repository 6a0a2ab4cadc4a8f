"""The best of many proposals, and what little time leaves of them."""

import math
from time import monotonic

import pytest
import torch
from torch import Tensor

from gwm_sim.policies.planning import plan_step
from gwm_sim.policies.planning.plan_step import FIRST_PART, best_proposed

COUNT = 5 * FIRST_PART
KNOWN = torch.full((2, 1, 3, 1), 0.5)


class Proposals:
    """Draws numbers from 0 to 1; what is nearest to a world's own number is best there."""

    def __init__(self) -> None:
        self.drawn: list[Tensor] = []
        self.judged = 0

    def __call__(self, count: int) -> Tensor:
        generator = torch.Generator().manual_seed(len(self.drawn))
        self.drawn.append(torch.rand(2, count, 3, 1, generator=generator))
        return self.drawn[-1]

    def cost(self, actions: Tensor) -> Tensor:
        """Costs (B, S)."""
        self.judged += actions.shape[1]
        return (actions[:, :, 0, 0] - torch.tensor([[0.2], [0.8]])).abs()


@pytest.mark.parametrize("deadline", [None, math.inf])
def test_each_world_gets_its_best(deadline: float | None) -> None:
    proposals = Proposals()
    found = best_proposed(proposals, COUNT, KNOWN, proposals.cost, deadline)
    assert found.everything
    assert [part.shape[1] for part in proposals.drawn] == ([80] if deadline is None else [16, 32, 32])
    everything = torch.cat(proposals.drawn, dim=1)
    index = proposals.cost(everything).argmin(dim=1)
    assert torch.equal(found.best, everything[torch.arange(2), index])


def test_short_of_time_one_part_is_tried_and_what_is_known() -> None:
    proposals = Proposals()
    found = best_proposed(proposals, COUNT, KNOWN, proposals.cost, monotonic())
    assert len(proposals.drawn) == 1 and proposals.judged == FIRST_PART + 1 and not found.everything

    def hopeless(actions: Tensor) -> Tensor:
        return (actions != 0.5).any(dim=(2, 3)).float()

    assert torch.equal(best_proposed(proposals, COUNT, KNOWN, hopeless, monotonic()).best, KNOWN[:, 0])


def test_no_part_is_begun_that_would_last_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    proposals, clock = Proposals(), [0.0]

    def slowly(actions: Tensor) -> Tensor:
        clock[0] += 1.0
        return proposals.cost(actions)

    monkeypatch.setattr(plan_step, "monotonic", lambda: clock[0])
    found = best_proposed(proposals, COUNT, KNOWN, slowly, 3.5)  # the third would be due to end after 4 s
    assert len(proposals.drawn) == 2 and not found.everything
