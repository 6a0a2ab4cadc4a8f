"""The tracker on drawn recordings: what it finds, where it says that things are, and what it refuses."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from bar_scenes import BLUE, GROUND, LENGTH, RED, ROBOT, SIZE, Array, draw_bar, write_scenes

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.tracking.poses import PoseLibrary, median
from gwm_sim.data.tracking.sightings import Sightings
from gwm_sim.data.tracking.tracker import Click, NothingToTrack, Tracker
from gwm_sim.errors import ConfigError, DataError

pytest.importorskip("cv2")


def followed(tracker: Tracker, file: EpisodeFile) -> list[Sightings]:
    library = PoseLibrary.of(file, "front")
    runs = []
    for k in range(len(file)):
        episode = file.read(k)
        runs.append(tracker.follow(episode.frames["front"], library.picture(episode.telemetry, without=k)))
    return runs


def off(tracker: Tracker, file: EpisodeFile, truth: list[Array]) -> Array:
    """Return how far each thing is from where it is, for the best assignment to the truth, in all frames [px]."""
    runs = followed(tracker, file)
    found, true = np.concatenate([run.centre for run in runs]), np.concatenate(truth)
    orders = map(list, permutations(range(true.shape[1])))
    return min((np.linalg.norm(found[:, order] - true, axis=-1) for order in orders), key=lambda off: float(off.mean()))


def test_it_finds_what_moves_and_is_not_the_robot(tmp_path: Path) -> None:
    file, truth = write_scenes(tmp_path / "a.hdf5")
    tracker = Tracker.fit(file, "front")
    assert sorted(thing.name for thing in tracker.things) == ["blue", "red"]
    assert all(abs(thing.width - 8) <= 1 and abs(thing.height - 8) <= 1 for thing in tracker.things)
    distance = off(tracker, file, truth)
    assert np.median(distance) < 0.5
    assert (distance < 2).mean() > 0.98


def test_of_two_alike_each_stays_itself_during_an_episode(tmp_path: Path) -> None:
    file, truth = write_scenes(tmp_path / "a.hdf5", colors=(RED, RED))
    tracker = Tracker.fit(file, "front")
    assert [thing.name for thing in tracker.things] == ["red-1", "red-2"]
    assert len({thing.look for thing in tracker.things}) == 1
    for run, centres in zip(followed(tracker, file), truth, strict=True):
        distance = min(
            (np.linalg.norm(run.centre[:, order] - centres, axis=-1) for order in ([0, 1], [1, 0])),
            key=lambda distance: float(distance.mean()),
        )
        assert (distance < 2).mean() > 0.9


def test_a_thing_in_the_colour_of_the_robot_is_found_where_it_lies(tmp_path: Path) -> None:
    file, truth = write_scenes(tmp_path / "a.hdf5", episodes=24, colors=(ROBOT,))
    tracker = Tracker.fit(file, "front")
    assert [thing.name for thing in tracker.things] == ["grey"]
    assert (off(tracker, file, truth) < 2).mean() > 0.7


def test_light_and_noise_are_no_things(tmp_path: Path) -> None:
    def worn(pictures: Array, bar: Array, rng: np.random.Generator) -> None:
        light = np.linspace(1, 0.7, len(pictures))[:, None, None, None]
        pictures[:] = (pictures * light + rng.normal(0, 4, pictures.shape)).clip(0, 255)

    file, truth = write_scenes(tmp_path / "a.hdf5", change=worn)
    tracker = Tracker.fit(file, "front")
    assert len(tracker.things) == 2
    assert (off(tracker, file, truth) < 2).mean() > 0.97


def test_what_is_covered_is_completed_and_what_is_hidden_stays_where_it_was(tmp_path: Path) -> None:
    file, _ = write_scenes(tmp_path / "a.hdf5")
    tracker = Tracker.fit(file, "front")
    pictures = np.full((3, SIZE, SIZE, 3), GROUND, np.uint8)
    columns, rows = np.mgrid[:SIZE, :SIZE][1], np.mgrid[:SIZE, :SIZE][0]
    pictures[:, np.hypot(columns - 20, rows - 34) <= 4] = BLUE
    draw_bar(pictures[1], 16, 47)  # covers the left half
    draw_bar(pictures[2], 20, 47)
    pictures[2][np.hypot(columns - 20, rows - 34) <= 4] = ROBOT
    blue = [thing.name for thing in tracker.things].index("blue")
    seen = tracker.follow(pictures)
    assert np.allclose(seen.centre[:, blue], (20, 34), atol=0.8)
    assert seen.visible[0, blue] == 1 and 0.3 < seen.visible[1, blue] < 0.9 and seen.visible[2, blue] == 0
    assert seen.confidence[2, blue] == 0 < seen.confidence[1, blue] < seen.confidence[0, blue]
    red = 1 - blue
    assert not seen.found[:, red].any()
    assert np.isfinite(seen.columns()).all(), "a thing that an episode never shows has its usual place"


def test_it_looks_at_pictures_one_by_one(tmp_path: Path) -> None:
    file, truth = write_scenes(tmp_path / "a.hdf5")
    tracker = Tracker.fit(file, "front")
    pictures = file.read(3).frames["front"]
    order = np.random.default_rng(0).permutation(len(pictures))
    one_by_one, at_once = tracker.look(pictures[order]), tracker.look(pictures)
    assert np.array_equal(one_by_one.centre, at_once.centre[order])


def test_it_is_the_same_after_a_file_and_in_every_run(tmp_path: Path) -> None:
    file, _ = write_scenes(tmp_path / "a.hdf5")
    tracker, again = Tracker.fit(file, "front"), Tracker.fit(file, "front")
    read = Tracker.from_arrays({name: np.array(array) for name, array in tracker.arrays().items()})
    assert tracker.digest() == again.digest() == read.digest()
    pictures = file.read(0).frames["front"]
    assert np.array_equal(read.follow(pictures).columns(), tracker.follow(pictures).columns())
    with pytest.raises(DataError, match="the tracker is damaged"):
        Tracker.from_arrays({"told": np.frombuffer(b"{", np.uint8)})


def test_a_person_may_count_drop_and_click(tmp_path: Path) -> None:
    file, truth = write_scenes(tmp_path / "a.hdf5")
    assert len(Tracker.fit(file, "front", objects=1).things) == 1
    both = Tracker.fit(file, "front")
    (kept,) = Tracker.fit(file, "front", drop=(0,)).things
    assert kept == both.things[1]
    with pytest.raises(ConfigError, match="--drop 2: what was found has the numbers 0 to 1"):
        Tracker.fit(file, "front", drop=(2,))
    with pytest.raises(NothingToTrack, match="--drop names everything"):
        Tracker.fit(file, "front", drop=(0, 1))
    column, row = truth[2][0, 1]
    (cup,) = Tracker.fit(file, "front", clicks=(Click(2, 0, column, row, "cup"),)).things
    assert cup.name == "cup" and np.allclose(cup.color, BLUE, atol=8)
    with pytest.raises(NothingToTrack, match="click the middle of a thing"):
        Tracker.fit(file, "front", clicks=(Click(2, 0, 1.0, 47.0),))


def _nothing(pictures: Array, bar: Array, rng: np.random.Generator) -> None:
    """Leave the robot alone."""


def _shaken(pictures: Array, bar: Array, rng: np.random.Generator) -> None:
    """Move the camera about."""
    for t, picture in enumerate(pictures):
        shift = int(6 * np.sin(t / 4 + rng.normal(0, 0.1))), int(8 * np.cos(t / 5))
        picture[:] = np.roll(picture, shift, (0, 1))


def _cloth(pictures: Array, bar: Array, rng: np.random.Generator) -> None:
    """Draw something that has another shape in every picture."""
    angle = np.arctan2(np.mgrid[:SIZE, :SIZE][0] - 30, np.mgrid[:SIZE, :SIZE][1] - 24)
    distance = np.hypot(np.mgrid[:SIZE, :SIZE][0] - 30, np.mgrid[:SIZE, :SIZE][1] - 24)
    for t, picture in enumerate(pictures):
        edge = 3 + 6 * (1 + np.sin(3 * angle + t / 3)) * (t + 1) / LENGTH + 2 * np.sin(7 * angle - t / 5)
        free = (picture == GROUND).all(axis=-1)
        picture[free & (distance < edge)] = (40, 130, 60)


@pytest.mark.parametrize("change", [_nothing, _shaken, _cloth])
def test_a_recording_in_which_nothing_can_be_tracked_is_refused(change: object, tmp_path: Path) -> None:
    file, _ = write_scenes(tmp_path / "a.hdf5", colors=(), change=change)  # type: ignore[arg-type]
    with pytest.raises(NothingToTrack, match="nothing to track was found"):
        Tracker.fit(file, "front")


def test_too_few_episodes_are_refused(tmp_path: Path) -> None:
    file, _ = write_scenes(tmp_path / "a.hdf5", episodes=2)
    with pytest.raises(NothingToTrack, match="2 episodes are too few to tell things from the robot"):
        Tracker.fit(file, "front")


def test_the_median_of_nine_is_the_median() -> None:
    stack = np.random.default_rng(0).integers(0, 256, (9, 1000), dtype=np.uint8)
    assert np.array_equal(median(stack), np.median(stack, axis=0))


def test_the_nearest_pose_is_of_another_episode(tmp_path: Path) -> None:
    file, _ = write_scenes(tmp_path / "a.hdf5", episodes=5)
    library = PoseLibrary.of(file, "front")
    nearest = library.nearest(file.read(2).telemetry, without=2)
    assert nearest.shape == (LENGTH + 1, 3), "an odd number of the four others"
    assert not (library.episodes[nearest] == 2).any()
    assert all(len(set(row)) == 3 for row in library.episodes[nearest].tolist())


def test_two_clicks_on_things_that_look_alike_are_two_things(tmp_path: Path) -> None:
    file, truth = write_scenes(tmp_path / "a.hdf5", colors=(RED, RED))
    clicks = tuple(Click(0, 0, float(column), float(row)) for column, row in truth[0][0])
    tracker = Tracker.fit(file, "front", clicks=clicks)
    assert [thing.name for thing in tracker.things] == ["red-1", "red-2"]
    assert len({thing.look for thing in tracker.things}) == 1
    assert (off(tracker, file, truth) < 2).mean() > 0.5
    for run, centres in zip(followed(tracker, file), truth, strict=True):
        distance = min(
            (np.linalg.norm(run.centre[:, order] - centres, axis=-1) for order in ([0, 1], [1, 0])),
            key=lambda distance: float(distance.mean()),
        )
        assert (distance < 2).mean() > 0.9


def test_clicking_the_same_thing_twice_is_refused(tmp_path: Path) -> None:
    file, truth = write_scenes(tmp_path / "a.hdf5")
    column, row = map(float, truth[0][0, 0])
    with pytest.raises(ConfigError, match="same thing"):
        Tracker.fit(file, "front", clicks=(Click(0, 0, column, row), Click(0, 0, column + 1, row)))


def test_more_clicks_than_things_can_be_followed_are_refused(tmp_path: Path) -> None:
    file, _ = write_scenes(tmp_path / "a.hdf5", episodes=3)
    with pytest.raises(ConfigError, match="256 clicks are too many: at most 255"):
        Tracker.fit(file, "front", clicks=(Click(0, 0, 1.0, 1.0),) * 256)


def test_a_black_background_is_no_dark_light(tmp_path: Path) -> None:
    def at_night(pictures: Array, bar: Array, rng: np.random.Generator) -> None:
        pictures[(pictures == np.array(GROUND)).all(axis=-1)] = 0

    file, truth = write_scenes(tmp_path / "a.hdf5", change=at_night)
    tracker = Tracker.fit(file, "front")
    assert sorted(thing.name for thing in tracker.things) == ["blue", "red"]
    assert (off(tracker, file, truth) < 2).mean() > 0.95


def test_a_background_that_lacks_a_colour_is_no_dark_light(tmp_path: Path) -> None:
    def on_yellow(pictures: Array, bar: Array, rng: np.random.Generator) -> None:
        pictures[(pictures == np.array(GROUND)).all(axis=-1)] = (200, 190, 0)

    file, truth = write_scenes(tmp_path / "a.hdf5", change=on_yellow)
    tracker = Tracker.fit(file, "front")
    assert sorted(thing.name for thing in tracker.things) == ["blue", "red"]
    assert (off(tracker, file, truth) < 2).mean() > 0.95
