"""Plans by way of places that matter lead there, whatever is drawn."""

import pytest
import torch
from models import make_model

from gwm_sim.envs.learned.vector import LearnedVectorEnv
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning import Goal, MpcPolicy, guided_config, searching_config
from gwm_sim.policies.planning.moves import Moves
from gwm_sim.policies.planning.prior.examples import Examples
from gwm_sim.policies.planning.via_points import ViaPoints

STEPS, BLOCK, COUNT = 8, 3, 64
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


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(2)]


def test_candidates_are_actions_that_may_be_taken_and_follow_from_the_seed(
    model: WorldModel, worlds: WorldState
) -> None:
    via = ViaPoints(model, Moves(model))
    goal = Goal(objects=worlds.objects + 0.1)
    actions, again = (via.propose(worlds, goal, BEFORE, STEPS, BLOCK, COUNT, generators()) for _ in range(2))
    assert actions.shape == (2, COUNT, STEPS, 4) and torch.equal(actions, again)
    assert actions.abs().max() <= 1
    assert set(actions[..., 3].unique().tolist()) == {-1.0, 0.0, 1.0}
    alone = via.propose(worlds.select([1]), goal.select([1]), BEFORE[:1], STEPS, BLOCK, COUNT, generators()[1:])
    assert torch.equal(alone[0], actions[1])


def test_they_lead_to_where_things_are_and_should_be(model: WorldModel, worlds: WorldState) -> None:
    """Many pass by the thing that is out of place, closing there, and many end near its goal."""
    via = ViaPoints(model, Moves(model))
    target = worlds.objects.clone()
    target[:, 0, :2] += 0.1
    actions = via.propose(worlds, Goal(objects=target), BEFORE, 16, BLOCK, COUNT, generators())
    start = worlds.telemetry[:, None, None, 11:14]
    path = start + (0.03 * BLOCK * actions[..., :3]).cumsum(dim=2)  # where the end-effector is commanded to be
    at_thing = (path - worlds.objects[:, None, None, 0]).norm(dim=-1) < 0.028
    closing = (at_thing & (actions[..., 3] > 0)).any(dim=2)
    assert (closing.float().mean(dim=1) > 0.2).all()
    at_goal = (path - target[:, None, None, 0]).norm(dim=-1).amin(dim=2) < 0.08
    assert (at_goal.float().mean(dim=1) > 0.4).all()


def test_the_first_ones_are_by_example(model: WorldModel, worlds: WorldState) -> None:
    """A recording in which the hand took the red cube along; the same from where it is now, and at most half of all."""
    frames = 40
    far = torch.linspace(0, 0.1, frames)
    telemetry, objects = worlds.telemetry[:1].repeat(frames, 1), worlds.objects[:1].repeat(frames, 1, 1)
    telemetry[:, 7] += far
    objects[:, 0, 0] += far
    states = {"telemetry": telemetry, "objects": objects, "turns": torch.zeros(frames, 2, 2)}
    states |= {"actions": torch.zeros(frames, 4), "starts": torch.zeros(1, dtype=torch.long)}
    via = ViaPoints(model, Moves(model), Examples(model, states))
    target = worlds.objects.clone()
    target[:, 0, 0] += 0.05
    actions = via.propose(worlds, Goal(objects=target), BEFORE, STEPS, BLOCK, COUNT, generators())
    blind = ViaPoints(model, Moves(model)).propose(
        worlds, Goal(objects=target), BEFORE, STEPS, BLOCK, COUNT, generators()
    )
    assert actions.shape == blind.shape and not torch.equal(actions, blind)
    way = (0.03 * BLOCK * actions[0, :5, :, :3]).sum(dim=1)  # the hand goes on from where it is commanded to be
    commanded = worlds.telemetry[0, 11:14]
    assert ((commanded + way)[:, 0] - worlds.telemetry[0, 7] > 0.02).all()


def test_what_is_absent_or_does_not_matter_is_left_alone(model: WorldModel, worlds: WorldState) -> None:
    via = ViaPoints(model, Moves(model))
    lost = worlds.clone()
    lost.objects[:, 1] = torch.nan
    goal = Goal(objects=torch.full_like(worlds.objects, torch.nan))
    assert via.propose(lost, goal, BEFORE, STEPS, BLOCK, COUNT, generators()).isfinite().all()


def test_a_search_without_a_guide_begins_with_them(model: WorldModel, env: LearnedVectorEnv) -> None:
    assert searching_config(model).proposals > 0 and guided_config(model).proposals == 0
    state = env.get_state()[0]
    goal = Goal(objects=state.objects + 0.05)
    policy = MpcPolicy(model, goal, config=searching_config(model))
    frames = env.frames()
    action, _ = policy.predict({"pixels": frames, "agent_pos": state.telemetry.numpy()})
    assert action.shape == (2, 4)


def test_robots_of_which_two_coordinates_are_commanded_are_known_by_what_they_do() -> None:
    model = make_model()
    assert ViaPoints(model, Moves(model)).known and searching_config(model).proposals > 0


def test_worlds_without_things_have_none() -> None:
    model = make_model(objects=0)
    assert not ViaPoints(model, Moves(model)).known and searching_config(model).proposals == 0
