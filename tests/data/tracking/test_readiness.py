"""What speaks against tracking is said before it begins, from a few pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from recordings import write_file
from trackers import write_raw

from gwm_sim.commands.inspect import InspectConfig, main
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.tracking import readiness
from gwm_sim.data.tracking.readiness import Scene, judge, moved_since, outlook, scene_of

Array = NDArray[Any]


def texture(seed: int = 0, size: int = 120) -> Array:
    """Draw a scene in which every block can be found again, (size, size, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(30, 220, (size // 4, size // 4, 3), np.uint8)
    return coarse.repeat(4, axis=0).repeat(4, axis=1)


def seen(shift: int = 0, turning: bool = False, moving: bool = True, scene: int = 0) -> Array:
    """Pictures of a scene from some pixels further right, with something that moves, (20, 64, 64, 3) uint8."""
    frames = []
    for t in range(20):
        at = shift + t if turning else shift
        frame = texture(scene)[16:80, 16 + at : 80 + at].copy()
        if moving:
            frame[30:36, 2 * t : 2 * t + 6] = 255
        frames.append(frame)
    return np.stack(frames)


def watching(*stretches: Array, episodes: int = 40, telemetry: bool = True, camera: str = "front") -> Scene:
    return Scene(camera, episodes, telemetry, rides=False, watched=dict(enumerate(stretches)))


def test_nothing_speaks_against_a_scene_that_stands_still() -> None:
    assert judge(watching(seen(), seen(), seen())) == ([], [])


@pytest.mark.parametrize(
    ("scene", "reason"),
    [
        (watching(seen(), seen(), episodes=3), "there are 3 episodes, and finding things takes 8"),
        (watching(seen(), seen(), episodes=3), "record more, or show one of each with --click"),
        (
            watching(seen(), episodes=1),
            "there is 1 episode, and finding things takes 8, in which they lie elsewhere: record more",
        ),
        (watching(seen(), seen(), telemetry=False), "there is no telemetry"),
        (watching(seen(turning=True), seen(turning=True)), "camera front moves all the time"),
        (watching(seen(), seen(shift=10)), "camera front was moved, by about 10 of 64 pixels, by episode 1"),
        (watching(seen(), seen(scene=1)), "camera front was moved, or the scene rebuilt, by episode 1"),
        (watching(seen(moving=False), seen(moving=False)), "nothing moves before camera front"),
    ],
)
def test_what_speaks_against_it_is_said(scene: Scene, reason: str) -> None:
    obstacles, cautions = judge(scene)
    assert len(obstacles) == 1 and reason in obstacles[0] and cautions == []
    assert outlook([scene]) == f"gwm track will not work: {obstacles[0]}"


def test_what_need_not_be_found_may_be_in_few_episodes_without_telemetry() -> None:
    assert judge(watching(seen(), seen(), episodes=2, telemetry=False), told=True) == ([], [])
    assert judge(watching(seen(turning=True)), told=True).obstacles


def test_a_camera_that_was_moved_a_little_is_a_caution() -> None:
    obstacles, cautions = judge(watching(seen(), seen(shift=4)))
    assert obstacles == [] and "by about 4 of 64 pixels, by episode 1: places will be off" in cautions[0]


def test_a_camera_that_was_moved_since_another_recording_is_named() -> None:
    empty = seen(moving=False)[0].astype(np.float32)
    assert moved_since(watching(seen(), seen()), empty) is None
    said = moved_since(watching(seen(shift=4), seen(shift=4)), empty)
    assert said == "camera front was moved, by about 4 of 64 pixels,"


def test_the_first_camera_that_can_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    arm, side = watching(seen(turning=True), camera="arm"), watching(seen(), camera="side")
    said = outlook([arm, side])
    assert said.startswith("nothing speaks against gwm track --camera side, but camera arm moves all the time")
    monkeypatch.setattr(readiness, "find_spec", lambda package: None)
    assert outlook([side]).endswith('It needs pip install "gwm-sim[track]" first.')


def test_inspect_says_it_of_episode_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = write_raw(tmp_path / "raw.hdf5", 3)
    assert main(InspectConfig(raw)) == 0
    assert "tracking: gwm track will not work: there are 3 episodes" in capsys.readouterr().out
    assert main(InspectConfig(write_file(tmp_path / "known.hdf5"))) == 0
    assert "tracking: not needed: the file has red, blue already" in capsys.readouterr().out
    with EpisodeFile(raw) as file:
        assert scene_of(file, "front").watched[2].shape == (13, 64, 64, 3)
