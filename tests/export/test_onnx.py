"""Worlds as ONNX files go the way of the native ones, without torch and without this package."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import exported
import gymnasium as gym
import numpy as np
import onnx
import pytest
import torch
from models import make_model
from safetensors.numpy import load_file

from gwm_sim.commands.export import ExportConfig, export_model, main
from gwm_sim.errors import ConfigError, MissingDependency
from gwm_sim.export.onnx import METADATA
from gwm_sim.export.parts import parts_of
from gwm_sim.training.build import build
from gwm_sim.training.config import PRESETS, TrainConfig
from gwm_sim.training.dataset import load_training_data

EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_rollout.py"
ACTION = 0.5, -0.5, 0.0, 1.0


@pytest.fixture(scope="module")
def written(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world as ONNX files, with four initial states."""
    out = tmp_path_factory.mktemp("onnx") / "world.onnx"
    assert export_model(ExportConfig("onnx", tiny_checkpoint, out, starts=4))["starts"] == 4
    return out


def alone(code: str, *arguments: object, cwd: Path) -> str:
    """What a program prints in which neither torch nor gwm_sim can be imported."""
    refusing = "import sys; sys.modules |= dict.fromkeys(('torch', 'gwm_sim'))"
    program = f"{refusing}\nimport runpy\nsys.argv = sys.argv[1:]\nrunpy.run_path({code!r}, run_name='__main__')"
    command = [sys.executable, "-c", program, code, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=os.environ | {"PYTHONPATH": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_files_are_stepped_without_torch_and_show_what_the_environment_shows(
    written: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    printed = alone(str(EXAMPLE), written, "--start", 1, "--steps", 5, "--action", *ACTION, cwd=tmp_path)
    assert printed.startswith("tiny after 5 steps: ") and "wrote rollout.safetensors" in printed
    made = load_file(tmp_path / "rollout.safetensors")
    start = {name: value[1] for name, value in load_file(written.with_suffix(".starts.safetensors")).items()}
    told = dict(zip(("friction", "gravity"), start.pop("properties").tolist(), strict=True))
    with gym.make("gwm_sim:GWM-World-v0", model=tiny_checkpoint, device="cpu") as env:
        observation, _ = env.reset(seed=0, options=start | {"properties": told})
        for step in range(5):
            assert np.abs(made["frames"][step].astype(int) - observation["pixels"]).max() <= exported.GREY_LEVELS
            observation = env.step(np.array(ACTION, np.float32))[0]
            np.testing.assert_allclose(made["telemetry"][step], observation["agent_pos"], atol=1e-5)


def test_every_start_agrees_with_the_native_world(tiny_checkpoint: Path, tmp_path: Path) -> None:
    config = exported.ExportedConfig(str(tiny_checkpoint), ("uniform",), starts=3, steps=10)
    row = exported.compare(config, tmp_path / "world.onnx")["policies"]["uniform"]["10"]
    assert row["agree_percent"] == 100 and row["millimetres_most"] < 0.01


def test_rows_do_not_know_of_each_other(written: Path) -> None:
    world = exported.OnnxWorld(written)
    step = parts_of(make_model())[1]
    values = {name: torch.rand(3, *value.shape[1:]).to(value.dtype) for name, value in step.examples.items()}
    together = step(*values.values())
    for i in range(3):
        own = step(*(value[i : i + 1] for value in values.values()))
        for one, other in zip(own, together, strict=True):
            torch.testing.assert_close(one[0], other[i])
    assert "state.telemetry" in world.inputs


def test_files_say_what_they_hold_and_nothing_of_this_machine(written: Path, tiny_checkpoint: Path) -> None:
    for file in (written, written.with_suffix(".encoder.onnx")):
        (entry,) = (item for item in onnx.load(file).metadata_props if item.key == METADATA)
        about = json.loads(entry.value)
        assert [action["name"] for action in about["actions"]] == ["dx", "dy", "dz", "gripper"]
        assert about["model"] == "tiny" and about["objects"] == ["red", "blue"] and about["rate"] == 10
        assert str(Path.home()).encode() not in file.read_bytes() and b"gwm_sim/" not in file.read_bytes()


@pytest.mark.slow
def test_exports_are_the_same_bytes_again(written: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    export_model(ExportConfig("onnx", tiny_checkpoint, tmp_path / "world.onnx", starts=4))
    for file in written.parent.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_what_cannot_be_written_is_refused_before_anything_is(
    written: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file: file.read_bytes() for file in written.parent.iterdir()}
    with pytest.raises(ConfigError, match="exists already"):
        export_model(ExportConfig("onnx", tiny_checkpoint, written))
    assert {file: file.read_bytes() for file in written.parent.iterdir()} == before
    with pytest.raises(ConfigError, match="--limit is for episodes"):
        ExportConfig("onnx", tiny_checkpoint, tmp_path / "w.onnx", limit=3)
    with pytest.raises(ConfigError, match="--starts is for onnx"):
        ExportConfig("raw", tiny_checkpoint, tmp_path / "w.hdf5", starts=3)
    monkeypatch.setattr("gwm_sim.commands.export.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"gwm-sim\[onnx\]"):
        main(ExportConfig("onnx", tiny_checkpoint, tmp_path / "w.onnx"))
    assert not list(tmp_path.iterdir())


def test_worlds_that_predict_from_pictures_say_why_they_are_refused(tiny_data: Path, tmp_path: Path) -> None:
    config = TrainConfig(data=(tiny_data,), out=tmp_path, preset="tiny", steps=1, path="video")
    data = load_training_data([tiny_data], path="video")
    with pytest.raises(ConfigError, match="train it with --path objects"):
        parts_of(build(config, PRESETS["tiny"], data))


@pytest.mark.slow
@pytest.mark.parametrize(("model", "agree"), [("gwm-mini", 95), ("gwm-preview", 75)])
def test_shipped_worlds_agree_for_as_long_as_is_said(model: str, agree: float, tmp_path: Path) -> None:
    config: Any = exported.ExportedConfig(model, ("scripted",), starts=20)
    rows = exported.compare(config, tmp_path / "world.onnx")["policies"]["scripted"]
    assert rows["10"]["agree_percent"] == 100 and rows["80"]["places_agree_percent"] == 100
    assert rows["80"]["agree_percent"] >= agree
