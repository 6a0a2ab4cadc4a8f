"""What reconstructions keep is told by the same eyes in true and decoded frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from color_trackers import make_tracker
from drawings import PAINT, table, write_file
from torch import Tensor

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.evaluation.open_loop import OpenLoopTest
from gwm_sim.evaluation.pictures import MAX_PSNR
from gwm_sim.evaluation.reconstruction import reconstruction_report
from gwm_sim.evaluation.scene import Scene


@pytest.fixture(scope="module")
def test(tmp_path_factory: pytest.TempPathFactory) -> OpenLoopTest:
    path: Path = write_file(tmp_path_factory.mktemp("drawn") / "test.hdf5", episodes=2)
    tracker = make_tracker(red=PAINT["red"], blue=PAINT["blue"])
    return OpenLoopTest(EpisodeFile(path), [1], scene=Scene(tracker))


def report(test: OpenLoopTest, decode: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """Numbers of a tokenizer whose codes are the frames themselves."""
    model: Any = type("Model", (), {"reconstruct": staticmethod(decode)})
    return reconstruction_report(model, test)


def test_perfect_reconstructions_keep_all(test: OpenLoopTest) -> None:
    numbers = report(test, lambda frames: frames)
    assert numbers["kept"] == 1 and numbers["things"] > len(test.slots)
    assert numbers["psnr"] == numbers["fg_psnr"] == MAX_PSNR


def test_the_empty_scene_keeps_nothing_but_its_pixels(test: OpenLoopTest) -> None:
    numbers = report(test, lambda frames: torch.from_numpy(table()).expand(len(frames), -1, -1, -1))
    assert numbers["kept"] == 0
    assert numbers["psnr"] > numbers["fg_psnr"] + 3


def test_what_is_moved_is_not_kept(test: OpenLoopTest) -> None:
    assert report(test, lambda frames: frames.roll(1, dims=2))["kept"] == 1
    assert report(test, lambda frames: frames.roll(12, dims=2))["kept"] < 0.2


def test_without_a_tracker_pixels_tell_alone(test: OpenLoopTest) -> None:
    bare = OpenLoopTest(test.file, [1])
    numbers = report(bare, lambda frames: frames)
    assert numbers["kept"] is None and numbers["things"] == 0 and numbers["psnr"] == MAX_PSNR
