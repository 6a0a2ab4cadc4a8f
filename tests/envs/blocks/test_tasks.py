"""Reward and success of the tasks as functions of hand-made states."""

from dataclasses import replace

import numpy as np
import pytest

from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.tasks import BLUE, REACH_HEIGHT, RED, TASK, Array, TaskState, label

HALF = spec.CUBE_SIZE / 2


def state_with(red: list[float], blue: list[float], end_effector: list[float], grasped: bool = False) -> TaskState:
    """A state at rest with cubes at the given centres."""
    return TaskState(
        end_effector=np.array(end_effector),
        gripper_opening=np.array(0.08),
        position=np.array([red, blue]),
        quaternion=np.tile([1.0, 0.0, 0.0, 0.0], (2, 1)),
        linear_velocity=np.zeros((2, 3)),
        angular_velocity=np.zeros((2, 3)),
        grasped=np.array([grasped, False]),
    )


APART = state_with([0.45, -0.1, HALF], [0.55, 0.1, HALF], [0.5, 0.0, 0.2])
STACKED = state_with([0.55, 0.1, 3 * HALF], [0.55, 0.1, HALF], [0.55, 0.1, 0.2])
LIFTED = state_with([0.45, -0.1, 0.10], [0.55, 0.1, HALF], [0.45, -0.1, 0.10], grasped=True)
OVER_RED = state_with([0.45, -0.1, HALF], [0.55, 0.1, HALF], [0.45, -0.1, HALF + REACH_HEIGHT])


def success(task: str, state: TaskState) -> bool:
    return bool(TASK[task].success(state))


def moved(state: TaskState, index: int, by: list[float]) -> TaskState:
    position = state.position.copy()
    position[index] += by
    return replace(state, position=position)


@pytest.mark.parametrize(("task", "solved"), [("reach", OVER_RED), ("grasp", LIFTED), ("stack", STACKED)])
def test_solved_states_are_solved_and_pay_one(task: str, solved: TaskState) -> None:
    assert success(task, solved)
    assert TASK[task].reward(solved) == 1.0
    assert not success(task, APART)
    assert TASK[task].reward(APART) < 1.0


def test_a_held_stack_is_no_success() -> None:
    assert not success("stack", replace(STACKED, grasped=np.array([True, False])))


def test_a_toppled_stack_is_no_success() -> None:
    assert not success("stack", moved(STACKED, RED, [0.06, 0.0, -2 * HALF]))


def test_a_leaning_or_floating_stack_is_no_success() -> None:
    assert not success("stack", moved(STACKED, RED, [0.0, 0.0, 0.008]))
    assert not success("stack", moved(STACKED, RED, [0.02, 0.0, -0.008]))


@pytest.mark.parametrize("index", [RED, BLUE])
def test_a_moving_stack_is_no_success(index: int) -> None:
    velocity = np.zeros((2, 3))
    velocity[index] = [0.05, 0.0, 0.0]
    assert not success("stack", replace(STACKED, linear_velocity=velocity))


def test_blue_on_red_is_no_success() -> None:
    assert not success("stack", moved(moved(STACKED, RED, [0.0, 0.0, -2 * HALF]), BLUE, [0.0, 0.0, 2 * HALF]))


def test_a_cube_that_is_high_but_not_held_is_not_grasped() -> None:
    assert not success("grasp", replace(LIFTED, grasped=np.array([False, False])))


def test_a_held_cube_on_the_table_is_not_lifted() -> None:
    assert not success("grasp", moved(LIFTED, RED, [0.0, 0.0, -0.07]))


def test_holding_blue_is_no_grasp_of_red() -> None:
    assert not success("grasp", replace(LIFTED, grasped=np.array([False, True])))


def test_rewards_grow_along_the_stages_of_stacking() -> None:
    near = replace(APART, end_effector=APART.position[RED])
    held = replace(near, grasped=np.array([True, False]))
    over = replace(moved(STACKED, RED, [0.0, 0.0, 0.03]), grasped=np.array([True, False]))
    placed = replace(STACKED, grasped=np.array([True, False]))
    rewards = [float(TASK["stack"].reward(state)) for state in (APART, near, held, over, placed, STACKED)]
    assert rewards == sorted(rewards)
    assert len(set(rewards)) == len(rewards)


def random_states(count: int) -> TaskState:
    rng = np.random.default_rng(0)

    def uniform(*shape: int) -> Array:
        return rng.uniform(-0.1, 0.1, (count, *shape))

    return TaskState(
        end_effector=uniform(3),
        gripper_opening=uniform(),
        position=uniform(2, 3),
        quaternion=uniform(2, 4),
        linear_velocity=uniform(2, 3) * 0.1,
        angular_velocity=uniform(2, 3),
        grasped=rng.random((count, 2)) < 0.3,
    )


@pytest.mark.parametrize("task", spec.TASKS)
def test_a_batch_is_its_rows_and_rewards_stay_in_bounds(task: str) -> None:
    states = random_states(200)
    rewards, successes = TASK[task].reward(states), TASK[task].success(states)
    assert rewards.shape == successes.shape == (200,)
    assert ((rewards >= 0) & (rewards <= 1)).all()
    assert ((rewards == 1) == successes).all()
    for i in range(200):
        assert rewards[i] == TASK[task].reward(states[i])
        assert successes[i] == TASK[task].success(states[i])


def test_labels_cover_every_task() -> None:
    assert tuple(label(APART)) == spec.TASKS
