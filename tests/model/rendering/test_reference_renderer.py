"""A reference renderer keeps what stays, moves what moves, and draws a state alike whenever somebody looks."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from models import ACTIONS, make_context, make_model
from torch import Tensor

from gwm_sim.model.config import WorldModelConfig
from gwm_sim.model.rendering.compositor import Compositor, Scene, carry, spots
from gwm_sim.model.world_model import WorldModel

VIEW = (1 / 16, 0.0, 0.0, -7.5 / 16, 0.0, 1 / 16, 0.0, -7.5 / 16, 0.0, 0.0, 0.0, 1.0)


def make_world(views: int = 1, size: tuple[int, int] = (32, 32), **options: Any) -> WorldModel:
    """A model that draws from a reference, with things in the picture unless `options` say otherwise."""
    config = make_model(objects=2).config
    torch.manual_seed(0)
    known: dict[str, Any] = {"object_frame": "image", "effector": (), "gaps": True, "residual": 2}
    tokenizer = replace(config.tokenizer, height=size[0], width=size[1], views=views)
    shape = {"tokens": tokenizer.tokens, "grid": tokenizer.grid, "view": VIEW * views}
    dynamics = replace(config.dynamics, points=3, reference=8, **(known | shape | options))
    cameras = tuple(f"view {i}" for i in range(1, views))
    known_cameras = config.schema.cameras
    schema = replace(config.schema, cameras={**known_cameras, **dict.fromkeys(cameras, known_cameras["front"])})
    changed = {"tokenizer": tokenizer, "dynamics": dynamics, "others": cameras, "schema": schema}
    model = WorldModel(WorldModelConfig(**vars(config) | changed))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(("dynamics.", "renderer.")):
                parameter.add_(0.05 * torch.randn(parameter.shape))
    return model.eval()


def begun(model: WorldModel) -> tuple[Any, Tensor]:
    """Worlds, and the last of the frames that they were begun with."""
    _, telemetry, actions = make_context(model, 2, 3)
    frames = torch.randint(0, 256, (2, 3, *model.config.tokenizer.frame), dtype=torch.uint8)
    return model.encode(frames, telemetry, actions), frames[:, -1]


def test_a_real_frame_is_shown_as_it_is() -> None:
    state, last = begun(make_world())
    assert torch.equal(make_world().decode(state), last)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_pictures_come_from_states_whenever_somebody_looks(views: int, size: tuple[int, int]) -> None:
    model = make_world(views, size)
    state, _ = begun(model)
    moves = torch.rand(2, 3, ACTIONS)
    watched, unwatched = model.imagine(state, moves), model.imagine(state, moves, draw=False)
    torch.testing.assert_close(watched.objects, unwatched.objects, equal_nan=True)
    assert watched.codes.numel() and not unwatched.codes.numel()
    pictures = model.decode(unwatched)
    assert pictures.shape == (2, 3, *model.config.tokenizer.frame)
    assert torch.equal(pictures[:, -1], model.decode(watched.final))
    assert torch.equal(model.decode(unwatched.at(torch.tensor([2])))[:, 0], pictures[:, -1])
    assert torch.equal(model.draw(unwatched.final).codes, watched.codes[:, -1])


def test_rows_are_independent_and_can_be_taken_alone() -> None:
    model = make_world()
    state, _ = begun(model)
    state = model.step(state, torch.rand(2, ACTIONS))
    apart = (model.decode(state.select([1])).int() - model.decode(state)[1:].int()).abs()
    assert apart.max() <= 1


def test_views_that_are_not_given_are_drawn_from_the_empty_scene() -> None:
    model = make_world(views=2)
    frames = torch.randint(0, 256, (2, 3, 32, 32, 3), dtype=torch.uint8)
    _, telemetry, actions = make_context(model, 2, 3)
    state = model.encode(frames, telemetry, actions)
    assert torch.equal(state.reference[:, :, :32], frames[:, -1])
    assert model.decode(state).shape == (2, 32, 64, 3)


def test_objects_in_metres_are_drawn_where_the_camera_sees_them() -> None:
    model = make_world(object_frame="metres", effector=(0, 1, 2), view=make_model().config.dynamics.view, gaps=False)
    state, _ = begun(model)
    assert model.decode(model.step(state, torch.rand(2, ACTIONS))).shape == (2, 32, 32, 3)


def test_what_is_carried_moves_by_whole_offsets() -> None:
    pictures, still = torch.rand(2, 3, 8, 10), torch.eye(2).expand(2, 1, 2, 2)
    shown = torch.tensor([[[3.0, 4.0]], [[5.0, 5.0]]])
    moved = carry(pictures, shown, shown + torch.tensor([[[2.0, 1.0]], [[0.0, -3.0]]]), still)
    torch.testing.assert_close(moved[0, 0, :, 1:, 2:], pictures[0, :, :-1, :-2])
    torch.testing.assert_close(moved[1, 0, :, :-3], pictures[1, :, 3:])
    assert moved[0, 0, :, 0].abs().max() < 1e-6, "nothing comes from outside"


def test_what_is_carried_turns_about_its_place() -> None:
    pictures, place = torch.rand(1, 3, 9, 9), torch.full((1, 1, 2), 4.0)
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    turned = carry(pictures, place, place, quarter[None, None])
    torch.testing.assert_close(turned[:, 0], pictures.rot90(1, (2, 3)))


def test_what_is_absent_leaves_no_trace() -> None:
    torch.manual_seed(0)
    compositor = Compositor(entities=2, moved=0, robot=3, width=8).eval()
    there = torch.tensor([[1.0, 0.0]])
    scene = Scene(torch.rand(1, 2, 2) * 32, torch.full((1, 2), 6.0), there, torch.zeros(1, 2, 2), torch.rand(1, 3))
    assert not spots(scene, 16, 16)[:, 1].any() and spots(scene, 16, 16)[:, 0].any()
    reference, empty = torch.rand(1, 3, 32, 32) - 0.5, torch.zeros(1, 3, 32, 32)
    elsewhere = scene._replace(places=scene.places + torch.tensor([0.0, 9.0])[:, None])
    gone = elsewhere._replace(places=torch.stack((scene.places[:, 0], elsewhere.places[:, 1]), dim=1))
    drawn, other = (compositor(reference, empty, scene, wanted) for wanted in (scene, gone))
    assert torch.equal(drawn, other)
