"""A camera that was moved is told from arms and objects that stand elsewhere, by views of real benches too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from shared_data import shared

from gwm_sim.data.viewpoint import Change, View, change_of_view

Array = NDArray[Any]

SIZE = 64


def textured(seed: int, size: int = 128) -> Array:
    """A scene with things of all sizes, (size, size) grey levels."""
    rng = np.random.default_rng(seed)
    layers = [rng.uniform(-1, 1, (size // edge, size // edge)).repeat(edge, 0).repeat(edge, 1) for edge in (8, 16, 32)]
    return np.asarray(130 + 30 * sum(layer[:size, :size] for layer in layers))


def seen(scene: Array, down: float = 0, right: float = 0, turn: float = 0, scale: float = 1) -> Array:
    """What a camera sees in the middle of a scene when it is moved, turned [rad] and brought nearer, (64, 64)."""
    offsets = np.arange(4 * SIZE) / 4 - SIZE / 2 + 0.125
    place = (offsets[:, None] + 1j * offsets) * np.exp(1j * turn) / scale + down + 1j * right
    middle = len(scene) / 2
    y, x = (np.clip(np.rint(part + middle - 0.5), 0, len(scene) - 1).astype(int) for part in (place.real, place.imag))
    return np.asarray(scene[y, x].reshape(SIZE, 4, SIZE, 4).mean(axis=(1, 3)))


def film(picture: Array, frames: int = 6, arm: tuple[int, int, int, int] | None = None, seed: int = 0) -> Array:
    """Pictures of a scene that stands still with noise, and with an arm (y, x, height, width) before it."""
    rng = np.random.default_rng(seed)
    pictures = np.repeat(picture[None], frames, axis=0)
    if arm is not None:
        y, x, height, width = arm
        pictures[:, y : y + height, x : x + width] = rng.integers(0, 255, (height, width))
    pictures = pictures + rng.normal(0, 2, pictures.shape)
    return np.repeat(np.clip(pictures, 0, 255)[..., None], 3, axis=-1).astype(np.uint8)


def change(first: Array, second: Array) -> Change | None:
    return change_of_view(View.of(first), View.of(second))


@pytest.mark.parametrize("seed", range(5))
def test_camera_that_stands_still_is_not_said_to_move(seed: int) -> None:
    """With arms elsewhere, and a change of half a pixel, which is no more than a knock at the table."""
    scene = textured(seed)
    first = film(seen(scene), arm=(0, 5, 40, 16))
    assert change(first, film(seen(scene), arm=(0, 35, 40, 16), seed=1)) is None
    assert change(first, film(seen(scene, 0.5, -0.5), arm=(0, 25, 30, 20), seed=2)) is None


@pytest.mark.parametrize(
    ("motion", "pixels"),
    [
        ({"down": 3}, 3),
        ({"right": -6}, 6),
        ({"down": 3, "right": 4}, 5),
        ({"turn": 0.2}, 4.0),
        ({"scale": 1.18}, 3.2),
        ({"scale": 0.87, "right": 2}, 3.4),
        ({"turn": -0.1, "down": -3}, 3.6),
    ],
)
def test_moved_camera_is_found_with_its_motion(motion: dict[str, float], pixels: float) -> None:
    scene = textured(7)
    found = change(film(seen(scene), arm=(0, 5, 24, 10)), film(seen(scene, **motion), arm=(0, 35, 24, 10), seed=1))
    assert found is not None and found.pixels == pytest.approx(pixels, abs=1.2)


def test_nothing_is_found_again_in_another_scene() -> None:
    assert change(film(seen(textured(1))), film(seen(textured(2)))) == Change(None)


def test_plain_scene_tells_nothing() -> None:
    """Only the arm has a pattern; wherever it is, the camera may stand still."""
    plain = np.full((SIZE, SIZE), 140.0)
    arm = film(plain, arm=(0, 10, 30, 14))
    assert change(arm, np.roll(arm, 5, axis=2)) is None
    assert change(film(plain), film(plain)) is None


def test_arm_that_rests_in_half_of_an_episode_is_no_background() -> None:
    plain = np.full((SIZE, SIZE), 140.0)
    moving = np.concatenate([film(plain, arm=(0, 10, 40, 16)), film(plain, arm=(0, 16, 40, 16))])
    views = [View.of(moving, part) for part in (slice(6), slice(6, None))]
    assert change_of_view(*views) is None


def test_camera_that_is_moved_within_an_episode_is_found() -> None:
    scene = textured(3)
    moved = np.concatenate([film(seen(scene), 10), film(seen(scene, right=5), 10)])
    found = change_of_view(View.of(moved, slice(10)), View.of(moved, slice(10, None)))
    assert found is not None and found.pixels == pytest.approx(5, abs=1)


# Real benches


def window(path: Path, down: float = 0, right: float = 0, scale: float = 1) -> Array:
    """Read some frames of a film through a window on its middle, moved by pixels of 64 and scaled, (F, 64, 64, 3)."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][::4]
    height, width = frames[0].shape[:2]
    offsets = (np.arange(4 * SIZE) + 0.5) / 4 - SIZE / 2
    y = np.rint(height / 2 + 0.8 * height / SIZE * (offsets / scale + down) - 0.5).astype(int).clip(0, height - 1)
    x = np.rint(width / 2 + 0.8 * width / SIZE * (offsets / scale + right) - 0.5).astype(int).clip(0, width - 1)
    seen = [frame[y][:, x].reshape(SIZE, 4, SIZE, 4, 3).mean(axis=(1, 3)) for frame in frames]
    return np.stack(seen).astype(np.uint8)


def bench(episode: str, camera: int) -> Path:
    return shared("data/real/franka-droid-new-setup") / f"videos/val/{episode}/{camera}.mp4"


REBUILT = [("0010", "0011", 0), ("0011", "0010", 0), ("0011", "0012", 0), ("0010", "0011", 1)]
"""Episodes of one bench between which its camera kept its place, and the things on the table did not."""


@pytest.mark.parametrize(("one", "other", "camera"), REBUILT)
def test_real_bench_with_other_things_stands_still(one: str, other: str, camera: int) -> None:
    assert change(window(bench(one, camera)), window(bench(other, camera))) is None


@pytest.mark.parametrize(("one", "other", "camera"), [REBUILT[0], REBUILT[1], REBUILT[3]])
@pytest.mark.parametrize("motion", [{"right": 4}, {"down": -4.5}, {"right": -6}, {"scale": 1.17}])
def test_real_bench_with_other_things_seen_from_elsewhere(
    one: str, other: str, camera: int, motion: dict[str, float]
) -> None:
    found = change(window(bench(one, camera)), window(bench(other, camera), **motion))
    assert found is not None and found.pixels is not None and 2 <= found.pixels <= 7


@pytest.mark.parametrize(("camera", "pixels"), [(0, 2.9), (1, 7.6)])
def test_real_bench_whose_cameras_were_moved_between_episodes(camera: int, pixels: float) -> None:
    """Its cameras are not those of one place: matched corners of wall and table lie 14 and 30 of 320 pixels apart."""
    found = change(window(bench("0001", camera)), window(bench("0011", camera)))
    assert found is not None and (found.pixels is None or found.pixels == pytest.approx(pixels, abs=2))


def test_every_kitchen_and_every_laboratory_is_another_one() -> None:
    kitchens = [shared("data/real/widowx-bridge-cosmos") / f"videos/test/{k}/rgb.mp4" for k in (0, 1, 3, 6)]
    labs = [shared("data/real/franka-droid-subset") / f"videos/train/{k}/0.mp4" for k in (0, 1, 3, 4)]
    for films in (kitchens, labs):
        views = [View.of(window(path)) for path in films]
        assert all(change_of_view(views[0], view) is not None for view in views[1:])
        assert change_of_view(views[0], views[0]) is None
