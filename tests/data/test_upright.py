"""Pictures come in upright wherever they come in: EXIF of picture files, display matrix of films, live and on disk."""

from __future__ import annotations

from pathlib import Path

import layouts
import numpy as np
import pytest
from films import oriented, picture_file, turn_film, with_orientation, write_film
from numpy.typing import NDArray
from shared_data import shared
from truths import jpeg, make_pictures

from gwm_sim.data.formats import open_source
from gwm_sim.data.images import decode_levels, decode_picture
from gwm_sim.data.pictures.upright import AS_IT_IS, turn_of_file
from gwm_sim.data.pictures.videos import frames
from gwm_sim.envs.learned.goal_pictures import read_picture
from gwm_sim.policies.live.camera import OpenCVSource

ORIENTATIONS = range(1, 9)
PICTURE = make_pictures(0, 1)[0]
"""(64, 80, 3), unlike each of its mirror images and turns."""


def same(ours: NDArray[np.uint8], theirs: NDArray[np.uint8], levels: float = 3) -> bool:
    return ours.shape == theirs.shape and bool(np.abs(ours.astype(int) - theirs).mean() < levels)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_picture_files_are_turned_by_their_exif(orientation: int, kind: str, order: str) -> None:
    data = with_orientation(picture_file(PICTURE, kind), orientation, order)
    assert same(decode_picture(data, "test"), oriented(PICTURE, orientation))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_opencv_agrees_about_exif(orientation: int) -> None:
    cv2 = pytest.importorskip("cv2")
    data = with_orientation(picture_file(PICTURE, "jpeg"), orientation)
    theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert same(decode_picture(data, "test"), theirs)


def test_depth_files_are_turned_as_well() -> None:
    levels = np.arange(48, dtype=np.uint16).reshape(6, 8) * 300
    data = with_orientation(picture_file(levels), 6)
    np.testing.assert_array_equal(decode_levels(data, "test"), np.rot90(levels, 3))


@pytest.mark.parametrize("cut", [2, 4, 10, 14, 20, 24, 30, 40])
def test_damaged_exif_is_no_orientation(cut: int) -> None:
    data = with_orientation(picture_file(PICTURE, "jpeg"), 6)
    assert turn_of_file(data[:cut]) == AS_IT_IS
    assert turn_of_file(with_orientation(picture_file(PICTURE), 77)) == AS_IT_IS
    assert turn_of_file(b"\xff\xd8\xff\xe1\x00\x10Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(30)) == AS_IT_IS


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_films_are_turned_alike_on_disk_and_live(orientation: int, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    pictures = list(make_pictures(1, 3))
    path = turn_film(write_film(tmp_path / "a.mp4", pictures, np.arange(3) / 100), orientation)
    stored = list(frames(path, np.arange(3)))
    camera = OpenCVSource(str(path), plays=True)
    for picture, truth in zip(stored, pictures, strict=True):
        live = camera.read()
        assert live is not None
        assert same(picture, oriented(truth, orientation), 6)
        assert same(picture, live, 2)
    camera.close()


def test_the_film_of_the_case_is_upright() -> None:
    """Its header turns it by a quarter clockwise: what is red at the top of the stored frames is at the right."""
    with open_source("folder", shared("cases/turned-films/rot")) as source:
        picture = next(source.frames(0, "front", [0]))
    assert picture.shape == (128, 96, 3)
    red = (picture[..., 0] > 150) & (picture[..., 1] < 100)
    assert red[:, 70:].all() and not red[:, :60].any()


@pytest.mark.parametrize("orientation", [5, 6])
def test_importers_turn_films(orientation: int, tmp_path: Path) -> None:
    truths = layouts.write_folder(tmp_path / "takes", (8,))
    turn_film(tmp_path / "takes/take_00/front.mp4", orientation)
    with open_source("folder", tmp_path / "takes") as source:
        turned, plain = (next(source.frames(0, camera, [3])) for camera in ("front", "side"))
    assert same(turned, oriented(truths[0].frames["front"][3], orientation), 6)
    assert same(plain, truths[0].frames["side"][3], 6)


def test_stored_pictures_of_minari_and_lerobot_are_turned(tmp_path: Path) -> None:
    truths = layouts.write_minari(tmp_path / "pick-v0", jpegs=True, lengths=(6,))
    import h5py

    with h5py.File(tmp_path / "pick-v0/data/main_data.hdf5", "r+") as file:
        stored = file["episode_0/observations/pixels"]
        for row, picture in enumerate(truths[0].frames["pixels"]):
            stored[row] = np.frombuffer(with_orientation(jpeg(picture).tobytes(), 8), np.uint8)
    with open_source("minari", tmp_path / "pick-v0") as source:
        assert same(next(source.frames(0, "pixels", [2])), oriented(truths[0].frames["pixels"][2], 8), 6)


@pytest.mark.parametrize("orientation", [3, 7])
def test_goal_pictures_are_turned(orientation: int, tmp_path: Path) -> None:
    (tmp_path / "goal.jpg").write_bytes(with_orientation(picture_file(PICTURE, "jpeg"), orientation))
    assert same(read_picture(tmp_path / "goal.jpg"), oriented(PICTURE, orientation))
