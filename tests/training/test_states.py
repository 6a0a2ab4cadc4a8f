"""What a training keeps of its recordings for planners."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gwm_sim.model.checkpoint import STATES_FILE
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training import pipeline
from gwm_sim.training.dataset import load_training_data


def test_states_of_whole_recordings_stay_with_the_model(
    tiny_checkpoint: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = load_file(tiny_checkpoint / STATES_FILE)
    data = load_training_data([tiny_data])
    assert torch.equal(states["starts"], data.starts)
    for name in ("telemetry", "actions", "objects"):
        assert torch.equal(states[name], getattr(data, name)), name
    model = WorldModel.load(tiny_checkpoint)
    data.residual = torch.rand(len(data.telemetry), model.config.dynamics.residual)
    monkeypatch.setattr(pipeline, "STATES", len(data.telemetry) // 5)
    pipeline.write_states(model, data, tmp_path / STATES_FILE)
    every_fifth = load_file(tmp_path / STATES_FILE)
    assert len(every_fifth["telemetry"]) == len(data.telemetry) / 5
    assert torch.equal(every_fifth["telemetry"][every_fifth["starts"]], data.telemetry[data.starts[::5]])
    turns = data.residual[:, model.config.dynamics.of_scene :]
    assert torch.equal(every_fifth["turns"][0].flatten(), turns[0])
