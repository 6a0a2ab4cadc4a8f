"""Other people's training programs run on these worlds unchanged: the recipes of docs/rl.md.

rl_zoo3, TorchRL and RLlib pin versions of their own and are no extras of this package. Where they are not installed the
tests are skipped and say so.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gwm_sim.policies.rl

pytestmark = pytest.mark.slow
RECIPES = Path(gwm_sim.policies.rl.__path__[0]) / "recipes"
ROOT = Path(__file__).parents[1]
RLLIB = Path(os.environ.get("GWM_RLLIB_PYTHON", ROOT / ".venv-rllib" / "bin" / "python"))  # of examples/rllib_ppo.py


def run(*words: str, folder: Path, python: str | Path = sys.executable) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(folder)}
    result = subprocess.run(
        [python, *words], cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=600
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.mark.skipif(importlib.util.find_spec("rl_zoo3") is None, reason="rl_zoo3 is not installed: pip install rl_zoo3")
def test_rl_zoo3_trains_with_the_shipped_hyper_parameters(tmp_path: Path) -> None:
    words = ["--algo", "sac", "--env", "GWM-BlockReach-v0", "--gym-packages", "gwm_sim", "--n-timesteps", "2000"]
    files = ["--conf-file", str(RECIPES / "sac.yml"), "--log-folder", str(tmp_path), "--eval-freq", "-1"]
    run("-m", "rl_zoo3.train", *words, *files, folder=tmp_path)
    assert list(tmp_path.rglob("GWM-BlockReach-v0.zip"))


@pytest.mark.skipif(importlib.util.find_spec("torchrl") is None, reason="TorchRL is not installed: pip install torchrl")
def test_torchrl_accepts_the_specs(tmp_path: Path) -> None:
    program = """
import gwm_sim
from torchrl.envs import GymEnv
from torchrl.envs.utils import check_env_specs

env = GymEnv("GWM-BlockReach-v0")
check_env_specs(env)
assert env.rollout(30)["next", "reward"].shape == (30, 1)
"""
    run("-c", program, folder=tmp_path)


@pytest.mark.skipif(not RLLIB.exists(), reason="no environment with RLlib: see examples/rllib_ppo.py, GWM_RLLIB_PYTHON")
def test_rllib_trains_ppo_on_two_env_runners(tmp_path: Path) -> None:
    printed = run(str(ROOT / "examples" / "rllib_ppo.py"), folder=tmp_path, python=RLLIB)
    found = [(int(steps), float(mean)) for steps, mean in re.findall(r"(\d+) steps: mean return (\S+)", printed)]
    assert len(found) >= 4 and found[-1][0] >= 2000
    assert all(1 < mean < 30 for _, mean in found)  # of 30 rewards between 0 and 1


@pytest.mark.skipif(not RLLIB.exists(), reason="no environment with RLlib: see examples/rllib_ppo.py, GWM_RLLIB_PYTHON")
def test_rllib_is_given_telemetry_and_objects_of_other_starts_in_each_process(tmp_path: Path) -> None:
    program = f"""
import runpy
import numpy as np

make_worlds = runpy.run_path({str(ROOT / "examples" / "rllib_ppo.py")!r})["make_worlds"]
worlds = make_worlds({{"id": "GWM-BlockReach-v0", "num_envs": 2}})
assert worlds.single_observation_space.shape == (14 + 6,)
starts = np.concatenate([worlds.reset(seed=runner)[0] for runner in (1, 2)])
assert len(np.unique(starts, axis=0)) == 4
assert worlds.step(worlds.action_space.sample())[1].max() > 0
"""
    run("-c", program, folder=tmp_path, python=RLLIB)
