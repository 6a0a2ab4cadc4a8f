"""What means the same in another model is kept with its scales; what does not is new, and both are named."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from models import make_context, make_model
from recordings import make_schema

from gwm_sim.model.video_dynamics import VideoDynamics
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.finetune import borrow_tokenizer, differences, inherit, token_rows


def altered(model: WorldModel, seed: int = 1) -> WorldModel:
    """Another model of the same data with other weights and scales."""
    other = make_model(seed=seed, objects=model.config.dynamics.objects)
    with torch.no_grad():
        for name, value in other.named_buffers():
            if name.startswith("dynamics.") and value.is_floating_point():
                value.add_(0.5 if name.endswith("_high") else -0.25 if name.endswith("_low") else 0.125)
    return other


def test_on_the_same_data_the_model_goes_on_as_it_was() -> None:
    model = make_model()
    source = altered(model)
    inheritance = inherit(model, source)
    assert inheritance.share == 1 and not inheritance.fresh
    for name, value in source.named_parameters():
        assert torch.equal(model.state_dict()[name], value), name
    for name in ("telemetry_mean", "telemetry_std", "telemetry_change", "objects_change"):
        assert torch.equal(getattr(model.dynamics, name), getattr(source.dynamics, name))
    assert torch.equal(model.dynamics.objects_high, source.dynamics.objects_high)  # which holds both
    assert not torch.equal(model.dynamics.telemetry_low, source.dynamics.telemetry_low)  # bounds are those of the data


def test_what_reads_another_robot_is_new_and_the_rest_is_kept() -> None:
    model = make_model(schema=replace(make_schema(), telemetry_names=("a", "b", "c")))
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    source = altered(model)
    inheritance = inherit(model, source)
    assert inheritance.fresh["robot inputs and outputs"] == "telemetry names differ"
    assert {"objects", "reward and success"} < set(inheritance.fresh)
    assert set(inheritance.kept) == {"tokenizer", "dynamics", "positions in the picture", "properties"}
    assert 0.3 < inheritance.share < 0.95
    own, theirs = model.state_dict(), source.state_dict()
    for name in ("dynamics.robot_in.0.weight", "dynamics.telemetry_out.weight", "dynamics.telemetry_std"):
        assert torch.equal(own[name], fresh[name]), name
    for name in (
        "tokenizer.to_code.weight",
        "dynamics.painter.blocks.0.space.qkv.weight",
        "dynamics.painter.image_out.weight",
    ):
        assert torch.equal(own[name], theirs[name]), name
    assert "telemetry names differ" in str(inheritance)


def test_what_is_told_other_targets_is_another_robot() -> None:
    model, source = make_model(), make_model()
    told = (replace(model.config.dynamics.commands[0], absolute=True), *model.config.dynamics.commands[1:])
    other = replace(model.config, dynamics=replace(model.config.dynamics, commands=told))
    assert differences(other, source.config) == {"robot": "commands differ"}
    assert differences(model.config, source.config) == {}


def test_tokens_keep_their_rows_between_kinds_of_dynamics() -> None:
    model = make_model(objects=0, schema=replace(make_schema(), object_names=()))
    source = make_model(objects=2, seed=1)
    assert isinstance(model.dynamics, VideoDynamics)
    fresh = model.dynamics.position.detach().clone()
    inheritance = inherit(model, source)
    assert "painter" in inheritance.kept and "dynamics" in inheritance.fresh
    own, theirs = token_rows(model.config.dynamics), token_rows(source.config.dynamics)
    for meaning in ("picture", "robot token"):
        rows, their_rows = own[meaning], theirs[meaning]
        assert torch.equal(model.dynamics.painter.canvas[rows], source.dynamics.painter.canvas[their_rows]), meaning
    assert torch.equal(model.dynamics.position, fresh)  # the other model's transformer draws only


def test_a_part_that_the_other_model_lacks_is_called_new() -> None:
    with_objects, without = make_model().config, make_model(objects=0).config
    assert differences(with_objects, without) == {"objects": "objects are new"}
    other_names = replace(with_objects, schema=replace(with_objects.schema, object_names=("mug", "plate")))
    assert differences(other_names, with_objects) == {"objects": "objects differ"}


@pytest.mark.parametrize("objects", [0, 2])
def test_the_result_imagines_finite_numbers(objects: int) -> None:
    model = make_model(objects=objects)
    inherit(model, altered(make_model(objects=2)))
    frames, telemetry, actions = make_context(model, 2, 4)
    state = model.encode(frames, telemetry, actions)
    assert model.step(state, actions[:, 0]).telemetry.isfinite().all()


def test_a_tokenizer_of_the_same_size_is_borrowed_whole_but_for_the_scene(tmp_path: Path) -> None:
    source, model = make_model(seed=1), make_model(seed=2)
    source.tokenizer.background.fill_(0.25)
    source.save(tmp_path)
    source = WorldModel.load(tmp_path, "cpu")
    before = {name: value.clone() for name, value in model.dynamics.state_dict().items()}
    assert borrow_tokenizer(model, str(tmp_path))
    for name, value in model.tokenizer.named_parameters():
        assert torch.equal(value, dict(source.tokenizer.named_parameters())[name])
    assert not torch.equal(model.tokenizer.background, source.tokenizer.background)
    assert all(torch.equal(value, before[name]) for name, value in model.dynamics.state_dict().items())


def test_a_tokenizer_of_another_size_is_not_borrowed() -> None:
    model = make_model()
    kept = model.digest()
    assert not borrow_tokenizer(model, "gwm-mini")
    assert model.digest() == kept
