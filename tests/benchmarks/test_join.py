"""`benchmarks/join.py` puts a model together of parts that learned apart."""

from pathlib import Path
from typing import Any

import join
import pytest
import torch

from gwm_sim.commands.train import main as train
from gwm_sim.errors import ConfigError
from gwm_sim.model.checkpoint import BANK_FILE
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.config import TrainConfig


@pytest.mark.slow
def test_parts_come_from_one_model_and_all_else_from_another(
    tiny_data: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    words: dict[str, Any] = {"data": (tiny_data,), "init": str(tiny_checkpoint), "preset": "tiny", "device": "cpu"}
    train(TrainConfig(**words, out=tmp_path / "drawn", steps=6, phases=("painter",)))
    given: dict[str, Any] = {"base": str(tiny_checkpoint), "of": str(tmp_path / "drawn"), "data": (tiny_data,)}
    assert join.main(join.JoinConfig(**given, parts=("painter",), out=tmp_path / "joined")) == 0
    base, other, joined = map(WorldModel.load, (tiny_checkpoint, tmp_path / "drawn", tmp_path / "joined"))
    theirs, ours = other.state_dict(), base.state_dict()
    assert any(not torch.equal(value, ours[name]) for name, value in theirs.items() if name.startswith("renderer."))
    for name, value in joined.state_dict().items():
        drawn = name.startswith(("dynamics.painter.", "renderer.", "turn_reader."))
        if name != "calibration":
            assert torch.equal(value, (theirs if drawn else ours)[name]), name
    assert (tmp_path / "joined" / BANK_FILE).exists()
    with pytest.raises(ConfigError, match="holds a model already"):
        join.main(join.JoinConfig(**given, parts=("painter",), out=tmp_path / "joined"))
    with pytest.raises(ConfigError, match="has no depth"):
        join.main(join.JoinConfig(**given, parts=("depth",), out=tmp_path / "deep"))
