"""How episodes of blocks end, told by where cubes are: also by a tracker's places, which are a little off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.schema import Schema
from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.domain import believed_state
from gwm_sim.envs.blocks.metrics import OUTCOME_TASKS, Outcome, outcomes
from gwm_sim.envs.blocks.sight import Array, cubes_among, success_at_the_end
from gwm_sim.evaluation.open_loop import ModelPredictor, OpenLoopTest
from gwm_sim.model.world_model import WorldModel

HALF = spec.CUBE_SIZE / 2
NEAR, FAR = [0.45, -0.1, HALF], [0.55, 0.1, HALF]
ON_FAR = [0.56, 0.1, 3 * HALF]
HELD_ON_FAR = [0.56, 0.1, 3 * HALF + 0.01]
RAISED = [0.45, -0.1, 0.10]


def end(red: list[float], blue: list[float], hand: list[float], opening: float, off: float = 0.0) -> dict[str, bool]:
    """Judge four frames in which nothing moves but for errors of at most `off` [m]."""
    position = np.tile(np.array([red, blue]), (4, 1, 1))
    position += np.random.default_rng(0).uniform(-off, off, position.shape)
    telemetry = np.zeros((4, len(spec.TELEMETRY_NAMES)))
    telemetry[:, spec.EE], telemetry[:, spec.OPENING] = hand, opening
    return {task: bool(success) for task, success in success_at_the_end(position, telemetry).items()}


@pytest.mark.parametrize("off", [0.0, 0.002])
@pytest.mark.parametrize(
    ("red", "hand", "opening", "grasp", "stack"),
    [
        (RAISED, RAISED, spec.CUBE_SIZE, True, False),
        (RAISED, RAISED, spec.GRIPPER_MAX, False, False),
        (NEAR, NEAR, spec.CUBE_SIZE, False, False),
        (ON_FAR, RAISED, spec.GRIPPER_MAX, False, True),
        (HELD_ON_FAR, HELD_ON_FAR, spec.CUBE_SIZE, True, False),
        ([0.60, 0.1, HALF], RAISED, spec.GRIPPER_MAX, False, False),
    ],
)
def test_ends_are_told_by_places(
    red: list[float], hand: list[float], opening: float, grasp: bool, stack: bool, off: float
) -> None:
    assert end(red, FAR, hand, opening, off) == {"grasp": grasp, "stack": stack}


def test_what_still_falls_is_not_stacked() -> None:
    position = np.tile(np.array([ON_FAR, FAR]), (4, 1, 1))
    position[:, 0, 2] += np.array([0.06, 0.045, 0.02, 0.0])
    telemetry = np.zeros((4, len(spec.TELEMETRY_NAMES)))
    telemetry[:, spec.OPENING] = spec.GRIPPER_MAX
    assert not success_at_the_end(position, telemetry)["stack"]


def test_cubes_are_found_by_name(tiny_data: Path) -> None:
    schema = EpisodeFile(tiny_data).schema
    tracked = replace(schema, object_names=("green", "blue", "red"), tracked=("front",))
    assert cubes_among(schema) == [0, 1] and cubes_among(tracked) == [2, 1]
    for other in (
        replace(tracked, object_frame="image"),
        replace(schema, object_names=("red", "cup")),
        replace(schema, telemetry_names=("x",)),
    ):
        assert cubes_among(other) is None


def test_labels_of_the_twin_are_met(tiny_data: Path) -> None:
    with EpisodeFile(tiny_data) as file:
        for episode in file:
            assert episode.objects is not None
            told = success_at_the_end(episode.objects[..., :3], episode.telemetry)
            true = {task: episode.labels[task].success[-1] for task in OUTCOME_TASKS}
            assert outcomes(told["grasp"], told["stack"]) == outcomes(true["grasp"], true["stack"])


class Reordered:
    """A model's schema and state with its things in another order, as a tracker may find them."""

    def __init__(self, model: WorldModel, schema: Schema) -> None:
        self.config = replace(model.config, schema=schema)


def test_what_is_believed_of_tracked_cubes_is_in_the_order_of_the_tasks(tiny_data: Path, tiny_checkpoint: Path) -> None:
    model: Any = WorldModel.load(tiny_checkpoint, "cpu")
    with EpisodeFile(tiny_data) as file:
        test = OpenLoopTest(file, [8], properties=model.config.properties)
        windows = next(test.batches(4))
        given = (windows.frames, windows.telemetry, windows.past_actions, windows.properties)
        state = model.encode(*map(torch.from_numpy, given))
    mirrored: Any = Reordered(model, replace(model.config.schema, object_names=("blue", "red"), tracked=("front",)))
    own = believed_state(model, state)
    other = believed_state(mirrored, state)
    np.testing.assert_array_equal(own.position, other.position[:, ::-1])
    mirrored.config = replace(mirrored.config, schema=replace(mirrored.config.schema, object_frame="image"))
    with pytest.raises(ValueError, match="does not track the cubes"):
        believed_state(mirrored, state)


def test_outcomes_are_foreseen_without_any_labels(tiny_data: Path, tiny_checkpoint: Path) -> None:
    """Of a model that learned no task, its places tell how episodes end."""
    model = WorldModel.load(tiny_checkpoint, "cpu")

    def foreseen(course: Array, names: tuple[str, ...], frame: Any = "metres") -> dict[str, Any]:
        with EpisodeFile(tiny_data) as file:
            test = OpenLoopTest(file, [8], properties=model.config.properties, limit=8)
            metric = Outcome(test)
            for windows in test.batches(8):
                prediction = ModelPredictor(model)(windows, windows.actions, [8])
                schema = replace(model.config.schema, object_names=names, tracked=("front",), object_frame=frame)
                telemetry, objects = windows.course_telemetry, windows.course_objects[:, :, course]
                metric.update(
                    windows,
                    prediction._replace(success={}, course_telemetry=telemetry, course_objects=objects, schema=schema),
                    [8],
                )
            outcome: dict[str, Any] = metric.compute([8])["outcome"]
            return outcome

    told = foreseen(np.array([1, 0]), ("blue", "red"))
    assert told["n"] == 8 and np.trace(told["confusion"]) == 8
    assert foreseen(np.array([0, 1]), ("blue", "red"), "image")["n"] == 0
