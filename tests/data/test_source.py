"""Every import format keeps to the contract of `Source`, and the suite that says so notices one that does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from layouts import LAYOUTS, LayoutCase
from numpy.typing import NDArray

from gwm_sim.data.formats import open_source
from gwm_sim.data.importers.source import Action, Column, Layout, Recording, Source
from gwm_sim.testing.source import SourceConformance


class TestFormats(SourceConformance):
    case: LayoutCase

    @pytest.fixture(autouse=True, params=LAYOUTS)
    def choose(self, request: pytest.FixtureRequest) -> None:
        self.case = LAYOUTS[request.param]

    def make_source(self, tmp_path: Path) -> Source:
        path = tmp_path / self.case.name
        self.case.write(path)
        return open_source(self.case.format, path)


class Plain(Source):
    """One episode of three rows, in memory."""

    def __init__(self) -> None:
        self.layout = Layout("arm", 10.0, (Column("x", "m"),), (Action("dx", "m", "delta"),), ("front",))

    def __len__(self) -> int:
        return 1

    def _recording(self, k: int) -> Recording:
        return [Recording("memory", np.zeros((3, 1), np.float32), np.zeros((2, 1), np.float32))][k]

    def _frames(self, k: int, camera: str, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        return (np.full((8, 8, 3), row, np.uint8) for row in rows)


class Unnamed(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.layout = replace(self.layout, cameras=("front", "front"))


class Endless(Plain):
    def _recording(self, k: int) -> Recording:
        return super()._recording(0)


class Shuffled(Plain):
    def _frames(self, k: int, camera: str, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        return super()._frames(k, camera, np.arange(len(rows)))


class Doubles(Plain):
    def _recording(self, k: int) -> Recording:
        return replace(super()._recording(k), actions=np.zeros((2, 1)))


def failures(source: type[Source]) -> list[str]:
    """Names of the tests that a source fails."""

    class Suite(SourceConformance):
        def make_source(self, tmp_path: Path) -> Source:
            return source()

    found = []
    for name in (name for name in dir(Suite) if name.startswith("test_")):
        try:
            getattr(Suite(), name)(Path())
        except AssertionError:
            found.append(name)
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Plain, []),
        (Unnamed, ["test_layout_names_every_column_once"]),
        (Endless, ["test_an_episode_beyond_the_last_is_a_data_error"]),
        (Shuffled, ["test_chosen_rows_show_what_they_show_among_all"]),
        (Doubles, ["test_every_episode_fits_the_layout"]),
    ],
)
def test_the_suite_fails_what_breaks_the_contract(source: type[Source], expected: list[str]) -> None:
    assert failures(source) == expected
