"""The programs that measure properties and uncertainty: their manoeuvres do in the twin what they are for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import properties
import pytest
import uncertainty
from numpy.typing import NDArray

import gwm_sim.envs  # noqa: F401  # registers the ids
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.envs.blocks.tasks import RED
from gwm_sim.envs.tabletop.paired import hold_still, start_pair
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.open_loop import OpenLoopTest
from gwm_sim.policies.collection import collect
from gwm_sim.policies.commands.collect import CollectConfig
from gwm_sim.protocol import CONTEXT

Array = NDArray[Any]

SEED = 320_000


@pytest.fixture(scope="module")
def twin() -> Iterator[Any]:
    """Make the twin without shadows."""
    env = gym.make("MuJoCo-BlockStack-v0", max_episode_steps=-1, rendering="fast")
    yield env
    env.close()


def positions(twin: Any, actions: Array) -> Array:
    """Positions (T+1, 3) of the red cube along actions (T, A)."""
    places = [twin.unwrapped.objects()[RED, :3]]
    for action in actions:
        twin.step(action)
        places.append(twin.unwrapped.objects()[RED, :3])
    return np.array(places, np.float64)


# --- the manoeuvres in the twin ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["friction", "gravity"])
def test_a_manoeuvre_is_decided_by_its_property(twin: Any, name: str) -> None:
    manoeuvre = next(m for m in properties.MANOEUVRES if m.property == name)
    take, values = properties.plan(manoeuvre, twin, SEED), []
    for level in manoeuvre.levels(4):
        twin.reset(seed=SEED, options={"properties": {name: level}})
        positions(twin, take.before)
        values.append(manoeuvre.measure(positions(twin, take.after), take.after))
    assert (np.diff(values) < 0).all()


def test_pictures_tell_where_the_cube_is(twin: Any) -> None:
    for manoeuvre in properties.MANOEUVRES:
        properties.plan(manoeuvre, twin, SEED)
        first = np.asarray(twin.unwrapped.objects()[RED, :3], np.float64)
        frame = twin.step(np.zeros(4, np.float32))[0]["pixels"]
        seen = properties.located(manoeuvre, frame[None], twin.unwrapped.camera_info()["front"], first)
        np.testing.assert_allclose(seen[0], first, atol=0.02)


def test_landing_is_counted_in_fractions_of_steps() -> None:
    course = np.zeros((5, 3))
    course[:, 2] = [0.2, 0.08, 0.0, 0.0, 0.0]
    assert properties.landing_steps(course, np.zeros((4, 4))) == pytest.approx(1.5)
    course[:, 2] = 0.2
    assert properties.landing_steps(course, np.zeros((4, 4))) == 4


def test_a_lost_cube_stays_where_it_was(twin: Any) -> None:
    twin.reset(seed=SEED)
    frame = twin.step(np.zeros(4, np.float32))[0]["pixels"]
    frames = np.stack([frame, np.full_like(frame, 128)])
    first = np.asarray(twin.unwrapped.objects()[RED, :3], np.float64)
    seen = properties.located(properties.MANOEUVRES[0], frames, twin.unwrapped.camera_info()["front"], first)
    np.testing.assert_array_equal(seen[0], seen[1])


# --- both worlds ------------------------------------------------------------------------------------------------------


def test_a_pair_begins_in_the_last_moment_of_the_twin(twin: Any, tiny_checkpoint: Path) -> None:
    learned: Any = gym.make("GWM-BlockStack-v0", model=tiny_checkpoint)
    rng = np.random.default_rng(0)
    actions = np.concatenate([rng.uniform(-1, 1, (5, 4)).astype(np.float32), hold_still(twin.action_space)])
    start = start_pair(twin, learned, SEED, actions, {"gravity": 3.0})
    assert start.frames.shape[0] == start.telemetry.shape[0] == CONTEXT
    np.testing.assert_array_equal(start.actions, actions[5:])
    assert twin.unwrapped.properties == {"friction": 1.0, "gravity": 3.0}
    assert start.properties.items() <= twin.unwrapped.properties.items()
    state, pixels, _ = learned.unwrapped.get_state()
    np.testing.assert_array_equal(pixels, start.frames[-1])
    np.testing.assert_allclose(state.telemetry[0].numpy(), start.telemetry[-1], atol=1e-5)
    short = start_pair(twin, learned, SEED, actions[:1])
    assert short.frames.shape[0] == 2 and short.actions.shape == (1, 4)


def test_properties_reports_both_worlds(tiny_checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "numbers" / "properties.json"
    properties.main(properties.PropertiesConfig(model=str(tiny_checkpoint), episodes=1, levels=2, json=out))
    report = json.loads(out.read_text())
    assert report["seeds"] == [SEED, SEED] and report["model_hash"]
    assert report["properties"].keys() == {"friction", "gravity"}
    for numbers in report["properties"].values():
        assert len(numbers["levels"]) == 2
        assert numbers["means"]["twin"][0] > numbers["means"]["twin"][1]
        assert numbers["means"]["twin_pictures"][0] > numbers["means"]["twin_pictures"][1]
        assert np.isfinite(numbers["means"]["model"] + numbers["means"]["model_pictures"]).all()
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="levels"):
        properties.PropertiesConfig(levels=1)
    with pytest.raises(ConfigError, match="scenes"):
        uncertainty.UncertaintyConfig(Path("test.hdf5"), scenes=0)


# --- uncertainty ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four episodes just long enough for windows of twenty steps."""
    path = tmp_path_factory.mktemp("long") / "test.hdf5"
    collect(CollectConfig(episodes=4, steps=40, out=path, seed=SEED, workers=1, rendering="fast"))
    return path


def test_the_familiar_scene_is_drawn_as_it_was_recorded(recording: Path) -> None:
    with EpisodeFile(recording) as file:
        test = OpenLoopTest(file, [20])
        slots = test.slots[::3]
        drawn = uncertainty.draw_scenes(test, slots)
        true = np.stack([file.read(s.episode, s.start, s.start + CONTEXT).frames["front"] for s in slots])
    assert np.abs(drawn[uncertainty.FAMILIAR].astype(int) - true).max() <= 3
    for kind, frames in drawn.items():
        if kind != uncertainty.FAMILIAR:
            changed = (np.abs(frames.astype(int) - true).max(axis=-1) > 30).sum(axis=(2, 3))
            assert np.median(changed) > 20, kind


def test_uncertainty_reports_errors_and_scenes(tiny_checkpoint: Path, recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "uncertainty.json"
    uncertainty.main(uncertainty.UncertaintyConfig(recording, model=str(tiny_checkpoint), scenes=6, json=out))
    report = json.loads(out.read_text())
    for error in ("error_pictures", "error_tracked"):
        numbers = report["error"][error]
        assert numbers["windows"] > 3
        # The tiny model loses its cubes: equal errors have no order.
        assert all(value is None or -1 <= value <= 1 for name, value in numbers.items() if name != "windows")
    scenes = report["unfamiliar"]
    assert scenes["scenes"] == 6
    assert scenes["kinds"].keys() == {"colours", "camera", "third-cube"}
    assert all(0 <= value <= 1 for kind in scenes["kinds"].values() for values in kind.values() for value in values)


def test_errors_are_averaged_over_the_cubes_that_moved() -> None:
    values, chosen = np.array([[1.0, 3.0], [np.nan, 2.0], [5.0, 6.0]]), np.array([[1, 1], [1, 1], [0, 0]], bool)
    np.testing.assert_array_equal(uncertainty.mean_of(values, chosen), [2.0, 2.0, np.nan])
