"""Prove that an installed gwm_sim works on its own: run by the Python of an empty environment, outside the checkout.

The core dependencies are enough: the learned world needs neither MuJoCo nor a data set.
"""

import json
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import gymnasium as gym

ENV_ID = "gwm_sim:GWM-BlockStack-v0"
STEPS = 20


def step_environment() -> None:
    """Step one learned environment, and four in a batch, with nothing but Gymnasium imported."""
    env = gym.make(ENV_ID)
    observation, _ = env.reset(seed=0)
    for _ in range(STEPS):
        observation, reward, _, _, info = env.step(env.action_space.sample())
    env.close()
    assert observation["pixels"].dtype == "uint8", observation["pixels"].dtype
    assert 0.0 <= float(reward) <= 1.0, reward
    assert "gwm/uncertainty" in info, sorted(info)

    vector_env = gym.make_vec(ENV_ID, num_envs=4)
    vector_env.reset(seed=0)
    observations, *_ = vector_env.step(vector_env.action_space.sample())
    vector_env.close()
    assert observations["pixels"].shape[0] == 4, observations["pixels"].shape


def check_installation() -> None:
    """Check that the installed package was imported, not the checkout, and that its version is the declared one."""
    import gwm_sim

    assert Path(sys.prefix) in Path(gwm_sim.__file__).parents, f"{gwm_sim.__file__} is not in {sys.prefix}"
    assert gwm_sim.__version__ == metadata.version("gwm-sim")


def run_command() -> None:
    """Run the console script: help, a diagnosis without missing requirements, and a mistake."""
    gwm = Path(sys.prefix) / "bin" / "gwm"
    subprocess.run([gwm, "--help"], check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "doctor.json"
        subprocess.run([gwm, "doctor", "--json", report], check=True, stdout=subprocess.DEVNULL)
        assert json.loads(report.read_text(encoding="utf-8"))["gwm-mini"]["found"]
    assert subprocess.run([gwm, "no-such-verb"], capture_output=True).returncode == 2


if __name__ == "__main__":
    step_environment()
    check_installation()
    run_command()
    print(f"smoke test passed in {sys.prefix}")
