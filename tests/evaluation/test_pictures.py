"""What is said of pictures as they are: structure, sharpness, floors, and where they err most."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from color_trackers import drawn_poses
from drawings import PAINT, Array, draw, table, write_file

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.evaluation.metrics import Metric
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction
from gwm_sim.evaluation.pictures import Pictures, Rollouts, Sharpness, gradient_energy, ssim
from gwm_sim.evaluation.scene import Scene
from gwm_sim.testing.metric import MetricConformance

NOISE = np.random.default_rng(0).integers(0, 256, (2, 16, 20, 3), np.uint8)


def measure(kind: type[Metric], true: Array, predicted: Array, last: Array, scene: Array | None) -> dict[str, Any]:
    """Numbers of one window at one horizon, before a bare table."""
    test: Any = SimpleNamespace(cameras=("front",), background=table())
    windows: Any = SimpleNamespace(frames=last[None, None], true_frames=true[None, None])
    empty = None if scene is None else scene[None, None]
    metric = kind(test)
    metric.update(windows, Prediction(predicted[None, None], np.zeros((1, 1, 0)), None, empty_scene=empty), [1])
    numbers: dict[str, Any] = metric.compute([1])["horizons"]["1"]
    return numbers


# --- structural similarity --------------------------------------------------------------------------------------------


def test_equal_pictures_are_wholly_similar() -> None:
    assert ssim(NOISE, NOISE) == pytest.approx([1, 1])


def test_similarity_is_the_published_formula_where_a_picture_has_one_window() -> None:
    x, y = NOISE[:, :11, :11].astype(float)
    weights = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    window = np.outer(weights, weights)[..., None] / weights.sum() ** 2
    mean_x, mean_y = ((window * values).sum(axis=(0, 1)) for values in (x, y))
    variance_x, variance_y, covariance = (
        (window * product).sum(axis=(0, 1)) - means
        for product, means in ((x * x, mean_x**2), (y * y, mean_y**2), (x * y, mean_x * mean_y))
    )
    one, two = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * mean_x * mean_y + one) * (2 * covariance + two)
    expected /= (mean_x**2 + mean_y**2 + one) * (variance_x + variance_y + two)
    found = ssim(*(values[None].astype(np.uint8) for values in (x, y)))
    assert found == pytest.approx([expected.mean()], abs=1e-5)


def test_similarity_sees_structure_and_not_brightness() -> None:
    half = NOISE[:1] // 2
    assert ssim(half, half + np.uint8(10))[0] > 0.95
    assert abs(ssim(half, NOISE[1:] // 2)[0]) < 0.2


# --- gradient energy --------------------------------------------------------------------------------------------------


def test_gradient_energy_counts_neighbours_across_and_down() -> None:
    picture = np.zeros((1, 4, 4, 3), np.uint8)
    picture[0, 0, 0, 0] = 3
    picture[0, 2, 2, 1] = 2
    assert gradient_energy(picture).tolist() == [2 * 9 + 4 * 4]


def test_blurred_pictures_have_less_gradient_than_the_true_ones() -> None:
    true, blurred = (draw(table(), (31.5, 31.5), PAINT["red"], width) for width in (8.0, 8.5))
    numbers = measure(Sharpness, true, blurred, last=true, scene=table())
    assert 0.5 < numbers["gradient_energy"] < 0.95
    assert numbers["gradient_energy_floor"] == 1 and numbers["gradient_energy_scene_floor"] == 0
    assert numbers["ssim"] < numbers["ssim_floor"] == pytest.approx(1)


def test_a_true_picture_without_gradients_gives_no_ratio() -> None:
    numbers = measure(Sharpness, table(), table(), table(), None)
    assert numbers["gradient_energy"] is None and numbers["ssim_scene_floor"] is None


# --- floors -----------------------------------------------------------------------------------------------------------


def test_the_empty_scene_stands_beside_the_last_frame() -> None:
    true, near = table() + np.uint8(20), table() + np.uint8(10)
    numbers = measure(Pictures, true, near, last=table(), scene=true)
    assert numbers["psnr"] == pytest.approx(10 * np.log10(255**2 / 100))
    assert numbers["psnr_floor"] == pytest.approx(10 * np.log10(255**2 / 400))
    assert numbers["psnr_scene_floor"] == numbers["fg_psnr_scene_floor"] == 100
    without = measure(Pictures, true, near, last=table(), scene=None)
    assert without == numbers | {"psnr_scene_floor": None, "fg_psnr_scene_floor": None}


# --- best and worst ---------------------------------------------------------------------------------------------------


def rollouts(tmp_path: Path, episodes: int) -> dict[str, Any]:
    """What is named where the error of an episode grows with its number, one level of grey at a time."""
    with EpisodeFile(write_file(tmp_path / f"{episodes}.hdf5", episodes=episodes)) as file:
        test = OpenLoopTest(file, [1, 10])
        metric = Rollouts(test)
        for windows in test.batches(7):
            asked = test.reached(windows.actions.shape[1])
            episode = np.array([test.slots[number].episode for number in windows.number.tolist()])
            frames = (
                windows.true_frames + (2 * (episode % 4) + episode // 4).astype(np.uint8)[:, None, None, None, None]
            )
            metric.update(windows, Prediction(frames, windows.true_telemetry, None), asked)
        named: dict[str, Any] = metric.compute([1, 10])["rollouts"]
        return named


def test_two_episodes_each_are_named_as_best_and_worst(tmp_path: Path) -> None:
    named = rollouts(tmp_path, 6)  # errors 0 2 4 6 1 3
    assert [each["episode"] for each in named["best"]] == [0, 4]
    assert [each["episode"] for each in named["worst"]] == [3, 2]
    assert named["best"][0]["fg_psnr"] == 100
    (line,) = Rollouts.lines({"rollouts": named})
    assert line.startswith("episodes by foreground PSNR: best 0 (100.0 dB), 4 (") and ", worst 3 (" in line


@pytest.mark.parametrize(("episodes", "best", "worst"), [(1, [0], []), (2, [0], [1]), (3, [0, 1], [2])])
def test_no_episode_is_both_best_and_worst(tmp_path: Path, episodes: int, best: list[int], worst: list[int]) -> None:
    named = rollouts(tmp_path, episodes)
    assert [[each["episode"] for each in named[kind]] for kind in ("best", "worst")] == [best, worst]
    assert list(Rollouts.lines({"rollouts": {"best": [], "worst": []}})) == []


# --- the contract -----------------------------------------------------------------------------------------------------


class TestContract(MetricConformance):
    """All of them keep the contract of metrics."""

    @pytest.fixture(autouse=True, params=[Pictures, Sharpness, Rollouts], ids=lambda kind: str(kind.name))
    def of(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def make_metric(self, tmp_path: Path) -> Metric:
        path = tmp_path / "drawn.hdf5"
        file = EpisodeFile(path if path.exists() else write_file(path))
        metric: Metric = self.kind(OpenLoopTest(file, [1, 10], scene=Scene(poses=drawn_poses(table()))))
        return metric
