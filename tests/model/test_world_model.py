"""States are records of independent rows, steps leave them alone, checkpoints come back."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from models import ACTIONS, make_context, make_model

from gwm_sim.errors import CheckpointError
from gwm_sim.model.config import FORMAT
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel


def assert_equal_states(a: WorldState, b: WorldState) -> None:
    for (name, x), (_, y) in zip(a.tensors(), b.tensors(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4, equal_nan=True, msg=f"{name} differs")


def actions_for(rows: int, steps: int, seed: int = 1) -> torch.Tensor:
    return 2 * torch.rand(rows, steps, ACTIONS, generator=torch.Generator().manual_seed(seed)) - 1


def test_step_leaves_its_state_alone() -> None:
    model = make_model()
    state = model.encode(*make_context(model, 2, 3))
    kept = state.clone()
    model.step(state, actions_for(2, 1)[:, 0])
    assert_equal_states(state, kept)


def test_imagine_is_step_after_step() -> None:
    model = make_model()
    state = model.encode(*make_context(model, 2, 3))
    actions = actions_for(2, 6)
    rollout = model.imagine(state, actions)
    for t in range(6):
        state = model.step(state, actions[:, t])
        assert torch.equal(rollout.codes[:, t], state.codes)
        torch.testing.assert_close(rollout.telemetry[:, t], state.telemetry)
    assert_equal_states(rollout.final, state)
    assert model.decode(rollout).shape == (2, 6, 32, 32, 3)
    assert rollout.reward.shape == rollout.success.shape == (2, 6, 2)


def test_a_world_goes_the_same_way_when_nobody_watches() -> None:
    model = make_model()
    state = model.encode(*make_context(model, 2, 3))
    actions = actions_for(2, 6)
    seen, unseen = model.imagine(state, actions), model.imagine(state, actions, draw=False)
    for name in ("telemetry", "objects", "reward", "success", "uncertainty"):
        assert torch.equal(getattr(seen, name), getattr(unseen, name)), name
    assert not unseen.codes.numel() and not unseen.final.drawn.any()
    with pytest.raises(ValueError, match="draw=True"):
        model.decode(unseen)


def test_a_picture_that_was_left_out_is_rendered_from_the_state_when_asked_for() -> None:
    model = make_model()
    context, actions = make_context(model, 2, 3), actions_for(2, 3)
    state = model.encode(*context)
    late = model.imagine(state, actions, draw=False).final
    other = replace(state, codes=4 - state.codes, previous_codes=4 - state.codes)
    assert torch.equal(model.decode(late), model.decode(model.imagine(other, actions, draw=False).final))
    mixed = late.clone()
    mixed.assign([1], state.select([1]))
    drawn = model.draw(mixed)
    assert drawn.drawn.all() and torch.equal(drawn.codes[1], state.codes[1])
    assert torch.equal(drawn.codes[0], model.draw(late).codes[0]) and not torch.equal(drawn.codes[0], state.codes[0])
    assert model.draw(drawn) is drawn
    watched = model.step(mixed, actions[:, 0])
    assert_equal_states(watched, model.step(drawn, actions[:, 0]))


def test_reset_of_one_row_keeps_the_others() -> None:
    model = make_model()
    pictures, telemetry, actions = make_context(model, 3, 3)
    state = model.encode(pictures, telemetry, actions)
    plain = model.imagine(state, actions_for(3, 5))
    other = model.encode(*make_context(model, 1, 5, seed=7))
    mixed = state.clone()
    mixed.assign([1], other)
    rollout = model.imagine(mixed, actions_for(3, 5))
    assert torch.equal(rollout.codes[[0, 2]], plain.codes[[0, 2]])
    assert not torch.equal(rollout.codes[1], plain.codes[1])
    alone = model.imagine(other.select([0, 0, 0]), actions_for(3, 5))  # bitwise equal at equal batch size only
    assert torch.equal(rollout.codes[1], alone.codes[1])


def test_assigning_rows_leaves_the_states_before_alone() -> None:
    model = make_model()
    state = model.encode(*make_context(model, 2, 3))
    kept = state.clone()
    later = model.step(state, actions_for(2, 1)[:, 0])
    later.assign([0], model.encode(*make_context(model, 1, 3, seed=9)))
    assert_equal_states(state, kept)


def test_rows_can_be_selected_many_times() -> None:
    model = make_model()
    state = model.encode(*make_context(model, 2, 3))
    copies = state.select([1, 1, 0])
    future = model.imagine(copies, actions_for(1, 1).expand(3, -1, -1))
    # Alike to the last bits only: some processors round the rows of one product differently.
    torch.testing.assert_close(future.objects[0], future.objects[1])
    alike, unlike = ((future.codes[0] == future.codes[row]).float().mean() for row in (1, 2))
    assert alike > 0.95 and unlike < 0.8
    assert len(copies) == 3


def test_telemetry_stays_in_its_bounds() -> None:
    model = make_model()
    rollout = model.imagine(model.encode(*make_context(model, 2, 3)), actions_for(2, 40))
    assert (rollout.telemetry >= model.dynamics.telemetry_low).all()
    assert (rollout.telemetry <= model.dynamics.telemetry_high).all()


def test_save_and_load_give_the_same_model(tmp_path: Path) -> None:
    model = make_model()
    model.save(tmp_path)
    loaded = WorldModel.load(tmp_path, "cpu")
    assert loaded.config.to_json() == model.config.to_json()
    assert loaded.digest() == model.digest()
    context = make_context(model, 2, 3)
    again = WorldModel.load(tmp_path, "cpu")
    a, b = (m.imagine(m.encode(*context), actions_for(2, 5)) for m in (loaded, again))
    assert torch.equal(a.codes, b.codes)


def test_a_model_without_objects_and_labels_still_imagines() -> None:
    model = make_model(objects=0)
    rollout = model.imagine(model.encode(*make_context(model, 1, 2)), actions_for(1, 3))
    assert rollout.objects.shape == (1, 3, 0, 3)
    unwatched = model.imagine(model.encode(*make_context(model, 1, 2)), actions_for(1, 3), draw=False)
    assert torch.equal(unwatched.codes, rollout.codes)  # only the picture knows what is there


def test_wrong_shapes_and_missing_models_are_named(tmp_path: Path) -> None:
    model = make_model()
    pictures, telemetry, actions = make_context(model, 2, 3)
    with pytest.raises(ValueError, match=r"actions must have shape \(2, 2, 3\), got \(2, 1, 3\)"):
        model.encode(pictures, telemetry, actions[:, :1])
    with pytest.raises(ValueError, match=r"frames must be uint8 from 0 to 255, got torch.float32"):
        model.encode(pictures.float(), telemetry, actions)
    with pytest.raises(ValueError, match=r"actions must have shape \(2, 3\)"):
        model.step(model.encode(pictures, telemetry, actions), torch.zeros(1, 3))
    with pytest.raises(CheckpointError, match="No model 'gwm-maxi'"):
        WorldModel.load("gwm-maxi")
    model.save(tmp_path)
    config = (tmp_path / "config.json").read_text()
    for version, advice in ((1, "train it anew"), (99, "upgrade gwm_sim")):
        (tmp_path / "config.json").write_text(json.dumps(json.loads(config) | {"format": version}))
        with pytest.raises(
            CheckpointError, match=f"has checkpoint format {version}, this version reads {FORMAT}: {advice}"
        ):
            WorldModel.load(tmp_path, "cpu")
    (tmp_path / "config.json").write_text(config)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="not a complete checkpoint"):
        WorldModel.load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not a complete checkpoint"):
        WorldModel.load(tmp_path)
