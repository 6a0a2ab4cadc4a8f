"""What the main camera's pictures tell as they are: how alike they are, how sharp, and in which episodes they err most.

Each number of a prediction stands beside the same of its `floors`. Frozen: a change is a new benchmark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from gwm_sim.evaluation.floors import ENDS, FLOORS, by_end, shown
from gwm_sim.evaluation.metrics import Metric, Row
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction, Window
from gwm_sim.evaluation.statistics import Array

FOREGROUND_LEVELS = 16
"""A pixel is foreground if a channel of the true frame differs from the background by more than this [grey levels]."""

MAX_PSNR = 100.0  # PSNR of pictures without any difference [dB]
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # width and standard deviation of the Gaussian that weighs neighbours [px]
SSIM_CONSTANTS = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # what keeps even patches from dividing by nothing
NAMED_ROLLOUTS = 2  # rollouts that are named as the best, and as the worst


def rows_with_floors(label: str, unit: str, key: str, digits: int) -> tuple[Row, ...]:
    """The printed rows of a number and of its floors."""
    return (
        Row(label, unit, key, digits),
        *(Row(f"  {floor}", unit, f"{key}{end}", digits) for end, floor in FLOORS.items()),
    )


class Pictures(Metric):
    """How alike the main camera's pictures are.

    psnr, fg_psnr: Of the mean squared error over all pictures, and over all foreground pixels of all pictures [dB].
    psnr_floor, fg_psnr_floor: The same for the last context frame.
    psnr_scene_floor, fg_psnr_scene_floor: The same for the empty scene with the robot looked up by telemetry.
    """

    name = "pictures"
    rows = (*rows_with_floors("PSNR", "dB", "psnr", 1), *rows_with_floors("foreground PSNR", "dB", "fg_psnr", 1))

    @staticmethod
    def missing(test: OpenLoopTest) -> str | None:
        return None

    def update(self, windows: Window, prediction: Prediction, horizons: Sequence[int]) -> None:
        true, _, candidates = shown(self.test, windows, prediction)
        for i, horizon in enumerate(horizons):
            frames = true[:, i]
            squared = np.stack([squared_difference(pictures[:, i], frames) for pictures in candidates.values()], axis=1)
            foreground = foreground_of(self.test, frames)
            # Mean squared difference of each of the n candidates to the true frame [grey levels^2], (B, n); its sum
            # over the foreground pixels, (B, n), and their number, (B,).
            over_foreground = (squared * foreground[:, None]).sum(axis=(2, 3))
            self.cases[horizon].append((squared.mean(axis=(2, 3)), over_foreground, foreground.sum(axis=(1, 2))))

    def compute(self, horizons: Sequence[int]) -> dict[str, Any]:
        return {"horizons": {str(horizon): self._column(horizon) for horizon in horizons}}

    def _column(self, horizon: int) -> dict[str, float | None]:
        squared, over_foreground, pixels = map(np.concatenate, zip(*self.cases[horizon], strict=True))
        # Without an empty scene there is one candidate less than there are `ENDS`.
        whole = [psnr_of(value) for value in squared.mean(axis=0)]
        within = [psnr_of(value / max(1, pixels.sum())) for value in over_foreground.sum(axis=0)]
        return {
            **by_end("psnr", dict(zip(ENDS, whole, strict=False))),
            **by_end("fg_psnr", dict(zip(ENDS, within, strict=False)) if pixels.any() else {}),
        }


class Sharpness(Metric):
    """Whether the main camera's pictures have the structure of the true ones, or are blurred.

    ssim: Mean over all pictures of the structural similarity of Wang, Bovik, Sheikh and Simoncelli (2004), with their
        Gaussian window of 11 pixels and standard deviation 1.5, K = (0.01, 0.03), over the three channels apart and
        the places where the window lies wholly in the picture; in [-1, 1], 1 for equal pictures.
    gradient_energy: Sum over all pictures of the squared differences of neighbouring pixels, across and down, over that
        of the true frames: below 1 where pictures are blurred, above 1 where they are noisy.
    ssim_floor, gradient_energy_floor: The same for the last context frame.
    ssim_scene_floor, gradient_energy_scene_floor: The same for the empty scene with the robot looked up by telemetry.
    """

    name = "sharpness"
    rows = (*rows_with_floors("SSIM", "", "ssim", 3), Row("gradient energy over the true", "", "gradient_energy", 2))

    @staticmethod
    def missing(test: OpenLoopTest) -> str | None:
        sides = test.background.shape[:2]
        return None if min(sides) >= SSIM_WINDOW else f"pictures of less than {SSIM_WINDOW} pixels"

    def update(self, windows: Window, prediction: Prediction, horizons: Sequence[int]) -> None:
        true, _, candidates = shown(self.test, windows, prediction)
        for i, horizon in enumerate(horizons):
            frames = true[:, i]
            alike = {end: ssim(pictures[:, i], frames) for end, pictures in candidates.items()}
            energy = {end: gradient_energy(pictures[:, i]).sum() for end, pictures in candidates.items()}
            self.cases[horizon].append((alike, energy, gradient_energy(frames).sum()))

    def compute(self, horizons: Sequence[int]) -> dict[str, Any]:
        return {"horizons": {str(horizon): self._column(horizon) for horizon in horizons}}

    def _column(self, horizon: int) -> dict[str, float | None]:
        alike, energy, true = zip(*self.cases[horizon], strict=True) if self.cases[horizon] else ((), (), ())
        total = sum(true)
        ends = tuple(alike[0]) if alike else ()
        similar = {end: float(np.concatenate([part[end] for part in alike]).mean()) for end in ends}
        sharp = {end: float(sum(part[end] for part in energy) / total) for end in ends} if total else {}
        return by_end("ssim", similar) | by_end("gradient_energy", sharp)


class Rollouts(Metric):
    """Which episodes are predicted best and worst.

    rollouts: `best` and `worst`, at most two episodes each, by their number in the file, the best and the worst first.
        `fg_psnr` is that of all foreground pixels of all windows of the episode at all horizons [dB], `MAX_PSNR` where
        there are none.
    """

    name = "rollouts"

    @staticmethod
    def missing(test: OpenLoopTest) -> str | None:
        return None

    def update(self, windows: Window, prediction: Prediction, horizons: Sequence[int]) -> None:
        true, _, candidates = shown(self.test, windows, prediction)
        error, pixels = foreground_error(self.test, true, candidates[""])
        for b, number in enumerate(windows.number.tolist()):
            self.cases[self.test.slots[number].episode].append((error[b].sum(), pixels[b].sum()))

    def compute(self, horizons: Sequence[int]) -> dict[str, Any]:
        worst_first = sorted(
            (psnr_of(float(error / max(1, pixels))), episode)
            for episode, cases in self.cases.items()
            for error, pixels in [np.sum(cases, axis=0)]
        )
        named = [{"episode": episode, "fg_psnr": psnr} for psnr, episode in worst_first]
        worst = named[: min(NAMED_ROLLOUTS, len(named) // 2)]
        best = named[len(worst) :][::-1][:NAMED_ROLLOUTS]
        return {"rollouts": {"best": best, "worst": worst}}

    @staticmethod
    def lines(report: Mapping[str, Any]) -> Iterable[str]:
        told = {
            kind: ", ".join(f"{each['episode']} ({each['fg_psnr']:.1f} dB)" for each in report["rollouts"][kind])
            for kind in ("best", "worst")
        }
        if told["best"]:
            yield f"episodes by foreground PSNR: best {told['best']}" + f", worst {told['worst']}" * bool(told["worst"])


def foreground_of(test: OpenLoopTest, frames: Array) -> Array:
    """Which pixels of true frames (..., H, W, 3) are foreground, (..., H, W) bool."""
    foreground: Array = off(frames, test.background)
    return foreground


def off(frames: Array, ground: Array) -> Array:
    """Pixels of which a channel is more than `FOREGROUND_LEVELS` off another picture's, (..., H, W, 3) -> (..., H, W)
    bool."""
    away: Array = np.abs(frames.astype(np.int16) - ground).max(axis=-1) > FOREGROUND_LEVELS
    return away


def foreground_error(test: OpenLoopTest, true: Array, pictures: Array) -> tuple[Array, Array]:
    """Squared difference of pictures to true frames, (..., H, W, 3) both, summed over the foreground, and how many
    pixels that is, (...) both."""
    foreground = foreground_of(test, true)
    error: Array = (squared_difference(pictures, true) * foreground).sum(axis=(-2, -1), dtype=np.float64)
    return error, foreground.sum(axis=(-2, -1))


def squared_difference(pictures: Array, frames: Array) -> Array:
    """Squared difference of pictures (..., H, W, 3), mean over the channels, (..., H, W) float32."""
    difference: Array = np.square(pictures.astype(np.float32) - frames).mean(axis=-1)
    return difference


def psnr_of(squared: float) -> float:
    """PSNR of a mean squared difference of grey levels [dB]."""
    return float(min(MAX_PSNR, 10 * np.log10(255**2 / squared))) if squared > 0 else MAX_PSNR


def gradient_energy(pictures: Array) -> Array:
    """Sum of the squared differences of neighbouring pixels, across and down, (B, H, W, 3) uint8 -> (B,) float64."""
    values = pictures.astype(np.float32)
    down, across = (np.square(np.diff(values, axis=axis)).sum(axis=(1, 2, 3), dtype=np.float64) for axis in (1, 2))
    energy: Array = down + across
    return energy


def ssim(pictures: Array, frames: Array) -> Array:
    """Structural similarity (https://doi.org/10.1109/TIP.2003.819861) of pictures, (B, H, W, 3) uint8 both -> (B,)."""
    offsets = torch.arange(SSIM_WINDOW, dtype=torch.float32) - SSIM_WINDOW // 2
    weights = torch.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    weights /= weights.sum()

    def local_mean(values: torch.Tensor) -> torch.Tensor:
        across = torch.nn.functional.conv2d(values, weights.view(1, 1, 1, -1))
        return torch.nn.functional.conv2d(across, weights.view(1, 1, -1, 1))

    x, y = (
        torch.from_numpy(np.ascontiguousarray(np.moveaxis(values, -1, 1), np.float32)).flatten(0, 1)[:, None]
        for values in (pictures, frames)
    )  # (B*3, 1, H, W)
    mean_x, mean_y = local_mean(x), local_mean(y)
    variances = local_mean(x * x) - mean_x**2 + local_mean(y * y) - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    one, two = SSIM_CONSTANTS
    similarity = (2 * mean_x * mean_y + one) * (2 * covariance + two)
    similarity /= (mean_x**2 + mean_y**2 + one) * (variances + two)
    means: Array = similarity.view(len(pictures), -1).mean(dim=1).numpy()
    return means
