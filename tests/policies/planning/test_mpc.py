"""Goals, objectives, costs in a model, and the policy that acts on them.

The models have random weights, which shows structure; one has known motion, in which the policy must arrive.
"""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from models import ACTIONS, OBJECTS, TELEMETRY, Unjudged, make_context, make_model
from numpy.typing import NDArray
from recordings import make_schema
from torch import Tensor

from gwm_sim.errors import ConfigError
from gwm_sim.model.state import Rollout, WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning import (
    Bounds,
    Goal,
    Guide,
    IcemSettings,
    ModelCost,
    MpcConfig,
    MpcPolicy,
    Objective,
    Term,
    WarmStart,
    default_objective,
    plan,
)
from gwm_sim.policies.planning.objectives import (
    failure,
    latent_distance,
    missing_reward,
    object_distance,
    roughness,
    telemetry_distance,
    uncertainty,
)

SCHEMA = replace(
    make_schema(),
    telemetry_names=("x", "y", "z", "cmd_x", "cmd_y"),
    action_names=("dx", "dy", "gripper"),
    action_low=(-1.0, -0.5, -1.0),
    action_high=(1.0, 0.5, 1.0),
)
SMALL = MpcConfig(planner=IcemSettings(population=8, iterations=2, elites=3), horizon=2, block=3)

Observation = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return make_model(schema=SCHEMA)


def observe(model: WorldModel, telemetry: Tensor, seed: int = 0) -> Observation:
    """What cameras and robots report at telemetry (..., P)."""
    config = model.config.tokenizer
    shape = (*telemetry.shape[:-1], config.height, config.width, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return {"pixels": pixels, "agent_pos": telemetry.numpy().astype(np.float32)}


def make_rollout(model: WorldModel, rows: int, steps: int) -> tuple[Rollout, Tensor]:
    actions = 2 * torch.rand(rows, steps, ACTIONS, generator=torch.Generator().manual_seed(3)) - 1
    return model.imagine(model.encode(*make_context(model, rows, 2)), actions), actions


# --- goals ------------------------------------------------------------------------------------------------------------


def test_a_goal_picture_is_what_the_model_would_see(model: WorldModel) -> None:
    frames, telemetry, actions = make_context(model, 2, 1)
    goal = Goal.image(model, frames[:, 0].numpy(), telemetry[:, 0].numpy())
    state = model.encode(frames, telemetry, actions)
    assert goal.codes is not None and torch.equal(goal.codes, state.codes)
    assert goal.objects is not None
    torch.testing.assert_close(goal.objects, state.objects)
    alone = Goal.image(model, frames[0, 0].numpy())
    assert alone.codes is not None and torch.equal(alone.codes, state.codes[:1])
    assert alone.telemetry is None and alone.objects is None


def test_goals_that_a_model_cannot_read_are_refused(model: WorldModel) -> None:
    with pytest.raises(ValueError, match=r"must be \(32, 32, 3\) uint8.*got \(64, 64, 3\)"):
        Goal.image(model, np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ConfigError, match="tracks red, blue, not \\['green'\\]"):
        Goal.positions(model, objects={"green": (0, 0, 0)})
    with pytest.raises(ConfigError, match="judge reach, stack, not 'pour'"):
        Goal.solve(model, "pour")
    with pytest.raises(ValueError, match=r"position \(3,\) or \(B, 3\)"):
        Goal.positions(model, effector=(0.1, 0.2))
    with pytest.raises(ConfigError, match="asks for nothing"):
        default_objective(model, Goal())


def test_one_goal_is_shared_by_all_rows(model: WorldModel) -> None:
    goal = Goal.positions(model, effector=(0.1, 0.2, 0.3), objects={"blue": (0.5, 0.5, np.nan)})
    three = goal.select([0, 1, 2])
    assert goal.rows == 1 and three.rows == 3
    assert three.objects is not None and three.objects[:, 0].isnan().all()
    many = Goal.positions(model, effector=np.arange(9).reshape(3, 3))
    picked = many.select([2, 0]).telemetry
    assert picked is not None and picked[:, 0].tolist() == [6.0, 0.0]


# --- objectives -------------------------------------------------------------------------------------------------------


def test_stage_costs_are_what_they_say(model: WorldModel) -> None:
    rollout, actions = make_rollout(model, 2, 3)
    codes, place = rollout.codes[:, 1].clone(), rollout.objects[:, 1].clone()
    place[:, 0, 0] += 0.3
    place[:, 1] = torch.nan
    telemetry = torch.full((2, TELEMETRY), torch.nan)
    telemetry[:, 0], telemetry[:, 1] = rollout.telemetry[:, 1, 0] + 3, rollout.telemetry[:, 1, 1] - 4
    goal = Goal(telemetry, place, codes)
    levels = model.config.tokenizer.levels

    torch.testing.assert_close(telemetry_distance((0, 1, 2))(rollout, actions, goal)[:, 1], torch.full((2,), 5.0))
    torch.testing.assert_close(object_distance(model)(rollout, actions, goal)[:, 1], torch.full((2,), 0.3))
    away = latent_distance(levels)(rollout, actions, goal)
    assert (away[:, 1] == 0).all() and (away[:, [0, 2]] > 0).all()
    edges = Goal(codes=torch.zeros_like(codes))
    unit = 2 * rollout.codes[:, 1].float() / (levels - 1)
    torch.testing.assert_close(latent_distance(levels)(rollout, actions, edges)[:, 1], unit.square().mean(dim=(-2, -1)))
    torch.testing.assert_close(missing_reward(1)(rollout, actions, goal), 1 - rollout.reward[..., 1])
    torch.testing.assert_close(failure(0)(rollout, actions, goal), 1 - rollout.success[..., 0])
    assert torch.equal(uncertainty(rollout, actions, goal), rollout.uncertainty)
    change = (actions[:, 1:] - actions[:, :-1]).square().mean(dim=-1)
    torch.testing.assert_close(roughness(rollout, actions, goal), torch.cat((torch.zeros(2, 1), change), dim=1))
    with pytest.raises(ConfigError, match="goal's objects, which this goal does not have"):
        object_distance(model)(rollout, actions, Goal())


def test_the_ramp_weighs_steps(model: WorldModel) -> None:
    rollout, actions = make_rollout(model, 2, 4)
    ones = torch.ones(2, 4)

    def share(ramp: float) -> list[float]:
        return list(Term("x", lambda *_: ones, weight=10.0, ramp=ramp)(rollout, actions, Goal())[0].tolist())

    assert share(0.0) == pytest.approx([2.5, 2.5, 2.5, 2.5])
    assert share(1.0) == pytest.approx([1.0, 2.0, 3.0, 4.0])
    assert share(float("inf")) == pytest.approx([0.0, 0.0, 0.0, 10.0])


def test_terms_add_up_and_are_found_by_name(model: WorldModel) -> None:
    rollout, actions = make_rollout(model, 2, 3)
    goal = replace(Goal.positions(model, effector=(0, 0, 0), objects={"red": (0, 0, 0)}), task="stack").select([0, 1])
    objective = default_objective(model, goal)
    shares = objective.explain(rollout, actions, goal)
    assert list(shares) == ["effector", "objects", "reward", "success", "uncertainty", "roughness"]
    total = sum(share.sum(dim=1) for share in shares.values())
    assert isinstance(total, Tensor)
    torch.testing.assert_close(objective(rollout, actions, goal), total)
    with pytest.raises(ConfigError, match="different names"):
        Objective((Term("same", uncertainty), Term("same", roughness)))
    per_rollout = Objective((Term("first", lambda rollout, actions, goal: actions[:, 0, 0], weight=2.0),))
    torch.testing.assert_close(per_rollout(rollout, actions, goal), 2 * actions[:, 0, 0])


# --- costs in a model -------------------------------------------------------------------------------------------------


def test_costs_are_those_of_each_candidate_imagined_alone(model: WorldModel) -> None:
    state = model.encode(*make_context(model, 2, 3))
    goal = Goal.positions(model, effector=np.array([[0.2, 0.3, 0.4], [0.9, 0.8, 0.7]]))
    objective = default_objective(model, goal)
    cost = ModelCost(model, state, objective, goal, block=2, chunk=3)
    actions = 2 * torch.rand(2, 4, 2, ACTIONS, generator=torch.Generator().manual_seed(1)) - 1
    costs = cost(actions)
    assert costs.shape == (2, 4)
    for b in range(2):
        for s in range(4):
            steps = actions[b, s].repeat_interleave(2, dim=0)[None]
            rollout = model.imagine(state.select([b]), steps)
            torch.testing.assert_close(
                objective(rollout, steps, goal.select([b]))[0], costs[b, s], rtol=1e-3, atol=1e-3
            )
    explanation = cost.explain(actions[:, 0])
    torch.testing.assert_close(explanation.cost, costs[:, 0], rtol=1e-3, atol=1e-3)
    assert explanation.frames.shape == (2, 4, 32, 32, 3)
    assert explanation.terms["effector"].shape == explanation.rollout.uncertainty.shape == (2, 4)


def test_goals_of_other_rows_are_refused(model: WorldModel) -> None:
    goal = Goal.positions(model, effector=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="the goal has 3 rows, expected 1 or one for each of 2"):
        ModelCost(model, model.encode(*make_context(model, 2, 1)), default_objective(model, goal), goal)


def test_an_objective_of_the_users_own_computes_with_the_users_threads(model: WorldModel) -> None:
    before, seen = torch.get_num_threads(), set()

    def own(rollout: Rollout, actions: Tensor, goal: Goal) -> Tensor:
        seen.add(torch.get_num_threads())
        return rollout.uncertainty

    torch.set_num_threads(3)
    try:
        goal = Goal.positions(model, effector=(0.5, 0.5, 0.5))
        policy = MpcPolicy(model, goal, Objective((Term("own", own),)), SMALL)
        policy.predict(observe(model, torch.rand(TELEMETRY)))
    finally:
        torch.set_num_threads(before)
    assert seen == {3}


# --- the policy -------------------------------------------------------------------------------------------------------


def test_actions_have_the_shape_and_bounds_of_the_environment(model: WorldModel) -> None:
    goal = Goal.positions(model, effector=(0.5, 0.5, 0.5))
    policy = MpcPolicy(model, goal, config=replace(SMALL, three_level=("gripper",)))
    many, _ = policy.predict(observe(model, torch.rand(3, TELEMETRY)), None, np.ones(3, bool))
    one, memory = policy.predict(observe(model, torch.rand(TELEMETRY)), None, np.ones(1, bool))
    assert many.shape == (3, ACTIONS) and one.shape == (ACTIONS,)
    assert many.dtype == one.dtype == np.float32
    assert (np.abs(many) <= [1.0, 0.5, 1.0]).all()
    assert set(many[:, 2]) <= {-1.0, 0.0, 1.0}
    explanation = policy.explain(memory)
    assert explanation.frames.shape == (1, 6, 32, 32, 3)
    assert explanation.cost.isfinite().all()
    with pytest.raises(ConfigError, match="has the actions dx, dy, gripper, not \\['jaw'\\]"):
        MpcPolicy(model, goal, config=replace(SMALL, three_level=("jaw",)))


def test_a_plan_is_made_once_per_block_and_at_every_start(model: WorldModel) -> None:
    policy = MpcPolicy(model, Goal.positions(model, effector=(0.5, 0.5, 0.5)), config=SMALL)
    taken, memory = [], None
    for t in range(7):
        start = np.array([t in (0, 5), t == 0])
        action, memory = policy.predict(observe(model, torch.rand(2, TELEMETRY), t), memory, start)
        taken.append(action)
    assert len(policy.plan_seconds) == 4  # both rows at 0 and 3, the restarted one at 5, the other one at 6
    assert all(np.array_equal(taken[t], taken[0]) for t in (1, 2))
    assert np.array_equal(taken[5][1], taken[3][1]) and not np.array_equal(taken[5][0], taken[3][0])


def test_context_is_what_was_seen_and_done(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    contexts: list[tuple[Tensor, ...]] = []

    def encode(*context: Tensor) -> WorldState:
        contexts.append(context)
        return WorldModel.encode(model, *context)

    monkeypatch.setattr(model, "encode", encode)
    policy = MpcPolicy(model, Goal.positions(model, effector=(0.5, 0.5, 0.5)), config=replace(SMALL, block=2))
    observations = [observe(model, torch.rand(TELEMETRY), t) for t in range(7)]
    taken, memory = [], None
    for t, observation in enumerate(observations):
        action, memory = policy.predict(observation, memory, np.array([t == 0]))
        taken.append(action)
    first, _, _, last = contexts
    assert torch.equal(first[1][0], torch.from_numpy(observations[0]["agent_pos"]).expand(4, -1))  # held still
    assert not first[2].any()
    for column, key in enumerate(("pixels", "agent_pos")):
        assert np.array_equal(last[column][0].numpy(), np.stack([observations[t][key] for t in (3, 4, 5, 6)]))
    assert np.array_equal(last[2][0].numpy(), np.stack(taken[3:6]))


def test_a_row_acts_as_it_would_alone() -> None:
    model = make_model(schema=SCHEMA)
    with torch.no_grad():  # its wild motion would make much of a rounding that depends on the number of rows
        for layer in (model.dynamics.telemetry_out, model.dynamics.motion_out):
            layer.weight.mul_(0.05)  # type: ignore[union-attr, operator]
    goals = Goal.positions(model, effector=np.array([[0.1, 0.9, 0.5], [0.8, 0.2, 0.3]]))
    telemetry = torch.rand(2, TELEMETRY, generator=torch.Generator().manual_seed(0))
    together = observe(model, telemetry)
    actions, _ = MpcPolicy(model, goals, config=SMALL).predict(together)
    for i in range(2):
        policy = MpcPolicy(model, goals.select([i]), config=replace(SMALL, seed=i))
        alone, _ = policy.predict({key: value[i] for key, value in together.items()})
        np.testing.assert_allclose(alone, actions[i], atol=1e-3)


class Adviser:
    """Stands for a guide that always proposes the same."""

    def propose(self, world: WorldState, goal: Goal, steps: int, block: int = 1) -> Tensor:
        return torch.tensor([0.123, 0.321, -0.5]).expand(len(world), steps, ACTIONS)


def test_a_proposal_is_followed_where_it_is_best_or_nothing_is_searched(model: WorldModel) -> None:
    guide = cast(Guide, Adviser())
    like_it = Term("like", lambda rollout, actions, goal: (actions[..., 0] - 0.123).abs())
    for config in (SMALL, replace(SMALL, planner=None)):
        policy = MpcPolicy(model, Goal(), Objective((like_it,)), config, guide)
        action, _ = policy.predict(observe(model, torch.rand(TELEMETRY)))
        np.testing.assert_allclose(action, [0.123, 0.321, -0.5], rtol=1e-6)
    with pytest.raises(ConfigError, match="there must be a guide"):
        MpcPolicy(model, Goal(), Objective((like_it,)), replace(SMALL, planner=None))


def test_without_time_the_robot_holds(model: WorldModel) -> None:
    policy = MpcPolicy(model, Goal.solve(model, "stack"), config=replace(SMALL, time_budget=0.0))
    action, _ = policy.predict(observe(model, torch.rand(TELEMETRY)))
    assert not action.any()


# --- a world with known motion ----------------------------------------------------------------------------------------


def move(telemetry: Tensor, actions: Tensor) -> Tensor:
    """A gantry: commands (columns 3, 4) are integrated, x and y lag behind, the third action moves z."""
    command = (telemetry[:, 3:5] + 0.1 * actions[:, :2]).clamp(0, 1)
    measured = telemetry[:, :2] + 0.5 * (command - telemetry[:, :2])
    height = (telemetry[:, 2:3] + 0.05 * actions[:, 2:3]).clamp(0, 1)
    return torch.cat((measured, height, command), dim=1)


class Gantry(Unjudged):
    """A model that knows the motion above; its first object hangs 10 cm under the end-effector."""

    def step_(
        self,
        state: WorldState,
        actions: Tensor,
        generators: list[torch.Generator] | None = None,
        draw: bool = True,
    ) -> WorldState:
        telemetry = move(state.telemetry, actions)
        objects = state.objects.clone()
        objects[:, 0] = telemetry[:, :3] - torch.tensor([0.0, 0.0, 0.1])
        return replace(state, telemetry=telemetry, objects=objects)


def arrive(policy: MpcPolicy, telemetry: Tensor, steps: int) -> Tensor:
    """Act in the true gantries from telemetry (B, P) and return where they end."""
    memory = None
    for t in range(steps):
        actions, memory = policy.predict(observe(policy.model, telemetry), memory, np.full(len(telemetry), t == 0))
        telemetry = move(telemetry, torch.from_numpy(actions))
    return telemetry


@pytest.fixture(scope="module")
def gantry() -> Gantry:
    return Gantry(make_model(schema=SCHEMA).config).eval()


def test_mpc_arrives_at_positions(gantry: Gantry) -> None:
    targets = np.array([[0.8, 0.7, 0.4], [0.2, 0.5, 0.8]], np.float32)
    config = MpcConfig(planner=IcemSettings(population=48, iterations=4, elites=8), horizon=4, block=2)
    policy = MpcPolicy(gantry, Goal.positions(gantry, effector=targets), config=config)
    ended = arrive(policy, torch.tensor([[0.3, 0.3, 0.6, 0.3, 0.3], [0.7, 0.6, 0.5, 0.7, 0.6]]), steps=30)
    assert np.linalg.norm(ended[:, :3].numpy() - targets, axis=1).max() < 0.02


def test_mpc_brings_an_object_to_its_place(gantry: Gantry) -> None:
    config = MpcConfig(planner=IcemSettings(population=48, iterations=4, elites=8), horizon=4, block=2)
    goal = Goal.positions(gantry, objects={"red": (0.6, 0.7, np.nan)})  # at any height
    ended = arrive(MpcPolicy(gantry, goal, config=config), torch.full((1, TELEMETRY), 0.4), steps=24)
    torch.testing.assert_close(ended[0, :2], torch.tensor([0.6, 0.7]), rtol=0.0, atol=0.02)


def test_planners_and_costs_fit_together_without_the_policy(gantry: Gantry) -> None:
    state = gantry.encode(*make_context(gantry, 1, 2))
    goal = Goal.positions(gantry, effector=(0.5, 0.5, 0.5))
    cost = ModelCost(gantry, state, default_objective(gantry, goal), goal, block=2)
    bounds = Bounds(torch.full((ACTIONS,), -1.0), torch.ones(ACTIONS))
    found = plan(cost, WarmStart.hold(1, 4, ACTIONS), bounds, [torch.Generator()], IcemSettings())
    assert found.cost < cost(torch.zeros(1, 1, 4, ACTIONS))[0]
    assert cost.explain(found.actions).rollout.objects.shape == (1, 8, OBJECTS, 3)
