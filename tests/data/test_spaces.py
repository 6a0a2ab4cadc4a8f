"""Action spaces of Minari: choices become columns of 0 and 1, boxes keep their numbers, and misfits are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import layouts
import numpy as np
import pytest
from importing import config, imported
from numpy.typing import NDArray
from shared_data import shared

from gwm_sim.commands.import_ import import_episodes
from gwm_sim.data.conversion.resampling import aggregate
from gwm_sim.data.formats import open_source
from gwm_sim.data.reading.spaces import parts_of
from gwm_sim.errors import DataError

Array = NDArray[Any]

LENGTH = 6
RNG = np.random.default_rng(0)


def write(folder: Path, space: dict[str, Any] | None, stored: dict[str, Array]) -> Path:
    """A data set of one episode whose actions lie at some paths below `actions`."""
    layouts.write_minari(folder, lengths=(LENGTH,))
    path = folder / "data/metadata.json"
    metadata = json.loads(path.read_text())
    metadata.pop("action_space")
    path.write_text(json.dumps(metadata | ({"action_space": json.dumps(space)} if space else {})))
    with h5py.File(folder / "data/main_data.hdf5", "r+") as file:
        del file["episode_0/actions"]
        for name, values in stored.items():
            file[f"episode_0/actions{name}"] = values
    return folder


def discrete(n: int, start: int = 0) -> dict[str, Any]:
    return {"type": "Discrete", "dtype": "int64", "n": n, "start": start}


def box(*shape: int, low: float = -1.0, high: float = 1.0) -> dict[str, Any]:
    ends = {"low": np.full(shape, low).tolist(), "high": np.full(shape, high).tolist()}
    return {"type": "Box", "dtype": "float32", "shape": list(shape), **ends}


def test_each_choice_of_the_given_case_is_a_column() -> None:
    case = shared("cases/discrete-in-parts/multi-v0")
    with h5py.File(case / "data/main_data.hdf5") as file:
        stored = file["episode_1/actions"][:]
    with open_source("minari", case) as source:
        assert [a.name for a in source.layout.actions] == [f"action_{i}={v}" for i in (0, 1) for v in (0, 1, 2)]
        assert {(a.kind, a.low, a.high) for a in source.layout.actions} == {("target", 0.0, 1.0)}
        taken = source.recording(1).actions
        assert "MultiDiscrete(0 to 2, 0 to 2)" in source.remarks[0]
    np.testing.assert_array_equal(taken.reshape(-1, 2, 3).argmax(axis=2), stored)
    assert (taken.reshape(-1, 2, 3).sum(axis=2) == 1).all()


def test_every_part_of_a_choice_in_parts_has_its_own_columns(tmp_path: Path) -> None:
    values = np.array([[0, -1], [1, 0], [1, 2], [0, 1], [1, -1], [0, 0]])
    write(tmp_path / "a-v0", {"type": "MultiDiscrete", "nvec": [2, 4], "start": [0, -1]}, {"": values})
    with open_source("minari", tmp_path / "a-v0") as source:
        named = [a.name for a in source.layout.actions]
        taken = source.recording(0).actions
    assert named == ["action_0=0", "action_0=1", "action_1=-1", "action_1=0", "action_1=1", "action_1=2"]
    np.testing.assert_array_equal(taken, np.concatenate([np.eye(2)[values[:, 0]], np.eye(4)[values[:, 1] + 1]], axis=1))


def test_a_choice_begins_with_its_first_value(tmp_path: Path) -> None:
    values = np.array([5, 7, 6, 5, 5, 7])
    write(tmp_path / "a-v0", discrete(3, start=5), {"": values})
    file, (episode,) = imported("minari", tmp_path / "a-v0", fps=10)
    assert file.schema.action_names == ("action=5", "action=6", "action=7")
    assert (file.schema.action_low, file.schema.action_high) == ((0, 0, 0), (1, 1, 1))
    np.testing.assert_array_equal(episode.actions.argmax(axis=1) + 5, values)
    with open_source("minari", tmp_path / "a-v0") as source:  # of joined actions the last choice counts
        joined = aggregate(episode.actions, source.layout.actions, np.array([0, 2, 4, 6]))
    np.testing.assert_array_equal(joined.argmax(axis=1) + 5, values[1::2])


def test_depth_is_read_beside_actions_in_parts(tmp_path: Path) -> None:
    space = {"type": "Dict", "subspaces": {"arm": box(2), "mode": discrete(3)}}
    write(tmp_path / "a-v0", space, {"/arm": np.zeros((LENGTH, 2)), "/mode": np.arange(LENGTH) % 3})
    with h5py.File(tmp_path / "a-v0/data/main_data.hdf5", "r+") as file:
        file["episode_0/observations/depth"] = np.full((LENGTH + 1, 64, 80), 1.5, np.float32)
    with open_source("minari", tmp_path / "a-v0") as source:
        assert source.layout.depth == ("pixels",)
        assert {float(image.mean()) for image in source.depth(0, "pixels", range(LENGTH + 1))} == {1.5}


@pytest.mark.parametrize("kind", [bool, np.uint8])
def test_switches_among_the_observations_are_telemetry(kind: type, tmp_path: Path) -> None:
    write(tmp_path / "a-v0", box(2), {"": np.zeros((LENGTH, 2))})
    closed = np.arange(LENGTH + 1) % 2
    with h5py.File(tmp_path / "a-v0/data/main_data.hdf5", "r+") as file:
        file["episode_0/observations/closed"] = closed.astype(kind)
    with open_source("minari", tmp_path / "a-v0") as source:
        column = [column.name for column in source.layout.telemetry].index("closed")
        np.testing.assert_array_equal(source.recording(0).telemetry[:, column], closed)


def test_what_is_on_or_off_is_a_column(tmp_path: Path) -> None:
    values = RNG.integers(0, 2, (LENGTH, 2, 2), np.int8)
    write(tmp_path / "a-v0", {"type": "MultiBinary", "n": [2, 2]}, {"": values})
    with open_source("minari", tmp_path / "a-v0") as source:
        assert [a.name for a in source.layout.actions] == ["action_0_0", "action_0_1", "action_1_0", "action_1_1"]
        assert {(a.kind, a.low, a.high) for a in source.layout.actions} == {("target", 0.0, 1.0)}
        np.testing.assert_array_equal(source.recording(0).actions, values.reshape(LENGTH, 4))


def test_parts_of_nested_spaces_stand_in_their_order(tmp_path: Path) -> None:
    arm, hand, mode = RNG.uniform(-1, 1, (LENGTH, 2, 2)), RNG.integers(0, 3, LENGTH), RNG.integers(0, 2, (LENGTH, 1))
    inner = {"type": "Tuple", "subspaces": [discrete(3), {"type": "MultiBinary", "n": 1}]}
    space = {"type": "Dict", "subspaces": {"tool": inner, "arm": box(2, 2)}}
    write(tmp_path / "a-v0", space, {"/arm": arm, "/tool/_index_0": hand, "/tool/_index_1": mode})
    _, (episode,) = imported("minari", tmp_path / "a-v0", fps=10)
    expected = np.concatenate([np.eye(3)[hand], mode, arm.reshape(LENGTH, 4)], axis=1)
    np.testing.assert_allclose(episode.actions, expected, atol=1e-6)
    with open_source("minari", tmp_path / "a-v0") as source:
        told = [a.name for a in source.layout.actions]
        assert [a.kind for a in source.layout.actions] == ["target"] * 4 + [None] * 4
        assert len(list(source.frames(0, "pixels", [0, LENGTH]))) == 2
    assert told == ["tool_0=0", "tool_0=1", "tool_0=2", "tool_1_0", "arm_0_0", "arm_0_1", "arm_1_0", "arm_1_1"]


@pytest.mark.parametrize(
    ("space", "stored", "message"),
    [
        (discrete(3), {"": np.array([0, 1, 3, 0, 0, 0])}, r"holds 3 at row 2 for action, but its space is Discrete"),
        (discrete(3, 1), {"": np.zeros(LENGTH, int)}, r"whole numbers from 1 to 3 are expected"),
        ({"type": "MultiBinary", "n": 2}, {"": np.full((LENGTH, 2), 0.5)}, r"holds 0\.5 at row 0 for action_0"),
        ({"type": "MultiDiscrete", "nvec": [2, 2]}, {"": np.zeros((LENGTH, 3), int)}, r"\(6, 3\), but its space is M"),
        (box(2), {"": np.zeros((LENGTH, 3))}, r"\(6, 3\), but its space is Box\(2,\)"),
        (box(2), {"": np.full((LENGTH, 2), np.nan)}, "holds nan at row 0"),
        (discrete(65), {"": np.zeros(LENGTH, int)}, "65 choices. At most 64 become a column each"),
        ({"type": "MultiDiscrete", "nvec": [10**9, 2]}, {"": np.zeros((LENGTH, 2))}, "At most 64"),
        (discrete(0), {"": np.zeros(LENGTH, int)}, "has no value"),
        ({"type": "Text"}, {"": np.zeros(LENGTH)}, "'Text' is no space that actions can be read from"),
        ({"type": "Dict", "subspaces": {"say": {"type": "Text"}}}, {"": np.zeros(LENGTH)}, "part /say: 'Text' is no"),
        ({"type": "Tuple", "subspaces": [box(1)]}, {"": np.zeros((LENGTH, 1))}, "actions/_index_0 is missing"),
        ({"type": "Box", "shape": [10**6], "low": None}, {"": np.zeros(LENGTH)}, "1 to 1000 numbers are expected"),
        (None, {"/arm": np.zeros((LENGTH, 2))}, "is no array, and metadata.json has no action_space"),
        ({"type": "Discrete"}, {"": np.zeros(LENGTH)}, "cannot be read: 'n'"),
    ],
)
def test_misfits_name_both(space: Any, stored: dict[str, Array], message: str, tmp_path: Path) -> None:
    write(tmp_path / "a-v0", space, stored)
    with pytest.raises(DataError, match=message):
        imported("minari", tmp_path / "a-v0", fps=10)


def test_numbers_beyond_their_box_widen_it_and_are_named(tmp_path: Path) -> None:
    write(tmp_path / "a-v0", box(2), {"": np.linspace(-1, 1.5, 2 * LENGTH).reshape(LENGTH, 2)})
    result = import_episodes(config("minari", tmp_path / "a-v0", tmp_path / "a.hdf5", fps=10))
    assert any("actions leaves the limits of its Box(2,) (episode_0)" in note for note in result.notes)
    assert result.summary.actions["action_1"].high == 1.5


def test_integers_without_a_space_are_numbers(tmp_path: Path) -> None:
    write(tmp_path / "a-v0", None, {"": np.arange(LENGTH)})
    with open_source("minari", tmp_path / "a-v0") as source:
        np.testing.assert_array_equal(source.recording(0).actions[:, 0], np.arange(LENGTH))
        assert "are int64 and no action_space says what they choose" in source.remarks[0]


def test_columns_have_names_of_their_own() -> None:
    space = {"type": "Dict", "subspaces": {"a": box(2), "a_0": box()}}
    with pytest.raises(DataError, match="two of them named 'a_0'"):
        parts_of(space, "the space")


def test_actions_in_parts_may_stand_beside_depth(tmp_path: Path) -> None:
    space = {"type": "Dict", "subspaces": {"arm": box(2), "grip": discrete(2)}}
    stored = {"/arm": RNG.uniform(-1, 1, (LENGTH, 2)), "/grip": np.arange(LENGTH) % 2}
    folder = write(tmp_path / "pick-v0", space, stored)
    metres = np.linspace(0.5, 2, (LENGTH + 1) * 64 * 80, dtype=np.float32).reshape(LENGTH + 1, 64, 80)
    with h5py.File(folder / "data/main_data.hdf5", "r+") as file:
        file["episode_0/observations/pixels_depth"] = metres
    with open_source("minari", folder) as source:
        assert source.layout.depth == ("pixels",)
        np.testing.assert_allclose(list(source.depth(0, "pixels", range(LENGTH + 1))), metres)
