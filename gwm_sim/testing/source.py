"""Whether an import format keeps to the contract of `Source`: a suite that pytest runs for whoever inherits it.

    class TestMyFormat(SourceConformance):
        def make_source(self, tmp_path):
            write_some_recordings(tmp_path / "mine")
            return MySource(tmp_path / "mine")

Give it at least one episode. Formats with several variants inherit once for each.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import get_args

import numpy as np

from gwm_sim.data.importers.source import Kind, Recording, Source
from gwm_sim.errors import DataError


class SourceConformance(ABC):
    """Tests of a `Source`; the name of a class that inherits them begins with `Test`."""

    @abstractmethod
    def make_source(self, tmp_path: Path) -> Source:
        """Write a recording below `tmp_path`, or find one, and open it."""

    def test_layout_names_every_column_once(self, tmp_path: Path) -> None:
        with self.make_source(tmp_path) as source:
            layout = source.layout
        columns = [[column.name for column in group] for group in (layout.telemetry, layout.actions)]
        assert layout.actions and layout.cameras, "there is an action and a camera at least; telemetry may be missing"
        for group in [*columns, list(layout.cameras)]:
            assert all(group), "telemetry, actions and cameras each have a name"
            assert len(set(group)) == len(group), f"a name stands twice in {group}"
        assert layout.robot
        assert layout.rate is None or 0 < layout.rate < 10_000

    def test_layout_refers_to_columns_that_exist(self, tmp_path: Path) -> None:
        with self.make_source(tmp_path) as source:
            layout = source.layout
        assert len(layout.effector) in (0, 3), "the end-effector's position is x, y and z, or not known"
        assert {*layout.effector, *layout.gripper} <= set(range(len(layout.telemetry)))
        for action in layout.actions:
            assert action.kind in (None, *get_args(Kind))
            assert action.low is None or action.high is None or action.low < action.high

    def test_every_episode_fits_the_layout(self, tmp_path: Path) -> None:
        with self.make_source(tmp_path) as source:
            assert len(source) >= 1
            for k in range(len(source)):
                recording = source.recording(k)  # which checks the shapes
                assert recording.where, "messages must name the place"
                assert recording.telemetry.dtype == recording.actions.dtype == np.float32
                assert np.isfinite(recording.telemetry).all() and np.isfinite(recording.actions).all()
                if recording.times is not None:
                    assert recording.times.dtype == np.float64 and (np.diff(recording.times) > 0).all()
                if recording.success is not None:
                    assert recording.success.dtype == np.bool_
                if recording.reward is not None or recording.success is not None:
                    assert source.layout.task, "rewards and success speak of a task, which the layout names"

    def test_reading_again_gives_the_same(self, tmp_path: Path) -> None:
        with self.make_source(tmp_path) as source:
            last = len(source) - 1
            first = source.recording(last)
            source.recording(0)
            assert_equal(source.recording(last), first)

    def test_every_row_has_a_picture_from_every_camera(self, tmp_path: Path) -> None:
        with self.make_source(tmp_path) as source:
            for k in range(len(source)):
                rows = np.arange(len(source.recording(k)))
                for camera in source.layout.cameras:
                    shapes = {picture.shape for picture in source.frames(k, camera, rows)}  # which counts them
                    assert len(shapes) == 1, f"pictures of one camera differ in size: {shapes}"

    def test_every_row_has_a_depth_image_where_depth_was_measured(self, tmp_path: Path) -> None:
        with self.make_source(tmp_path) as source:
            assert set(source.layout.depth) <= set(source.layout.cameras), "depth is that of a camera"
            for camera in source.layout.depth:
                rows = np.arange(len(source.recording(0)))
                shapes = {image.shape for image in source.depth(0, camera, rows)}  # which counts and checks them
                assert len(shapes) == 1, f"depth images of one camera differ in size: {shapes}"

    def test_chosen_rows_show_what_they_show_among_all(self, tmp_path: Path) -> None:
        with self.make_source(tmp_path) as source:
            count = len(source.recording(0))
            chosen = range(1, count, 2)
            for camera in source.layout.cameras:
                every = list(source.frames(0, camera, range(count)))
                for row, picture in zip(chosen, source.frames(0, camera, chosen), strict=True):
                    np.testing.assert_array_equal(picture, every[row])

    def test_an_episode_beyond_the_last_is_a_data_error(self, tmp_path: Path) -> None:
        with self.make_source(tmp_path) as source:
            try:
                source.recording(len(source))
            except DataError:
                return
        raise AssertionError("there is no such episode, yet it was read")

    def test_closing_twice_does_no_harm(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        source.recording(0)
        source.close()
        source.close()


def assert_equal(ours: Recording, theirs: Recording) -> None:
    """Compare the numbers of two recordings."""
    for name in ("where", "succeeded", "instruction", "masks", "task"):
        assert getattr(ours, name) == getattr(theirs, name)
    for name in ("telemetry", "actions", "times", "reward", "success"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
