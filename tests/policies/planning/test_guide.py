"""Guides: sub-goals move with the objects, a cloned policy goes where it is told, and files come back as they were."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import ACTIONS, TELEMETRY, make_context, make_model
from recordings import make_schema
from torch import Tensor
from tracked import write_tracked

from gwm_sim.data.schema import Command
from gwm_sim.errors import CheckpointError, ConfigError
from gwm_sim.model.state import PhysicalState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning import Goal, Guide, Objective, Progress, SubgoalSchedule, Term, learn_guide
from gwm_sim.policies.planning.prior.demonstrations import MOST_SUBGOALS, Demonstrations, turning_points
from gwm_sim.policies.planning.prior.goal_policy import GoalPolicy, GoalPolicyConfig, posture
from gwm_sim.policies.planning.prior.guide import reader_of
from gwm_sim.policies.planning.prior.learning import Experience, fit, policy_loss

SCHEMA = replace(
    make_schema(),
    telemetry_names=("x", "y", "z", "cmd_x", "cmd_y"),
    effector=(0, 1, 2),
    action_names=("dx", "dy", "gripper"),
    action_low=(-1.0, -0.5, -1.0),
    action_high=(1.0, 0.5, 1.0),
)
CORNERS = torch.tensor([[0.0, 0.0, 0.3], [0.2, 0.1, 0.2], [0.2, 0.1, 0.05], [0.2, 0.1, 0.3]])


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return make_model(schema=SCHEMA)


def carry(corners: Tensor = CORNERS, steps: int = 8) -> PhysicalState:
    """A robot that comes over the first object, goes down, and takes it up; the second one lies aside."""
    pieces = [
        torch.lerp(a, b, torch.arange(steps)[:, None] / steps) for a, b in zip(corners, corners[1:], strict=False)
    ]
    effector = torch.cat((*pieces, corners[-1:]))
    telemetry = torch.cat((effector, effector[:, :2]), dim=1)
    objects = torch.tensor([[0.2, 0.1, 0.05], [-0.3, 0.2, 0.05]]).expand(len(telemetry), -1, -1).clone()
    objects[2 * steps :, 0] = effector[2 * steps :]
    return PhysicalState(telemetry, objects)


def make_guide(model: WorldModel) -> Guide:
    torch.manual_seed(0)
    policy = GoalPolicy(GoalPolicyConfig(chunk=4, width=16, layers=1), model)
    demonstrations = Demonstrations.of(model.config.dynamics, [carry()])
    return Guide(model, policy.eval(), reader_of(model).eval(), demonstrations)


# --- demonstrations ---------------------------------------------------------------------------------------------------


def test_subgoals_are_where_the_end_effector_turns(model: WorldModel) -> None:
    assert turning_points(carry().telemetry, model.config.dynamics) == [8, 16, 24]


def test_subgoals_move_with_the_object_that_they_are_close_to(model: WorldModel) -> None:
    demonstration, shift = carry(), torch.tensor([0.05, -0.02, 0.0])
    demonstrations = Demonstrations.of(model.config.dynamics, [demonstration])
    now = demonstration.objects[0] + torch.stack((shift, -shift))
    goal = PhysicalState(torch.full((TELEMETRY,), torch.nan), torch.full((2, 3), torch.nan))
    found = demonstrations.subgoals(model.config.dynamics, now, goal, (0, 1, 2), torch.ones(3))
    torch.testing.assert_close(found.telemetry[:, :3], CORNERS[1:3] + shift)
    torch.testing.assert_close(found.objects, now.expand(2, -1, -1))  # not moved before the last waypoint


def test_the_demonstration_that_ends_most_alike_is_taken(model: WorldModel) -> None:
    elsewhere = CORNERS + torch.tensor([0.0, 0.0, 0.1])
    demonstrations = Demonstrations.of(model.config.dynamics, [carry(), carry(elsewhere)])
    now, blank = carry().objects[0], torch.full((2, 3), torch.nan)
    for corners in (CORNERS, elsewhere):
        end = torch.cat((corners[-1], torch.full((2,), torch.nan)))
        found = demonstrations.subgoals(model.config.dynamics, now, PhysicalState(end, blank), (0, 1, 2), torch.ones(3))
        torch.testing.assert_close(found.telemetry[:, 2], corners[1:3, 2])


def test_a_long_way_has_no_more_subgoals_than_allowed(model: WorldModel) -> None:
    zigzag = torch.tensor([[0.1 * i, 0.3 * (i % 2), 0.0] for i in range(9)])
    demonstrations = Demonstrations.of(model.config.dynamics, [carry(zigzag)])
    assert int(demonstrations.length) == MOST_SUBGOALS + 2


# --- the cloned policy ------------------------------------------------------------------------------------------------


def test_what_a_goal_leaves_open_changes_nothing(model: WorldModel) -> None:
    policy = make_guide(model).policy
    now = PhysicalState(torch.rand(3, TELEMETRY), torch.rand(3, 2, 3))
    blank = PhysicalState(torch.full_like(now.telemetry, torch.nan), torch.full_like(now.objects, torch.nan))
    here = policy(now, now.telemetry, PhysicalState(now.telemetry, now.objects))
    torch.testing.assert_close(policy(now, now.telemetry, blank).actions, here.actions)


def test_proposals_are_within_the_bounds_of_the_actions(model: WorldModel) -> None:
    guide = make_guide(model)
    world = model.encode(*make_context(model, 3, 2))
    far = Goal.positions(model, effector=(99.0, -99.0, 99.0))
    for steps, block in ((3, 1), (7, 1), (2, 2)):
        actions = guide.propose(world, far.select([0, 1, 2]), steps, block)
        assert actions.shape == (3, steps, ACTIONS)
        assert (actions.abs() <= torch.tensor(SCHEMA.action_high) + 1e-6).all()
    assert not guide.propose(world, far.select([0, 1, 2]), 7)[:, 4:].any()  # beyond its chunk it holds


def test_beyond_its_proposals_a_target_stays_where_it_is(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero would be a place, and far away."""
    commands = (Command(telemetry=3, action=0, scale=1.0, measured=0, absolute=True),)
    monkeypatch.setattr(model, "config", replace(model.config, schema=replace(SCHEMA, commands=commands)))
    guide, world = make_guide(model), model.encode(*make_context(model, 3, 2))
    actions = guide.propose(world, Goal.positions(model, effector=(0.9, 0.9, 0.9)).select([0, 1, 2]), 7)
    assert actions[:, 3, 0].any() and (actions[:, 4:, 0] == actions[:, 3:4, 0]).all()
    assert not actions[:, 4:, 1:].any()


def test_posture_is_end_effector_and_gripper_or_everything() -> None:
    assert posture(replace(SCHEMA, gripper=(3,))) == [0, 1, 2, 3]
    assert posture(replace(SCHEMA, effector=())) == [0, 1, 2, 3, 4]


def test_the_learned_distance_is_a_term_of_an_objective(model: WorldModel) -> None:
    guide, world = make_guide(model), model.encode(*make_context(model, 3, 2))
    actions = torch.zeros(3, 4, ACTIONS)
    rollout, goal = model.imagine(world, actions), Goal.positions(model, effector=(0.1, 0.2, 0.3)).select([0, 1, 2])
    steps = guide.distance(rollout, actions, goal)
    assert steps.shape == (3, 4) and (steps >= 0).all()
    cost = Objective((Term("steps", guide.distance, weight=0.05),))(rollout, actions, goal)
    assert cost.shape == (3,) and torch.isfinite(cost).all()


# --- schedule ---------------------------------------------------------------------------------------------------------


def test_subgoals_are_looked_up_and_left_when_reached_and_looked_up_anew_when_late(model: WorldModel) -> None:
    guide = make_guide(model)
    demonstration = carry()
    world = model.encode(*make_context(model, 1, 2))
    world.telemetry, world.objects = demonstration.telemetry[:1], demonstration.objects[:1]
    goal = Goal(telemetry=demonstration.telemetry[-1:], objects=demonstration.objects[-1:])
    schedule = SubgoalSchedule(model, [goal], guide, Progress(patience=1.0))
    first = schedule.goal(world, 0.0)
    assert first.telemetry is not None and first.telemetry[0, :3].tolist() == pytest.approx(CORNERS[1].tolist())
    world.telemetry = demonstration.telemetry[8:9]
    second = schedule.goal(world, 0.5)
    assert second.telemetry is not None and second.telemetry[0, :3].tolist() == pytest.approx(CORNERS[2].tolist())
    assert schedule.current == 1 and schedule.given == 0
    world.objects = demonstration.objects[:1] + 0.04  # somebody moved them: back to the beginning
    again = schedule.goal(world, 1.6)
    assert schedule.current == 0
    assert again.telemetry is not None and float(again.telemetry[0, 0]) == pytest.approx(0.24)


def test_goals_of_telemetry_alone_are_reached(model: WorldModel) -> None:
    world = model.encode(*make_context(model, 1, 2))
    goals = [Goal(telemetry=world.telemetry + away) for away in (0.0, 1.0)]
    schedule = SubgoalSchedule(model, goals, None, Progress(patience=100.0))
    schedule.goal(world, 0.0)
    schedule.goal(world, 0.1)
    assert schedule.current == 1 and not schedule.reached(world)


# --- files and learning -----------------------------------------------------------------------------------------------


def test_a_guide_comes_back_as_it_was(model: WorldModel, tmp_path: Path) -> None:
    guide = make_guide(model)
    guide.save(tmp_path / "guide.safetensors")
    loaded = Guide.load(model, tmp_path / "guide.safetensors")
    world, goal = model.encode(*make_context(model, 1, 2)), Goal.positions(model, effector=(0.1, 0.2, 0.3))
    torch.testing.assert_close(loaded.propose(world, goal, 3), guide.propose(world, goal, 3), rtol=0, atol=0)
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for a, b in zip(
        loaded.subgoals(world, guide.goal(picture)), guide.subgoals(world, guide.goal(picture)), strict=True
    ):
        torch.testing.assert_close(a.telemetry, b.telemetry, equal_nan=True)


def test_damaged_and_foreign_guides_are_refused(model: WorldModel, tmp_path: Path) -> None:
    path = tmp_path / "guide.safetensors"
    make_guide(model).save(path)
    with pytest.raises(CheckpointError, match="learned for another model"):
        Guide.load(make_model(schema=SCHEMA, seed=1), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a complete guide"):
        Guide.load(model, path)


def test_recordings_that_teach_nothing_are_refused(model: WorldModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recordings"):
        learn_guide(model, [])
    tracked = write_tracked(tmp_path / "tracked.hdf5", range(1))
    with pytest.raises(ConfigError, match="does not show the things of test: .*provenance tracked, there measured"):
        learn_guide(model, [tracked])


def test_a_clone_goes_where_it_is_told() -> None:
    """Recordings of a robot that goes straight to random places teach the direction, also to places never recorded."""
    torch.manual_seed(0)
    generator, model = torch.Generator().manual_seed(0), make_model(schema=SCHEMA)
    model.dynamics.telemetry_change.fill_(0.05)
    model.dynamics.objects_change.fill_(0.05)
    routes = [torch.cumsum(torch.rand(40, 3, generator=generator).sub(0.5).mul(0.2), dim=0) for _ in range(20)]
    telemetry = torch.cat([torch.cat((route, route[:, :2]), dim=1) for route in routes])
    step = torch.cat([torch.diff(route, dim=0, append=route[-1:]) for route in routes])
    place, frames = torch.zeros(len(telemetry), 2, 3), torch.arange(len(telemetry))
    end = frames // 40 * 40 + 39
    experience = Experience(
        telemetry=telemetry,
        before=telemetry,
        objects=place,
        actions=step * torch.tensor([10.0, 5.0, 10.0]),
        waypoint=torch.minimum(frames + 1, end),
        end=end,
        demonstrations=[],
        pictures=[],
    )
    policy = GoalPolicy(GoalPolicyConfig(chunk=1, width=64, layers=2), model)
    nothing = PhysicalState(telemetry[:0], place[:0]), telemetry[:0], frames[:0]
    fit("test", policy, 400, policy_loss(policy, experience, nothing, generator))
    start = torch.rand(50, TELEMETRY, generator=generator) - 0.5
    start[:, 3:] = start[:, :2]  # where it was sent
    wanted = start.clone()
    wanted[:, :3] += torch.rand(50, 3, generator=generator).sub(0.5).mul(0.16)
    places = torch.zeros(50, 2, 3)
    actions = policy(PhysicalState(start, places), start, PhysicalState(wanted, places)).actions[:, 0].detach()
    direction = wanted[:, :3] - start[:, :3]
    assert float(torch.cosine_similarity(actions * torch.tensor([1.0, 2.0, 1.0]), direction).mean()) > 0.9
