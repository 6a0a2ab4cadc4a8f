"""Sound recordings whose films, tables and clocks keep different times, drawn by a seed: no row shows another's frame.

Every frame tells its number and every row its own, so what was imported is compared with a search over all frames.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import film_of, number_of, numbered, write_film, write_lerobot
from numpy.random import Generator
from numpy.typing import NDArray

from gwm_sim.commands.import_ import ImportConfig, import_episodes
from gwm_sim.data.episode_file import Episode, EpisodeFile
from gwm_sim.errors import ConfigError

Array = NDArray[Any]

SIZE = 40  # a stripe of a number is four pixels wide

UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


def nearest(times: Array, moment: float) -> set[int]:
    """Numbers of the frames that are nearest to a moment; two where it lies in the middle between them."""
    away = np.abs(times - moment)
    return set(np.flatnonzero(away < away.min() + 2e-4).tolist())


def film_times(rng: Generator, rate: float, seconds: float) -> Array:
    """When the frames of a film are shown, at an even rate or at one that varies by a tenth of a frame."""
    times = np.arange(int(np.ceil(seconds * rate)) + 1) / rate
    times[1:] += rng.choice([0.0, 0.1]) / rate * rng.uniform(-1, 1, len(times) - 1)
    return np.round(times, 5)


def imported(source: Path, format: str, fps: float | None, **options: Any) -> tuple[list[Episode], list[str]]:
    out = source.parent / "a.hdf5"
    result = import_episodes(ImportConfig(format, source, out, size=SIZE, fps=fps, **options))
    with EpisodeFile(out) as file:
        return list(file), result.notes


def numbers(episode: Episode) -> list[int]:
    return [number_of(picture) for picture in episode.frames["front"]]


def check_spacing(moments: Array, fps: float, period: float, label: str) -> None:
    """Kept rows must be those nearest to every moment of the rate."""
    wanted = moments[0] + np.arange(len(moments)) / fps
    assert np.abs(moments - wanted).max() <= 0.5 * period + 1e-6, label


def run_lerobot(rng: Generator, folder: Path, label: str) -> None:
    """Several episodes in one film of another rate."""
    rate = float(rng.choice([5, 10, 15, 20, 30]))
    shown_at = rate * float(rng.choice([0.5, 1, 1.3, 1.5, 2, 2.5, 2.997, 3, 6]))
    lengths = rng.integers(18, 26, rng.integers(1, 5)).tolist()
    edges = np.concatenate([[0], np.cumsum(lengths)]) / rate
    times = np.arange(int(np.ceil(edges[-1] * shown_at - 1e-9))) / shown_at
    stops = edges[1:].tolist() if rng.random() < 0.5 else None
    write_lerobot(folder / "set", rate, lengths, starts=edges[:-1].tolist(), stops=stops)
    write_film(film_of(folder / "set"), [numbered(i) for i in range(len(times))], times)
    fps = None if rng.random() < 0.5 else round(rate * float(rng.uniform(0.3, 0.9)), 2)
    episodes, _ = imported(folder / "set", "lerobot", fps)
    assert len(episodes) == len(lengths), label
    for k, episode in enumerate(episodes):
        rows = np.rint(episode.telemetry[:, 0] / 0.01).astype(int)
        own = np.flatnonzero((times > edges[k] - 0.25 / shown_at) & (times < edges[k + 1] - 0.25 / shown_at))
        for row, number in zip(rows.tolist(), numbers(episode), strict=True):
            expected = {int(own[i]) for i in nearest(times[own], edges[k] + row / rate)}
            if len(own) == lengths[k]:  # as many frames as rows: one each
                expected.add(int(own[row]))
            assert number in expected, f"{label}: episode {k}, row {row} shows {number}, not {expected}"
        np.testing.assert_allclose(episode.actions[:, 0], 0.01 * (rows[1:] - 1), atol=1e-6, err_msg=label)
        check_spacing(rows / rate, fps or rate, 1 / rate, label)


def written(rng: Generator, times: Array) -> tuple[str, list[str], bool]:
    """The column of times as some logger writes it, and whether its zero is that of the films."""
    kind = rng.choice(["seconds", "unit", "guess", "unix", "date"])
    if kind == "date":
        day = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
        return "time", [(day + timedelta(seconds=float(t))).isoformat() for t in times], False
    unit = "s" if kind == "seconds" else str(rng.choice(list(UNITS)))
    start = 1.7e9 if kind == "unix" else 0.0
    name = "time" if kind in ("seconds", "guess") else f"time [{unit}]"
    texts = [f"{start + t:.6f}" if unit == "s" else f"{round((start + t) * UNITS[unit])}" for t in times]
    return name, texts, kind != "unix"


def write_table(path: Path, name: str, texts: list[str], rng: Generator) -> None:
    mark = str(rng.choice([",", ";", "\t"]))
    lines = [[name, "state.row", "target.row", "delta.one", "rate.row"]]
    lines += [[text, f"{i}", f"{i}", "1", f"{i}"] for i, text in enumerate(texts)]
    path.write_text("\n".join(mark.join(line) for line in lines) + "\n\n")


def run_folder(rng: Generator, folder: Path, label: str) -> None:
    """One film and a table, each at a rate and with a clock of its own."""
    shown_at = float(rng.choice([5, 10, 12, 24, 30]))
    rate = shown_at * float(rng.choice([0.33, 0.5, 1, 1, 2, 2.7, 5, 10]))
    seconds = float(rng.uniform(6, 9))
    film = film_times(rng, shown_at, seconds)
    times = np.arange(int(seconds * rate)) / rate
    times[1:] += float(rng.choice([0, 0.15])) / rate * rng.uniform(-1, 1, len(times) - 1)
    name, texts, same_zero = written(rng, times)
    if same_zero and rng.random() < 0.3:  # the log begins a little later than the film
        times = times + 0.2
        name, texts = "time", [f"{t:.6f}" for t in times]
    place = folder / "takes/a"
    write_film(place / "front.mp4", [numbered(i) for i in range(len(film))], film)
    write_table(place / "robot.csv", name, texts, rng)
    slowest = min(rate, shown_at)
    fps = None if rng.random() < 0.6 else round(slowest * float(rng.uniform(0.6, 0.9)), 2)
    episodes, _ = imported(folder / "takes", "folder", fps)
    for episode in episodes:
        rows = np.rint(episode.telemetry[:, 0]).astype(int)
        steps = np.diff(rows)
        assert (steps > 0).all(), label
        for row, number in zip(rows.tolist(), numbers(episode), strict=True):
            assert number in nearest(film, times[row]), f"{label}: row {row} at {times[row]:.4f} s shows {number}"
        means = [(before + after - 1) / 2 for before, after in zip(rows[:-1], rows[1:], strict=True)]
        np.testing.assert_allclose(episode.actions[:, 0], rows[1:] - 1, err_msg=label)  # the last target
        np.testing.assert_allclose(episode.actions[:, 1], steps, err_msg=label)  # the sum of the changes
        if fps is None:  # else a mean over frames of means over rows, which weighs frames alike
            np.testing.assert_allclose(episode.actions[:, 2], means, atol=1e-4, err_msg=label)
    kept = sum(len(episode.telemetry) for episode in episodes)
    assert kept >= 0.8 * min(fps or slowest, slowest) * (seconds - 0.5) - 2, f"{label}: {kept} rows are too few"


def run(seed: int, folder: Path) -> None:
    rng = np.random.default_rng(seed)
    folder.mkdir()
    (run_lerobot, run_folder)[seed % 2](rng, folder, f"seed {seed}")
    shutil.rmtree(folder)


@pytest.mark.parametrize("part", range(2))
def test_twenty_recordings_at_any_rates(part: int, tmp_path: Path) -> None:
    for seed in range(10 * part, 10 * part + 10):
        run(seed, tmp_path / str(seed))


@pytest.mark.slow
def test_thousand_recordings_at_any_rates(tmp_path: Path) -> None:
    for seed in range(1000, 2000):
        run(seed, tmp_path / str(seed))


def test_rates_that_are_not_there_are_refused(tmp_path: Path) -> None:
    """More frames than the film or the table has cannot be made up."""
    times = np.arange(30) / 10
    place = tmp_path / "takes/a"
    write_film(place / "front.mp4", [numbered(i) for i in range(30)], times)
    write_table(place / "robot.csv", "time", [f"{t:.3f}" for t in np.arange(90) / 30], np.random.default_rng(0))
    with pytest.raises(ConfigError, match="--fps 20 is more than the 10 Hz"):
        imported(tmp_path / "takes", "folder", 20.0)
