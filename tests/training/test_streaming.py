"""Pictures that do not fit into memory are read from their files, and nothing depends on how many are kept."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from interruption import compute_alike
from recordings import make_camera, make_episode, make_schema
from torch import Tensor

from gwm_sim.data import episode_file
from gwm_sim.data.demos import frames_per_chunk
from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.data.hdf5 import open_file
from gwm_sim.errors import ConfigError, DataError
from gwm_sim.training.build import build
from gwm_sim.training.config import PRESETS, TrainConfig
from gwm_sim.training.dataset import TrainingData, load_training_data
from gwm_sim.training.dataset.pictures import Blocks, StoredPictures
from gwm_sim.training.pipeline import train

NOTHING = 1e-9  # GB
SIDE, ROWS = 48, 33  # pictures of which 14 are compressed together
VIEWS = ("front", "side")


def write(path: Path, seeds: range) -> Path:
    """Episodes of two cameras of one size, of which one measured depth."""
    cameras = dict.fromkeys(VIEWS, make_camera(SIDE))
    schema = replace(make_schema(), cameras=cameras, depth=("front",), tasks=(), task=None, object_names=())
    writer = EpisodeWriter(path, schema)
    for index, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        episode = replace(
            make_episode(seed),
            frames={view: rng.integers(0, 256, (ROWS, SIDE, SIDE, 3), np.uint8) for view in VIEWS},
            depth={"front": rng.integers(0, 2**16, (ROWS, SIDE, SIDE, 1), np.uint16)},
            telemetry=rng.normal(size=(ROWS, 3)).astype(np.float32),
            actions=rng.uniform(-1, 1, (ROWS - 1, 2)).astype(np.float32),
            labels={},
            objects=None,
        )
        writer.write(index, episode)
    writer.merge()
    return path


def dimmed(source: Path, path: Path, count: int) -> Path:
    """The first episodes of a file, every second of them in less light."""
    with EpisodeFile(source) as file:
        writer = EpisodeWriter(path, file.schema)
        for k in range(count):
            darker = {name: (frames * (1 - 0.2 * (k % 2))).astype(np.uint8) for name, frames in file[k].frames.items()}
            writer.write(k, replace(file[k], frames=darker))
        writer.merge()
    return path


def opened(folder: Path) -> int:
    """How many files of a folder this process has open."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("this system does not tell what is open")
    return sum(item.resolve().is_relative_to(folder.resolve()) for item in descriptors.iterdir())


def both(*paths: Path, cameras: tuple[str, ...] = ("front",)) -> Iterator[TrainingData]:
    """The same data with all pictures in memory, and with hardly any."""
    return (load_training_data(paths, cameras, memory=room) for room in (1.0, NOTHING))


def test_pictures_in_files_are_those_in_memory(tmp_path: Path) -> None:
    inside, outside = both(write(tmp_path / "a.hdf5", range(3)), write(tmp_path / "b.hdf5", range(3, 5)), cameras=VIEWS)
    assert isinstance(inside.frames, Tensor) and isinstance(outside.frames, StoredPictures)
    assert torch.equal(outside.seen(), inside.seen()) and torch.equal(outside.measured, inside.measured)
    for stored, loaded in ((outside.frames, inside.frames), (outside.depth, inside.depth)):
        assert stored.shape == loaded.shape and len(stored) == 5 * ROWS
        for shape in ((40,), (6, 4), (0,)):
            index = torch.randint(len(loaded), shape, generator=torch.Generator().manual_seed(0))
            assert torch.equal(stored[index], loaded[index])


def test_light_is_taken_out_of_pictures_in_files_too(tiny_data: Path, tmp_path: Path) -> None:
    path = dimmed(tiny_data, tmp_path / "dimmed.hdf5", 12)
    config = TrainConfig(data=(path,), out=tmp_path, preset="tiny", steps=1)
    inside, outside = both(path)
    models = [build(config, PRESETS["tiny"], data) for data in (inside, outside)]
    assert inside.light == outside.light > 0.05
    every = torch.arange(len(inside.frames))
    assert torch.equal(outside.frames[every], inside.frames[every])
    for name, value in models[0].tokenizer.named_buffers():
        assert torch.equal(models[1].tokenizer.get_buffer(name), value)


def test_what_is_learned_does_not_depend_on_what_is_kept(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_alike(monkeypatch)
    path = dimmed(tiny_data, tmp_path / "dimmed.hdf5", 12)
    hashes = []
    for room in (1.0, NOTHING):
        out, told = tmp_path / f"world-{room}", list[str]()
        config = TrainConfig(
            data=(path,), out=out, preset="tiny", steps=12, device="cpu", memory=room, name="world", patience=1.0
        )
        hashes.append(train(config, told.append)["model_hash"])
        assert any("--memory" in line for line in told) == (room == NOTHING)
    assert hashes[0] == hashes[1]


def test_blocks_that_were_used_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, read, rows = EpisodeFile(write(tmp_path / "a.hdf5", range(2))), list[tuple[int, int]](), EpisodeFile.rows

    def watched(self: EpisodeFile, *asked: Any) -> Any:
        read.append((asked[0], asked[2] // blocks.rows))
        return rows(self, *asked)

    monkeypatch.setattr(EpisodeFile, "rows", watched)
    view = (SIDE, SIDE, 3)
    room = 2 * frames_per_chunk(view) * math.prod(view)
    blocks = Blocks({0: (file, 0), 1: (file, 1)}, ["frames/front"], view, room)
    for episode, number in ((0, 0), (0, 1), (0, 0), (1, 0), (0, 0), (0, 1)):
        blocks.block(episode, "frames/front", number)
    assert read == [(0, 0), (0, 1), (1, 0), (0, 1)]


@pytest.mark.parametrize(
    "storage", [{}, {"compression": "lzf"}, {"compression": "gzip", "shuffle": True}, {"chunks": (5, SIDE, SIDE, 3)}]
)
def test_files_that_others_made_anew_are_read_too(storage: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdf5", range(2))
    with h5py.File(path, "r+") as file:
        frames = file["data/demo_1/frames/front"][...]
        del file["data/demo_1/frames/front"]
        file["data/demo_1/frames"].create_dataset("front", data=frames, **storage)
    inside, outside = both(path)
    every = torch.arange(len(inside.frames))
    assert torch.equal(outside.frames[every], inside.frames[every])


def test_a_file_that_is_changed_meanwhile_is_named(tmp_path: Path) -> None:
    data = load_training_data([write(tmp_path / "a.hdf5", range(2))], memory=NOTHING)
    with (tmp_path / "a.hdf5").open("r+b") as file:
        file.truncate(3000)
    with pytest.raises(DataError, match=r"a\.hdf5 is truncated or no HDF5 file"):
        data.frames[torch.arange(len(data.frames))]


@pytest.mark.parametrize("room", [1.0, NOTHING])
def test_one_file_is_open_at_a_time(room: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of thousands not all may be open, and what HDF5 keeps of an open one leaves holes in the memory of a process."""
    paths = [write(tmp_path / f"{number}.hdf5", range(number, number + 1)) for number in range(4)]
    most = []

    def watched(path: Path) -> h5py.File:
        file = open_file(path)
        most.append(opened(tmp_path))
        return file

    monkeypatch.setattr(episode_file, "open_file", watched)
    data = load_training_data(paths, memory=room)
    assert opened(tmp_path) == 0
    data.frames[torch.arange(len(data.frames))]
    assert opened(tmp_path) == 0 and max(most) == 1


def test_a_budget_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--memory must be positive"):
        TrainConfig(data=(tmp_path,), out=tmp_path, steps=1, memory=0.0)
