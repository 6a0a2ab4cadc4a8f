"""Servers and clients that are killed at random: what stays behind is nothing."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from servers import ROOT, command

from gwm_sim.envs.remote.vector import RemoteEnv
from gwm_sim.errors import RemoteError

pytestmark = pytest.mark.slow

KILLS: Final = 50
SERVERS: Final = 0.25  # share of them

CLIENT: Final = """
import sys
import gymnasium as gym
envs = gym.make_vec("gwm_sim:GWM-Remote-v0", num_envs=3, url=sys.argv[1])
envs.reset(seed=0)
print("going on", flush=True)
while True:
    envs.step(envs.action_space.sample())
"""


def members(session: int) -> list[int]:
    """Processes of a session of the operating system."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def client(url: str) -> subprocess.Popen[str]:
    """A client that steps until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "going on\n"
    return process


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are listed by /proc, which Linux has")
def test_who_is_killed_leaves_no_file_and_no_process(tiny_checkpoint: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    folder, log = tmp_path / "folder", tmp_path / "log"
    folder.mkdir()
    kills = 0
    while kills < KILLS:
        words = ("--model", str(tiny_checkpoint), "--sessions", "256")
        with command(*words, log=log, folder=folder) as (server, url), ExitStack() as stack:
            watcher = RemoteEnv(url)
            stack.callback(watcher.close)
            watcher.reset(seed=0)
            while kills < KILLS:
                kills += 1
                other = client(url)
                time.sleep(rng.random() * 0.2)
                victim = server if rng.random() < SERVERS else other
                victim.send_signal(rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
                victim.wait(timeout=10)
                assert members(victim.pid) == []
                if victim is server:
                    begun = time.monotonic()
                    with pytest.raises(RemoteError, match="gwm serve"):
                        watcher.step(np.zeros(4, np.float32))
                    assert time.monotonic() - begun < 2
                    other.wait(timeout=10)  # it is told as well, and ends
                other.communicate()
                assert members(other.pid) == []
                if victim is server:
                    break
                watcher.step(np.zeros(4, np.float32))  # nobody else is harmed
    assert list(folder.iterdir()) == []
    assert "Traceback" not in log.read_text(encoding="utf-8")
