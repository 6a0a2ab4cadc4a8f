"""Other people's training programs run on these worlds unchanged: the recipes of docs/rl.md.

rl_zoo3 and TorchRL pin versions of their own and are no extras of this package. Where they are not installed the tests
are skipped and say so.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import gwm_sim.policies.rl

pytestmark = pytest.mark.slow
RECIPES = Path(gwm_sim.policies.rl.__path__[0]) / "recipes"


def run(*words: str, folder: Path) -> None:
    result = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-3000:]


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
