"""Pictures of other kinds than RGB of 8 bits: converted where that is certain, else left out or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import layouts
import numpy as np
import pytest
from films import film_of, picture_file, write_film, write_lerobot
from importing import config
from numpy.typing import NDArray
from truths import make_pictures

from gwm_sim.commands.import_ import import_episodes
from gwm_sim.data.formats import open_source
from gwm_sim.data.images import decode_picture
from gwm_sim.data.importers.source import Source
from gwm_sim.errors import DataError

Array = NDArray[Any]
GREY = make_pictures(0, 1)[0].mean(axis=-1).astype(np.uint8)


def grey(pictures: Array) -> Array:
    return pictures[..., :1]


def with_alpha(pictures: Array) -> Array:
    noise = np.random.default_rng(0).integers(0, 256, (*pictures.shape[:3], 1), np.uint8)
    return np.concatenate([pictures, noise], axis=-1)


CERTAIN = {
    "grey": grey,
    "grey-without-axis": lambda pictures: pictures[..., 0],
    "grey-channel-first": lambda pictures: grey(pictures).transpose(0, 3, 1, 2),
    "rgba": with_alpha,
    "rgba-channel-first": lambda pictures: with_alpha(pictures).transpose(0, 3, 1, 2),
    "channel-first": lambda pictures: pictures.transpose(0, 3, 1, 2),
    "float": lambda pictures: (pictures / 255).astype(np.float32),
    "float-channel-first": lambda pictures: (pictures / 255).transpose(0, 3, 1, 2),
    "half": lambda pictures: (pictures / 255).astype(np.float16),
    "float-to-255": lambda pictures: pictures.astype(np.float32),
}

UNCERTAIN = {
    "16-bit": (lambda pictures: pictures.astype(np.uint16), "uint16, and nothing says which is white"),
    "16-bit-grey": (lambda pictures: pictures[..., 0].astype(np.uint16) * 16, "uint16, and nothing says"),
    "integers": (lambda pictures: pictures.astype(np.int64), "int64, and nothing says which is white"),
    "around-zero": (lambda pictures: (pictures / 127.5 - 1).astype(np.float32), r"reach from -0\.\d+ to .*expected"),
    "not-finite": (lambda pictures: np.where(pictures > 200, np.nan, pictures / 255), "reach from nan to nan"),
    "grey-float": (lambda pictures: (pictures[..., 0] / 255).astype(np.float32), "float32, and nothing says"),
    "stack": (lambda pictures: stacked(pictures), "4 channels are pictures one after the other, not colours"),
}


def stacked(pictures: Array) -> Array:
    """The last four grey pictures as channels, as for agents of games: (N, 4, H, W)."""
    padded = np.concatenate([pictures[:1, ..., 1].repeat(3, axis=0), pictures[..., 1]])
    return np.stack([padded[i : i + len(pictures)] for i in range(4)], axis=1)


def rewrite(path: Path, key: str, change: Any, copy: str | None = None) -> None:
    """Store the pictures of a robomimic or Minari file in another form, or a copy of them beside."""
    with h5py.File(path, "r+") as file:
        found: list[str] = []
        file.visit(lambda name: found.append(name) if name.split("/")[-1] == key else None)
        for name in found:
            values = change(file[name][:])
            where = name if copy is None else f"{name.rsplit('/', 1)[0]}/{copy}"
            if copy is None:
                del file[name]
            file[where] = values


def first_pictures(source: Source, camera: str) -> Array:
    return np.stack(list(source.frames(0, camera, range(len(source.recording(0))))))


@pytest.mark.parametrize("form", CERTAIN)
def test_other_forms_become_rgb_in_robomimic_and_libero(form: str, tmp_path: Path) -> None:
    for format, write, key in (
        ("robomimic", layouts.write_robomimic, "agentview_image"),
        ("libero", layouts.write_libero, "agentview_rgb"),
    ):
        path = tmp_path / f"{format}.hdf5"
        truth = write(path, (7, 6))[0].frames["agentview"]
        rewrite(path, key, CERTAIN[form])
        expected = truth[..., :1].repeat(3, axis=-1) if "grey" in form else truth
        with open_source(format, path) as source:
            assert source.layout.cameras[0] == "agentview" and len(source.layout.cameras) == 2
            np.testing.assert_array_equal(first_pictures(source, "agentview"), expected)


@pytest.mark.parametrize("form", CERTAIN)
def test_other_forms_become_rgb_in_minari(form: str, tmp_path: Path) -> None:
    truth = layouts.write_minari(tmp_path / "a", lengths=(6,))[0].frames["pixels"]
    rewrite(tmp_path / "a/data/main_data.hdf5", "pixels", CERTAIN[form])
    with open_source("minari", tmp_path / "a") as source:
        expected = truth[..., :1].repeat(3, axis=-1) if "grey" in form else truth
        np.testing.assert_array_equal(first_pictures(source, "pixels"), expected)


@pytest.mark.parametrize("form", UNCERTAIN)
def test_what_is_uncertain_is_left_out_with_a_remark(form: str, tmp_path: Path) -> None:
    change, reason = UNCERTAIN[form]
    layouts.write_robomimic(tmp_path / "a.hdf5", (7,))
    rewrite(tmp_path / "a.hdf5", "agentview_image", change)
    result = import_episodes(config("robomimic", tmp_path / "a.hdf5", tmp_path / "b.hdf5"))
    (note,) = (note for note in result.notes if note.startswith("agentview_image "))
    assert "was left out" in note
    with open_source("robomimic", tmp_path / "a.hdf5") as source:
        assert source.layout.cameras == ("robot0_eye_in_hand",)
    layouts.write_minari(tmp_path / "m", lengths=(6,))
    rewrite(tmp_path / "m/data/main_data.hdf5", "pixels", change)
    with pytest.raises(DataError, match=rf"no camera shows colours\. observations/pixels .* was left out: .*{reason}"):
        open_source("minari", tmp_path / "m")


@pytest.mark.parametrize("form", ["four frames as channels", "two frames one after the other", "black and white"])
def test_arrays_that_are_neither_pictures_nor_vectors_are_named(form: str, tmp_path: Path) -> None:
    change = {
        "four frames as channels": lambda pictures: np.concatenate([pictures] * 4, axis=-1),
        "two frames one after the other": lambda pictures: np.stack([pictures] * 2, axis=1),
        "black and white": lambda pictures: pictures > 100,
    }[form]
    layouts.write_robomimic(tmp_path / "a.hdf5", (7,))
    rewrite(tmp_path / "a.hdf5", "agentview_image", change, copy="odd_view")
    with open_source("robomimic", tmp_path / "a.hdf5") as source:
        assert source.layout.cameras == ("agentview", "robot0_eye_in_hand")
        assert any(remark.startswith("odd_view ") and "was left out" in remark for remark in source.remarks)
    layouts.write_minari(tmp_path / "m", lengths=(6,))
    rewrite(tmp_path / "m/data/main_data.hdf5", "pixels", change)
    with pytest.raises(DataError, match=r"no camera shows colours\. observations/pixels .* was left out"):
        open_source("minari", tmp_path / "m")


def test_labels_of_objects_are_no_camera(tmp_path: Path) -> None:
    layouts.write_robomimic(tmp_path / "a.hdf5", (7,))
    rewrite(tmp_path / "a.hdf5", "agentview_image", grey, copy="agentview_segmentation_instance")
    with open_source("robomimic", tmp_path / "a.hdf5") as source:
        assert source.layout.cameras == ("agentview", "robot0_eye_in_hand")
        assert any("agentview_segmentation_instance was left out" in remark for remark in source.remarks)


def test_a_level_that_is_none_is_refused_where_it_stands(tmp_path: Path) -> None:
    """The first pictures say [0, 1]; a later one does not."""
    layouts.write_robomimic(tmp_path / "a.hdf5", (40,))

    def spoil(pictures: Array) -> Array:
        levels = (pictures / 255).astype(np.float32)
        levels[13:15, 5, 5] = 3.5
        return levels

    rewrite(tmp_path / "a.hdf5", "agentview_image", spoil)
    with open_source("robomimic", tmp_path / "a.hdf5") as source:
        with pytest.raises(DataError, match=r"agentview_image holds 3\.5 among numbers in \[0, 1\]"):
            list(source.frames(0, "agentview", range(20)))


@pytest.mark.parametrize("kind", ["grey", "rgba"])
def test_stored_pictures_of_other_kinds_become_rgb(kind: str) -> None:
    rgb = make_pictures(0, 1)[0]
    picture = {"grey": GREY, "rgba": with_alpha(rgb[None])[0]}[kind]
    expected = {"grey": GREY[..., None].repeat(3, axis=-1), "rgba": rgb}[kind]
    np.testing.assert_array_equal(decode_picture(picture_file(picture), "test"), expected)


def test_a_picture_of_16_bits_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"row 3 holds gray16be, numbers of more than 8 bits and not colours"):
        decode_picture(picture_file(GREY.astype(np.uint16) * 20), "row 3")


def test_a_film_of_16_bits_is_no_camera(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", (8, 8))
    for take in ("take_00", "take_01"):
        levels = [np.full((64, 80), 1000 + 10 * i, np.uint16) for i in range(8)]
        write_film(tmp_path / "takes" / take / "heat.mkv", levels, np.arange(8) / 20, "ffv1", "gray16le")
    result = import_episodes(config("folder", tmp_path / "takes", tmp_path / "a.hdf5"))
    assert any("heat was left out: it holds numbers of 16 bits, and nothing says" in note for note in result.notes)
    for take in ("take_00", "take_01"):
        for camera in ("front", "side"):
            (tmp_path / "takes" / take / f"{camera}.mp4").unlink()
    with pytest.raises(DataError, match="no camera shows colours. heat was left out"):
        open_source("folder", tmp_path / "takes")


def test_grey_films_and_films_of_ten_bits_are_pictures(tmp_path: Path) -> None:
    pictures = make_pictures(0, 6)
    for codec, pixels in (("ffv1", "gray"), ("libx264", "yuv420p10le")):
        folder = write_lerobot(tmp_path / pixels, 10, (6,))
        values = list(pictures[..., 0]) if pixels == "gray" else list(pictures)
        path = film_of(folder)
        written = write_film(path.with_suffix(".mkv"), values, np.arange(6) / 10, codec, pixels)
        written.rename(path)
        with open_source("lerobot", folder) as source:
            shown = first_pictures(source, "front")
        expected = pictures[..., :1].repeat(3, axis=-1) if pixels == "gray" else pictures
        assert np.abs(shown.astype(int) - expected).mean() < 4
