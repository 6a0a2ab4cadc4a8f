"""`gwm serve` says where it is, refuses what cannot be, and ends when it is told to."""

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import pytest
from learned_worlds import draw_actions, same
from servers import ROOT, command, fetch, wait_until

from gwm_sim.cli import main as gwm
from gwm_sim.errors import ConfigError
from gwm_sim.policies.commands.serve import ServeConfig, listen, load

ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(ROOT)}

SLOW: Final = """
import sys, time
from gwm_sim.cli import main
from gwm_sim.policies.serving import recording
def film(*arguments):
    print("computing", flush=True)
    time.sleep(60)
recording.film = film
main(["serve", "--port", "0", "--until-eof", "--model", sys.argv[1]])
"""
PARENT: Final = """
import subprocess, sys, time
words = [sys.executable, "-m", "gwm_sim", "serve", "--port", "0", "--until-eof", "--model", sys.argv[1]]
server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(server.pid, flush=True)
print(server.stdout.readline().decode(), flush=True)
time.sleep(600)
"""


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


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_time_whatever_it_computes(tiny_checkpoint: Path, sent: signal.Signals) -> None:
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(
            [sys.executable, "-c", SLOW, str(tiny_checkpoint)],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            encoding="utf-8",
            env=ENVIRONMENT,
        ) as server,
        ThreadPoolExecutor() as threads,
    ):
        try:
            assert server.stdout is not None and server.stderr is not None
            url = server.stdout.readline().strip()
            session = fetch(url, "POST", "/v1/sessions", {}).json["sessions"][0]["session"]
            film = threads.submit(fetch, url, "GET", f"/v1/sessions/{session}/film")
            assert server.stdout.readline() == "computing\n"
            begun = time.monotonic()
            server.send_signal(sent)
            told = film.result()
            assert told.status == 503 and told.json["error"]["code"] == "ending"
            assert server.wait(timeout=10) in (-sent, 128 + sent)
            assert time.monotonic() - begun < 7
            assert "Traceback" not in server.stderr.read()
        finally:
            server.kill()


@pytest.mark.slow
@pytest.mark.parametrize("loading", [True, False])
def test_it_ends_with_who_started_it(tiny_checkpoint: Path, loading: bool) -> None:
    words = [sys.executable, "-c", PARENT, str(tiny_checkpoint)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=ENVIRONMENT) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        if not loading:
            assert "#token=" in parent.stdout.readline()
        parent.kill()
        parent.wait()
        wait_until(lambda: not is_running(server))


def is_running(process: int) -> bool:
    """Whether there is a process that has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
