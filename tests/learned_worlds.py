"""What tests of learned worlds act with, and how they compare what is seen."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tracked import write_tracked

from gwm_sim.commands.train import main as train
from gwm_sim.training.config import PRESETS, TrainConfig

HOLD = np.zeros(4, np.float32)

Observation = dict[str, NDArray[Any]]


def draw_actions(count: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 1, (count, *shape, 4)).astype(np.float32)


def same(a: Observation, b: Observation) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def image_world(folder: Path) -> Path:
    """Folder of a world of one's own, which knows things in the picture and little of what will happen."""
    data = write_tracked(folder / "tracked.hdf5", object_frame="image")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", dataclasses.replace(PRESETS["tiny"], frames_per_window=4))  # few frames each
        train(TrainConfig(data=(data,), out=folder / "world", preset="tiny", steps=8, name="own", device="cpu"))
    return folder / "world"
