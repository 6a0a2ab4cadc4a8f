"""Plans that follow a policy cloned from recordings."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from ways import recorded_ways

from gwm_sim.envs.learned.vector import LearnedVectorEnv
from gwm_sim.model.checkpoint import CLONED_FILE, STATES_FILE
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning import Goal, MpcPolicy, searching_config
from gwm_sim.policies.planning.moves import Moves
from gwm_sim.policies.planning.policy_rollouts import WORK, PolicyRollouts
from gwm_sim.policies.planning.prior import cloned, examples
from gwm_sim.policies.planning.prior.cloned import ClonedPolicy
from gwm_sim.policies.planning.prior.examples import Examples

STEPS, BLOCK, COUNT = 4, 2, 8 * WORK
GRIPPER = 3
BEFORE = torch.zeros(2, 4)


@pytest.fixture(scope="module")
def env() -> LearnedVectorEnv:
    env = LearnedVectorEnv(2, task="stack", model="gwm-mini", device="cpu")
    env.reset(seed=0)
    return env


@pytest.fixture(scope="module")
def model(env: LearnedVectorEnv) -> WorldModel:
    return env.world_model


@pytest.fixture(scope="module")
def worlds(env: LearnedVectorEnv) -> WorldState:
    return env.get_state()[0]


@pytest.fixture
def policy(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> ClonedPolicy:
    monkeypatch.setattr(cloned, "UPDATES", 200)
    return ClonedPolicy.learned(model, recorded_ways(model))


def goal(model: WorldModel, worlds: WorldState, way: float) -> Goal:
    asked = torch.full((2, model.config.dynamics.telemetry), torch.nan)
    asked[:, 0] = way
    return Goal(telemetry=asked, objects=worlds.objects + 0.05)


def propose(model: WorldModel, policy: ClonedPolicy, worlds: WorldState, way: float, rows: list[int]) -> Tensor:
    generators = [torch.Generator().manual_seed(i) for i in rows]
    rollouts = PolicyRollouts(model, Moves(model), policy)
    wanted = goal(model, worlds, way).select(rows)
    return rollouts.propose(worlds.select(rows), wanted, BEFORE[rows], STEPS, BLOCK, COUNT, generators)


def test_they_do_what_the_policy_does_and_a_little_else(
    model: WorldModel, policy: ClonedPolicy, worlds: WorldState
) -> None:
    before = worlds.clone()
    moves = propose(model, policy, worlds, 0.5, [0, 1])
    assert moves.shape == (2, COUNT // WORK, STEPS, 4) and moves.abs().max() <= 1
    assert torch.equal(worlds.memory, before.memory)  # the worlds stay as they are
    apart = (moves - moves[:, :1]).abs()
    assert apart[..., :GRIPPER].amax() > 0.05 and apart[:, 1:, :, 0].mean() < 0.2
    assert apart[:, :, 0, GRIPPER].amax() < 0.02  # but for what the other places make of it later
    other = propose(model, policy, worlds, -0.5, [0, 1])
    assert (moves[:, 0, 0, 0] > other[:, 0, 0, 0]).all()


def test_each_world_is_planned_as_it_would_be_alone(
    model: WorldModel, policy: ClonedPolicy, worlds: WorldState
) -> None:
    both, alone = (propose(model, policy, worlds, 0.5, rows) for rows in ([0, 1], [1]))
    torch.testing.assert_close(both[1], alone[0], atol=1e-3, rtol=0)


def test_the_best_of_them_is_the_plan_and_no_search_leads_away_from_it(
    model: WorldModel, policy: ClonedPolicy, env: LearnedVectorEnv, worlds: WorldState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gwm_sim.policies.planning.plan_step.plan", None)
    known = Examples(model, recorded_ways(model), policy)
    asked = goal(model, worlds, 0.5)
    acting = MpcPolicy(model, asked, config=searching_config(model, examples=known, three_level=()), examples=known)
    action, state = acting.predict({"pixels": env.frames(), "agent_pos": worlds.telemetry.numpy()})
    again, _ = acting.predict({"pixels": env.frames(), "agent_pos": worlds.telemetry.numpy()}, state)
    assert action.shape == again.shape == (2, 4) and (action[:, 0] > 0).all()


def test_a_policy_is_learned_once_from_the_same_states(
    model: WorldModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloned, "UPDATES", 5)
    monkeypatch.setattr(examples, "find_checkpoint", Path)
    states = recorded_ways(model)
    save_file(states, tmp_path / STATES_FILE)
    first = Examples.beside(model, tmp_path)
    assert first is not None and first.policy is not None and (tmp_path / CLONED_FILE).exists()
    with monkeypatch.context() as patch:
        patch.setattr(ClonedPolicy, "learned", None)
        second = Examples.beside(model, tmp_path)
    assert second is not None and second.policy is not None
    for one, other in zip(first.policy.parameters(), second.policy.parameters(), strict=True):
        assert torch.equal(one, other)
    save_file(states | {"actions": -states["actions"]}, tmp_path / STATES_FILE)
    third = Examples.beside(model, tmp_path)
    assert third is not None and third.policy is not None
    one, other = (next(policy.parameters()) for policy in (first.policy, third.policy))
    assert not torch.equal(one, other)
    (tmp_path / CLONED_FILE).write_bytes(b"damaged")
    assert Examples.beside(model, tmp_path) is not None


def test_what_a_goal_leaves_open_stays_as_it_is(policy: ClonedPolicy, model: WorldModel, worlds: WorldState) -> None:
    states = cloned.state_of(model, worlds)
    nothing = torch.full_like(states, torch.nan)
    torch.testing.assert_close(policy(states, nothing), policy(states, states))
    told = cloned.goal_of(model, Goal(objects=worlds.objects))
    assert told[:, : policy.reported].isnan().all() and told.isfinite().sum() == worlds.objects.numel()
