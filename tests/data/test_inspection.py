"""The summary says what is in a file, and the pictures have the size and the colours of what was asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from recordings import make_episode, write_file

from gwm_sim.commands.inspect import InspectConfig, main
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.inspection import is_sustained, summarize
from gwm_sim.errors import ConfigError, DataError
from gwm_sim.media.video import contact_sheet, mosaic, text, write_png, write_video


def read_picture(path: Path) -> NDArray[Any]:
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def test_summary_counts_what_is_there(tmp_path: Path) -> None:
    with EpisodeFile(write_file(tmp_path / "a.hdf5")) as file:
        summary = summarize(file)
        assert summary.digest == file.digest()
    episodes = [make_episode(seed) for seed in range(12)]
    assert (summary.episodes, summary.frames) == (12, sum(len(episode.telemetry) for episode in episodes))
    assert (summary.shortest, summary.longest, summary.seeds) == (5, 8, (0, 11))
    assert summary.cameras == {"front": (16, 16), "wrist": (8, 8)}
    assert summary.policies == {"uniform": 12}
    assert summary.actions["dy"].high == max(episode.actions[:, 1].max() for episode in episodes)
    ends = [episode.labels["stack"].success[-1] for episode in episodes]
    assert summary.success["stack"].end == pytest.approx(np.mean(ends))


def test_success_that_counts_takes_five_steps_in_a_row() -> None:
    assert is_sustained(np.array([0, 1, 1, 1, 1, 1, 0], dtype=bool))
    assert not is_sustained(np.array([1, 1, 1, 1, 0, 1, 1, 1, 1], dtype=bool))
    assert not is_sustained(np.ones(4, dtype=bool))


def test_inspect_writes_numbers_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_file(tmp_path / "a.hdf5")
    assert main(InspectConfig(path, video=tmp_path / "sheet.png", json=tmp_path / "a.json")) == 0
    assert main(InspectConfig(path, video=tmp_path / "film.mp4")) == 0
    numbers = json.loads((tmp_path / "a.json").read_text())
    assert f"digest {numbers['digest']}" in capsys.readouterr().out
    assert read_picture(tmp_path / "sheet.png").shape[2] == 3
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 9  # the longest episode


def test_inspect_refuses_nan(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.hdf5")
    with h5py.File(path, "r+") as file:
        file["data/demo_3/actions"][2, 1] = np.nan
    with pytest.raises(DataError, match=r"demo_3/actions holds nan at row 2 column 1"):
        main(InspectConfig(path))


def test_png_keeps_every_pixel(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (13, 21, 3), np.uint8)
    write_png(tmp_path / "image.png", image)
    np.testing.assert_array_equal(read_picture(tmp_path / "image.png"), image)


def test_film_has_all_frames_and_roughly_their_colours(tmp_path: Path) -> None:
    levels = (40, 120, 220)
    with pytest.raises(ConfigError, match=r"no film ends in '\.foo': give a name that ends in \.mp4"):
        write_video(tmp_path / "film.foo", [np.zeros((16, 16, 3), np.uint8)], rate=10.0)
    assert not list(tmp_path.iterdir())
    write_video(tmp_path / "film.mp4", (np.full((15, 33, 3), level, np.uint8) for level in levels), rate=10.0)
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert film.streams.video[0].average_rate == 10
        frames = [frame.to_ndarray(format="rgb24")[:15, :33] for frame in film.decode(video=0)]
    np.testing.assert_allclose([frame.mean() for frame in frames], levels, atol=6)


def test_contact_sheet_places_frames_right_of_their_labels() -> None:
    red, blue = np.zeros((2, 8, 8, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    sheet = contact_sheet({"real": [red, blue], "predicted": [blue]}, columns=["0 s", "1 s"], scale=3)
    assert (sheet == (255, 0, 0)).all(axis=-1).sum() == 24 * 24
    assert (sheet == (0, 0, 255)).all(axis=-1).sum() == 2 * 24 * 24
    labels = sheet[:, : text("predicted").shape[1]]
    assert ((labels == 255) | (labels == labels[..., :1])).all()


def test_mosaic_holds_all_frames() -> None:
    frames = np.full((5, 8, 8, 3), 7, np.uint8)
    assert (mosaic(list(frames), columns=2, scale=2) == 7).all(axis=-1).sum() == 5 * 16 * 16
