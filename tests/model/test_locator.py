"""Points of the picture are lifted to metres exactly, and models without them stay as they were."""

from dataclasses import replace

import pytest
import torch
from models import TELEMETRY, make_model

from gwm_sim.errors import ConfigError
from gwm_sim.model.config import HeadsConfig, WorldModelConfig
from gwm_sim.model.heads import PictureLocator, middle_of
from gwm_sim.model.world_model import WorldModel


def make_locator(view: tuple[float, ...] = (), ground: tuple[float, ...] = (), objects: int = 2) -> WorldModel:
    """A model that locates in the picture, through the view of `make_model` by default."""
    config = make_model().config
    dynamics = replace(config.dynamics, objects=objects, view=view or config.dynamics.view)
    heads = replace(config.heads, in_picture=True, ground=ground)
    return WorldModel(replace(config, dynamics=dynamics, heads=heads)).eval()


def looking_at(model: WorldModel, cells: list[tuple[int, int]], held: bool = False) -> PictureLocator:
    """The locator, made to look at the cell (column, row) of each object whatever it sees."""
    locator = model.locator
    assert isinstance(locator, PictureLocator)
    maps = torch.full((1, len(cells), 4, 4), -100.0)
    for k, (column, row) in enumerate(cells):
        maps[0, k, row, column] = 100.0
    locator.maps.register_forward_hook(lambda layer, given, made: maps.expand_as(made))
    last = locator.out[-1]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 100.0 if held else -100.0, 0.0]))
    return locator


def test_what_is_seen_on_the_ground_is_lifted_onto_it() -> None:
    model = make_locator(ground=(0.5, 0.01, 0.02))
    locator = looking_at(model, [(0, 3), (2, 1)])
    found, in_sight = locator.read(torch.zeros(1, 32, 4, 4), torch.zeros(1, TELEMETRY), model.dynamics)
    seen = locator.seen_from(found)
    place, depth = seen[..., :2] / seen[..., 2:], seen[..., 2]
    torch.testing.assert_close(place[0], torch.tensor([[-0.25, 1.25], [0.75, 0.25]]), atol=1e-4, rtol=0)  # 2 x 2 tokens
    torch.testing.assert_close(1 / depth, 0.5 + 0.01 * place[..., 0] + 0.02 * place[..., 1])
    assert in_sight is not None and in_sight.shape == (1, 2)


def test_what_is_held_is_as_far_away_as_the_hand() -> None:
    model = make_locator(ground=(0.5, 0.0, 0.0))
    locator = looking_at(model, [(1, 1), (2, 2)], held=True)
    telemetry = torch.rand(3, TELEMETRY)  # of which the first three are the end-effector
    found = locator(torch.zeros(3, 32, 4, 4), telemetry, model.dynamics)
    depth = locator.seen_from(telemetry[:, None, :3])[..., 2]
    torch.testing.assert_close(locator.seen_from(found)[..., 2], depth.expand(3, 2))


@pytest.mark.parametrize("objects", [1, 3])
def test_in_the_image_frame_a_middle_is_read_in_pixels(objects: int) -> None:
    token, middle = 16, 0.5 * 15 / 16
    view = (1 / token, 0.0, 0.0, -middle, 0.0, 1 / token, 0.0, -middle, 0.0, 0.0, 0.0, 1.0)
    model = make_locator(view=view, objects=objects)
    model.dynamics.objects_high.copy_(torch.tensor([31.0, 31.0, 10.0]))
    locator = looking_at(model, [(k, 3) for k in range(objects)])
    found, _ = locator.read(torch.zeros(1, 32, 4, 4), torch.zeros(1, TELEMETRY), model.dynamics)
    low = model.dynamics.objects_low[2].item()
    expected = [[3.5 + 8 * k, 3.5 + 8 * 3, (low + 10) / 2] for k in range(objects)]
    torch.testing.assert_close(found[0], torch.tensor(expected))


def test_the_middle_of_a_map_is_a_mean_over_its_cells() -> None:
    maps = torch.full((1, 1, 4, 8), -100.0)
    maps[0, 0, 2, 4] = maps[0, 0, 2, 5] = 0.0
    torch.testing.assert_close(middle_of(maps, (2, 4)), torch.tensor([[[2.0, 0.75]]]))


def test_a_model_without_gaps_misses_nothing() -> None:
    model = make_model()
    assert model.locator is not None
    objects, in_sight = model.locator.read(torch.rand(4, 32, 4, 4), torch.rand(4, TELEMETRY), model.dynamics)
    assert in_sight is None and objects.isfinite().all()


def test_options_that_came_later_are_not_written_at_their_defaults() -> None:
    config = make_model().config
    assert not {"in_picture", "ground"} & set(config.to_json()["heads"])
    lifted = replace(config, heads=replace(config.heads, in_picture=True, ground=(0.5, 0.0, 0.1)))
    assert WorldModelConfig.from_json(lifted.to_json()).heads == lifted.heads
    with pytest.raises(ConfigError, match="3 numbers where in_picture is set"):
        HeadsConfig(ground=(0.5, 0.0, 0.1))
