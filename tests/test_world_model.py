"""The one interface: states are records of independent rows, steps leave them alone, checkpoints come back."""

from pathlib import Path

import pytest
import torch
from models import ACTIONS, make_context, make_model

from gwm_sim.errors import CheckpointError
from gwm_sim.world_model import WorldModel, WorldState


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
    future = model.imagine(copies, actions_for(1, 4).expand(3, -1, -1))
    assert torch.equal(future.codes[0], future.codes[1])
    assert len(copies) == 3


def test_telemetry_stays_in_its_bounds() -> None:
    model = make_model()
    rollout = model.imagine(model.encode(*make_context(model, 2, 3)), actions_for(2, 40))
    assert (rollout.telemetry >= model.dynamics.telemetry_low).all()
    assert (rollout.telemetry <= model.dynamics.telemetry_high).all()


def test_a_context_longer_than_the_window_equals_its_reading_step_by_step() -> None:
    model = make_model()
    pictures, telemetry, actions = make_context(model, 1, 11)
    context = model.read(pictures, telemetry, actions)
    at_once = model.begin(context)
    cache, age = model.dynamics.empty_cache(1), torch.zeros(1, dtype=torch.long)
    for t in range(10):
        now = type(context)(*(v if n == "properties" else v[:, t : t + 1] for n, v in context._asdict().items()))
        model.dynamics.step(now, cache, age)
        age += 1
    torch.testing.assert_close(at_once.cache, cache, rtol=1e-4, atol=1e-4)
    assert at_once.age.item() == 10


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
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="not a complete checkpoint"):
        WorldModel.load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not a complete checkpoint"):
        WorldModel.load(tmp_path)
