"""The sheet shows every thing in a row of its own, boxed in its colour, with its number, and what was left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from drawings import PAINT
from numpy.typing import NDArray
from trackers import by_color, write_raw

from gwm_sim.commands.track import TrackConfig
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.tracking import sheet
from gwm_sim.data.tracking.job import track_episodes
from gwm_sim.data.tracking.sheet import write_moments, write_tracks
from gwm_sim.errors import ConfigError

Array = NDArray[Any]

assert by_color  # a fixture


def read_picture(path: Path) -> Array:
    with av.open(str(path)) as container:
        picture: Array = next(container.decode(video=0)).to_ndarray(format="rgb24")
        return picture


def boxed(*, visible: float = 1.0, confidence: float = 1.0) -> Array:
    """A picture with the box of one white thing."""
    picture = np.full((192, 192, 3), 100, np.uint8)
    sheet._draw_box(picture, np.array([31.0, 20.0, 8.0, 10.0, visible, confidence]), (200, 200, 200), 3, bold=True)
    return picture


def test_a_box_lies_around_the_thing() -> None:
    rows, columns = np.nonzero((boxed() == 255).all(axis=-1))
    assert (columns.min() + columns.max()) / 2 == pytest.approx(31.5 * 3, abs=0.5)  # integers are pixel centres
    assert (rows.min() + rows.max()) / 2 == pytest.approx(20.5 * 3, abs=0.5)
    assert columns.max() - columns.min() == pytest.approx(8 * 3 + 4, abs=1)
    assert rows.max() - rows.min() == pytest.approx(10 * 3 + 4, abs=1)


def test_doubt_shows_in_the_line() -> None:
    solid, hidden, unsure, guess = (
        int((picture == 255).all(axis=-1).sum())
        for picture in (boxed(), boxed(visible=0.2), boxed(confidence=0.2), boxed(confidence=0.0))
    )
    assert hidden == unsure < 0.7 * solid
    assert guess < 0.7 * solid and (boxed(confidence=0.0) != boxed(confidence=0.2)).any()


@pytest.mark.usefixtures("by_color")
def test_every_thing_has_a_row(tmp_path: Path) -> None:
    raw, out, picture = write_raw(tmp_path / "raw.hdf5"), tmp_path / "tracked.hdf5", tmp_path / "sheet.png"
    track_episodes(TrackConfig(raw, out))
    write_tracks(out, picture)
    drawn = read_picture(picture)
    panel = drawn[:, : sheet._PANEL]
    for name in ("red", "blue"):
        swatch = np.argwhere((panel == PAINT[name]).all(axis=-1))
        assert len(swatch) == (sheet._SWATCH - 2) ** 2
    assert drawn.shape[1] > 9 * 192  # eight moments and at least one in which it is least sure
    with pytest.raises(ConfigError, match="was not tracked"):
        write_tracks(raw, picture)


def test_moments_run_from_the_first_frame_to_the_last(tmp_path: Path) -> None:
    with EpisodeFile(write_raw(tmp_path / "raw.hdf5", 3)) as file:
        moments = sheet._spread_moments(file)
        write_moments(file, "front", tmp_path / "moments.png")
    assert (moments[0], moments[-1]) == ((0, 0), (2, 12))
    assert {moment.episode for moment in moments} == {0, 1, 2}
    assert read_picture(tmp_path / "moments.png").shape[1] > 4 * 192
