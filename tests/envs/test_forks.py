"""Worlds in forked processes, Linux's default: threads stay behind, and nobody may wait for them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mujoco")
TIMEOUT = 300  # [s], for what takes ten on an idle machine

LEARNED, TWIN = "GWM-BlockReach-v0", "MuJoCo-BlockReach-v0"

BEGIN = """
import multiprocessing, sys
import gymnasium as gym, numpy as np
hold = np.zeros((2, 4), np.float32)
"""


def run(program: str, *arguments: str | Path) -> str:
    """What a program prints that uses two threads, as a user's does; the whole family ends if it takes too long."""
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN + program, *map(str, arguments)],
        env=environment | {"OMP_NUM_THREADS": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == 0, output
    return output


@pytest.mark.parametrize("world", [LEARNED, TWIN])
def test_asynchronous_rows_act_as_those_of_one_process(world: str) -> None:
    program = """
before = gym.make_vec(f"gwm_sim:{sys.argv[1]}", num_envs=2)  # whose threads the rows do not have
first, _ = before.reset(seed=0)
rows = gym.make_vec(f"gwm_sim:{sys.argv[1]}", num_envs=2, vectorization_mode="async")
again, _ = rows.reset(seed=0)
assert np.array_equal(first["pixels"], again["pixels"])
np.testing.assert_allclose(rows.step(hold)[1], before.step(hold)[1], atol=1e-3)
rows.close()
"""
    run(program, world)


@pytest.mark.parametrize("world", [LEARNED, TWIN])
def test_a_forked_process_goes_on_with_the_world_that_it_inherits(world: str) -> None:
    program = """
world = gym.make_vec(f"gwm_sim:{sys.argv[1]}", num_envs=2)
world.reset(seed=0)
world.step(hold)

def go_on(answers):
    steps = [world.step(hold + 0.5) for _ in range(2)]
    world.close()
    answers.put([(step[0]["pixels"], step[1]) for step in steps])

context = multiprocessing.get_context("fork")
answers = context.Queue()
process = context.Process(target=go_on, args=(answers,))
process.start()
theirs = answers.get(timeout=60)
process.join()
for pixels, rewards in theirs:
    step = world.step(hold + 0.5)
    np.testing.assert_allclose(step[1], rewards, atol=1e-3)
    assert np.abs(step[0]["pixels"].astype(int) - pixels).max() <= 3
"""
    run(program, world)


def test_the_parent_keeps_its_threads() -> None:
    program = """
import os, torch, gwm_sim
torch.ones(512, 512) @ torch.ones(512, 512)
child = os.fork()
if child == 0:
    torch.ones(512, 512) @ torch.ones(512, 512)
    torch.ones(1_000_000).add(1)
    os._exit(torch.get_num_threads())
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
assert torch.get_num_threads() == 2
"""
    run(program)


def test_workers_that_import_the_package_themselves_do_not_wait() -> None:
    program = """
import torch
from stable_baselines3.common.vec_env import SubprocVecEnv
torch.ones(1_000_000).add(1)  # the parent's threads are there before anybody knows of worlds
assert "gwm_sim" not in sys.modules
make = lambda: gym.make("gwm_sim:GWM-BlockReach-v0")
rows = SubprocVecEnv([make, make], start_method="fork")
rows.reset()
print(rows.step(hold)[1])
rows.close()
"""
    pytest.importorskip("stable_baselines3")
    run(program)


def test_workers_of_a_data_loader_read_the_file_that_was_opened_before(tiny_data: Path) -> None:
    program = """
import torch
from gwm_sim import EpisodeFile

class Frames(torch.utils.data.Dataset):
    def __init__(self, path):
        self.file = EpisodeFile(path)
    def __len__(self):
        return 20
    def __getitem__(self, k):
        return torch.from_numpy(self.file.read(k, 0, 3).frames["front"])

data = Frames(sys.argv[1])
own = torch.stack([data[k] for k in range(20)])
loader = torch.utils.data.DataLoader(data, batch_size=4, num_workers=2, multiprocessing_context="fork")
assert torch.equal(torch.cat(list(loader)), own)
"""
    run(program, tiny_data)
