"""Drawn recordings for the tracker: a bar that is the robot takes discs along and puts them elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.cameras import Camera
from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter
from gwm_sim.data.schema import Schema

Array = NDArray[Any]

SIZE, LENGTH, RADIUS = 48, 30, 4
GROUND, ROBOT = (170, 160, 150), (90, 92, 96)
RED, BLUE = (200, 20, 20), (20, 40, 200)
WIDE, TIP = 6, 3  # of the bar, and how far below its end it holds [px]
REACH = 44  # the lowest row that it gets to

ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]

Paint = Callable[[Array, Array, np.random.Generator], None]
"""Changes the pictures (T, H, W, 3) of an episode, given the bar's telemetry (T, 2)."""


def course(rng: np.random.Generator, start: Array, goal: Array) -> tuple[Array, Array]:
    """Return column and lowest row of the bar, (T, 2), and whether it carries, (T,)."""
    above = np.array([0.0, -20.0])
    stops = [rng.uniform((8, 8), (40, 16)), start + above, start, start + above, goal + above, goal, goal + above]
    along = np.linspace(0, len(stops) - 1, LENGTH + 1)
    ways = np.stack([np.interp(along, range(len(stops)), [stop[i] for stop in stops]) for i in (0, 1)], axis=1)
    return ways.clip(0, REACH), (along >= 2) & (along <= 5)


def draw_bar(picture: Array, column: float, row: float) -> None:
    bar = (np.abs(COLUMNS - column) <= WIDE / 2) & (row - TIP >= ROWS)
    picture[bar] = ROBOT


def draw_disc(picture: Array, centre: Array, color: Sequence[int]) -> None:
    picture[np.hypot(COLUMNS - centre[0], ROWS - centre[1]) <= RADIUS] = color


def make_episode(seed: int, colors: Sequence[Sequence[int]] = (RED, BLUE), change: Paint | None = None) -> Any:
    """Return an episode in which the discs in turn are carried, and where they are, (T, K, 2)."""
    rng = np.random.default_rng(seed)
    spots = rng.permutation(4)
    places = np.array([(10 + 9 * spot, rng.uniform(28, 40)) for spot in spots[: len(colors) + 1]])
    own = seed % max(1, len(colors))
    bar, carries = course(rng, places[own], places[-1])
    centres = np.repeat(places[None, : len(colors)], LENGTH + 1, axis=0)
    if len(colors):
        centres[carries, own] = bar[carries]
        centres[np.flatnonzero(carries)[-1] + 1 :, own] = places[-1]
    pictures = np.full((LENGTH + 1, SIZE, SIZE, 3), GROUND, np.uint8)
    for t, picture in enumerate(pictures):
        draw_bar(picture, *bar[t])
        for centre, color in zip(centres[t], colors, strict=True):
            draw_disc(picture, centre, color)
    if change is not None:
        change(pictures, bar, rng)
    telemetry = bar.astype(np.float32)
    episode = Episode(
        {"front": pictures}, telemetry, np.diff(telemetry, axis=0), {}, None, {}, seed=None, policy="unknown"
    )
    return episode, centres


def write_scenes(
    path: Path, episodes: int = 16, colors: Sequence[Sequence[int]] = (RED, BLUE), change: Paint | None = None
) -> tuple[EpisodeFile, list[Array]]:
    """Write recordings, and return where the discs are in each episode, (T, K, 2)."""
    schema = Schema(
        env_id="Bar-v0",
        rate=10.0,
        telemetry_names=("column", "row"),
        telemetry_units=("px", "px"),
        telemetry_low=(-50.0, -50.0),
        telemetry_high=(100.0, 100.0),
        action_names=("right", "down"),
        action_low=(-50.0, -50.0),
        action_high=(50.0, 50.0),
        cameras={"front": Camera.uncalibrated(SIZE, SIZE)},
    )
    writer, truth = EpisodeWriter(path, schema), []
    for seed in range(episodes):
        episode, centres = make_episode(seed, colors, change)
        writer.write(seed, episode)
        truth.append(centres)
    writer.merge()
    return EpisodeFile(path), truth
