"""`benchmarks/worlds/cloned.py`: the policy that planners are held against."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from ways import recorded_ways
from worlds.cloned import CloneAgent

from gwm_sim.envs.spaces import Observation
from gwm_sim.errors import ConfigError
from gwm_sim.model.checkpoint import STATES_FILE
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning import Goal
from gwm_sim.policies.planning.prior import cloned


def test_it_goes_to_goals_as_recordings_went_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloned, "UPDATES", 300)
    model = WorldModel.load("gwm-mini", "cpu")
    save_file(recorded_ways(model), tmp_path / STATES_FILE)
    agent = CloneAgent(model, tmp_path)
    c = model.config.dynamics
    frame = np.zeros((model.config.tokenizer.height, model.config.tokenizer.width, 3), np.uint8)
    observation: Observation = {"pixels": frame, "agent_pos": np.zeros(c.telemetry, np.float32)}
    for way in (-1.0, 1.0):
        asked = torch.full((1, c.telemetry), torch.nan)
        asked[0, 0] = 0.5 * way
        agent.ask(Goal(telemetry=asked))
        action, _ = agent.predict(observation)
        assert action[0] * way > 0.3


def test_a_model_without_states_cannot_be_cloned(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="train the model anew"):
        CloneAgent(WorldModel.load("gwm-mini", "cpu"), tmp_path)
