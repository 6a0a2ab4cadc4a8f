"""What is measured in any world, on single pictures, and what is said where the data lack something."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from drawings import Array, table
from recordings import write_file

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction
from gwm_sim.evaluation.pictures import Pictures
from gwm_sim.evaluation.registry import find_metrics


def column(*pairs: tuple[Array, Array]) -> dict[str, Any]:
    """Numbers of pairs of a true and a predicted picture before a bare table."""
    test: Any = SimpleNamespace(cameras=("front",), background=table())
    metric = Pictures(test)
    for true, predicted in pairs:
        windows: Any = SimpleNamespace(true_frames=true[None, None], frames=true[None, None])
        metric.update(windows, Prediction(predicted[None, None], np.zeros((1, 1, 0)), None), [1])
    numbers: dict[str, Any] = metric.compute([1])["horizons"]["1"]
    return numbers


def test_pictures_without_a_difference_or_without_a_foreground() -> None:
    numbers = column((table(), table()))
    assert numbers["psnr"] == numbers["psnr_floor"] == 100
    assert numbers["fg_psnr"] is None and numbers["fg_psnr_floor"] is None


def test_psnr_of_whole_pictures_and_of_the_foreground() -> None:
    true = table()
    true[:32] = 0
    predicted = true.copy()
    predicted[:32] = 10
    numbers = column((true, predicted))
    assert numbers["psnr"] == pytest.approx(10 * np.log10(255**2 / 50))
    assert numbers["fg_psnr"] == pytest.approx(10 * np.log10(255**2 / 100))


def test_the_mean_error_comes_before_the_decibels() -> None:
    pairs = [(table(), table() + np.uint8(level)) for level in (0, 10)]
    assert column(*pairs)["psnr"] == pytest.approx(10 * np.log10(255**2 / 50))


def test_a_recording_says_what_it_lacks(tmp_path: Path) -> None:
    with EpisodeFile(write_file(tmp_path / "bench.hdf5")) as file:
        test = OpenLoopTest(file, [1])
        lacking = {kind.name: kind.missing(test) for kind in find_metrics(file.schema.env_id)}
        known = {"objects", "pictures", "sharpness", "robot", "rollouts"}
        assert {name for name, reason in lacking.items() if reason is None} == known
        assert lacking["things"] == "nobody looked for any"
        assert lacking["outcome"] == "no labels of grasp"
        assert lacking["end-effector"] == "the data do not say where it is"
        numbers: dict[str, Any] = {}
        for kind in find_metrics(file.schema.env_id):
            numbers |= kind(test).compute([])
    assert numbers["outcome"]["n"] == 0 and numbers["violations"] == {"model": None, "twin": None}
    assert not {"views", "depth_error_mm"} & numbers.keys()
