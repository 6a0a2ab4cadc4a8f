"""How tracked things come by metres: cameras fitted to what the hand carries, heights, and refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tabletop_scenes import ALONE, BOX, FRONT, SIDE, Recorder, camera_at, episodes, schema, spot, takes, told

from gwm_sim.data.cameras import Camera
from gwm_sim.data.tracking.metres.calibration import Calibration, NoMetres, Take, calibrate
from gwm_sim.data.tracking.metres.carrying import Hand, find_carries, hand_map
from gwm_sim.data.tracking.metres.pinhole import fit_pinhole

AROUND = np.random.default_rng(1).uniform([0.4, -0.12, 0.0], [0.6, 0.12, 0.25], (200, 3))
"""Points over the table [m]."""


@pytest.mark.parametrize(
    "camera",
    [
        FRONT,
        camera_at(0.0, 0.6, 2.4, 9.9),
        camera_at(2.0, 0.3, 0.5, 70.0),
        camera_at(-1.0, 1.2, 0.8, 40.0, 84),
    ],
)
def test_a_camera_far_or_near_is_found_from_what_it_sees(camera: Camera) -> None:
    rng = np.random.default_rng(0)
    seen = camera.project(AROUND) + 0.1 * rng.normal(size=(len(AROUND), 2))
    fit = fit_pinhole(AROUND, seen, (camera.width, camera.height), np.ones(200), np.zeros(200, bool))
    assert np.abs(fit.camera.project(AROUND) - camera.project(AROUND)).max() < 0.15
    assert fit.offset.tolist() == [0, 0]


def test_an_offset_of_things_in_the_hand_is_found_and_wild_pairs_lose_their_say() -> None:
    rng = np.random.default_rng(0)
    beside = np.arange(200) < 150
    seen = FRONT.project(AROUND) + 0.1 * rng.normal(size=(200, 2)) + np.where(beside[:, None], [0.3, 0.8], 0.0)
    seen[::20] += 6.0
    fit = fit_pinhole(AROUND, seen, (64, 64), np.ones(200), beside)
    np.testing.assert_allclose(fit.offset, [0.3, 0.8], atol=0.1)
    assert np.abs(fit.camera.project(AROUND) - FRONT.project(AROUND)).max() < 0.3


@pytest.mark.parametrize("gripper", [True, False])
def test_what_the_hand_carries_is_told_from_what_moves_otherwise(gripper: bool) -> None:
    recorded = episodes(8)
    hands = [Hand.of(schema(gripper=gripper), episode.take.telemetry) for episode in recorded]
    told_ = [episode.take.sightings["front"] for episode in recorded]
    found = hand_map(hands, told_)
    assert found is not None
    for hand, seen, episode in zip(hands, told_, recorded, strict=True):
        carries = find_carries(seen, hand, np.c_[hand.place, np.ones(len(hand.place))] @ found)
        assert {carry.thing for carry in carries} == {0}
        held = np.zeros(len(hand.place), bool)
        for carry in carries:
            held[carry.frames] = True
        moves = np.linalg.norm(np.diff(episode.places[:, 0], axis=0), axis=1) > 1e-6
        assert held[1:][moves].mean() > 0.97
        assert (np.linalg.norm(episode.places[held, 0] - hand.place[held], axis=1) < 0.05).mean() > 0.97


@pytest.mark.parametrize("gripper", [True, False])
def test_a_camera_is_fitted_to_what_the_hand_carries(gripper: bool) -> None:
    calibration = calibrate(takes(episodes(25)), schema(calibrated=False, gripper=gripper))
    view = calibration.view
    assert calibration.way == "heights" and view.fitted and view.clean_pairs >= 30
    assert np.linalg.norm(view.camera.project(AROUND) - FRONT.project(AROUND), axis=1).max() < 0.6
    assert calibration.heights is not None
    np.testing.assert_allclose(calibration.heights.rest[0], BOX / 2, atol=0.003)
    np.testing.assert_allclose(calibration.heights.tall[1], BOX, atol=0.005)


def test_a_calibration_says_how_metres_are_had_and_is_stored_as_json() -> None:
    calibration = calibrate(takes(episodes(10)), schema(calibrated=False))
    stored = json.loads(json.dumps(calibration.to_json()))
    again = Calibration.from_json(stored)
    assert again.to_json() == stored
    assert (
        "fitted to" in stored["says"] and "px median" in stored["says"] and "how far from the middle" in stored["says"]
    )


def test_where_the_hand_takes_things_above_their_middle_heights_are_off_by_just_that() -> None:
    calibration = calibrate(takes(episodes(20, grip=(0, 0, -0.016))), schema(calibrated=False))
    assert calibration.heights is not None
    np.testing.assert_allclose(calibration.heights.rest[0], BOX / 2 + 0.016, atol=0.004)


def test_the_best_way_is_chosen() -> None:
    both = {"front": FRONT, "side": SIDE}
    assert calibrate(takes(episodes(3, cameras=both)), schema(cameras=both)).way == "cameras"
    assert calibrate(takes(episodes(3)), schema()).way == "heights"
    assert calibrate(takes(episodes(3)), replace(schema(), depth=("front",))).way == "depth"


def test_several_cameras_that_nobody_calibrated_are_fitted_each() -> None:
    both = {"front": FRONT, "side": SIDE}
    calibration = calibrate(takes(episodes(12, cameras=both)), schema(calibrated=False, cameras=both))
    assert calibration.way == "cameras" and all(view.fitted for view in calibration.views.values())


def test_without_a_hand_a_known_camera_needs_the_height_of_the_table() -> None:
    recorded = takes(episodes(3))
    with pytest.raises(NoMetres, match="how high the table is"):
        calibrate(recorded, schema(effector=False))
    heights = calibrate(recorded, schema(effector=False), table=0.0).heights
    assert heights is not None
    np.testing.assert_allclose(heights.rest, BOX / 2, atol=0.004)


def test_no_camera_is_fitted_without_a_hand() -> None:
    with pytest.raises(NoMetres, match="does not say where the hand is"):
        calibrate(takes(episodes(3)), schema(calibrated=False, effector=False))


def test_no_camera_is_fitted_to_too_few_carries() -> None:
    rng = np.random.default_rng(0)
    recorder = Recorder(np.stack([spot(rng), np.array([0.62, 0.14, BOX / 2])]))
    recorder.wait(4)
    recorder.take(0)
    recorder.put(0.5, 0.0, BOX / 2)
    with pytest.raises(NoMetres, match="carried 1 times|too few things move"):
        calibrate([told(recorder, rng, ALONE).take], schema(calibrated=False))


def test_no_camera_is_fitted_where_nothing_is_carried() -> None:
    rng = np.random.default_rng(0)
    recorder = Recorder(np.stack([spot(rng), np.array([0.62, 0.14, BOX / 2])]))
    for goal in ((0.4, 0.1, 0.2), (0.6, -0.1, 0.1), (0.4, -0.1, 0.3), (0.6, 0.1, 0.3)):
        recorder.go(*goal)
    with pytest.raises(NoMetres, match="too few things move with the hand"):
        calibrate([told(recorder, rng, ALONE).take] * 5, schema(calibrated=False))


def test_no_camera_is_fitted_to_carries_in_a_plane() -> None:
    rng = np.random.default_rng(0)
    recorded = []
    for _ in range(12):
        recorder = Recorder(np.stack([spot(rng), np.array([0.62, 0.14, BOX / 2])]))
        recorder.hand = recorder.boxes[0].copy()
        recorder.opening, recorder.held = BOX, 0
        for _ in range(6):
            recorder.go(*spot(rng))
        recorded.append(told(recorder, rng, ALONE).take)
    with pytest.raises(NoMetres, match="nearly in a plane"):
        calibrate(recorded, schema(calibrated=False))


def test_a_camera_that_moves_with_the_robot_gives_no_metres() -> None:
    moving = replace(FRONT, moving=True)
    with pytest.raises(NoMetres, match="move with the robot"):
        calibrate(takes(episodes(2)), schema(cameras={"front": moving}))


def test_an_offset_is_told_with_a_known_camera_as_well() -> None:
    shifted = []
    for episode in episodes(20):
        seen = episode.take.sightings["front"]
        held = np.linalg.norm(episode.places - episode.take.telemetry[:, None, :3], axis=-1) < 0.02
        centre = seen.centre + np.where(held[..., None], [0.0, 0.7], 0.0)
        visible = np.where(held, 0.6, 1.0)
        shifted.append(Take({"front": replace(seen, centre=centre, visible=visible)}, episode.take.telemetry))
    np.testing.assert_allclose(calibrate(shifted, schema()).view.offset, [0.0, 0.7], atol=0.25)


def test_a_camera_that_looks_along_the_table_is_refused() -> None:
    low = {"front": camera_at(0.2, 0.08, 1.2, 24.0)}
    with pytest.raises(NoMetres, match="nearly along the table"):
        calibrate(takes(episodes(3, cameras=low)), schema(cameras=low))


def test_a_hand_as_wide_open_as_it_gets_carries_nothing() -> None:
    recorder = Recorder(np.array([[0.5, 0.0, BOX / 2], [0.6, 0.1, BOX / 2]]))
    recorder.take(0)
    recorder.put(0.45, 0.0, BOX / 2)
    recorder.go(0.45, 0.0, BOX / 2)
    start = len(recorder.hands)
    recorder.held = 0  # pushed, with the fingers apart
    recorder.go(0.45, 0.1, BOX / 2)
    recorder.held = None
    recorder.wait(4)
    episode = told(recorder, np.random.default_rng(0), ALONE)
    hand = Hand.of(schema(), episode.take.telemetry)
    carries = find_carries(episode.take.sightings["front"], hand, FRONT.project(hand.place))
    assert len(carries) == 1 and carries[0].stop <= start
