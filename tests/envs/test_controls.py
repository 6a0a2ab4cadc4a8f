"""Keys and sticks drive the actions of any world: changes while they are held, targets from where the robot is."""

from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest
from bench import ABSOLUTE
from gymnasium.spaces import Box, Discrete

from gwm_sim.envs.commands.play import Hands, show
from gwm_sim.envs.controls import STEP, Controls
from gwm_sim.errors import ConfigError


class Bench(gym.Env[Any, Any]):
    """An environment of which only the actions matter."""

    def __init__(self, space: gym.Space[Any], names: tuple[str, ...] = (), schema: Any = None) -> None:
        self.action_space = space
        self.metadata = {"action_names": names}
        if schema is not None:
            self.world_model = SimpleNamespace(config=SimpleNamespace(control=schema))


def test_each_action_has_its_keys_and_more_than_keys_take_turns() -> None:
    names = (*(f"joint {i}" for i in range(11)), "gripper")
    controls = Controls(Bench(Box(-2.0, 1.0, (12,), np.float32), names))
    assert [axis.name for axis in controls.axes] == list(names[:9])
    action = controls.action({pygame.K_q, pygame.K_s})
    np.testing.assert_array_equal(action[:3], [1, -2, 0])
    controls.next_group()
    assert [axis.name for axis in controls.axes] == list(names[9:11])
    np.testing.assert_array_equal(controls.action({pygame.K_q})[9:], [1, 0, 0])
    assert controls.lines(action)[-1] == "tab          other actions, 2 of 2"
    for expected in (1, -2, 1):
        controls.switch()
        assert controls.action(set())[11] == expected
    controls.begin(None)
    assert not controls.action(set()).any()


def test_where_a_gripper_goes_is_no_switch() -> None:
    names = ("gripper_x", "gripper.pos", "left_gripper", "grip_cmd", "gripper_yaw", "joint")
    controls = Controls(Bench(Box(-1.0, 1.0, (6,), np.float32), names))
    assert [names[i] for i in controls.switched] == ["gripper.pos", "left_gripper", "grip_cmd"]


def test_targets_go_on_from_where_the_robot_is_and_stay_where_they_are_put() -> None:
    controls = Controls(Bench(Box(-2.0, 2.0, (6,), np.float32), ABSOLUTE.action_names, ABSOLUTE))
    where = np.array([0.5, -0.5, 1.99, 0, 0, 0], np.float32)
    controls.begin({"agent_pos": where})
    np.testing.assert_allclose(controls.action(set()), where)
    step = STEP * 4
    for held in range(1, 4):
        action = controls.action({pygame.K_q, pygame.K_e})
        np.testing.assert_allclose(action[:3], [0.5 + held * step, -0.5, 2.0], atol=1e-6)
    np.testing.assert_allclose(controls.action(set()), action)


def test_sticks_move_the_first_axes_and_rest_in_their_middle() -> None:
    controls = Controls(Bench(Box(-1.0, 1.0, (3,), np.float32)))
    np.testing.assert_allclose(controls.action(set(), [0.5, -1.0, -1.0, 0.1, 0.0, -1.0]), [0.5, -1.0, 0.0])
    np.testing.assert_allclose(controls.action({pygame.K_q}, [0.9, 0, 0, 0]), [1.0, 0, 0])


def test_actions_that_are_no_bounded_numbers_are_refused() -> None:
    for space in (Discrete(3), Box(-np.inf, np.inf, (2,)), Box(-1, 1, (2, 2))):
        with pytest.raises(ConfigError, match=r"keys drive bounded numbers in a row, Box\(n,\)"):
            Controls(Bench(space))


def test_the_window_shows_what_the_keys_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame.display.init()
    try:
        controls = Controls(Bench(Box(-1.0, 1.0, (3,), np.float32), ("dx", "dy", "gripper_cmd")))
        hands = Hands(controls)
        pygame.event.post(pygame.event.Event(pygame.JOYBUTTONDOWN, button=0))
        hands.listen()
        action = hands.action()
        np.testing.assert_array_equal(action, [0, 0, 1])
        lines = controls.lines(action)
        assert lines == ["q a          dx +0.00", "w s          dy +0.00", "space        gripper_cmd +1.00"]
        show(np.full((64, 64, 3), 99, np.uint8), "title", lines)
        pixels = pygame.surfarray.array3d(pygame.display.get_surface())
        assert pixels.shape[0] == 320 and pixels[:, 64:].max() > 200, "there is text"
    finally:
        pygame.quit()
