"""Depth comes in as depth, in metres: only what says that it is, beside a camera of its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import layouts
import numpy as np
import pytest
from films import film_of, picture_file, write_film, write_lerobot
from importing import SHAPE, config
from numpy.typing import NDArray
from shared_data import shared
from truths import make_pictures

from gwm_sim import cli
from gwm_sim.commands.import_ import import_episodes
from gwm_sim.data.episode_file import DEPTH_UNIT, Episode, EpisodeFile
from gwm_sim.data.formats import open_source
from gwm_sim.data.images import fit_depth
from gwm_sim.data.pictures.depth import Scale, colours_of, says_depth, scale_of
from gwm_sim.errors import DataError

Array = NDArray[Any]
ROWS = 8
DISTANCES = 0.4 + np.linspace(0, 2, ROWS)[:, None, None] + np.linspace(0, 1, 64)[:, None] + np.linspace(0, 0.5, 80)
"""What every camera of these tests measures [m], (8, 64, 80); from 0.4 to 3.9."""
COLOUR = "observation.images.front"


def millimetres() -> Array:
    """The distances as most sensors give them, nothing in a corner."""
    levels = (DISTANCES * 1000).round().astype(np.uint16)
    levels[:, :6, :6] = 0
    return levels


def assert_distances(episode: Episode, camera: str, tolerance: float) -> None:
    expected = np.stack([fit_depth(image, SHAPE) for image in millimetres() / 1000])
    stored = episode.depth[camera]
    assert stored.dtype == np.uint16 and stored.shape == (ROWS, *SHAPE, 1)
    np.testing.assert_allclose(stored[..., 0] * DEPTH_UNIT, expected, atol=tolerance)
    assert (stored[:, 0, 0] == 0).all()


def read(format: str, source: Path, **changes: Any) -> tuple[list[Episode], list[str]]:
    """Import and read back, and let `gwm inspect` and an export see the file, too."""
    out = source.parent / "out" / "a.hdf5"
    result = import_episodes(config(format, source, out, **changes))
    assert cli.main(["inspect", str(out)]) == 0
    for other, name in (("robomimic", "b.hdf5"), ("minari", "minari-v0")):
        assert cli.main(["export", other, str(out), str(out.with_name(name))]) == 0
    with EpisodeFile(out) as file:
        file.check()
        return list(file), result.notes


def with_depth(**info: Any) -> dict[str, dict[str, Any]]:
    image = {"dtype": "image", "shape": [64, 80, 3]}
    return {COLOUR: image, f"{COLOUR}_depth": {"dtype": "image", "shape": [64, 80, 1], "info": info}}


def stored(kind: str, levels: Array, name: str = f"{COLOUR}_depth") -> dict[str, list[bytes]]:
    pictures = make_pictures(0, ROWS)
    return {COLOUR: [picture_file(p) for p in pictures], name: [picture_file(image, kind) for image in levels]}


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("info", [{"is_depth_map": True, "depth_unit": "mm"}, {}], ids=["told", "named"])
def test_lerobot_depth_files_are_millimetres(kind: str, info: dict[str, Any], tmp_path: Path) -> None:
    write_lerobot(tmp_path / "set", 10, (ROWS,), stored=stored(kind, millimetres()), features=with_depth(**info))
    (episode,), notes = read("lerobot", tmp_path / "set")
    assert episode.frames.keys() == episode.depth.keys() == {"front"}
    assert_distances(episode, "front", 1e-4)
    assert any("taken as millimetres" in note for note in notes) == ("depth_unit" not in info)


def test_another_unit_is_heeded_and_an_unknown_one_left_out(tmp_path: Path) -> None:
    tenths = np.where(millimetres() > 0, millimetres() * 10.0, 0).astype(np.uint16)
    write_lerobot(tmp_path / "a", 10, (ROWS,), stored=stored("png", tenths), features=with_depth(depth_scale=1e-4))
    (episode,), _ = read("lerobot", tmp_path / "a")
    assert_distances(episode, "front", 1e-4)
    write_lerobot(tmp_path / "b", 10, (ROWS,), stored=stored("png", tenths), features=with_depth(depth_unit="inch"))
    with open_source("lerobot", tmp_path / "b") as source:
        assert source.layout.depth == ()
        assert any("nothing says what its numbers of 16 bits are in metres" in remark for remark in source.remarks)


def quantised(use_log: bool, near: float = 0.1, far: float = 6.0, shift: float = 3.5) -> tuple[Array, dict[str, Any]]:
    """Spread distances over 12 bits as LeRobot's recorder does, in its own words."""
    metres = millimetres() / 1000
    if use_log:
        low, high = np.log(near + shift), np.log(far + shift)
        share = (np.log(metres + shift) - low) / (high - low)
    else:
        share = (metres - near) / (far - near)
    levels = np.rint(share * 4095).clip(0, 4095).astype(np.uint16)
    settings = {"depth_min": near, "depth_max": far, "shift": shift, "use_log": use_log}
    return levels, {"is_depth_map": True, **{f"video.{name}": value for name, value in settings.items()}}


@pytest.mark.parametrize("use_log", [True, False])
def test_lerobot_depth_films_are_spread_over_12_bits(use_log: bool, tmp_path: Path) -> None:
    levels, info = quantised(use_log)
    film: dict[str, Any] = {"dtype": "video", "shape": [64, 80, 3]}
    features = {COLOUR: film, f"{COLOUR}_depth": film | {"info": info}}
    write_lerobot(tmp_path / "set", 10, (ROWS,), features=features)
    write_film(film_of(tmp_path / "set"), list(make_pictures(0, ROWS)), np.arange(ROWS) / 10)
    path = film_of(tmp_path / "set", "front_depth")
    write_film(path, list(levels), np.arange(ROWS) / 10, "libx265", "gray12le")
    (episode,), _ = read("lerobot", tmp_path / "set")
    assert_distances(episode, "front", 2e-3)


def test_the_case_of_16_bits_that_say_nothing_is_refused() -> None:
    with pytest.raises(DataError, match=r"front was left out: it holds numbers of 16 bits, and nothing says that they"):
        open_source("lerobot", shared("cases/depth-16-bit/png16"))


def test_16_bits_that_say_nothing_are_refused_or_left_out(tmp_path: Path) -> None:
    levels = [picture_file(image) for image in millimetres()]
    alone = {COLOUR: {"dtype": "image", "shape": [64, 80, 3]}}
    write_lerobot(tmp_path / "a", 10, (ROWS,), stored={COLOUR: levels}, features=alone)
    with pytest.raises(DataError, match=r"no camera shows colours\. front was left out: .* numbers of 16 bits"):
        open_source("lerobot", tmp_path / "a")
    beside = alone | {"observation.images.heat": alone[COLOUR]}
    files = stored("png", millimetres(), "observation.images.heat")
    write_lerobot(tmp_path / "b", 10, (ROWS,), stored=files, features=beside)
    (episode,), notes = read("lerobot", tmp_path / "b")
    assert episode.frames.keys() == {"front"} and not episode.depth
    assert any("heat was left out: it holds numbers of 16 bits" in note for note in notes)


def test_depth_of_no_camera_is_left_out(tmp_path: Path) -> None:
    name = "observation.images.wrist_depth"
    features = {COLOUR: with_depth()[COLOUR], name: with_depth()[f"{COLOUR}_depth"]}
    write_lerobot(tmp_path / "a", 10, (ROWS,), stored=stored("png", millimetres(), name), features=features)
    (episode,), notes = read("lerobot", tmp_path / "a")
    assert not episode.depth
    assert any("wrist_depth was left out: it is a depth map, and there is no camera of its name" in n for n in notes)


def test_a_film_of_colours_that_is_called_depth_becomes_no_distances(tmp_path: Path) -> None:
    film: dict[str, Any] = {"dtype": "video", "shape": [64, 80, 3]}
    for told in (True, False):
        folder = tmp_path / str(told)
        extra = film | {"info": {"video.is_depth_map": True}} if told else film
        write_lerobot(folder, 10, (ROWS,), features={COLOUR: film, f"{COLOUR}_depth": extra})
        for camera in ("front", "front_depth"):
            write_film(film_of(folder, camera), list(make_pictures(0, ROWS)), np.arange(ROWS) / 10)
        with open_source("lerobot", folder) as source:
            assert source.layout.cameras == (("front",) if told else ("front", "front_depth"))
            assert source.layout.depth == () and any("front_depth" in remark for remark in source.remarks)


def write_robomimic_depth(path: Path, key: str, values: Array) -> None:
    layouts.write_robomimic(path, (ROWS - 1,))
    with h5py.File(path, "r+") as file:
        file[f"data/demo_0/obs/{key}"], file[f"data/demo_0/next_obs/{key}"] = values[:-1], values[1:]


FORMS: dict[str, Callable[[Array], Array]] = {
    "with-axis": lambda metres: metres[..., None].astype(np.float32),
    "without": lambda metres: metres.astype(np.float64),
    "half": lambda metres: metres[..., None].astype(np.float16),
    "millimetres": lambda metres: (metres * 1000).round().astype(np.uint16),
    "not-finite": lambda metres: np.where(metres > 0, metres, np.inf).astype(np.float32),
}


@pytest.mark.parametrize("form", FORMS)
def test_robomimic_depth_is_metres(form: str, tmp_path: Path) -> None:
    write_robomimic_depth(tmp_path / "a.hdf5", "agentview_depth", FORMS[form](millimetres() / 1000))
    (episode,), _ = read("robomimic", tmp_path / "a.hdf5")
    assert episode.depth.keys() == {"agentview"} < episode.frames.keys()
    assert_distances(episode, "agentview", 2e-3 if form == "half" else 1e-4)


def test_libero_depth_is_upside_down_as_its_pictures(tmp_path: Path) -> None:
    layouts.write_libero(tmp_path / "a.hdf5", (ROWS,))
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        file["data/demo_0/obs/agentview_depth"] = (millimetres() / 1000)[:, ::-1, :, None].astype(np.float32)
    (episode,), _ = read("libero", tmp_path / "a.hdf5")
    assert_distances(episode, "agentview", 1e-4)


def test_a_depth_buffer_is_left_out(tmp_path: Path) -> None:
    near, far = 0.02, 100.0
    buffer = (1 / near - 1 / np.maximum(DISTANCES, near)) / (1 / near - 1 / far)
    assert 0.9 < buffer.min() < buffer.max() < 1
    write_robomimic_depth(tmp_path / "a.hdf5", "agentview_depth", buffer[..., None].astype(np.float32))
    (episode,), notes = read("robomimic", tmp_path / "a.hdf5")
    assert not episode.depth
    assert any("as those of a depth buffer, which only the simulator turns into metres" in note for note in notes)
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        file["data/demo_0/obs/agentview_depth"].attrs["unit"] = "m"
    with open_source("robomimic", tmp_path / "a.hdf5") as source:
        assert source.layout.depth == ("agentview",)


def test_minari_depth_lies_beside_its_pixels(tmp_path: Path) -> None:
    layouts.write_minari(tmp_path / "a", lengths=(ROWS - 1,))
    with h5py.File(tmp_path / "a/data/main_data.hdf5", "r+") as file:
        file["episode_0/observations/depth"] = millimetres()
    (episode,), notes = read("minari", tmp_path / "a", fps=10.0)
    assert_distances(episode, "pixels", 1e-4)
    assert any("depth are taken as millimetres" in note for note in notes)


def test_a_folder_has_depth_films_beside_its_films(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", (ROWS,))
    path = tmp_path / "takes/take_00/front_depth.mkv"
    write_film(path, list(millimetres()), np.arange(ROWS) / 20, "ffv1", "gray16le")
    (episode,), _ = read("folder", tmp_path / "takes")
    assert episode.frames.keys() == {"front", "side"}
    assert_distances(episode, "front", 1e-4)


def test_what_is_further_than_a_file_can_say_is_as_far_as_it_can(tmp_path: Path) -> None:
    write_robomimic_depth(tmp_path / "a.hdf5", "agentview_depth", np.full((ROWS, 64, 80), 9.0, np.float32))
    (episode,), _ = read("robomimic", tmp_path / "a.hdf5")
    assert (episode.depth["agentview"] == 65535).all()


def names() -> Iterator[tuple[str, list[str], str | None]]:
    yield "front_depth", ["front", "wrist"], "front"
    yield "depth.front", ["front", "wrist"], "front"
    yield "frontDepth", ["front_rgb", "wrist_rgb"], "front_rgb"
    yield "agentview_depth", ["agentview_image", "agentview_left_image"], "agentview_image"
    yield "depth", ["image", "wrist_image"], "image"
    yield "depth", ["rgb", "image"], None
    yield "side_depth", ["front"], None


@pytest.mark.parametrize(("name", "cameras", "expected"), [*names()])
def test_depth_finds_its_camera(name: str, cameras: list[str], expected: str | None) -> None:
    assert says_depth(name) and colours_of(name, cameras) == expected


def test_scales_that_make_no_sense_are_none() -> None:
    assert scale_of({}, 16) == Scale(1e-3)
    assert scale_of({}, 8) is None and scale_of({}, 12) is None and scale_of({"depth_scale": -1}, 16) is None
    assert scale_of({"video.depth_min": 5.0, "video.depth_max": 1.0}, 12) is None
    assert scale_of({"video.depth_min": "near"}, 12) is None
    assert not says_depth("in-depth-less") or says_depth("depth")
    assert not says_depth("depthless_camera")
