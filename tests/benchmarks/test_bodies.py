"""`benchmarks/bodies.py` follows robot and cubes from starts that are a little off, and scores them against poses."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bodies
import numpy as np
import pytest
import torch

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.envs.blocks.metrics import OUTCOME_TASKS
from gwm_sim.errors import ConfigError
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(bodies, "HORIZONS", (3, 8))  # episodes of `tiny_data` have 12 steps
    return bodies


def test_errors_are_those_of_cubes_that_moved(tool: Any, tiny_data: Path) -> None:
    """A model that knows everything is right, and one that is 3 cm off is off by as much."""
    with EpisodeFile(tiny_data) as file:
        episodes = [file.read(k, cameras=()) for k in range(len(file))]
    true = torch.from_numpy(np.stack([e.objects[..., :3] for e in episodes if e.objects is not None])).clone()
    true[0, 6:, 0, 0] += 0.05  # one cube moves in any case
    for episode, places in zip(episodes, true.numpy(), strict=True):
        assert episode.objects is not None
        episode.objects[..., :3] = places
    labels = torch.tensor([[bool(e.labels[task].success[-1]) for task in OUTCOME_TASKS] for e in episodes])

    class Oracle:
        tasks = OUTCOME_TASKS
        config = WorldModel.load("gwm-mini", "cpu").config

        def __init__(self, off: float) -> None:
            self.off = off

        def begin(self, context: Any) -> Any:
            assert (context.objects - true[:, :CONTEXT]).abs().max() < 0.01  # stride 20: all begin with the episode
            return None

        def imagine(self, state: Any, actions: torch.Tensor, judged: bool, draw: bool) -> Any:
            assert judged and not draw and actions.shape[1] == 12 - CONTEXT + 1
            off = torch.tensor([0.0, self.off, 0.0])
            return SimpleNamespace(objects=true[:, CONTEXT:] + off, success=labels[:, None].float())

    right, wrong = (tool.measure(Oracle(off), episodes, 20) for off in (0.0, 0.03))
    assert right["rollouts_moved"]["8"] >= 1
    for horizon in ("3", "8"):
        assert right["moved_cm"][horizon] == pytest.approx(0, abs=1e-3)
        assert wrong["moved_cm"][horizon] == pytest.approx(3, abs=1e-3)
    assert wrong["drift_cm"] == pytest.approx(3, abs=1e-3)
    matrix = np.array(right["confusion"])
    assert matrix.sum() == len(episodes) == np.trace(matrix)


def test_models_are_measured_side_by_side(
    tool: Any, tiny_data: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "bodies.json"
    config = tool.BodiesConfig(data=tiny_data, models=(str(tiny_checkpoint),), json=report)
    assert tool.main(config) == 0
    (row,) = json.loads(report.read_text())["models"].values()
    assert row["hash"] == WorldModel.load(tiny_checkpoint, "cpu").digest()
    assert np.sum(row["confusion"]) == len(EpisodeFile(tiny_data))
    assert "outcome" in capsys.readouterr().out


def test_episodes_that_are_too_short_are_refused(
    tool: Any, tiny_data: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "HORIZONS", (10, 40))
    with pytest.raises(ConfigError, match="at least 43 steps; they have 12 to 12"):
        tool.main(tool.BodiesConfig(data=tiny_data, models=(str(tiny_checkpoint),)))
