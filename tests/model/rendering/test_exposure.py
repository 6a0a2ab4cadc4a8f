"""Pictures in other light are seen as all others, and shown in their own."""

from dataclasses import replace

import pytest
import torch
from models import make_context, make_model

from gwm_sim.model.rendering.exposure import exposure, relit
from gwm_sim.model.world_model import WorldModel


def scene(seed: int, rows: int = 1) -> torch.Tensor:
    """Frames (rows, 32, 64, 3) of two views."""
    return torch.randint(40, 200, (rows, 32, 64, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def covered(frames: torch.Tensor, share: float) -> torch.Tensor:
    """Frames of which the lower share of each view shows something else."""
    first = round((1 - share) * frames.shape[1])
    return torch.cat((frames[:, :first], scene(7, len(frames))[:, first:]), dim=1)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_the_factor_is_found_beside_what_covers_the_scene(share: float) -> None:
    """For each channel of each view, within half a percent."""
    empty = scene(1)
    factor = torch.tensor([[0.5, 0.8, 1.2], [1.0, 0.7, 1.1]]).repeat_interleave(32, dim=0)[None, None]
    found = exposure(covered(relit(empty, factor), share), empty[0], (True, True))
    torch.testing.assert_close(found, factor, atol=0.0, rtol=0.005)


def test_in_the_usual_light_not_a_level_changes() -> None:
    empty, shown = scene(1), covered(scene(1), 0.6)
    found = exposure(shown, empty[0], (True, True))
    assert torch.equal(relit(shown, 1 / found), shown)


def test_what_cannot_be_told_is_left() -> None:
    """A camera that moves, and a scene without light."""
    found = exposure(relit(scene(1), torch.tensor(0.5)), scene(1)[0], (True, False))
    assert float(found[..., :32, :].max()) < 0.51 and bool((found[..., 32:, :] == 1).all())
    dark = torch.full((1, 32, 64, 3), 9, dtype=torch.uint8)
    assert bool((exposure(dark, dark[0] * 2, (True, True)) == 1).all())


def test_where_nothing_is_left_of_the_scene_nothing_is_changed() -> None:
    """A wrist's camera that nobody called moving, another kitchen, or the lights out."""
    empty = torch.full((1, 32, 64, 3), 120, dtype=torch.uint8)
    elsewhere = scene(3, 4)
    for shown in (elsewhere, relit(empty, torch.tensor(0.1))):
        assert bool((exposure(shown, empty[0], (True, True)) == 1).all())


def drawing() -> WorldModel:
    """A model that draws from a reference and knows an empty scene."""
    config = make_model().config
    model = WorldModel(replace(config, dynamics=replace(config.dynamics, reference=4))).eval()
    height, width, _ = model.config.tokenizer.frame
    model.tokenizer.fit_background(torch.randint(60, 200, (1, height, width, 3), dtype=torch.uint8))
    return model


def test_a_world_goes_on_in_the_light_that_it_began_in() -> None:
    model = drawing()
    _, telemetry, actions = make_context(model, 1, 3)
    frames = model.empty_scene().expand(1, 3, -1, -1, -1).contiguous()
    frames[:, :, :8, :8] = 60
    dim = relit(frames[0], torch.tensor(0.7))[None]
    bright, dark = (model.encode(x, telemetry, actions) for x in (frames, dim))
    torch.testing.assert_close(bright.objects, dark.objects, atol=0.02, rtol=0)
    assert torch.equal(model.decode(dark), dim[:, -1])
    drawn = [model.decode(model.step(state, actions[:, 0])).float() for state in (bright, dark)]
    torch.testing.assert_close(0.7 * drawn[0], drawn[1], atol=2.0, rtol=0)
    kept = [model.reconstruct(x[0]).float() for x in (frames, dim)]
    assert float((0.7 * kept[0] - kept[1]).abs().mean()) < 1
