"""The nearest poses of other episodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.tracking.poses import PoseLibrary

FRAMES, EPISODES = 40, 12


def library(seed: int = 0, names: int = 14) -> tuple[PoseLibrary, np.ndarray]:
    """Return a library of episodes in which a robot rests half of the time, and its telemetry (T, P)."""
    rng = np.random.default_rng(seed)
    telemetry = rng.normal(size=(EPISODES, FRAMES, names)).astype(np.float32)
    telemetry[:, ::2] = rng.normal(size=names)
    told = telemetry.reshape(-1, names)
    episodes = np.repeat(np.arange(EPISODES), FRAMES)
    return PoseLibrary.from_arrays(np.zeros((len(told), 2, 2, 3), np.uint8), told, episodes), told


def test_which_of_many_equal_poses_is_asked_does_not_depend_on_how_many_are_asked_for() -> None:
    poses, told = library()
    together = poses.nearest(told, without=0)
    assert np.array_equal(together, np.concatenate([poses.nearest(row[None], without=0) for row in told]))


def test_the_nearest_poses_are_of_other_episodes_each_of_its_own() -> None:
    poses, told = library()
    owners = poses.episodes[poses.nearest(told, without=3)]
    assert owners.shape == (len(told), 9)
    assert all(len(set(row)) == 9 and 3 not in row for row in owners.tolist())


def test_telemetry_that_goes_astray_finds_poses_all_the_same() -> None:
    poses, told = library()
    astray = told[:4].copy()
    astray[0, 0], astray[1, 1], astray[2, :] = 1e30, -1e30, np.float32(3e38)
    assert poses.nearest(astray).shape == (4, 9)


def test_telemetry_that_never_changes_tells_nothing_and_breaks_nothing() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (60, 4, 6, 3)).astype(np.uint8)
    constant = np.full((60, 1), 0.1, np.float32)
    poses = PoseLibrary.from_arrays(frames, constant, np.repeat(np.arange(6), 10))
    assert poses.picture(constant[:5], without=2).shape == (5, 4, 6, 3)


@pytest.mark.parametrize("most", [20, 100, 10_000])
def test_of_many_frames_those_of_a_stride_are_kept(most: int, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gwm_sim.data.tracking.poses._MOST_FRAMES", most)
    with EpisodeFile(tiny_data) as file:
        poses, stride = PoseLibrary.of(file, "front"), -(-50 * 13 // most)
        whole = [file.read(k, cameras=("front",)) for k in range(len(file))]
    rows = [slice(k * 7 % stride, None, stride) for k in range(len(whole))]
    kept = [episode.frames["front"][some] for episode, some in zip(whole, rows, strict=True)]
    assert len(poses.frames) <= 1.2 * most
    assert np.array_equal(poses.frames, np.concatenate(kept))
    assert poses.episodes.tolist() == [k for k, frames in enumerate(kept) for _ in frames]
