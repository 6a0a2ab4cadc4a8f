"""`gwm serve` says where it is, refuses what cannot be, and ends when it is told to."""

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from learned_worlds import draw_actions, same
from servers import command

from gwm_sim.cli import main as gwm
from gwm_sim.errors import ConfigError
from gwm_sim.policies.commands.serve import ServeConfig, listen, load


@pytest.mark.parametrize("options", [{"port": -1}, {"port": 65536}, {"idle": 0.0}, {"sessions": 0}])
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"--{next(iter(options))}"):
        ServeConfig(**options)


def test_a_port_that_is_taken_and_a_host_that_is_none_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert gwm(["serve", "--port", port]) == 2
    assert f"--port {port}" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no-such-host"):
        listen("no-such-host.invalid", 0)


def test_two_models_of_one_name_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
    with pytest.raises(ConfigError, match="name"):
        load(ServeConfig(model=(str(tiny_checkpoint), str(copy))))


def test_a_twin_needs_a_world_that_has_one(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ServeConfig(model=(str(tiny_checkpoint),), twin=True)
    assert load(config).keys() == {"tiny"}
    monkeypatch.setattr("gwm_sim.policies.serving.twin.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"gwm-sim\[mujoco\]"):
        load(config)


@pytest.mark.slow
def test_it_prints_one_url_that_works_and_ends_when_told(tiny_checkpoint: Path) -> None:
    with command("--model", str(tiny_checkpoint)) as (process, url):
        assert url.startswith("http://127.0.0.1:") and "#token=" in url
        env, local = gym.make("gwm_sim:GWM-Remote-v0", url=url), gym.make("GWM-World-v0", model=tiny_checkpoint)
        assert same(env.reset(seed=0)[0], local.reset(seed=0)[0])
        assert all(same(env.step(action)[0], local.step(action)[0]) for action in draw_actions(5))
        env.close()
        begun = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=10) in (0, -signal.SIGTERM)
        assert time.monotonic() - begun < 5
        assert process.stdout is not None and process.stdout.read() == ""
