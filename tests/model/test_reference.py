"""A world whose pictures are drawn from the last real frame is given that frame, not what latents show of it."""

from dataclasses import replace

import torch
from models import make_context, make_model

from gwm_sim.model.world_model import WorldModel


def drawing() -> WorldModel:
    """A model that draws from a reference."""
    config = make_model().config
    return WorldModel(replace(config, dynamics=replace(config.dynamics, reference=4))).eval()


def test_worlds_begin_with_the_real_frame_also_from_what_was_read_before() -> None:
    model = drawing()
    frames, telemetry, actions = make_context(model, 2, 3)
    for state in (model.encode(frames, telemetry, actions), model.begin(model.read(frames, telemetry, actions))):
        assert torch.equal(state.reference, frames[:, -1])
        assert torch.equal(model.decode(state), frames[:, -1])


def test_of_latents_alone_the_reference_is_what_they_show() -> None:
    model = drawing()
    read = model.read(*make_context(model, 2, 3))
    state = model.begin(read._replace(reference=read.codes.new_zeros(2, 0, 0, 3)))
    assert torch.equal(state.reference, model.detokenize(read.codes[:, -1]))


def test_models_that_draw_latents_keep_no_frame() -> None:
    model = make_model()
    assert not model.encode(*make_context(model, 2, 3)).reference.numel()
