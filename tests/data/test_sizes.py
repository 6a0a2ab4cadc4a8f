"""What `--size` makes of pictures of any shape: nothing is squeezed unseen, and what was cut off is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import layouts
import numpy as np
import pytest
from importing import config
from numpy.typing import NDArray

from gwm_sim.commands.import_ import import_episodes
from gwm_sim.data.conversion.sizes import parse_size, what_became
from gwm_sim.data.episode_file import Episode, EpisodeFile
from gwm_sim.data.images import MOST_CUT, SEEN, fit, fit_depth, in_proportion, part_of, shrink
from gwm_sim.errors import ConfigError

Array = NDArray[Any]

SHAPES = [(96, 128), (192, 320), (480, 640), (360, 640), (720, 1280), (640, 480), (480, 600), (100, 101), (84, 84)]


def write(path: Path, *shapes: tuple[int, int]) -> Path:
    """A robomimic file whose cameras, main one first, have pictures of some shapes."""
    layouts.write_robomimic(path, (6,))
    rng = np.random.default_rng(0)
    with h5py.File(path, "r+") as file:
        for camera, shape in zip(("agentview", "robot0_eye_in_hand"), shapes, strict=True):
            frames = rng.integers(0, 256, (7, *shape, 3), np.uint8)
            for group, rows in (("obs", frames[:-1]), ("next_obs", frames[1:])):
                del file[f"data/demo_0/{group}/{camera}_image"]
                file[f"data/demo_0/{group}/{camera}_image"] = rows
    return path


def imported(path: Path, size: int | str | None) -> tuple[dict[str, tuple[int, int]], Episode, list[str]]:
    """Import a file anew: the sizes of its pictures, its episode, and what was said of pictures."""
    out = path.with_name(f"{size}.hdf5")
    notes = import_episodes(config("robomimic", path, out, size=size)).notes
    with EpisodeFile(out) as file:
        sizes = {name: (camera.height, camera.width) for name, camera in file.schema.cameras.items()}
        return sizes, file[0], [note for note in notes if note.startswith("camera ")]


@pytest.mark.parametrize(
    ("shape", "side", "size"),
    [
        ((96, 128), 64, (64, 80)),
        ((192, 320), 64, (64, 112)),
        ((480, 640), 64, (64, 80)),
        ((360, 640), 64, (64, 112)),
        ((720, 1280), 128, (128, 224)),
        ((640, 480), 64, (80, 64)),
        ((512, 512), 64, (64, 64)),
        ((84, 84), 72, (72, 72)),
        ((100, 101), 72, (72, 72)),
        ((64, 80), 32, (32, 40)),  # multiples of 16 would cost a sixth of the picture
    ],
)
def test_the_larger_side_follows_in_proportion(shape: tuple[int, int], side: int, size: tuple[int, int]) -> None:
    assert in_proportion(shape, side) == size


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [16, 32, 48, 64, 72, 96, 128])
def test_nothing_is_squeezed_unseen_and_little_is_cut_off(shape: tuple[int, int], side: int) -> None:
    size = in_proportion(shape, side)
    part = part_of(shape, size)
    assert min(size) == side
    assert abs(part.stretch(size) - 1) <= SEEN + 1e-9
    assert part.height * part.width >= (1 - MOST_CUT - 1e-9) * shape[0] * shape[1]
    assert (part.top, part.left) == pytest.approx(((shape[0] - part.height) / 2, (shape[1] - part.width) / 2))


@pytest.mark.parametrize("shape", [(96, 128), (192, 320)])
def test_what_is_seen_moves_by_one_scale_about_the_middle(shape: tuple[int, int]) -> None:
    """A camera with square pixels stays one that looks the same way, so its calibration would follow."""
    size, middle = in_proportion(shape, 64), (np.array(shape) - 1) / 2
    scale = size[0] / part_of(shape, size).height
    for at in ((30, 40), (50, 70), (66, 90)):
        picture = np.zeros((*shape, 3), np.uint8)
        picture[at[0] - 3 : at[0] + 4, at[1] - 3 : at[1] + 4] = 255
        seen = fit(picture, size)[..., 0].astype(float)
        places = np.moveaxis(np.indices(size), 0, -1)
        centre = (places * seen[..., None]).sum(axis=(0, 1)) / seen.sum()
        expected = (at - middle) * scale + (np.array(size) - 1) / 2
        np.testing.assert_allclose(centre, expected, atol=0.05)  # grey levels are whole
    depth = np.broadcast_to(np.arange(shape[1], dtype=np.float32), shape)
    columns = fit_depth(depth, size)[0]
    np.testing.assert_allclose(columns, middle[1] + (np.arange(size[1]) - (size[1] - 1) / 2) / scale, atol=1)


def test_where_much_would_be_cut_off_the_whole_is_squeezed() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    np.testing.assert_array_equal(fit(picture, (64, 64)), shrink(picture, 64))
    np.testing.assert_array_equal(fit(picture, (96, 128)), picture)


def test_an_import_says_what_became_of_its_pictures(tmp_path: Path) -> None:
    path = write(tmp_path / "demo.hdf5", (96, 128), (96, 128))
    sizes, episode, notes = imported(path, 64)
    assert set(sizes.values()) == {(64, 80)} and episode.frames["agentview"].shape[1:] == (64, 80, 3)
    cut = "pictures of 96x128 became 64x80, not squeezed: 4 px at the left and the right were cut off."
    assert notes == [f"camera agentview: {cut}", f"camera robot0_eye_in_hand: {cut}"]
    sizes, _, notes = imported(path, "48x64")
    assert set(sizes.values()) == {(48, 64)} and not notes
    sizes, episode, notes = imported(path, None)
    assert set(sizes.values()) == {(64, 64)}
    squeezed = "pictures of 96x128 became 64x64, in which things are 25% too narrow: --size 64 keeps their proportions"
    assert notes[0] == f"camera agentview: {squeezed}, 64x80."
    with h5py.File(path) as file:
        first = file["data/demo_0/obs/agentview_image"][0]
    np.testing.assert_array_equal(episode.frames["agentview"][0], shrink(first, 64))


def test_cameras_of_other_shapes_get_the_size_of_the_main_one(tmp_path: Path) -> None:
    sizes, _, notes = imported(write(tmp_path / "demo.hdf5", (90, 160), (96, 128)), 64)
    assert set(sizes.values()) == {(64, 112)}
    assert notes == [
        "camera agentview: pictures of 90x160 became 64x112, in which things are 1.6% too narrow.",
        "camera robot0_eye_in_hand: pictures of 96x128 became 64x112, in which things are 31% too wide: "
        "--size 64 --camera robot0_eye_in_hand keeps their proportions, 64x80.",
    ]


def test_square_pictures_are_as_they_were(tmp_path: Path) -> None:
    path = write(tmp_path / "demo.hdf5", (96, 96), (96, 96))
    kept = [imported(path, size) for size in (None, 64, "64x64")]
    assert not any(notes for *_, notes in kept)
    for _, episode, _ in kept[1:]:
        np.testing.assert_array_equal(episode.frames["agentview"], kept[0][1].frames["agentview"])


@pytest.mark.parametrize("size", ["big", "64x", "64x96x3", "64.0"])
def test_other_words_are_no_size(size: str) -> None:
    with pytest.raises(ConfigError, match="the smaller side, such as 64, or HEIGHTxWIDTH, such as 64x96"):
        parse_size(size)


def test_a_panorama_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = write(tmp_path / "demo.hdf5", (16, 320), (16, 320))
    with pytest.raises(ConfigError, match="--size 64 makes 64x1280 of pictures of 16x320, and 1024 is the most"):
        imported(path, 64)
    assert what_became("front", (16, 320), (16, 320), 16) is None
