"""A hand is where telemetry says, and moves as the learned world lets it."""

import pytest
import torch
from models import make_model

from gwm_sim.envs.learned.vector import LearnedVectorEnv
from gwm_sim.model.state import WorldState
from gwm_sim.policies.planning.hand import Hands, openings
from gwm_sim.policies.planning.moves import Moves

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
    monkeypatch.setattr(hands, "_axes", [])
    hand = hands.find(world, BEFORE, 6)
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
