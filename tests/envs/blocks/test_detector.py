"""The detector finds drawn cubes where they are, whatever a renderer or a decoder does to their edges and shades."""

from __future__ import annotations

import numpy as np
import pytest
from drawings import CUBE_PIXELS, PAINT, SIZE, Array, draw, table

from gwm_sim.envs.blocks.detector import MIN_AREA, colour_of, detect

COLOURS = tuple(PAINT)
PLACES = np.random.default_rng(0).uniform(6, SIZE - 7, (50, 2))


def blurred(frames: Array) -> Array:
    """Blur (B, H, W, 3) by a quarter, half, a quarter in both directions."""
    for axis in (1, 2):
        wide = np.pad(frames, [(1, 1) if i == axis else (0, 0) for i in range(4)], mode="edge").astype(float)
        low, middle, high = (np.take(wide, range(k, k + SIZE), axis) for k in range(3))
        frames = np.round(low / 4 + middle / 2 + high / 4).astype(np.uint8)
    return frames


@pytest.mark.parametrize("colour", COLOURS)
def test_centroid_and_area_of_a_cube_anywhere(colour: str) -> None:
    blobs = detect(np.stack([draw(table(), place, PAINT[colour]) for place in PLACES]), [colour])
    assert np.abs(blobs.centroid[:, 0] - PLACES).max() < 0.3
    assert np.abs(blobs.area[:, 0] - CUBE_PIXELS**2).max() <= 2 * CUBE_PIXELS
    assert abs(blobs.area.mean() - CUBE_PIXELS**2) < 0.1 * CUBE_PIXELS**2


@pytest.mark.parametrize("shade", [0.25, 0.5, 1.2])
def test_shading_changes_little(shade: float) -> None:
    paint = (shade * np.array(PAINT["red"])).astype(int).tolist()
    blobs = detect(np.stack([draw(table(), place, paint) for place in PLACES]), ["red"])
    assert np.abs(blobs.centroid[:, 0] - PLACES).max() < 0.3


def test_blur_and_noise_change_little() -> None:
    rng = np.random.default_rng(1)
    frames = blurred(np.stack([draw(table(), place, PAINT["blue"]) for place in PLACES]))
    noisy = np.clip(frames + rng.normal(0, 8, frames.shape), 0, 255).astype(np.uint8)
    for pictures in (frames, noisy):
        blobs = detect(pictures, ["blue"])
        assert np.abs(blobs.centroid[:, 0] - PLACES).max() < 0.3
        assert np.abs(blobs.area / CUBE_PIXELS**2 - 1).max() < 0.3


def test_cubes_that_touch_keep_apart() -> None:
    picture = draw(draw(table(), (29.5, 29.5), PAINT["red"]), (29.5, 37.5), PAINT["blue"])
    blobs = detect(blurred(picture[None])[0], ["blue", "red"])
    assert np.abs(blobs.centroid - [(29.5, 37.5), (29.5, 29.5)]).max() < 0.3


def test_an_absent_cube_is_missing() -> None:
    blobs = detect(draw(table(), (30, 30), PAINT["red"]), ["red", "blue"])
    assert blobs.found.tolist() == [True, False]
    assert blobs.area[1] == 0
    assert np.isnan(blobs.centroid[1]).all()


def test_a_faded_cube_is_missing() -> None:
    ghost = (0.75 * np.array(table()[0, 0]) + 0.25 * np.array(PAINT["red"])).astype(int).tolist()
    assert not detect(draw(table(), (30, 30), ghost), ["red"]).found.any()


def test_specks_do_not_count() -> None:
    picture = table()
    picture[5, 5 : 5 + MIN_AREA - 1] = PAINT["red"]
    assert not detect(picture, ["red"]).found.any()
    blobs = detect(draw(picture, (40, 40), PAINT["red"]), ["red"])
    assert np.abs(blobs.centroid[0] - 40).max() < 0.3


def test_a_finger_leaves_the_larger_part() -> None:
    picture = draw(table(), (29.5, 29.5), PAINT["red"])
    picture[:, 28] = 20
    blobs = detect(picture, ["red"])
    assert blobs.area[0] == 8 * 5
    assert blobs.centroid[0].tolist() == [31.0, 29.5]


def test_scattered_noise_makes_no_cube() -> None:
    rng = np.random.default_rng(2)
    frames = rng.integers(0, 256, (20, SIZE, SIZE, 3), np.uint8)
    sparse = np.where(rng.random((20, SIZE, SIZE, 1)) < 0.1, frames, table())
    assert (detect(sparse, COLOURS).area < 0.5 * CUBE_PIXELS**2).all()


def test_a_covered_half_leaves_the_visible_half() -> None:
    picture = draw(table(), (29.5, 29.5), PAINT["red"])
    picture[30:, :] = 20
    blobs = detect(picture, ["red"])
    assert blobs.area[0] == 32
    assert blobs.centroid[0].tolist() == [29.5, 27.5]


def test_a_winding_blob_is_one() -> None:
    picture = table()
    for row in range(0, 60, 8):
        picture[row, 4:60] = PAINT["green"]
        picture[row : row + 8, 4 if row % 16 else 59] = PAINT["green"]
    count = (picture == PAINT["green"]).all(axis=-1).sum()
    assert detect(picture, ["green"]).area[0] == count


def test_leading_axes_are_kept_and_rows_are_independent() -> None:
    frames = np.stack([draw(table(), place, PAINT["red"]) for place in PLACES[:6]])
    blobs = detect(frames.reshape(2, 3, SIZE, SIZE, 3), ["blue", "red"])
    assert blobs.centroid.shape == (2, 3, 2, 2)
    assert blobs.area.shape == (2, 3, 2)
    alone = detect(frames[4], ["red"])
    np.testing.assert_array_equal(blobs.centroid[1, 1, 1], alone.centroid[0])


def test_names_say_colours() -> None:
    assert [colour_of(name) for name in ("red", "Blue-Cube", "big_green_box", "mug")] == ["red", "blue", "green", None]


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="unknown colours .'pink'.: choose from red"):
        detect(table(), ["pink"])
    with pytest.raises(ValueError, match=r"uint8 \(..., H, W, 3\), got float64"):
        detect(table().astype(float), ["red"])
