"""The worlds of the benchmark, and how the two episode files of each are made from raw pixels.

Each row ends in `train.hdf5` and `test.hdf5` of its folder. What is known of the truth is handed over by `truth`.
"""

import os
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from worlds import truth
from worlds.splits import Rule, every, split, tail, these
from worlds.truth import Places

HERE = Path(__file__).resolve().parents[1]
REAL = HERE.parents[1] / "shared/data/real"
EPISODES, TESTS, FIRST_TEST_SEED = 240, 60, 300_000
"""Of what is recorded for the benchmark; training episodes have seeds from 0."""

REQUIRES = {
    "fetch": (),  # lives beside gwm_sim: pip install "gwm-sim[fetch]"
    "pusht": ("stable-worldmodel==0.1.1", "pymunk", "pygame", "shapely", "opencv-python-headless", "imageio"),
    "cube": ("ogbench==1.2.2",),
    "cloth": (),
}
"""What the environment of a recorder needs, beside h5py and tyro."""


@dataclass(frozen=True)
class Place:
    """Where a row works."""

    folder: Path
    """Of the row, outside of git."""
    venvs: Path
    """Where the recorders' environments are."""
    real: Path
    """Where the recordings of real robots are."""


@dataclass(frozen=True)
class World:
    """A row of the table."""

    title: str
    camera: str
    prepare: Callable[[Place], None]
    """Makes `train.hdf5` and `test.hdf5`, as far as they are missing."""
    truth: Callable[[Place], Iterator[Places]] | None = None
    """Where things are in the test episodes, if anybody knows."""
    options: tuple[str, ...] = ()
    """Of its training."""


def gwm(*words: object) -> None:
    """Run a command of gwm_sim."""
    subprocess.run([sys.executable, "-m", "gwm_sim", *map(str, words)], check=True)


def blocks(place: Place) -> None:
    """Collect in the twin, and take away all that is not pixels, telemetry and actions."""
    for name, count, seed in (("train", EPISODES, 0), ("test", TESTS, FIRST_TEST_SEED)):
        out, labelled = place.folder / f"{name}.hdf5", place.folder / f"{name}.labelled.hdf5"
        if not out.exists():
            gwm(
                "collect", "--episodes", count, "--steps", 100, "--seed", seed, "--rendering", "fast", "--out", labelled
            )
            gwm("export", "raw", labelled, out)


def recorded(world: str) -> Callable[[Place], None]:
    """Record with the packages of a world, and import."""

    def prepare(place: Place) -> None:
        for name, count, seed in (("train", EPISODES, 0), ("test", TESTS, FIRST_TEST_SEED)):
            out, recording = place.folder / f"{name}.hdf5", place.folder / f"{name}.recording.hdf5"
            if not out.exists():
                words = [HERE / "record.py", world, recording, "--episodes", count, "--seed", seed]
                python = environment(place.venvs, world)
                subprocess.run([python, *map(str, words)], check=True, env={"MUJOCO_GL": "egl", **os.environ})
                gwm("import", "robomimic", recording, "--out", out)

    return prepare


def environment(venvs: Path, world: str) -> Path:
    """Return the Python that records a world; its environment is made where it is missing."""
    needed = REQUIRES[world]
    python = venvs / world / "bin/python"
    if not needed:
        return Path(sys.executable)
    if not python.exists():
        venv.create(venvs / world, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *needed, "h5py", "tyro"], check=True)
    return python


def imported(name: str, format: str, rule: Callable[[Path], Rule], *options: object) -> Callable[[Place], None]:
    """Import recordings of a real robot, and split them."""

    def prepare(place: Place) -> None:
        whole, train, test = (place.folder / f"{part}.hdf5" for part in ("whole", "train", "test"))
        if not (train.exists() and test.exists()):
            gwm("import", format, place.real / name, "--out", whole, *options)
            split(whole, train, test, rule(place.real / name))

    return prepare


def named(*tests: str) -> Callable[[Path], Rule]:
    """Episodes of these names are for tests; they are numbered as the importer sorts them."""

    def rule(source: Path) -> Rule:
        names = [path.stem for path in sorted((source / "annotation").rglob("*.json"))]
        return these({names.index(name) for name in tests})

    return rule


def of_recording(place: Place) -> Iterator[Places]:
    """Read the truth that lies beside the recording of the test episodes."""
    return truth.recorded(place.folder / "test.recording.truth.npz")


WORLDS = {
    "blocks": World(
        "block world without its labels, 10 Hz",
        "front",
        blocks,
        lambda place: truth.of_blocks(place.folder / "test.labelled.hdf5"),
        ("--fresh",),  # shipped weights have seen such blocks, with their labels
    ),
    "fetch": World("Fetch pick and place, 25 Hz", "front", recorded("fetch"), of_recording),
    "pusht": World("PushT, 10 Hz", "front", recorded("pusht"), of_recording),
    "cube": World("OGBench cube-single, 20 Hz", "front", recorded("cube"), of_recording),
    "cloth": World("a cloth that a finger drags, 10 Hz", "front", recorded("cloth")),
    "humanoid": World(
        "Unitree G1, real, 10 Hz",
        "cam_high",
        imported(
            *("unitree-g1-bottle-small", "lerobot", lambda source: every(4)),
            *("--fps", 10, "--actions", "target", "--size", 64),
        ),
    ),
    "franka": World(
        "Franka of DROID, real, 5 Hz",
        "0",
        imported(
            *("franka-droid-new-setup", "json", named("0007", "0012")),
            *("--camera", "0", "--trim", "--source-fps", 5, "--size", 64),
        ),
    ),
    "widowx": World(
        "WidowX of Bridge, real, 5 Hz",
        "rgb",
        imported("widowx-bridge-cosmos", "json", lambda source: tail(0.4), "--source-fps", 5, "--size", 64),
    ),
}
