"""A thing that has the robot's colours is told from the robot by what it looks like, learned without labels."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from gwm_sim.data.tracking.appearance import Appearance, inputs_of
from gwm_sim.data.tracking.background import Background
from gwm_sim.data.tracking.discovery.candidates import of_blobs
from gwm_sim.data.tracking.discovery.choice import Found
from gwm_sim.data.tracking.discovery.evidence import Evidence
from gwm_sim.data.tracking.discovery.practice import practise
from gwm_sim.data.tracking.palette import BINS, Palette, bins
from gwm_sim.data.tracking.pieces import Piece, find_pieces
from gwm_sim.data.tracking.tracker import Thing, Tracker
from gwm_sim.data.tracking.tracks import Look, follow

Array = NDArray[Any]

SIDE, TABLE, LIGHT, DARK = 48, 150, 120, 80
USUAL = (8.0, 8.0, 64.0)


class World(NamedTuple):
    """Pictures of a robot and of a thing in its two greys."""

    evidence: Evidence
    places: Array
    """Column and row of the middle of the thing [px], (N, 2)."""


def world(count: int, seed: int, shift: int = 0) -> World:
    """Draw `count` pictures, (48, 48, 3) each; telemetry explains all of the robot but some columns.

    Args:
        count: Number of pictures.
        seed: Of all that is drawn.
        shift: What the greys of the thing are brighter than the robot's by.
    """
    generator = np.random.default_rng(seed)
    lit, explained = np.full((count, SIDE, SIDE, 3), TABLE, np.uint8), np.ones((count, SIDE, SIDE), bool)
    places = np.zeros((count, 2))
    for n in range(count):
        left, width = int(generator.integers(2, 20)), int(generator.integers(3, 7))
        lit[n, 4:14, left : left + 24] = DARK
        lit[n, 14:20, left : left + 24] = LIGHT
        explained[n, 10:18, left : left + width] = False
        column, row = generator.integers((2, 22), (38, 38)).tolist()
        lit[n, row : row + 4, column : column + 8] = LIGHT + shift
        lit[n, row + 4 : row + 8, column : column + 8] = DARK + shift
        explained[n, row : row + 8, column : column + 8] = False
        places[n] = column + 3.5, row + 3.5
    background = Background(np.full((SIDE, SIDE, 3), TABLE, np.float32), 14.0)
    front, colors = (lit != TABLE).any(axis=-1), bins(lit)
    robot, ground = np.zeros(BINS, np.float32), np.zeros(BINS, np.float32)
    for grey in (LIGHT, DARK):
        robot[bins(np.full(3, grey))] = 100 * count
    ground[bins(np.full(3, TABLE))] = 1000 * count
    poses = np.zeros((count, 1), np.float32)
    evidence = Evidence(background, lit, front, explained, colors, np.arange(count), poses, robot, ground)
    return World(evidence, places)


def found_in(evidence: Evidence) -> Found:
    blobs = [blob for blob in evidence.blobs() if blob.area == USUAL[2]]
    return Found(of_blobs(evidence, blobs), USUAL, 1.0)


def learned(evidence: Evidence) -> tuple[Palette, Appearance | None]:
    item = found_in(evidence)
    palette = Palette.of([item.candidate.colors(evidence)])
    return palette, practise(evidence, palette, 1, item)


@pytest.fixture(scope="module")
def known() -> tuple[Palette, Appearance]:
    palette, appearance = learned(world(150, seed=0).evidence)
    assert appearance is not None
    return palette, appearance


def test_a_robot_that_telemetry_explains_badly_is_not_claimed(known: tuple[Palette, Appearance]) -> None:
    palette, appearance = known
    evidence, _ = world(40, seed=1)
    hidden = replace(evidence, lit=evidence.lit.copy(), front=evidence.front.copy())
    hidden.lit[:, 22:], hidden.front[:, 22:] = TABLE, False  # nothing but the robot
    pixels = palette.read(bins(hidden.lit), hidden.front, hidden.explained)
    look = Look(1, *USUAL)
    colors_alone = follow(pixels, hidden.front, hidden.lit, [look])
    looked_at = follow(pixels, hidden.front, hidden.lit, [replace(look, appearance=appearance)])
    assert colors_alone.found.mean() > 0.5
    assert looked_at.found.mean() < 0.1


def test_what_it_learned_from_free_things_tells_covered_ones(known: tuple[Palette, Appearance]) -> None:
    palette, appearance = known
    evidence, places = world(60, seed=2)
    sure = []
    for n in range(len(evidence)):
        # The robot comes down over the upper third of the thing.
        column, row = (places[n] - 3.5).astype(int)
        covered = evidence.lit[n].copy()
        covered[row - 6 : row + 3, max(0, column - 6) : column + 14] = DARK
        front = (covered != TABLE).any(axis=-1)
        explained = evidence.explained[n].copy()
        explained[row - 6 : row + 3, max(0, column - 6) : column + 14] = True
        mask = (palette.read(bins(covered), front, explained) == 1) & front
        pieces = find_pieces(mask, front & ~mask, USUAL, 1)
        of_thing = [p for p in pieces if row + 3 <= p.row <= row + 8 and abs(p.column - places[n, 0]) < 2]
        times = np.zeros(len(of_thing), np.intp)
        told = inputs_of(covered[None], front[None], mask[None], times, of_thing, USUAL)
        sure += appearance.probability(told).tolist()
    assert len(sure) > 50
    assert np.mean(np.array(sure) > 0.5) > 0.8


def test_confidence_is_the_share_of_claims_that_are_right(known: tuple[Palette, Appearance]) -> None:
    palette, appearance = known
    evidence, places = world(80, seed=3)
    pixels = palette.read(evidence.colors, evidence.front, evidence.explained)
    look = Look(1, *USUAL, appearance=appearance)
    runs = [follow(pixels[n : n + 1], evidence.front[n : n + 1], evidence.lit[n : n + 1], [look]) for n in range(80)]
    confidence = np.concatenate([run.confidence[:, 0] for run in runs])
    right = np.linalg.norm(np.concatenate([run.centre[:, 0] for run in runs]) - places, axis=1) < 2
    assert right.mean() > 0.95
    assert abs(confidence.mean() - right.mean()) < 0.1


def test_practice_is_the_same_every_time(known: tuple[Palette, Appearance]) -> None:
    _, again = learned(world(150, seed=0).evidence)
    assert again is not None
    for one, other in zip(known[1].arrays().values(), again.arrays().values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_thing_with_colours_of_its_own_needs_no_practice() -> None:
    assert learned(world(150, seed=0, shift=100).evidence)[1] is None


def test_few_pictures_teach_nothing() -> None:
    assert learned(world(30, seed=0).evidence)[1] is None


def test_a_patch_may_reach_beyond_the_picture(known: tuple[Palette, Appearance]) -> None:
    pixels = np.zeros((1, SIDE, SIDE), bool)
    at_corner = Piece(0.0, 0.0, 4, 0, 0, 1, 1, (False, False, True, True))
    told = inputs_of(np.zeros((1, SIDE, SIDE, 3), np.uint8), pixels, pixels, np.zeros(1, np.intp), [at_corner], USUAL)
    assert 0 <= known[1].probability(told)[0] <= 1


def test_a_tracker_keeps_what_was_learned(known: tuple[Palette, Appearance]) -> None:
    palette, appearance = known
    thing = Thing("grey", (100, 100, 100), *USUAL, confidence=1.0, look=1)
    background = Background(np.full((SIDE, SIDE, 3), TABLE, np.float32), 14.0)
    tracker = Tracker("front", (thing,), (), background, palette, {1: appearance})
    again = Tracker.from_arrays(tracker.arrays())
    evidence, _ = world(20, seed=4)
    before, after = (one.follow(evidence.lit).confidence for one in (tracker, again))
    np.testing.assert_array_equal(before, after)
    assert again.digest() == tracker.digest()
    other = Appearance(appearance.hidden, -appearance.output)
    assert replace(tracker, appearances={1: other}).digest() != tracker.digest()


FIT = """
import hashlib
import numpy as np
from gwm_sim.data.tracking.discovery.practice import _fitted
rng = np.random.default_rng(0)
inputs = (rng.integers(0, 256, (3000, 729)) / 64 - 2).astype(np.float32)
found = _fitted(inputs, inputs[:, :9].sum(axis=1) > 0, rng)
print(hashlib.sha256(found.hidden.tobytes() + found.output.tobytes() + found.probability(inputs).tobytes()).hexdigest())
"""


def test_practice_is_the_same_with_any_number_of_threads() -> None:
    def told(threads: int) -> bytes:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = os.environ | dict.fromkeys(names, str(threads))
        return subprocess.run([sys.executable, "-c", FIT], env=environment, check=True, capture_output=True).stdout

    assert told(1) == told(2)
