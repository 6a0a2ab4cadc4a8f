"""A hand is where telemetry says, and moves as the learned world lets it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from models import make_context, make_model

from gwm_sim.envs.learned.vector import LearnedVectorEnv
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning import Goal
from gwm_sim.policies.planning.hand import Hands, openings
from gwm_sim.policies.planning.moves import Moves
from gwm_sim.policies.planning.objectives import default_objective, robot_distance
from gwm_sim.policies.planning.via_points import ViaPoints

BEFORE = torch.zeros(1, 4)


@pytest.fixture(scope="module")
def env() -> LearnedVectorEnv:
    env = LearnedVectorEnv(1, task="stack", model="gwm-mini", device="cpu")
    env.reset(seed=0)
    return env


def test_commands_move_where_they_say(env: LearnedVectorEnv) -> None:
    world: WorldState = env.get_state()[0]
    hand = Hands(env.world_model, Moves(env.world_model)).find(world, BEFORE, 3)
    torch.testing.assert_close(hand.places[0], world.telemetry[0, 11:14])
    torch.testing.assert_close(hand.answers[0], torch.eye(3, 4) * 0.03)


def test_without_commands_the_learned_world_tells_nearly_the_same(
    env: LearnedVectorEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    world: WorldState = env.get_state()[0]
    hands = Hands(env.world_model, Moves(env.world_model))
    monkeypatch.setattr(hands, "axes", [])
    hand = hands.find(world, BEFORE, 60)  # longer than anything is tried
    assert hand.places.tolist() == world.telemetry[:, 7:10].tolist()
    answers = hand.answers[0]
    assert answers.abs().argmax(dim=1).tolist() == [0, 1, 2]  # each action its own axis
    assert (answers.diagonal() > 0).all() and (answers[:, 3] == 0).all()


def test_what_closes_the_gripper_is_found(env: LearnedVectorEnv) -> None:
    hands = Hands(env.world_model, Moves(env.world_model))
    assert hands.grips(env.get_state()[0], BEFORE).tolist() == [0, 0, 0, 1]


def test_robots_without_an_opening_have_no_gripper() -> None:
    schema = make_model().config.schema
    assert openings(schema) == [i for i, name in enumerate(schema.telemetry_names) if "gripper" in name]


def in_the_picture() -> WorldModel:
    """A model of a robot that is known by two points in the picture, beside a thing that turns."""
    config = make_model(objects=1).config
    known: dict[str, Any] = {"object_frame": "image", "effector": (), "commands": (), "gaps": True}
    view = (1 / 16, 0.0, 0.0, -7.5 / 16, 0.0, 1 / 16, 0.0, -7.5 / 16, 0.0, 0.0, 0.0, 1.0)
    known |= {
        "telemetry": 3,
        "actions": 2,
        "points": 2,
        "residual": 2,
        "turns": True,
        "objects": 1,
        "reference": 8,
        "view": view,
    }
    changed = replace(config.dynamics, **known)
    return WorldModel(WorldModelConfig(**vars(config) | {"dynamics": changed})).eval()


def test_in_the_picture_a_hand_is_points_and_its_goal_is_where_telemetry_puts_them() -> None:
    model = in_the_picture()
    frames, telemetry, actions = make_context(model, 2, 4)
    world = model.encode(frames, telemetry[..., :3], actions[..., :2])
    before = torch.zeros(2, model.config.dynamics.actions)
    hand = Hands(model, Moves(model)).find(world.select([0]), before[:1], 3)
    assert hand.places.shape == (2, 2) and hand.answers.shape == (2, 2, before.shape[1])

    goal = Goal(telemetry=world.telemetry, objects=world.objects + 5.0, turns=torch.ones(2, 1, 2))
    via = ViaPoints(model, Moves(model))
    generators = [torch.Generator().manual_seed(i) for i in range(2)]
    moves = via.propose(world, goal, before, 4, 3, 16, generators)
    assert moves.shape == (2, 16, 4, before.shape[1]) and moves.isfinite().all()
    assert (moves >= Moves(model).bounds[0]).all() and (moves <= Moves(model).bounds[1]).all()

    assert "robot" in [term.name for term in default_objective(model, goal).terms]
    rollout = model.imagine(world, torch.zeros(2, 3, before.shape[1]), judged=False, draw=False)
    there = replace(rollout, telemetry=world.telemetry[:, None].expand(-1, 3, -1))
    distance = robot_distance(model)
    torch.testing.assert_close(distance(there, before, goal), torch.zeros(2, 3))
    asked = Goal(telemetry=world.telemetry + 1.0, objects=goal.objects)
    assert (distance(there, before, asked) > 0).all()
