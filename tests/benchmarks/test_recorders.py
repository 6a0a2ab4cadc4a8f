"""`benchmarks/recorders/`: what is written can be imported, and the truth says where things are in the pictures."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from recorders.recording import Take, World, truth_of, write
from worlds.truth import recorded

from gwm_sim import EpisodeFile, cli
from gwm_sim.envs.gl import choose_gl_backend


def drawn(seeds: range) -> Iterator[Take]:
    """A red square that moves to the right."""
    for seed in seeds:
        frames = np.full((9, 16, 16, 3), 200, np.uint8)
        for t in range(9):
            frames[t, 4:7, t + 3 : t + 6] = (200, 0, 0)
        centres = np.stack([np.arange(9.0) + 4, np.full(9, 5)], axis=-1)[:, None]
        told = {"robot0_eef_pos": np.arange(27.0).reshape(9, 3)}
        yield Take(seed, "drawn", frames, told, np.ones((8, 2)) * seed, centres, np.ones((9, 1)), False)


def test_a_recording_is_imported_whole_and_without_truth(tmp_path: Path) -> None:
    path = tmp_path / "drawn.hdf5"
    write(path, World("drawn", 10, None, ("square",)), drawn(range(5, 8)))
    words = ["import", "robomimic", path, "--out", tmp_path / "episodes.hdf5", "--size", 16]
    assert cli.main([*map(str, words)]) == 0
    with EpisodeFile(tmp_path / "episodes.hdf5") as file:
        assert file.schema.rate == 10
        assert file.schema.effector == (0, 1, 2)
        assert not file.schema.object_names and not file.schema.tasks
        episodes = list(file)
    assert [len(episode) for episode in episodes] == [8, 8, 8]
    takes = list(drawn(range(5, 8)))
    for episode, take, places in zip(episodes, takes, recorded(truth_of(path)), strict=True):
        np.testing.assert_array_equal(episode.frames["front"], take.frames)
        np.testing.assert_array_equal(episode.actions, take.actions)
        np.testing.assert_array_equal(places.centres, take.centres)
        assert episode.succeeded is None


def test_a_recording_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def broken() -> Iterator[Take]:
        yield from drawn(range(1))
        raise RuntimeError("the simulator died")

    with pytest.raises(RuntimeError):
        write(tmp_path / "drawn.hdf5", World("drawn", 10, None, ("square",)), broken())
    assert not (tmp_path / "drawn.hdf5").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name, needs", [("fetch", "gymnasium_robotics"), ("pusht", "stable_worldmodel"), ("cube", "ogbench")]
)
def test_things_are_where_the_truth_says(name: str, needs: str) -> None:
    pytest.importorskip(needs)
    recorder: Any = import_module(f"recorders.{name}")
    take: Any = next(recorder.takes([0]))
    seen = SimpleNamespace(frames=take.frames, at=take.centres[:, 0].round().astype(int), visible=take.visible[:, 0])
    assert take.frames.shape == (recorder.STEPS + 1, 64, 64, 3) and take.frames.dtype == np.uint8
    assert len(take.actions) == recorder.STEPS and np.abs(take.actions).max() <= 1
    assert ((seen.visible >= 0) & (seen.visible <= 1)).all()
    whole = seen.visible > 0.95
    colors = seen.frames[whole, seen.at[whole, 1], seen.at[whole, 0]].astype(int)
    assert np.abs(colors - np.median(colors, axis=0)).mean() < 40  # the thing is what lies there
    again: Any = next(recorder.takes([0]))
    np.testing.assert_array_equal(take.actions, again.actions)


@pytest.mark.filterwarnings("ignore")
def test_a_cloth_follows_the_finger_that_holds_it() -> None:
    choose_gl_backend()
    cloth: Any = import_module("recorders.cloth")
    bench = cloth.Bench()
    bench.reset(np.random.default_rng(0))
    corner = bench.vertices[0].copy()
    bench.aim = np.append(corner[:2], 0.02)
    for _ in range(8):
        bench.step(np.array([0, 0, -1, 1.0]))
    assert bench.held is None, "it is open"
    bench.step(np.array([0, 0, 0, -1.0]))
    for _ in range(3):
        bench.step(np.array([0, 0, 1, -1.0]))
    assert bench.held == 0
    assert bench.vertices[0, 2] > 0.05 and np.linalg.norm(bench.vertices[0] - bench.place) < 0.05
    for _ in range(8):
        bench.step(np.array([0, 0, 0, 1.0]))
    assert bench.held is None and bench.vertices[0, 2] < 0.03
    assert bench.picture().shape == (64, 64, 3)
