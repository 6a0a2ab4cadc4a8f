"""Record episodes of a world that is not ours, as one films a robot, and the truth beside them.

Each world is recorded in an environment of its own, see benchmarks/README.md; this program needs numpy, h5py and tyro.
MuJoCo's worlds draw without a display where MUJOCO_GL=egl.

python benchmarks/record.py cube recordings/cube.hdf5 --episodes 300 --seed 0
"""

import importlib
import itertools
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from recorders.recording import write


@dataclass(frozen=True)
class RecordConfig:
    """Record episodes of a world that is not ours."""

    world: tyro.conf.Positional[Literal["fetch", "pusht", "cube", "cloth"]]
    """A module in benchmarks/recorders/."""
    out: tyro.conf.Positional[Path]
    """Recording to write, in robomimic's layout; the truth comes beside it as NAME.truth.npz."""
    episodes: int = 300
    """How many."""
    seed: int = 0
    """Seed of the first episode; episode i has this plus i. Training from 0, tests from 300000."""


def main(config: RecordConfig) -> int:
    """Record what is not there yet; return the exit code."""
    if config.out.exists():
        print(f"{config.out} is there already")
        return 0
    config.out.parent.mkdir(parents=True, exist_ok=True)
    world = importlib.import_module(f"recorders.{config.world}")
    began = time.perf_counter()
    write(config.out, world.WORLD, world.takes(itertools.islice(itertools.count(config.seed), config.episodes)))
    print(f"{config.out}: {config.episodes} episodes in {time.perf_counter() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(RecordConfig, description=__doc__)))
