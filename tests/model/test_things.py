"""Things are a set: any number, there or absent, exchangeable within a kind, in metres or in the picture; and a robot
without any, whose residual says what else there is."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from models import ACTIONS, make_context, make_model
from torch import Tensor

from gwm_sim.model.config import WorldModelConfig
from gwm_sim.model.heads import nearest_order
from gwm_sim.model.object_dynamics import ObjectDynamics
from gwm_sim.model.rendering.reference_renderer import ReferenceRenderer
from gwm_sim.model.residual import own_frame, rotation
from gwm_sim.model.state import PhysicalState, Segment
from gwm_sim.model.world_model import WorldModel, last_seen

IMAGE_VIEW = (1 / 16, 0.0, 0.0, -7.5 / 16, 0.0, 1 / 16, 0.0, -7.5 / 16, 0.0, 0.0, 0.0, 1.0)


def make_world(objects: int, seed: int = 0, **options: Any) -> WorldModel:
    """A model with other options of the dynamics, whose outputs depend visibly on its inputs."""
    config = make_model(objects=2).config
    torch.manual_seed(seed)
    changed = replace(config.dynamics, objects=objects, reference=8, **options)
    model = WorldModel(WorldModelConfig(**vars(config) | {"dynamics": changed}))
    with torch.no_grad():
        for parameter in (*model.dynamics.parameters(), *drawing(model).parameters()):
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval()


def drawing(model: WorldModel) -> ReferenceRenderer:
    assert model.renderer is not None
    return model.renderer


def objects_of(model: WorldModel) -> ObjectDynamics:
    assert isinstance(model.dynamics, ObjectDynamics)
    return model.dynamics


def window(model: WorldModel, length: int = 4, **said: Tensor) -> Segment:
    """Frames that were read, with objects where they are said to be, (B, T, K, 3), and other such parts."""
    frames, telemetry, actions = make_context(model, 2, length)
    read = model.read(frames, telemetry, actions)
    read = read._replace(actions=torch.rand(2, length, ACTIONS, generator=torch.Generator().manual_seed(1)))
    return read.changed(**said)


def test_what_is_absent_is_nothing_to_the_others() -> None:
    model = make_world(3, pairs=True, gaps=True)
    places = torch.rand(2, 4, 3, 3)
    places[:, :, 2] = torch.nan
    there = window(model, objects=places)
    made, _ = objects_of(model).advance(there, model.dynamics.blank_memory(2), rest=False)
    places[:, :, 2] = 0.7
    places[:, :, 2, 0] = torch.nan  # which says that it is absent, wherever it is
    other, _ = objects_of(model).advance(there.changed(objects=places), model.dynamics.blank_memory(2), rest=False)
    torch.testing.assert_close(other.objects[:, :, :2], made.objects[:, :, :2])
    torch.testing.assert_close(other.telemetry, made.telemetry)
    assert made.presence is not None and made.telemetry.isfinite().all()


def test_what_leaves_stays_away_for_the_rest_of_a_rollout() -> None:
    model = make_world(2, gaps=True)
    presence = objects_of(model).object_presence
    assert presence is not None
    presence.bias.data.fill_(-100.0)
    frames, telemetry, actions = make_context(model, 2, 3)
    rollout = model.imagine(model.encode(frames, telemetry, actions), torch.zeros(2, 3, ACTIONS))
    assert rollout.objects.isnan().all() and rollout.telemetry.isfinite().all()
    assert model.decode(rollout).shape == (2, 3, 32, 32, 3)


@pytest.mark.parametrize("count", [2, 4])
def test_things_of_one_kind_can_be_exchanged(count: int) -> None:
    model = make_world(count, pairs=True, kinds=(0,) * count, residual=2 * count, turns=True)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(2))
    turns = torch.rand(2, 4, count, 2)
    frames = window(model, objects=torch.rand(2, 4, count, 3), residual=turns.flatten(2))
    swapped = frames.changed(objects=frames.objects[:, :, order], residual=turns[:, :, order].flatten(2))
    made, memory = objects_of(model).advance(frames, model.dynamics.blank_memory(2))
    other, other_memory = objects_of(model).advance(swapped, model.dynamics.blank_memory(2))
    torch.testing.assert_close(other.objects, made.objects[:, :, order])
    torch.testing.assert_close(other.telemetry, made.telemetry)
    torch.testing.assert_close(other.residual, made.residual.unflatten(2, (-1, 2))[:, :, order].flatten(2))
    torch.testing.assert_close(other_memory[:, 1:], memory[:, 1:][:, order])


def test_a_thing_in_the_picture_is_drawn_where_it_is() -> None:
    """Column and row [px] are those of the camera that sees it: of a token away by one, the same shifted by one."""
    model = make_world(
        1, object_frame="image", view=IMAGE_VIEW, effector=(), points=2, commands=(), kinds=(0,), gaps=True
    )
    state = PhysicalState(torch.rand(1, 1, 5), torch.tensor([[[[7.5, 23.5, 6.0]]]]))
    now = PhysicalState(state.telemetry[:, 0], state.objects[:, 0])
    scene = drawing(model).scene(now, torch.zeros(1, 0), model.dynamics)
    torch.testing.assert_close(scene.places[0, 0], torch.tensor([7.5, 23.5]))
    assert scene.sizes[0, 0] == 6 and scene.places.shape == (1, 3, 2)


def test_a_robot_alone_is_imagined_alike_whether_watched_or_not() -> None:
    model = make_world(0, state=True, residual=3, view=IMAGE_VIEW, effector=(), object_frame="image", points=2)
    frames, telemetry, actions = make_context(model, 2, 3)
    start = model.encode(frames, telemetry, actions)
    assert start.residual.shape == (2, 3) and start.residual.abs().max() <= 1
    moves = torch.rand(2, 4, ACTIONS)
    watched, unwatched = model.imagine(start, moves), model.imagine(start, moves, draw=False)
    torch.testing.assert_close(unwatched.telemetry, watched.telemetry)
    torch.testing.assert_close(unwatched.final.residual, watched.final.residual)
    torch.testing.assert_close(unwatched.uncertainty, watched.uncertainty)
    assert not torch.equal(watched.final.residual, start.residual)
    assert model.decode(unwatched.final).shape == (2, 32, 32, 3)


def test_the_picture_of_a_state_depends_on_its_residual() -> None:
    model = make_world(0, state=True, residual=3, view=IMAGE_VIEW, effector=(), object_frame="image", points=2)
    state = PhysicalState(torch.rand(1, 5), torch.zeros(1, 0, 3))
    empty, low, high = torch.full((1, 32, 32, 3), 128, dtype=torch.uint8), -torch.ones(1, 3), torch.ones(1, 3)
    drawn = [model.drawn_from(empty, (state, low), (state, residual)) for residual in (low, high)]
    assert not torch.equal(*drawn)


def test_options_that_came_later_are_left_out_of_the_file_at_their_defaults() -> None:
    written = make_model().config.to_json()["dynamics"]
    later = {"state", "object_frame", "kinds", "pairs", "gaps", "points", "residual", "turns", "reference", "exemplars"}
    assert not later & written.keys()
    config = make_world(3, pairs=True, gaps=True, kinds=(0, 0, 1)).config
    assert WorldModelConfig.from_json(config.to_json()).dynamics == config.dynamics


def test_things_of_one_kind_are_told_apart_by_where_they_were() -> None:
    before = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [5, 0, 0]]])
    now = torch.tensor([[[1.1, 0, 0], [0.1, 0, 0], [0, 0, 0]]])
    assert nearest_order(now, before, (0, 0, 1)).tolist() == [[1, 0, 2]]
    assert nearest_order(now, before, (0, 1, 2)).tolist() == [[0, 1, 2]]
    seen = last_seen(torch.stack((before, now, torch.full_like(now, torch.nan)), dim=1), (0, 0, 1))
    torch.testing.assert_close(seen[0, 2], torch.tensor([[0.1, 0, 0], [1.1, 0, 0], [0, 0, 0]]))
    assert torch.equal(last_seen(now[:, None], ()), now[:, None])


def test_a_push_is_alike_however_a_thing_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the robot is and what moves is told in the frame that turns with a thing, and motions are decided in it."""
    model = make_world(1, object_frame="image", view=IMAGE_VIEW, effector=(), points=2, residual=6, turns=True)
    dynamics, angle = objects_of(model), torch.tensor(0.7)
    turn = rotation(angle)
    places, points = torch.randn(2, 4, 1, 3), torch.randn(2, 4, 2, 3)
    residual = 0.1 * torch.randn(2, 4, 6)
    residual[..., 4:] = torch.tensor([0.6, 0.8])

    def turned(x: Tensor) -> Tensor:
        return torch.cat((x[..., :2] @ turn.T, x[..., 2:]), dim=-1)

    scenes = []
    for about in (lambda x: x, turned):
        monkeypatch.setattr(dynamics, "robot_in_frame", lambda telemetry, at=about: at(points)[:, : telemetry.shape[1]])
        told = torch.cat((residual[..., :4], about(residual[..., 4:])), dim=-1)
        segment = window(model)._replace(objects=about(places), previous_objects=about(places - 0.01))
        segment = segment._replace(residual=told, previous_residual=told)
        with torch.no_grad():
            dynamics.motion_out.weight.zero_()
            dynamics.motion_out.bias.copy_(torch.tensor([1.0, 0.5, 0.0, 0.0]))
        made, _ = dynamics.advance(segment, dynamics.blank_memory(2), rest=False)
        scenes.append((dynamics.object_features(segment), made.objects - segment.objects))
    (features, moved), (turned_features, turned_moved) = scenes
    along = 4 * 2 + 2  # numbers that are told in a thing's own frame
    torch.testing.assert_close(turned_features[..., -along:], features[..., -along:])
    assert not torch.allclose(turned_features[..., :-along], features[..., :-along])
    torch.testing.assert_close(turned_moved, turned(moved))


def test_what_is_not_told_to_be_turned_has_the_frame_of_the_picture() -> None:
    assert torch.equal(own_frame(torch.zeros(3, 2)), torch.eye(2).expand(3, -1, -1))
    angle = torch.tensor([0.3, -2.0])
    turns = torch.stack((angle.cos(), angle.sin()), dim=-1)
    torch.testing.assert_close(own_frame(turns) @ rotation(angle), torch.eye(2).expand(2, -1, -1))
