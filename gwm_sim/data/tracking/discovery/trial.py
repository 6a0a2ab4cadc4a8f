"""A first trial: what was found is followed through the pictures that it was found in, and must move now and then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gwm_sim.data.tracking.discovery.choice import DOUBTED, Found, Refused
from gwm_sim.data.tracking.discovery.evidence import Evidence
from gwm_sim.data.tracking.palette import Palette
from gwm_sim.data.tracking.sightings import Sightings
from gwm_sim.data.tracking.tracks import Look, follow

MOVES, IN_EPISODES = 0.5, 0.1
"""Way between the beginning and the end of an episode in sizes of the thing, and share of the episodes, from which on a
thing is one that moves."""

_SEEN = 0.6
"""Share of a thing that must be in sight for its place to count."""


def on_trial(evidence: Evidence, found: list[Found], believed: bool) -> tuple[list[Found], list[Refused]]:
    """Follow things through the pictures that they were found in.

    Args:
        evidence: These pictures.
        found: The things.
        believed: Whether a person says that these are things, so that they need not move.

    Returns:
        Those that move, with the size that they have when they are followed, and those that never do.
    """
    palette = Palette.of([item.candidate.colors(evidence) for item in found])
    looks = [Look(item.candidate.count, *item.size) for item in found]
    episodes = [evidence.episodes == number for number in np.unique(evidence.episodes)]
    runs = []
    for rows in episodes:
        pixels = palette.read(evidence.colors[rows], evidence.front[rows], evidence.explained[rows])
        runs.append(follow(pixels, evidence.front[rows], evidence.lit[rows], looks))
    kept: list[Found] = []
    refused: list[Refused] = []
    first = 0
    for item in found:
        columns = range(first, first + item.candidate.count)
        first += item.candidate.count
        size = _size(runs, columns, item.size)
        moves = [max(_way(run, column) for column in columns) / np.sqrt(size[0] * size[1]) for run in runs]
        still = np.mean(np.array(moves) > MOVES) < IN_EPISODES
        if still and not believed:
            refused.append(Refused(item.candidate.color, "it hardly ever moves during an episode"))
            continue
        confidence = min(item.confidence, DOUBTED) if still else item.confidence
        place = _place(runs, columns, evidence.background.picture.shape)
        kept.append(replace(item, size=size, place=place, confidence=confidence))
    return kept, refused


def _size(runs: list[Sightings], columns: range, usual: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the median width, height [px] and area of sightings with nothing in front."""
    rows = np.concatenate(
        [
            np.column_stack([run.size[:, column], run.area[:, column]])[run.visible[:, column] >= 1]
            for run in runs
            for column in columns
        ]
    )
    if len(rows) < 10:
        return usual
    width, height, area = np.median(rows, axis=0)
    return float(width), float(height), float(area)


def _place(runs: list[Sightings], columns: range, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return column and row where things are in the middle of all their sightings [px]; without any, in the middle of
    the picture."""
    places = [run.centre[run.visible[:, column] > _SEEN, column] for run in runs for column in columns]
    middle = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    column, row = np.median(np.concatenate(places), axis=0) if any(map(len, places)) else middle
    return float(column), float(row)


def _way(run: Sightings, column: int) -> float:
    """Return how far it is from where a thing is seen first in an episode to where it is seen last [px]."""
    places = run.centre[run.visible[:, column] > _SEEN, column]
    third = len(places) // 3
    if not third:
        return 0.0
    return float(np.linalg.norm(np.median(places[:third], axis=0) - np.median(places[-third:], axis=0)))
