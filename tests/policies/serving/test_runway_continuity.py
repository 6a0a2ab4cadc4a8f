"""A client names no world: pictures and poses tell which moment it goes on from."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gwm_sim.errors import DataError
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.serving.errors import ServingError
from gwm_sim.policies.serving.runway.continuity import CHUNK, Pose, World, filmed_in, shown_in
from gwm_sim.policies.serving.runway.pictures import as_sent, enlargement, read_context, shown_views


class Remembered:
    """Moments of a session that has all of them."""

    whole = 0

    def __len__(self) -> int:
        return 1


def picture(step: int) -> NDArray[np.uint8]:
    return np.full((8, 8, 3), 3 * step, np.uint8)


def played(*lengths: int) -> World:
    """A world after chunks of some poses each, which the client filled up; of all but the last the filling is gone."""
    session: Any = SimpleNamespace(row=SimpleNamespace(moments=Remembered()))
    world = World(session, 1)
    for i, length in enumerate(lengths):
        world = world.until(sum(lengths[:i]), session)
        begun = world.step
        world.chunks.append(begun)
        poses: list[Pose] = [(float(step),) for step in range(begun + 1, begun + length + 1)]
        world.poses += poses + poses[-1:] * (CHUNK - length)
        world.sent([picture(step) for step in range(begun + 1, world.step + 1)])
    return world


@pytest.mark.parametrize("lengths", [(1,), (5,), (16,), (3, 4), (3, 4, 1)])
def test_a_single_picture_is_found_where_the_filling_began(lengths: tuple[int, ...]) -> None:
    world, step = played(*lengths), sum(lengths)
    assert shown_in([world], picture(step)) == (world, step) and world.is_free_at(step)
    assert shown_in([world], picture(0)) is None and shown_in([world], picture(60)) is None


@pytest.mark.parametrize("lengths", [(17,), (17, 5), (3, 16), (17, 17, 1)])
def test_a_film_is_found_by_its_poses(lengths: tuple[int, ...]) -> None:
    world, step = played(*lengths), sum(lengths)
    told = world.poses[step - CHUNK : step]
    assert filmed_in([world], told, picture(step)) == (world, step) and world.is_free_at(step)
    assert filmed_in([world], [(0.0,), *told[1:]], picture(step)) is None
    assert filmed_in([world], told, picture(step + 9)) is None


def test_a_moment_that_was_passed_is_not_free() -> None:
    world = played(17, 16)
    assert filmed_in([world], world.poses[:CHUNK], picture(CHUNK)) == (world, CHUNK)
    assert not world.is_free_at(CHUNK)
    world.busy = True
    assert not world.is_free_at(33)


def test_of_equal_worlds_one_is_taken_that_nobody_needs() -> None:
    passed, waiting = played(17, 16), played(17)
    assert filmed_in([passed, waiting], waiting.poses, picture(CHUNK)) == (waiting, CHUNK)


def test_a_picture_shows_one_camera_or_all_of_them() -> None:
    config = replace(WorldModel.load("gwm-mini").config, others=("wrist",))
    for shape, views in (((64, 64), 1), ((480, 480), 1), ((64, 128), 2), ((384, 768), 2)):
        seen, count = shown_views(np.zeros((*shape, 3), np.uint8), config)
        assert count == views and seen.shape == (64, 64 * views, 3)
    with pytest.raises(ServingError, match="front and wrist .* 64 x 64, or of both views side by side, 128 x 64"):
        shown_views(np.zeros((64, 96, 3), np.uint8), config)


@pytest.mark.parametrize("size", [(64, 64), (72, 100), (48, 144), (90, 120), (33, 47)])
def test_films_have_sides_that_the_client_keeps(size: tuple[int, int]) -> None:
    assert enlargement(*size) * np.array(size) % 16 == pytest.approx(0)
    film, seen = as_sent([np.full((*size, 3), 99, np.uint8)] * 2, 10)
    assert np.abs(seen[1].astype(int) - 99).max() <= 2 and seen[1].shape == (*size, 3)
    assert read_context(film, film=True).shape == (*(enlargement(*size) * np.array(size)), 3)


def test_only_films_of_a_client_are_read() -> None:
    for data in (b"", b"ffconcat version 1.0\nfile /etc/passwd\n", b"\0" * 64):
        with pytest.raises(DataError, match="the film"):
            read_context(data, film=True)
