"""From looks of pixels to sightings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.tracking.sightings import Sightings
from gwm_sim.data.tracking.tracks import Look, follow

SIDE = 6


def seen(places: list[list[int]], width: int, count: int) -> Sightings:
    """Follow `count` squares of one look that begin at the columns `places` of pictures as wide as that."""
    looks: NDArray[Any] = np.zeros((len(places), 12, width), np.uint8)
    for t, columns in enumerate(places):
        for column in columns:
            looks[t, 3 : 3 + SIDE, column : column + SIDE] = 1
    lit = np.zeros((*looks.shape, 3), np.uint8)
    look = Look(count, float(SIDE), float(SIDE), float(SIDE**2), place=(40.0, 5.5))
    return follow(looks, looks > 0, lit, [look])


def test_a_thing_that_an_episode_never_shows_is_where_it_usually_is() -> None:
    sightings = seen([[], []], 64, count=1)
    assert sightings.centre.tolist() == [[[40.0, 5.5]]] * 2 and not sightings.found.any()


def test_one_picture_is_enough() -> None:
    sightings = seen([[10, 30]], 64, count=2)
    assert sorted(sightings.centre[0, :, 0].tolist()) == [12.5, 32.5] and sightings.found.all()


def test_in_wide_pictures_what_is_alone_stays_itself() -> None:
    sightings = seen([[10], [1400]], 1500, count=2)
    assert sightings.found[:, 0].all() and not sightings.found[:, 1].any()
