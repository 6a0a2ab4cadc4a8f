"""Settings for every test, and what several of them share: a small recording and a model trained on it in seconds."""

import os

# Before torch and pygame are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models lose more to waiting threads than they gain
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # results are compared bit for bit, on the CPU
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # tests open no windows
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

from pathlib import Path

import pytest

from gwm_sim.policies.collect import CollectConfig, collect
from gwm_sim.train import TrainConfig
from gwm_sim.train import main as train


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty episodes of twelve steps, recorded in the physics twin."""
    path = tmp_path_factory.mktemp("data") / "tiny.hdf5"
    collect(CollectConfig(episodes=50, steps=12, out=path, workers=1, rendering="fast"))
    return path


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a complete model, bank included, that knows where things are but little of what will happen."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    train(TrainConfig(data=(tiny_data,), out=folder, preset="tiny", steps=60, name="tiny", device="cpu"))
    return folder
