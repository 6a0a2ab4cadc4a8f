"""Cameras give the latest picture, or say what is wrong."""

from pathlib import Path

import numpy as np
import pytest

from gwm_sim.media.video import write_video
from gwm_sim.policies.live.camera import Camera, CameraError, Picture, open_source
from gwm_sim.policies.live.timing import Clock


def test_a_camera_without_pictures_is_an_error() -> None:
    class Dead:
        closed = False

        def read(self) -> Picture | None:
            return None

        def close(self) -> None:
            self.closed = True

    source = Dead()
    with pytest.raises(CameraError, match="no picture: none within 0.1 s"):
        Camera(source).start(timeout=0.1)
    assert source.closed

    class Wrong:
        def read(self) -> Picture:
            return np.zeros((4, 4), np.uint8)

    with pytest.raises(CameraError, match=r"must be \(H, W, 3\) uint8, got \(4, 4\) uint8"):
        Camera(Wrong()).start()


def test_a_video_file_plays_at_its_own_rate_and_ends(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    film = tmp_path / "film.mp4"
    shades = [np.full((48, 64, 3), shade, np.uint8) for shade in range(0, 200, 20)]
    write_video(film, shades, rate=20.0)
    clock = Clock()
    source = open_source(str(film))
    begun = clock.now()
    frames = []
    with pytest.raises(CameraError, match="has been played to its end"):
        while (frame := source.read()) is not None:
            frames.append(frame)
    assert len(frames) == 10 and clock.now() - begun >= 0.45
    assert frames[3].shape == (48, 64, 3) and abs(int(frames[3].mean()) - 60) < 8


@pytest.mark.parametrize("name", ["no-such-film.mp4", "97"])
def test_cameras_that_are_not_there_are_named(name: str) -> None:
    pytest.importorskip("cv2")
    with pytest.raises(CameraError, match=f"--camera {name}"):
        open_source(name)
