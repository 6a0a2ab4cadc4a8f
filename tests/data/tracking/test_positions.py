"""Where tracked things are in metres: on the table, in the hand, on one another, falling, and out of sight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tabletop_scenes import ALONE, BOX, FRONT, SIDE, Array, Episode, Recorder, camera_at, episodes, schema, takes, told

from gwm_sim.data.cameras import Camera
from gwm_sim.data.tracking.metres.calibration import Calibration, View, calibrate
from gwm_sim.data.tracking.metres.heights import Heights
from gwm_sim.data.tracking.metres.positions import Basis, Places, locate

TABLE = Calibration("heights", {"front": View(FRONT, False)}, Heights(np.full(2, BOX / 2), np.full(2, BOX), 10))
"""Boxes on a table before a known camera."""


def errors(places: Places, episode: Episode) -> Array:
    """Distances from the truth [m], (T, K)."""
    apart: Array = np.linalg.norm(places.xyz - episode.places, axis=-1)
    return apart


def stacked(episode: Episode) -> Array:
    """When box 0 lies on box 1, (T,) bool."""
    above = episode.places[:, 0] - episode.places[:, 1]
    on: Array = np.linalg.norm(above - [0, 0, BOX], axis=1) < 0.01
    return on


@pytest.mark.parametrize("calibrated", [True, False])
def test_things_are_placed_on_the_table_in_the_hand_and_on_one_another(calibrated: bool) -> None:
    recorded = episodes(20, seed=3)
    told_ = schema(calibrated)
    calibration = calibrate(takes(recorded), told_)
    found = [(locate(episode.take, told_, calibration), episode) for episode in recorded]
    apart = np.concatenate([errors(places, episode) for places, episode in found])
    assert np.median(apart) < 0.004 and np.percentile(apart, 90) < 0.01
    on = np.concatenate([errors(places, episode)[stacked(episode), 0] for places, episode in found])
    assert len(on) > 200 and (on > 0.02).mean() < 0.05
    basis = np.concatenate([places.basis[stacked(episode), 0] for places, episode in found])
    assert np.isin(basis, [Basis.STACKED, Basis.HELD]).mean() > 0.95


@pytest.mark.parametrize("seed", range(4))
def test_a_box_behind_another_is_not_taken_for_one_on_top(seed: int) -> None:
    rng = np.random.default_rng(seed)
    front = np.array([0.5, 0.02, BOX / 2])
    away = (front - FRONT.position)[:2] / np.linalg.norm((front - FRONT.position)[:2])
    behind = front + np.r_[BOX / np.tan(0.65) * away, 0]
    recorder = Recorder(np.stack([behind, front]))
    recorder.wait(6)
    recorder.take(0)
    recorder.put(0.42, -0.1, BOX / 2)
    episode = told(recorder, rng, ALONE)
    assert errors(locate(episode.take, schema(), TABLE), episode).max() < 0.02


@pytest.mark.parametrize("on_top", [True, False])
def test_who_covers_whom_tells_a_box_on_another_from_one_behind_it(on_top: bool) -> None:
    below = np.array([0.5, 0.02, BOX / 2])
    above = below + [0, 0, BOX]
    behind = FRONT.at_height(FRONT.project(above), BOX / 2)
    recorder = Recorder(np.stack([above if on_top else behind, below]))
    recorder.wait(20)
    episode = told(recorder, np.random.default_rng(0), ALONE)
    seen = episode.take.sightings["front"]
    visible = np.broadcast_to([1.0, 0.7] if on_top else [0.7, 1.0], seen.visible.shape)
    take = episode.take._replace(sightings={"front": replace(seen, visible=visible)})
    places = locate(take, schema(), TABLE)
    assert (places.basis == [Basis.STACKED if on_top else Basis.TABLE, Basis.TABLE]).all()
    assert errors(places, episode).max() < 0.02


def test_nothing_lies_on_what_is_not_there_any_more() -> None:
    recorder = Recorder(np.array([[0.5, 0.0, 1.5 * BOX], [0.5, 0.0, 0.5 * BOX]]))
    recorder.wait(10)
    recorder.boxes = np.array([[0.47, 0.01, 0.5 * BOX], [0.1, -0.4, 0.5 * BOX]])
    recorder.wait(20)
    episode = told(recorder, np.random.default_rng(0), ALONE)
    seen = episode.take.sightings["front"]
    visible, confidence, centre = seen.visible.copy(), seen.confidence.copy(), seen.centre.copy()
    visible[10:, 1] = confidence[10:, 1] = 0
    centre[10:, 1] = centre[9, 1]
    visible[:10, 1] = 0.7
    seen = replace(seen, visible=visible, confidence=confidence, centre=centre)
    places = locate(episode.take._replace(sightings={"front": seen}), schema(), TABLE)
    assert (places.basis[:, 0] == np.where(np.arange(30) < 10, Basis.STACKED, Basis.TABLE)).mean() > 0.9


def test_what_lies_still_stays_where_it_is_while_the_hand_hides_half_of_it() -> None:
    recorder = Recorder(np.array([[0.5, 0.0, BOX / 2], [0.6, 0.1, BOX / 2]]))
    recorder.wait(30)
    episode = told(recorder, np.random.default_rng(0), ALONE)
    seen = episode.take.sightings["front"]
    visible, centre = seen.visible.copy(), seen.centre.copy()
    visible[10:20, 0] = [0.8, 0.6, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.6, 0.8]
    centre[10:20, 0, 1] += 4 * (1 - visible[10:20, 0])
    take = episode.take._replace(sightings={"front": replace(seen, visible=visible, centre=centre)})
    assert errors(locate(take, schema(), TABLE), episode).max() < 0.01


def test_what_moves_while_it_is_half_hidden_is_followed() -> None:
    recorder = Recorder(np.array([[0.45, -0.1, BOX / 2], [0.6, 0.1, BOX / 2]]))
    recorder.wait(5)
    for _ in range(12):
        recorder.boxes[0] += [0.0, 0.015, 0.0]
        recorder.wait()
    recorder.wait(5)
    episode = told(recorder, np.random.default_rng(0), ALONE)
    seen = episode.take.sightings["front"]
    visible = seen.visible.copy()
    visible[5:, 0] = 0.5
    take = episode.take._replace(sightings={"front": replace(seen, visible=visible)})
    assert errors(locate(take, schema(), TABLE), episode).max() < 0.02


def test_what_lies_on_another_at_the_start_is_told_by_the_hand_that_takes_it_later() -> None:
    rng = np.random.default_rng(0)
    recorder = Recorder(np.array([[0.5, 0.0, 1.5 * BOX], [0.5, 0.0, 0.5 * BOX]]))
    recorder.wait(10)
    recorder.take(0)
    recorder.put(0.42, -0.1, BOX / 2)
    episode = told(recorder, rng, ALONE)
    places = locate(episode.take, schema(), TABLE)
    assert (places.basis[:10] == [Basis.STACKED, Basis.TABLE]).all()
    assert errors(places, episode).max() < 0.02


def test_a_tower_of_three_is_as_high_as_it_was_built() -> None:
    rng = np.random.default_rng(0)
    recorder = Recorder(np.array([[0.5, 0.0, BOX / 2], [0.42, 0.1, BOX / 2], [0.57, -0.1, BOX / 2]]))
    recorder.wait(5)
    recorder.take(1)
    recorder.put(0.5, 0.005, 1.5 * BOX)
    recorder.take(2)
    recorder.put(0.5, 0.005, 2.5 * BOX)
    recorder.wait(10)
    episode = told(recorder, rng, ALONE)
    three = Calibration("heights", TABLE.views, Heights(np.full(3, BOX / 2), np.full(3, BOX), 10))
    places = locate(episode.take, schema(), three)
    assert (places.basis[-10:] == [Basis.TABLE, Basis.STACKED, Basis.STACKED]).all()
    assert errors(places, episode)[-10:].max() < 0.02


def test_a_wild_sighting_does_not_move_a_thing_off_its_support() -> None:
    episode = episodes(1, seed=5)[0]
    seen = episode.take.sightings["front"]
    centre = seen.centre.copy()
    at = np.flatnonzero(stacked(episode))[::5]
    centre[at, 0] += [1.5, 0.5]
    take = episode.take._replace(sightings={"front": replace(seen, centre=centre)})
    off = errors(locate(take, schema(), TABLE), episode)[stacked(episode), 0]
    assert (off > 0.025).mean() < 0.05


def test_what_rides_on_a_thing_in_the_hand_is_as_high_as_that_carries_it() -> None:
    rng = np.random.default_rng(0)
    recorder = Recorder(np.array([[0.5, 0.0, 1.5 * BOX], [0.5, 0.0, 0.5 * BOX]]))
    recorder.wait(5)
    recorder.take(0)
    recorder.put(0.5, 0.0, 1.5 * BOX)
    recorder.go(0.5, 0.0, BOX)
    recorder.go(0.5, 0.0, BOX / 2)
    recorder.opening = BOX
    recorder.wait(2)
    for _ in range(10):
        recorder.hand = recorder.hand + [0, 0.008, 0.008]
        recorder.boxes = recorder.boxes + [0, 0.008, 0.008]
        recorder.wait()
    episode = told(recorder, rng, ALONE)
    assert np.median(errors(locate(episode.take, schema(), TABLE), episode)[-5:]) < 0.02


def test_what_is_dropped_falls_along_its_rays() -> None:
    rng = np.random.default_rng(0)
    recorder = Recorder(np.array([[0.5, 0.0, BOX / 2], [0.6, 0.1, BOX / 2]]))
    recorder.wait(5)
    recorder.take(0)
    recorder.go(0.45, -0.05, 0.2)
    recorder.wait(3)
    recorder.opening, recorder.held = 0.08, None
    for height in (0.15, 0.07, BOX / 2, BOX / 2, BOX / 2, BOX / 2, BOX / 2):
        recorder.boxes[0, 2] = height
        recorder.wait()
    episode = told(recorder, rng, ALONE)
    places = locate(episode.take, schema(), TABLE)
    assert errors(places, episode).max() < 0.02
    assert errors(places, episode)[places.basis[:, 0] == Basis.HELD, 0].max() < 0.01
    assert Basis.FALLING in places.basis[-7:, 0]
    assert places.basis[-1, 0] == Basis.TABLE


def test_what_is_not_seen_stays_where_it_was_and_says_so() -> None:
    episode = episodes(1)[0]
    seen = episode.take.sightings["front"]
    confidence = seen.confidence.copy()
    confidence[10:15, 1] = 0
    confidence[:, 0] = 0
    take = episode.take._replace(sightings={"front": replace(seen, confidence=confidence)})
    places = locate(take, schema(), TABLE)
    assert np.isfinite(places.xyz).all()
    assert (places.basis[10:15, 1] == Basis.LAST_KNOWN).all() and (places.confidence[10:15, 1] == 0).all()
    assert (places.basis[:, 0] == Basis.LAST_KNOWN).all() and (places.confidence[:, 0] == 0).all()


@pytest.mark.parametrize("third", [None, camera_at(-1.2, 0.7, 1.1, 28.0)])
def test_views_of_several_cameras_meet(third: Camera | None) -> None:
    cameras = {"front": FRONT, "side": SIDE} | ({} if third is None else {"third": third})
    recorded = episodes(3, cameras=cameras)
    told_ = schema(cameras=cameras)
    calibration = calibrate(takes(recorded), told_)
    for episode in recorded:
        places = locate(episode.take, told_, calibration)
        assert errors(places, episode).max() < 0.02
        assert (places.basis == Basis.CAMERAS).all()


def test_a_camera_that_is_wrong_is_outvoted_by_two_and_doubted_by_one() -> None:
    third = camera_at(-1.2, 0.7, 1.1, 28.0)
    for cameras in ({"front": FRONT, "side": SIDE, "third": third}, {"front": FRONT, "side": SIDE}):
        episode = episodes(1, cameras=cameras)[0]
        seen = episode.take.sightings["side"]
        centre = seen.centre.copy()
        centre[20:25, 0] += [3.0, 14.0]
        take = episode.take._replace(sightings=dict(episode.take.sightings) | {"side": replace(seen, centre=centre)})
        calibration = Calibration("cameras", {name: View(camera, False) for name, camera in cameras.items()}, None)
        places = locate(take, schema(cameras=cameras), calibration)
        assert (places.confidence[20:25, 0] > 0).all() == (len(cameras) == 3)
        assert errors(places, episode)[:, 1].max() < 0.02
        if len(cameras) == 3:
            assert errors(places, episode).max() < 0.02


def test_where_one_camera_alone_sees_a_thing_it_tells_where_that_is() -> None:
    cameras = {"front": FRONT, "side": SIDE}
    recorded, told_ = episodes(3, cameras=cameras), schema(cameras=cameras)
    calibration = calibrate(takes(recorded), told_)
    episode = recorded[0]
    for hidden in cameras:
        seen = episode.take.sightings[hidden]
        confidence = seen.confidence.copy()
        confidence[20:60, 0] = 0
        seen = replace(seen, confidence=confidence)
        places = locate(
            episode.take._replace(sightings=dict(episode.take.sightings) | {hidden: seen}), told_, calibration
        )
        assert np.percentile(errors(places, episode), 95) < 0.02
        assert not np.isin(places.basis[20:60, 0], [Basis.CAMERAS, Basis.LAST_KNOWN]).any()
        assert (places.confidence[20:60, 0] <= 0.5).all() and (places.confidence[20:60, 0] > 0).all()


def test_measured_depth_places_things_at_any_height() -> None:
    rng = np.random.default_rng(0)
    recorder = Recorder(np.array([[0.5, 0.0, 0.17], [0.58, 0.1, BOX / 2]]))
    recorder.wait(4)
    episode = told(recorder, rng, ALONE)
    depth = np.full((4, 64, 64), 1.5)
    rows, columns = np.mgrid[:64, :64]
    for k, place in enumerate(episode.places[0]):
        column, row = FRONT.project(place)
        near = (np.abs(rows - row) < 4) & (np.abs(columns - column) < 4)
        depth[:, near] = FRONT.depth(episode.places[0, k]) - BOX / 2
    take = episode.take._replace(depth={"front": depth})
    calibration = Calibration("depth", {"front": View(FRONT, False)}, None)
    places = locate(take, schema(), calibration)
    assert errors(places, episode).max() < 0.01
    assert (places.basis == Basis.DEPTH).all()
    gone = locate(take._replace(depth={"front": 0 * depth}), schema(), calibration)
    assert (gone.confidence == 0).all() and np.isfinite(gone.xyz).all()


def test_robots_without_a_hand_place_things_on_a_known_table() -> None:
    episode = episodes(1)[0]
    told_ = schema(effector=False)
    places = locate(episode.take, told_, calibrate([episode.take], told_, table=0.0))
    low = episode.places[..., 2] < 0.03
    assert np.percentile(errors(places, episode)[low], 90) < 0.012
