"""Recordings of real robots: the one thing that a humanoid lifts is found, and what cannot be tracked is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from importing import config
from shared_data import shared

from gwm_sim.commands.import_ import import_episodes
from gwm_sim.commands.track import TrackConfig
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.tracking.job import track_episodes
from gwm_sim.data.tracking.tracker import NothingToTrack

pytest.importorskip("cv2")

HUMANOID = "data/real/unitree-g1-bottle-small"


@pytest.mark.slow
def test_the_can_that_a_humanoid_lifts_is_found_in_every_episode(tmp_path: Path) -> None:
    recorded, tracked = tmp_path / "recorded.hdf5", tmp_path / "tracked.hdf5"
    import_episodes(config("lerobot", shared(HUMANOID), recorded, size=64, fps=10.0, actions="target", limit=24))
    result = track_episodes(TrackConfig(recorded, tracked))
    (can,) = result.things
    assert can.episodes == 24 and can.seen > 0.95
    assert result.object_frame == "image", "nothing says where its hands are in metres"
    with EpisodeFile(tracked) as file:
        for episode in file:
            assert episode.objects is not None and np.isfinite(episode.objects).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("widowx-bridge-cosmos", {"format": "json", "source_fps": 5.0}),  # another kitchen in every episode
        ("language-table-irasim", {"format": "json"}),  # one episode, no telemetry
    ],
)
def test_what_cannot_be_tracked_is_refused_and_left_as_it_was(
    name: str, options: dict[str, str], tmp_path: Path
) -> None:
    recorded, tracked = tmp_path / "recorded.hdf5", tmp_path / "tracked.hdf5"
    import_episodes(config(source=shared(f"data/real/{name}"), out=recorded, **options))
    before = recorded.read_bytes()
    with pytest.raises(NothingToTrack):
        track_episodes(TrackConfig(recorded, tracked))
    assert recorded.read_bytes() == before
    assert not tracked.exists() and not tracked.with_name("tracked.hdf5.parts").exists()
