"""Peers of the shipped model learn on equal terms and do not cheat; the floor and the ceiling are what they say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import fidelity
import numpy as np
import pytest
import torch
from interruption import compute_alike, kill_training
from numpy.typing import NDArray
from peers import training
from peers.bounds import SHIFT, ShiftedTwin, copy_last_frame
from peers.layers import divergence
from peers.report import comparison_table, peer_over_model
from peers.rssm import RSSM, RSSMPredictor, World
from peers.training import MODEL_CONFIGS, RSSM_CONFIGS, TINY, Budget, RSSMPhase, cut, search, train_rssm
from safetensors.torch import load_file
from torch import Tensor

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.open_loop import OpenLoopTest, Window
from gwm_sim.model.tokenizer import median_background
from gwm_sim.policies.collection import collect
from gwm_sim.policies.commands.collect import CollectConfig
from gwm_sim.training.build import build
from gwm_sim.training.config import PRESETS, TrainConfig
from gwm_sim.training.dataset import TrainingData, load_training_data

Array = NDArray[Any]


@pytest.fixture(scope="module")
def data(tiny_data: Path) -> TrainingData:
    return load_training_data([tiny_data])


def empty(data: TrainingData) -> Tensor:
    """The scene without robot and things, as the peers begin with it."""
    return median_background(data.frames[torch.arange(0, len(data.frames), 10)])


@pytest.fixture(scope="module")
def peer(data: TrainingData) -> RSSM:
    """A peer that has learned nothing."""
    torch.manual_seed(0)
    world = World(data.schema, "front", data.property_names)
    return RSSM(TINY, world, data.statistics(), empty(data)).eval()


@pytest.fixture
def windows(tiny_data: Path, data: TrainingData) -> Window:
    with EpisodeFile(tiny_data) as file:
        return next(OpenLoopTest(file, [1, 5], properties=data.property_names).batches(6))


def test_the_peer_learns_a_batch_by_heart(data: TrainingData) -> None:
    torch.manual_seed(0)
    world = World(data.schema, "front", data.property_names)
    model = RSSM(TINY, world, data.statistics(), empty(data))
    phase = RSSMPhase(model, data, seed=0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    course = []
    for _ in range(30):
        loss, parts = phase.loss(0, 0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        course.append({name: value.item() for name, value in parts.items()})
    for part in ("image", "telemetry", "objects"):
        assert course[-1][part] < 0.6 * course[0][part], part


def test_every_parameter_of_the_peer_learns(data: TrainingData, peer: RSSM) -> None:
    phase = RSSMPhase(peer, data, seed=0)
    optimiser = torch.optim.SGD(peer.parameters(), lr=0.0)
    loss, _ = phase.loss(0, 0.0)
    (loss + 10 * peer.observe(cut(data, phase.starts[:2], 8)[0])[2].square().mean()).backward()  # KL may be free here
    idle = [name for name, p in phase.parameters() if p.grad is None or not p.grad.any()]
    optimiser.zero_grad()
    assert not idle


def test_an_interrupted_peer_ends_like_an_uninterrupted_one(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_alike(monkeypatch)
    train_rssm([tiny_data], tmp_path / "whole", TINY, Budget(steps=12))

    kill_training(monkeypatch, (6,))
    with pytest.raises(KeyboardInterrupt):
        train_rssm([tiny_data], tmp_path / "killed", TINY, Budget(steps=12))
    train_rssm([tiny_data], tmp_path / "killed", TINY, Budget(steps=12))

    whole, killed = (load_file(tmp_path / run / "model.safetensors") for run in ("whole", "killed"))
    for name, value in whole.items():
        torch.testing.assert_close(killed[name], value, msg=f"{name} differs")


def test_a_run_with_other_settings_is_refused(tiny_data: Path, tmp_path: Path) -> None:
    train_rssm([tiny_data], tmp_path, TINY, Budget(steps=1))
    with pytest.raises(ConfigError, match=r"other settings \(rate\)"):
        train_rssm([tiny_data], tmp_path, replace(TINY, rate=1e-3), Budget(steps=1))


def test_a_loaded_peer_is_the_saved_one(peer: RSSM, windows: Window, tmp_path: Path) -> None:
    peer.save(tmp_path)
    loaded = RSSM.load(tmp_path)
    assert loaded.digest() == peer.digest()
    before, after = (RSSMPredictor(model)(windows, windows.actions, [1]) for model in (peer, loaded))
    np.testing.assert_array_equal(before.frames, after.frames)


def test_the_peer_answers_in_the_shapes_of_the_protocol(peer: RSSM, windows: Window) -> None:
    count, steps = windows.actions.shape[:2]
    prediction = RSSMPredictor(peer)(windows, windows.actions, [1, 5])
    assert prediction.frames.shape == windows.true_frames.shape and prediction.frames.dtype == np.uint8
    assert prediction.telemetry.shape == windows.true_telemetry.shape
    assert prediction.course_telemetry is not None and prediction.course_objects is not None
    assert prediction.course_telemetry.shape == windows.course_telemetry.shape
    assert prediction.course_objects.shape == windows.course_objects.shape
    assert prediction.success is not None
    assert [success.shape for success in prediction.success.values()] == [(count,)] * 3
    assert RSSMPredictor(peer).success(windows, windows.actions).shape == (count, steps, 3)


def test_the_peer_does_not_see_the_future(peer: RSSM, windows: Window) -> None:
    blank = {name: np.zeros_like(value) for name, value in windows._asdict().items()}
    seen = {name: blank[name] for name in Window._fields if name.startswith(("true", "course", "last"))}
    before, after = (RSSMPredictor(peer)(w, windows.actions, [1, 5]) for w in (windows, windows._replace(**seen)))
    np.testing.assert_array_equal(before.frames, after.frames)
    np.testing.assert_array_equal(before.telemetry, after.telemetry)


def test_the_peer_observes_causally(peer: RSSM, data: TrainingData) -> None:
    sequences, _ = cut(data, data.windows(8)[:2], 8)
    changed = sequences._replace(frames=sequences.frames.clone(), telemetry=sequences.telemetry.clone())
    changed.frames[:, 5:], changed.telemetry[:, 5:] = 0, 0.1
    with torch.no_grad():
        (_, before, _, read), (_, after, _, read_after) = peer.observe(sequences), peer.observe(changed)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.equal(read[:, 5], read_after[:, 5])


def test_the_peer_knows_commands_exactly(peer: RSSM, windows: Window) -> None:
    dream = RSSMPredictor(peer).dream(windows, windows.actions)
    np.testing.assert_allclose(
        dream.telemetry[..., peer.commanded], windows.course_telemetry[..., peer.commanded], atol=1e-5
    )


def test_divergence_is_zero_for_equals_only(peer: RSSM) -> None:
    logits = torch.randn(2, 3, TINY.latents * TINY.classes)
    first, second = peer.distribution(logits[0]), peer.distribution(logits[1])
    torch.testing.assert_close(divergence(first, first), torch.zeros(3))
    assert (divergence(first, second) > 0.1).all()


def test_six_configurations_of_either_side() -> None:
    assert len(RSSM_CONFIGS) == len(MODEL_CONFIGS) == 6
    assert len(set(RSSM_CONFIGS.values())) == 6
    assert len({replace(PRESETS["mini"], **changes) for changes in MODEL_CONFIGS.values()}) == 6


def test_a_search_keeps_the_configuration_that_strays_least(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "RSSM_CONFIGS", {"bad": TINY, "good": replace(TINY, rate=1e-3)})
    monkeypatch.setattr(training, "held_out_error", lambda predict, *_: {TINY.rate: 2.0, 1e-3: 1.0}[rate_of(predict)])
    with pytest.raises(ConfigError, match="no search for rssm"):
        training.chosen(tmp_path, "rssm")
    assert search("rssm", [tiny_data], tiny_data, tmp_path, Budget(steps=1)) == "good"
    assert training.chosen(tmp_path, "rssm") == "good"
    assert json.loads((tmp_path / "search.json").read_text())["error_cm"] == {"bad": 2.0, "good": 1.0}


def rate_of(predict: RSSMPredictor) -> float:
    return predict._model.config.rate


def test_held_out_error_is_that_of_moved_cubes(
    tiny_data: Path, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SELECTION_STEPS", (4, 8))
    error = training.held_out_error(copy_last_frame, data.property_names, tiny_data)
    assert 1 < error < 10  # a cube counts from 1 cm on, and was lost at 10


def test_nothing_is_chosen_by_evaluation_seeds(tiny_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "test.hdf5"
    collect(CollectConfig(episodes=1, steps=2, seed=300_000, out=path, workers=1, rendering="fast"))
    with pytest.raises(ConfigError, match="evaluation only"):
        search("rssm", [tiny_data], path, tmp_path, Budget(steps=1))


def test_the_twin_repeats_a_recording_and_a_shift_moves_every_cube(tiny_data: Path) -> None:
    with EpisodeFile(tiny_data) as file:
        test = OpenLoopTest(file, [1, 5], limit=2)
        (first, *_) = test.batches(2)
        same, shifted = (ShiftedTwin(test, shift)(first, first.actions, [1]) for shift in (0.0, SHIFT))
    assert same.course_objects is not None and shifted.course_objects is not None
    np.testing.assert_allclose(same.course_objects, first.course_objects, atol=1e-3)
    np.testing.assert_array_less(np.abs(same.frames[:, 0].astype(int) - first.true_frames[:, 0]), 4)
    moved = np.linalg.norm(shifted.course_objects[:, 0] - first.course_objects[:, 0], axis=-1)
    assert np.median(moved) == pytest.approx(SHIFT, rel=0.2)


def test_copying_keeps_the_last_frame(windows: Window) -> None:
    prediction = copy_last_frame(windows, windows.actions, [1, 5])
    assert (prediction.frames == windows.frames[:, -1:]).all()
    assert (prediction.telemetry == windows.telemetry[:, -1:]).all()


def test_success_is_compared_with_the_labels_of_the_same_steps(tiny_data: Path) -> None:
    with EpisodeFile(tiny_data) as file:
        test = OpenLoopTest(file, [1, 5])
        labels = [file.read(k, cameras=()).labels["reach"].success for k in range(len(file))]

        def oracle(windows: Window, actions: Array) -> Array:
            slots = [test.slots[number] for number in windows.number]
            known = [labels[slot.episode][slot.start + 4 : slot.start + 4 + actions.shape[1]] for slot in slots]
            return np.stack(known)[..., None].astype(float)

        assert fidelity.success_auroc(oracle, ["reach"], test, 8, lambda share, text: None) == {"reach": 1.0}


@pytest.mark.slow
def test_all_systems_are_measured_into_one_table(
    tiny_data: Path, data: TrainingData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = build(TrainConfig(data=(tiny_data,), out=tmp_path, steps=1, device="cpu"), PRESETS["tiny"], data)
    model.save(tmp_path / "model")
    train_rssm([tiny_data], tmp_path / "peer", TINY, Budget(steps=1))
    config = fidelity.MeasureConfig(
        data=tiny_data, model=str(tmp_path / "model"), peer=tmp_path / "peer", out=tmp_path, limit=10, quick=True
    )
    assert fidelity.main(replace(config, systems=("copy", "rssm", "model"))) == 0
    assert fidelity.main(replace(config, systems=("twin",))) == 0
    reports = json.loads((tmp_path / "fidelity.json").read_text())
    assert set(reports) == {"copy", "rssm", "model", "twin"}  # those measured before were kept
    assert reports["model"]["model_hash"] == model.digest()
    assert set(reports["model"]["success_auroc"]) == {"reach", "grasp", "stack"}
    for report in reports.values():
        assert {"horizons", "outcome", "controllability", "data", "command", "versions", "parameters"} <= set(report)
        assert report["horizons"]["1"]["n"] == reports["copy"]["horizons"]["1"]["n"]
    assert comparison_table(reports) in capsys.readouterr().out
    assert (tmp_path / "fidelity.png").read_bytes().startswith(b"\x89PNG")


def test_the_peer_is_compared_at_forty_steps() -> None:
    errors = {"rssm": 6.0, "model": 2.0}
    reports = {name: {"horizons": {"40": {"object_error_cm": value}}} for name, value in errors.items()}
    assert peer_over_model(reports) == 3
    assert peer_over_model({"model": reports["model"]}) is None
