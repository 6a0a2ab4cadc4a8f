"""Robots that are told where to be: a planner searches changes, and what it asks for is a place within reach."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from models import TELEMETRY, Unjudged, make_context, make_model
from numpy.typing import NDArray
from recordings import make_schema
from torch import Tensor

from gwm_sim.data.schema import Command
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning import Goal, IcemSettings, MpcConfig, MpcPolicy
from gwm_sim.policies.planning.moves import FASTEST, Moves

USUAL = 0.02  # change of a joint from one step to the next


def follow(telemetry: Tensor, actions: Tensor) -> Tensor:
    """Joints (columns 0 to 2) go half of the way to where they are told to be; the third in another unit."""
    wanted = actions * torch.tensor([1.0, 1.0, 0.5])
    return torch.cat((telemetry[:, :3] + 0.5 * (wanted - telemetry[:, :3]), telemetry[:, 3:]), dim=1)


class Follower(Unjudged):
    """A model that knows this motion."""

    def step_(
        self,
        state: WorldState,
        actions: Tensor,
        generators: list[torch.Generator] | None = None,
        draw: bool = True,
    ) -> WorldState:
        return replace(state, telemetry=follow(state.telemetry, actions))


@pytest.fixture(scope="module")
def follower() -> Follower:
    schema = replace(
        make_schema(),
        telemetry_names=("x", "y", "z", "cmd_x", "cmd_y"),
        action_names=("x.pos", "y.pos", "z.pos"),
        action_low=(0.0, 0.0, 0.0),
        action_high=(1.0, 1.0, 2.0),
        commands=(),
        settings={"action_kinds": ["target"] * 3},
    )
    config = make_model(schema=schema).config
    commands = tuple(Command(i, i, scale, i, absolute=True) for i, scale in enumerate((1.0, 1.0, 0.5)))
    model = Follower(replace(config, dynamics=replace(config.dynamics, commands=commands))).eval()
    model.dynamics.telemetry_change.fill_(USUAL)
    return model


def test_moves_become_targets_and_targets_moves(follower: Follower) -> None:
    moves = Moves(follower)
    low, high = moves.bounds
    torch.testing.assert_close(high, FASTEST * USUAL * torch.tensor([1.0, 1.0, 2.0]))
    assert torch.equal(low, -high)
    telemetry = torch.full((2, TELEMETRY), 0.4)
    before = moves.hold(telemetry)
    torch.testing.assert_close(before, torch.tensor([[0.4, 0.4, 0.8]] * 2))
    np.testing.assert_allclose(follower.config.control.hold(telemetry.numpy()), before.numpy())
    assert torch.equal(moves.actions(torch.zeros(2, 3, 3), before), before[:, None].expand(-1, 3, -1))
    steps = high * (2 * torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(0)) - 1)
    torch.testing.assert_close(moves.of(moves.actions(steps, before), before), steps)
    away = torch.tensor([[[0.9, 0.4, 0.8]] * 20])
    course = moves.actions(moves.of(away, before[:1]), before[:1])
    assert course[0, 0, 0] < 0.5
    torch.testing.assert_close(course[0, -1], away[0, -1], msg="what is too far for one step comes later")
    outside = torch.tensor([[1.5, 0.4, 0.8]])
    assert moves.actions(torch.zeros(1, 2, 3), outside)[0, -1, 0] == 1.5, "it holds where it is"
    far = moves.actions(torch.full((1, 100, 3), 0.06), before[:1])
    torch.testing.assert_close(far[0, -1], torch.tensor([1.0, 1.0, 2.0]), msg="not beyond what may be asked for")


def test_what_the_data_call_a_rate_is_no_target(follower: Follower) -> None:
    """A velocity follows its command just as a place does, and what holds still is zero."""
    config = follower.config
    for kinds in (["rate"] * 3, [None] * 3, ["target", "rate", "delta"]):
        schema = replace(config.schema, settings={"action_kinds": kinds})
        control = replace(config, schema=schema).control
        assert [command.action for command in control.targets] == [
            i for i, kind in enumerate(kinds) if kind == "target"
        ]


def test_of_changes_nothing_is_changed() -> None:
    model = make_model()
    moves, actions = Moves(model), torch.randn(2, 4, 3)
    assert torch.equal(moves.bounds[0], torch.tensor(model.config.schema.action_low))
    assert moves.actions(actions, torch.zeros(2, 3)) is actions and moves.of(actions, torch.zeros(2, 3)) is actions
    assert not moves.hold(torch.ones(2, TELEMETRY)).any()


def test_mpc_arrives_by_places_that_are_never_far(follower: Follower) -> None:
    goals = np.array([[0.8, 0.7, 0.4], [0.2, 0.5, 0.8]], np.float32)
    config = MpcConfig(planner=IcemSettings(population=48, iterations=4, elites=8), horizon=4, block=2)
    policy = MpcPolicy(follower, Goal.positions(follower, effector=goals), config=config)
    telemetry = torch.tensor([[0.3, 0.3, 0.6, 0.0, 0.0], [0.7, 0.6, 0.5, 0.0, 0.0]])
    memory, last = None, follower.config.control.hold(telemetry.numpy())
    for t in range(40):
        actions, memory = policy.predict(observe(follower, telemetry), memory, np.full(2, t == 0))
        assert (np.abs(actions - last) <= FASTEST * USUAL * np.array([1, 1, 2]) + 1e-5).all()
        last, telemetry = actions, follow(telemetry, torch.from_numpy(actions))
    assert np.linalg.norm(telemetry[:, :3].numpy() - goals, axis=1).max() < 0.03
    explained = policy.explain(memory, row=1)
    torch.testing.assert_close(explained.rollout.telemetry[0, -1, :3], telemetry[1, :3], atol=0.05, rtol=0)


def observe(model: WorldModel, telemetry: Tensor) -> dict[str, NDArray[Any]]:
    frames, _, _ = make_context(model, len(telemetry), 1)
    return {"pixels": frames[:, 0].numpy(), "agent_pos": telemetry.numpy().astype(np.float32)}
