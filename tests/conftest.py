"""Settings for every test, and what several of them share: a small recording and a model trained on it in seconds."""

import os

# Before torch and pygame are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models lose more to waiting threads than they gain
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # results are compared bit for bit, on the CPU
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # tests open no windows
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from gwm_sim.commands.train import main as train
from gwm_sim.policies.collection import collect
from gwm_sim.policies.commands.collect import CollectConfig
from gwm_sim.training.config import TrainConfig


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A path that the first of all test processes makes and the others find."""
    folder = factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    path = folder / name
    with FileLock(folder / f"{name}.lock"):
        if not path.exists():
            unfinished = folder / "unfinished" / name
            make(unfinished)
            unfinished.rename(path)
    return path


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty episodes of twelve steps, recorded in the physics twin."""

    def record(path: Path) -> None:
        collect(CollectConfig(episodes=50, steps=12, out=path, workers=1, rendering="fast"))

    return once(tmp_path_factory, "tiny.hdf5", record)


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a complete model, bank included, that knows where things are but little of what will happen."""

    def learn(folder: Path) -> None:
        train(TrainConfig(data=(tiny_data,), out=folder, preset="tiny", steps=60, name="tiny", device="cpu"))

    return once(tmp_path_factory, "tiny", learn)
