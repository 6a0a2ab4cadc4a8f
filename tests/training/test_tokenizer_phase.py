"""Pixels that move weigh more, and tracked things weigh alike whatever their size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from recordings import write_file
from torch import Tensor

from gwm_sim.training import pipeline
from gwm_sim.training.build import build
from gwm_sim.training.config import PRESETS, TrainConfig
from gwm_sim.training.dataset import load_training_data
from gwm_sim.training.phases.tokenizer import MOTION_WEIGHT, THING_WEIGHT, TokenizerPhase, in_boxes, neighbours

SIDE = 16


def test_every_thing_weighs_the_same_whatever_its_size() -> None:
    boxes = torch.tensor([[[4.0, 4.0, 2.0, 2.0], [10.0, 10.0, 6.0, 4.0]], [[4.0, 4.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]]])
    weights = in_boxes(boxes, (SIDE, SIDE))
    assert weights.mean(dim=(1, 2)).tolist() == pytest.approx([1, 1])
    small, large = weights[0, 2:7, 2:7].sum(), weights[0, 7:14, 6:15].sum()
    assert small.item() == pytest.approx(large.item()) == pytest.approx(SIDE * SIDE / 2)
    assert weights[1, 4, 4] > weights[0, 4, 4] > weights[0, 10, 10] > 0
    assert weights[0, 0, 0] == 0


def test_nothing_in_sight_weighs_nothing() -> None:
    assert in_boxes(torch.zeros(3, 2, 4), (SIDE, SIDE)).abs().sum() == 0
    assert in_boxes(torch.zeros(3, 0, 4), (SIDE, SIDE)).abs().sum() == 0
    outside = in_boxes(torch.tensor([[[40.0, 40.0, 4.0, 4.0]]]), (SIDE, SIDE))
    assert outside.abs().sum() == 0


def test_what_changes_within_a_moment_weighs_more(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.hdf5")
    data = load_training_data([path])
    assert isinstance(data.frames, Tensor)
    data.frames[:] = 100
    start, length = int(data.starts[1]), int(data.lengths[1])
    data.frames[start : start + length, 3, 4] = 100 + 10 * torch.arange(length)[:, None].to(torch.uint8)
    data = replace(data, boxes=torch.tensor([[[8.0, 8.0, 4.0, 4.0]]]).expand(len(data.frames), -1, -1))
    model = build(TrainConfig(data=(path,), out=tmp_path, preset="tiny", steps=1), PRESETS["tiny"], data)
    index = torch.tensor([start, start + 1, start - 1])
    weight = TokenizerPhase(model, data, PRESETS["tiny"], seed=0).emphasis(index, data.frames[index])[:, 0, 0]
    steps = min(round(0.5 * data.schema.rate), length - 1)
    assert weight[0, 3, 4].item() == pytest.approx(MOTION_WEIGHT * 10 * steps / 255, rel=1e-4)
    assert weight[0, 3, 5] == 0 and weight[2, 3, 4] == 0  # the frame before belongs to another episode
    assert weight[0, 8, 8] > THING_WEIGHT > 0


def test_neighbours_stay_in_their_episode(tmp_path: Path) -> None:
    data = load_training_data([write_file(tmp_path / "a.hdf5")])
    frames = torch.arange(len(data.frames))
    for others in neighbours(data, frames, 3):
        assert torch.equal(data.episode_of(others), data.episode_of(frames))
        assert (others - frames).abs().max() == 3


@pytest.mark.parametrize(
    ("kept", "rounds"), [((0.99,), ["tokenizer"]), ((0.5, 0.6), ["tokenizer", "tokenizer-2"]), (None, ["tokenizer"])]
)
def test_it_goes_on_while_reconstructions_lose_things(
    kept: tuple[float, ...] | None, rounds: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_file(tmp_path / "a.hdf5")
    config = TrainConfig(data=(path,), out=tmp_path, preset="tiny", steps=1000)
    data = load_training_data([path])
    trainer: Any = type("Trainer", (), {"model": build(config, PRESETS["tiny"], data)})
    learned, shares = [], iter(kept or ())
    monkeypatch.setattr(pipeline, "learn", lambda trainer, phase, *rest: learned.append(phase.name))
    monkeypatch.setattr(pipeline, "brought_tracker", lambda *_: kept and "a tracker")
    monkeypatch.setattr(pipeline, "share_kept", lambda *_: next(shares))
    pipeline.learn_tokenizer(config, PRESETS["tiny"], data, trainer)
    assert learned == rounds


def test_another_round_takes_another_share_of_the_budget(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.hdf5")
    config = TrainConfig(data=(path,), out=tmp_path, preset="tiny", steps=1000)
    model = build(config, PRESETS["tiny"], load_training_data([path])).config
    first = config.share("tokenizer", model, {})[1]
    assert first is not None
    assert config.share("tokenizer-2", model, {"tokenizer": first})[1] == first
