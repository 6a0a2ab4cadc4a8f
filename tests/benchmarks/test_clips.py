"""`benchmarks/clips.py` draws recorded moments as the twin would have drawn them."""

from functools import partial
from pathlib import Path
from typing import Any, Literal

import clips
import numpy as np
import pytest

from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter, parts_folder
from gwm_sim.errors import ConfigError
from gwm_sim.policies.collection import collect
from gwm_sim.policies.commands.collect import CollectConfig
from gwm_sim.policies.worker_pool import WorkerPool


def test_clips_show_what_the_twin_showed(tmp_path: Path) -> None:
    """With a shadow map of the usual size they differ by rounding alone."""
    path = tmp_path / "seen.hdf5"
    collect(CollectConfig(episodes=1, steps=5, out=path, workers=1, size=32, cameras=("front", "wrist"), seed=3))
    config = clips.ClipsConfig(motion=(path,), out=tmp_path / "clips.hdf5", clips=3, steps=2, size=32, shadows=4096)
    studio = clips.Studio(config)
    seen = EpisodeFile(path)[0]
    for index in range(config.clips):
        clip = studio.draw(index)
        starts = [t for t in range(4) if np.array_equal(clip.telemetry, seen.telemetry[t : t + 3])]
        assert len(starts) == 1
        (start,) = starts
        np.testing.assert_array_equal(clip.actions, seen.actions[start : start + 2])
        assert clip.properties == seen.properties and set(clip.labels) == set(seen.labels)
        for camera in config.cameras:
            difference = clip.frames[camera].astype(int) - seen.frames[camera][start : start + 3]
            assert np.abs(difference).mean() < 0.5
    # Calibration is that of the first frame, from which learners tell how a camera sits on the arm.
    first, wrist = studio.draw(0), studio.schema().cameras["wrist"]
    effector = first.telemetry[0][list(studio.schema().effector)]
    usual = EpisodeFile(path).schema.cameras["wrist"].position - seen.telemetry[0][list(studio.schema().effector)]
    np.testing.assert_allclose(wrist.position - effector, usual, atol=0.005)


def test_clips_longer_than_every_episode_are_refused(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no episode has 13 steps"):
        clips.Studio(clips.ClipsConfig(motion=(tiny_data,), out=tmp_path / "clips.hdf5", steps=13))


@pytest.mark.slow
def test_killed_drawing_goes_on_to_the_same_file(tiny_data: Path, tmp_path: Path) -> None:
    def config(name: str) -> Any:
        return clips.ClipsConfig(
            motion=(tiny_data,), out=tmp_path / name, clips=4, steps=2, size=16, shadows=256, workers=1
        )

    whole, broken = config("whole.hdf5"), config("broken.hdf5")
    assert clips.main(whole) == 0
    studio = clips.Studio(broken)
    writer = EpisodeWriter(broken.out, studio.schema())
    for index in (0, 2):  # what was done when it was killed
        writer.add(*studio.part(index))
    assert len(list(parts_folder(broken.out).glob("*.hdf5"))) == 2
    drawn: list[int] = []
    run = WorkerPool.run

    def watched(pool: Any, jobs: list[Any]) -> Any:
        drawn.extend(job.keywords["index"] for job in jobs if isinstance(job, partial))
        return run(pool, jobs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerPool, "run", watched)
        assert clips.main(broken) == 0
    assert drawn == [1, 3]
    with EpisodeFile(whole.out) as one, EpisodeFile(broken.out) as other:
        assert len(one) == 4 and one.digest() == other.digest()
    assert clips.main(broken) == 0  # nothing is left to do


def test_rare_places_are_drawn_as_often_as_others(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips, "FEW", 1)
    monkeypatch.setattr(clips, "SQUARE", 0.1)

    def places(alike: Literal["moments", "places"]) -> np.ndarray:
        config = clips.ClipsConfig(motion=(tiny_data,), out=tmp_path / "c.hdf5", steps=2, size=16, alike=alike)
        studio = clips.Studio(config)
        found = [studio._recorded(index) for index in range(400)]
        objects = np.concatenate([clip.objects[1:2, :, :2] for clip in found if clip.objects is not None])
        return np.floor(objects[:, 0] / clips.SQUARE).astype(int)

    def rarest(squares: np.ndarray) -> float:
        return float(np.unique(squares, axis=0, return_counts=True)[1].min() / len(squares))

    usual, spread = places("moments"), places("places")
    assert set(map(tuple, spread)) >= set(map(tuple, usual))
    assert rarest(spread) > 2 * rarest(usual)
