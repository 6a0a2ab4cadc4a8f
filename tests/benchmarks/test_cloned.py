"""`benchmarks/worlds/cloned.py`: the policy that planners are held against goes where it is asked to."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from worlds import cloned
from worlds.cloned import ClonedPolicy

from gwm_sim.envs.spaces import Observation
from gwm_sim.errors import ConfigError
from gwm_sim.model.checkpoint import STATES_FILE
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning import Goal


def test_it_goes_to_goals_as_recordings_went_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloned, "UPDATES", 300)
    model = WorldModel.load("gwm-mini", "cpu")
    c, generator = model.config.dynamics, torch.Generator().manual_seed(0)
    ways = torch.randint(0, 2, (40,), generator=generator) * 2.0 - 1  # each recording goes up or down all the time
    telemetry = torch.randn(40, 20, c.telemetry, generator=generator)
    telemetry[..., 0] = ways[:, None] * torch.arange(20) / 20
    actions = torch.zeros(40, 20, c.actions)
    actions[..., 0] = ways[:, None]
    states = {"telemetry": telemetry.flatten(0, 1), "actions": actions.flatten(0, 1), "starts": torch.arange(40) * 20}
    objects = torch.randn(800, c.objects, 3, generator=generator)
    states |= {"objects": objects, "turns": torch.zeros(800, c.objects, 2)}
    save_file(states, tmp_path / STATES_FILE)
    policy = ClonedPolicy(model, tmp_path)
    frame = np.zeros((model.config.tokenizer.height, model.config.tokenizer.width, 3), np.uint8)
    observation: Observation = {"pixels": frame, "agent_pos": np.zeros(c.telemetry, np.float32)}
    for way in (-1.0, 1.0):
        asked = torch.full((1, c.telemetry), torch.nan)
        asked[0, 0] = 0.5 * way
        policy.ask(Goal(telemetry=asked))
        action, _ = policy.predict(observation)
        assert action[0] * way > 0.3


def test_a_model_without_states_cannot_be_cloned(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="train the model anew"):
        ClonedPolicy(WorldModel.load("gwm-mini", "cpu"), tmp_path)
