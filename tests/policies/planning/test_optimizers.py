"""Planners on problems whose optimum is known; rows are independent, bounds hold, deadlines give the best so far."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gwm_sim.errors import ConfigError
from gwm_sim.policies.planning import optimizers
from gwm_sim.policies.planning.optimizers import (
    PLANNERS,
    Bounds,
    CemSettings,
    Cost,
    IcemSettings,
    MppiSettings,
    Plan,
    Settings,
    WarmStart,
    plan,
)

UNIT = Bounds(torch.tensor([-1.0, -1.0]), torch.tensor([1.0, 1.0]))
THOROUGH: dict[str, Settings] = {
    "cem": CemSettings(population=200, iterations=12, elites=20, std=1.0, min_std=0.0),
    "icem": IcemSettings(population=200, iterations=12, elites=20, std=1.0, min_std=0.0, colour=0.5, decay=1.1),
    "mppi": MppiSettings(population=200, iterations=12, std=1.0, temperature=0.05),
}
each_planner = pytest.mark.parametrize("name", list(PLANNERS))


def generators(problems: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + i) for i in range(problems)]


def squared_distance(targets: Tensor) -> Cost:
    """Cost with the optimum `targets` (B, T, A), as far as the bounds let."""
    return lambda actions: (actions - targets[:, None]).square().sum(dim=(-2, -1))


def draw_targets(problems: int, steps: int, scale: float = 1.0, seed: int = 5) -> Tensor:
    return scale * (2 * torch.rand(problems, steps, 2, generator=torch.Generator().manual_seed(seed)) - 1)


def same(a: Plan, b: Plan) -> bool:
    return torch.equal(a.actions, b.actions) and torch.equal(a.cost, b.cost)


# --- known optima -----------------------------------------------------------------------------------------------------


@each_planner
def test_the_minimum_of_a_quadratic_is_found_where_bounds_are_active(name: str) -> None:
    low, high = torch.tensor([-0.2, 10.0]), torch.tensor([0.3, 50.0])  # of different sizes, one without 0
    bounds = Bounds(low, high)
    targets = draw_targets(4, 3, scale=1.5) * torch.tensor([0.3, 40.0]) + torch.tensor([0.0, 20.0])
    best = bounds.clip(targets)
    assert (best != targets).any() and (best == targets).any()
    unit = (high - low) / 2

    def cost(actions: Tensor) -> Tensor:
        return ((actions - targets[:, None]) / unit).square().sum(dim=(-2, -1))

    found = plan(cost, WarmStart.hold(4, 3, 2), bounds, generators(4), THOROUGH[name])
    assert ((found.actions - best) / unit).abs().max() < 0.1
    torch.testing.assert_close(found.cost, cost(found.actions[:, None])[:, 0])


@each_planner
def test_the_deeper_of_two_valleys_is_found(name: str) -> None:
    shallow, deep = torch.tensor([-0.6, -0.6]), torch.tensor([0.7, 0.5])

    def cost(actions: Tensor) -> Tensor:
        wide = 0.6 + (actions - shallow).square().sum(dim=-1)
        narrow = 3 * (actions - deep).square().sum(dim=-1)
        return torch.minimum(wide, narrow).sum(dim=-1)

    found = plan(cost, WarmStart.hold(3, 1, 2), UNIT, generators(3), THOROUGH[name])
    assert (found.actions - deep).abs().max() < 0.05


def riccati(dynamics: Tensor, control: Tensor, state_cost: Tensor, control_cost: Tensor, steps: int) -> list[Tensor]:
    """Gains of the finite-horizon linear quadratic regulator, u_t = -K_t x_t."""
    value = state_cost
    gains: list[Tensor] = []
    for _ in range(steps):
        gain = torch.linalg.solve(control_cost + control.T @ value @ control, control.T @ value @ dynamics)
        value = state_cost + dynamics.T @ value @ (dynamics - control @ gain)
        gains.insert(0, gain)
    return gains


@each_planner
def test_a_double_integrator_is_driven_as_by_the_riccati_solution(name: str) -> None:
    steps, period = 12, 0.3
    dynamics = torch.tensor([[1.0, period], [0.0, 1.0]])
    control = torch.tensor([[period**2 / 2], [period]])
    state_cost, control_cost = torch.diag(torch.tensor([1.0, 0.1])), torch.tensor([[0.05]])
    begin = torch.tensor([[1.0, 0.0], [-0.5, 0.6]])

    def cost(actions: Tensor) -> Tensor:
        state = begin[:, None].expand(*actions.shape[:2], 2)
        total = torch.zeros(actions.shape[:2])
        for action in actions.unbind(dim=2):
            state = state @ dynamics.T + action @ control.T
            total = total + ((state @ state_cost) * state).sum(-1) + ((action @ control_cost) * action).sum(-1)
        return total

    state, best = begin, []
    for gain in riccati(dynamics, control, state_cost, control_cost, steps):
        best.append(-state @ gain.T)
        state = state @ dynamics.T + best[-1] @ control.T
    optimal = torch.stack(best, dim=1)
    assert optimal.abs().max() < 3.0  # the bounds below are not active
    bounds = Bounds(torch.tensor([-3.0]), torch.tensor([3.0]))
    patient: dict[str, Settings] = {
        "cem": CemSettings(population=400, iterations=25, elites=40, min_std=0.0),
        "icem": IcemSettings(population=400, iterations=25, elites=40, min_std=0.0, colour=0.5, decay=1.0, reuse=0.1),
        "mppi": MppiSettings(population=400, iterations=25, anneal=0.85),
    }
    found = plan(cost, WarmStart.hold(2, steps, 1), bounds, generators(2), patient[name])
    least = cost(optimal[:, None])[:, 0]
    assert (found.cost >= least * (1 - 1e-5)).all()
    assert (found.cost <= least * 1.02).all()
    assert (found.actions[:, 0] - optimal[:, 0]).abs().max() < 0.25


def test_icem_needs_fewer_samples_than_cem_where_actions_must_be_smooth() -> None:
    """The claim of Pinneri et al.: a mass that must be pushed the same way for long."""

    def cost(actions: Tensor) -> Tensor:
        position = actions.cumsum(dim=2).cumsum(dim=2)[:, :, -1] / 200
        return (position - 0.8).square().sum(dim=-1)

    start, size = WarmStart.hold(16, 20, 2), {"population": 24, "iterations": 3, "elites": 6}
    plain = plan(cost, start, UNIT, generators(16), CemSettings(**size))
    improved = plan(cost, start, UNIT, generators(16), IcemSettings(**size))
    assert improved.cost.mean() < 0.5 * plain.cost.mean()


# --- contract ---------------------------------------------------------------------------------------------------------


@each_planner
def test_every_candidate_is_in_the_bounds_and_the_best_one_is_returned(name: str) -> None:
    bounds = Bounds(torch.tensor([-0.1, 2.0]), torch.tensor([0.4, 3.0]))
    seen: list[tuple[Tensor, Tensor]] = []

    def cost(actions: Tensor) -> Tensor:
        costs = squared_distance(draw_targets(2, 4, scale=5.0))(actions)
        seen.append((actions, costs))
        return costs

    start = WarmStart.hold(2, 4, 2).add(torch.full((2, 1, 4, 2), 9.0))  # zeros and the guess are both outside
    found = plan(cost, start, bounds, generators(2), replace(PLANNERS[name], std=2.0))
    actions, costs = (torch.cat(parts, dim=1) for parts in zip(*seen, strict=True))
    assert (actions >= bounds.low).all() and (actions <= bounds.high).all()
    assert torch.equal(found.cost, costs.amin(dim=1))
    best = actions.take_along_dim(costs.argmin(dim=1)[:, None, None, None], dim=1)[:, 0]
    assert torch.equal(found.actions, best)
    assert found.iterations == PLANNERS[name].iterations == len(seen)


@each_planner
def test_a_row_is_planned_as_it_would_be_alone(name: str) -> None:
    targets = draw_targets(3, 4)
    guesses = draw_targets(3, 4, seed=8)[:, None]
    start = WarmStart(draw_targets(3, 4, scale=0.2, seed=9), guesses)
    together = plan(squared_distance(targets), start, UNIT, generators(3), PLANNERS[name])
    for i in range(3):
        cost, begin = squared_distance(targets[i : i + 1]), start.select([i])
        alone = plan(cost, begin, UNIT, generators(1, seed=i), PLANNERS[name])
        torch.testing.assert_close(alone.actions[0], together.actions[i], rtol=1e-4, atol=1e-4)


@each_planner
def test_the_generators_decide(name: str) -> None:
    cost, start = squared_distance(draw_targets(2, 4)), WarmStart.hold(2, 4, 2)
    torch.manual_seed(1)
    first = plan(cost, start, UNIT, generators(2), PLANNERS[name])
    torch.manual_seed(2)
    assert same(first, plan(cost, start, UNIT, generators(2), PLANNERS[name]))
    assert not same(first, plan(cost, start, UNIT, generators(2, seed=7), PLANNERS[name]))


@each_planner
def test_a_good_proposal_is_never_lost(name: str) -> None:
    targets = draw_targets(2, 8)
    start = WarmStart.hold(2, 8, 2).add(torch.stack((draw_targets(2, 8, seed=6), targets), dim=1))
    found = plan(squared_distance(targets), start, UNIT, generators(2), PLANNERS[name])
    assert torch.equal(found.actions, targets)
    assert (found.cost == 0).all()


@each_planner
def test_costs_that_are_not_numbers_never_win(name: str) -> None:
    def cost(actions: Tensor) -> Tensor:
        costs = actions.square().sum(dim=(-2, -1))
        costs[:, 1::3] = torch.nan
        costs[:, 2::3] = torch.inf
        return costs

    found = plan(cost, WarmStart.hold(2, 3, 2), UNIT, generators(2), PLANNERS[name])
    assert found.cost.max() < 1.0
    assert found.start.mean.isfinite().all()

    def nonsense(actions: Tensor) -> Tensor:
        return torch.full(actions.shape[:2], torch.nan)

    lost = plan(nonsense, WarmStart.hold(1, 3, 2), UNIT, generators(1), PLANNERS[name])
    assert torch.equal(lost.actions, torch.zeros(1, 3, 2))  # what it began with
    assert lost.start.mean.isfinite().all()


@each_planner
def test_a_gripper_is_opened_held_or_closed_and_nothing_between(name: str) -> None:
    bounds = replace(UNIT, three_level=(1,))
    targets = torch.tensor([[[0.37, 1.0], [-0.2, -1.0], [0.0, 0.0], [0.5, 1.0]]])
    seen: list[Tensor] = []

    def cost(actions: Tensor) -> Tensor:
        seen.append(actions[..., 1].unique())
        return squared_distance(targets)(actions)

    found = plan(cost, WarmStart.hold(1, 4, 2), bounds, generators(1), THOROUGH[name])
    assert set(torch.cat(seen).tolist()) <= {-1.0, 0.0, 1.0}
    assert torch.equal(found.actions[..., 1], targets[..., 1])
    assert (found.actions - targets).abs().max() < 0.1


def test_noise_can_differ_between_actions() -> None:
    spreads: list[Tensor] = []

    def cost(actions: Tensor) -> Tensor:
        spreads.append(actions.std(dim=(0, 1, 2)))
        return actions.sum(dim=(-2, -1))

    settings = CemSettings(population=500, iterations=1, std=(0.02, 0.2), colour=(3.0, 0.0))
    plan(cost, WarmStart.hold(2, 6, 2), UNIT, generators(2), settings)
    torch.testing.assert_close(spreads[0], torch.tensor([0.02, 0.2]), rtol=0.1, atol=0.0)
    with pytest.raises(ValueError, match=r"std must be one number or one per action \(2\)"):
        plan(cost, WarmStart.hold(2, 6, 2), UNIT, generators(2), CemSettings(std=(0.1, 0.1, 0.1)))


def test_icem_shrinks_its_population_to_twice_the_elites() -> None:
    sizes: list[int] = []

    def cost(actions: Tensor) -> Tensor:
        sizes.append(actions.shape[1])
        return actions.sum(dim=(-2, -1))

    settings = IcemSettings(population=40, iterations=5, elites=10, decay=1.25)
    plan(cost, WarmStart.hold(1, 3, 2), UNIT, generators(1), settings)
    assert sizes == [40, 32, 25, 20, 20]


def test_icem_tries_its_mean_first_and_last() -> None:
    tried: list[Tensor] = []

    def cost(actions: Tensor) -> Tensor:
        tried.append(actions[:, 0])
        return squared_distance(draw_targets(1, 3))(actions)

    start = WarmStart(torch.full((1, 3, 2), 0.25), torch.zeros(1, 0, 3, 2))
    settings = IcemSettings(population=40, iterations=3, elites=4, momentum=1.0)  # a mean that stays where it is
    plan(cost, start, UNIT, generators(1), settings)
    assert [bool((first == 0.25).all()) for first in tried] == [True, False, True]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: CemSettings(elites=65), "elites must be from 1 to the population of 64, got 65"),
        (lambda: CemSettings(decay=0.5), "decay divides the population"),
        (lambda: IcemSettings(reuse=1.5), "reuse is a share from 0 to 1"),
        (lambda: MppiSettings(iterations=0), "at least 2 candidates and 1 iteration"),
        (lambda: MppiSettings(temperature=0.0), "temperature must be positive"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: type[CemSettings], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings()


def test_settings_are_given_by_name() -> None:
    with pytest.raises(TypeError, match="positional"):
        MppiSettings(64, 4)  # type: ignore[call-arg]


def test_wrong_shapes_are_refused() -> None:
    start = WarmStart.hold(2, 3, 2)
    with pytest.raises(ValueError, match=r"costs must have shape \(2, 64\), got \(2,\)"):
        plan(lambda actions: actions.sum(dim=(1, 2, 3)), start, UNIT, generators(2), CemSettings())
    with pytest.raises(ValueError, match="2 problems need as many generators, got 1"):
        plan(squared_distance(draw_targets(2, 3)), start, UNIT, generators(1), CemSettings())


# --- warm starts ------------------------------------------------------------------------------------------------------


def test_a_shifted_start_drops_what_was_executed() -> None:
    start = WarmStart(torch.arange(1.0, 9.0).reshape(1, 4, 2), torch.arange(1.0, 17.0).reshape(1, 2, 4, 2))
    shifted = start.shift(1)
    assert torch.equal(shifted.mean[:, :3], start.mean[:, 1:])
    assert torch.equal(shifted.guesses[:, :, :3], start.guesses[:, :, 1:])
    assert (shifted.mean[:, 3] == 0).all() and (shifted.guesses[:, :, 3] == 0).all()
    assert torch.equal(start.shift(9).mean, torch.zeros(1, 4, 2))


def test_joined_starts_keep_their_own_guesses() -> None:
    one = WarmStart(torch.ones(1, 3, 2), 2 * torch.ones(1, 2, 3, 2))
    joined = WarmStart.join([WarmStart.hold(1, 3, 2), one])
    assert torch.equal(joined.guesses[0], torch.zeros(2, 3, 2))
    assert torch.equal(joined.guesses[1], one.guesses[0])
    assert torch.equal(joined.select([1]).mean, one.mean)


@each_planner
def test_a_warm_start_is_better_than_a_cold_one(name: str) -> None:
    """The target moves by one step, as the future does when a step is executed."""
    targets = draw_targets(8, 9)
    settings = replace(PLANNERS[name], population=32)
    first = plan(squared_distance(targets[:, :8]), WarmStart.hold(8, 8, 2), UNIT, generators(8), THOROUGH[name])
    later = squared_distance(targets[:, 1:])
    warm = plan(later, first.start.shift(1), UNIT, generators(8, seed=50), settings)
    cold = plan(later, WarmStart.hold(8, 8, 2), UNIT, generators(8, seed=50), settings)
    assert warm.cost.mean() < 0.7 * cold.cost.mean()


# --- deadlines --------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that only costs move, by one second each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(optimizers, "monotonic", lambda: self.now)

    def charge(self, cost: Cost) -> Cost:
        def charged(actions: Tensor) -> Tensor:
            self.now += 1.0
            return cost(actions)

        return charged


@each_planner
def test_a_deadline_gives_the_best_so_far(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    settings = replace(PLANNERS[name], iterations=10)
    cost = clock.charge(squared_distance(draw_targets(2, 4)))
    found = plan(cost, WarmStart.hold(2, 4, 2), UNIT, generators(2), settings, deadline=clock.now + 3.5)
    assert found.iterations == 3
    assert clock.now == 103.0  # the fourth iteration would have ended too late
    torch.testing.assert_close(found.cost, cost(found.actions[:, None])[:, 0])
    unhurried = plan(cost, WarmStart.hold(2, 4, 2), UNIT, generators(2), settings)
    assert unhurried.iterations == 10
    assert (unhurried.cost <= found.cost).all()


@each_planner
def test_a_deadline_in_the_past_gives_what_was_proposed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    proposed = draw_targets(2, 4, scale=2.0)
    start = WarmStart.hold(2, 4, 2).around(proposed)
    cost = clock.charge(squared_distance(proposed))
    found = plan(cost, start, UNIT, generators(2), PLANNERS[name], deadline=clock.now - 1.0)
    assert clock.now == 100.0
    assert found.iterations == 0
    assert torch.equal(found.actions, UNIT.clip(proposed))
    assert found.cost.isinf().all()
