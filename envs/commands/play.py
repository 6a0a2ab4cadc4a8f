"""`gwm play`: drive any block environment by keyboard in a window, in real time.

`gymnasium.utils.play` maps each combination of keys to one action: for three axes and a gripper that keeps closing
that table is longer than the loop below. It also has no key to begin anew, shows no numbers, and selects Tk for plots.
"""

import os
import sys
from dataclasses import dataclass
from typing import Any, Final

import gymnasium as gym
import numpy as np
import pygame
from numpy.typing import NDArray

from gwm_sim.envs import WORLD_ID
from gwm_sim.envs.blocks import spec
from gwm_sim.envs.gl import has_display
from gwm_sim.errors import ConfigError, MissingDependency

# Directions as the front camera sees them: it looks at the robot, so its right is +y and away from it is -x.
DIRECTIONS: Final = {
    (0, -1): (pygame.K_UP, pygame.K_w),
    (0, +1): (pygame.K_DOWN, pygame.K_s),
    (1, -1): (pygame.K_LEFT, pygame.K_a),
    (1, +1): (pygame.K_RIGHT, pygame.K_d),
    (2, +1): (pygame.K_PAGEUP, pygame.K_r),
    (2, -1): (pygame.K_PAGEDOWN, pygame.K_f),
}
GRIPPER: Final = 3

HELP: Final = """\
arrows or W A S D   move away from the camera, left, towards it, right
R F or page keys    move up, down
space               close the gripper, open it
backspace           begin anew
escape              leave"""


@dataclass(frozen=True)
class PlayConfig:
    """Drive an environment by keyboard in a window."""

    env: str = "GWM-BlockStack-v0"
    """Environment, learned or physics twin."""
    model: str | None = None
    """Name or folder of a world model, for learned environments; by default the shipped one."""
    seed: int = 0
    """Seed of the first start; each new start uses the next one."""
    fps: float = spec.CONTROL_RATE
    """Steps per second; the control rate is real time."""


class Keyboard:
    """Held keys, and what they ask for."""

    def __init__(self) -> None:
        self.leave = False
        self._begin_anew = False
        self._held: set[int] = set()
        self._gripper = 0.0

    def listen(self) -> None:
        """Take in what happened since the last call."""
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                self.leave = True
            elif event.type == pygame.KEYUP:
                self._held.discard(event.key)
            elif event.type == pygame.KEYDOWN:
                self._press(event.key)

    def action(self) -> NDArray[np.float32]:
        """Action (4,) of the present moment."""
        action = np.zeros(4, np.float32)
        for (axis, sign), keys in DIRECTIONS.items():
            action[axis] += sign * bool(self._held.intersection(keys))
        action[GRIPPER] = self._gripper
        return action

    def begin_anew(self) -> bool:
        """Whether a new start was asked for; asking forgets it, and the gripper."""
        asked, self._begin_anew = self._begin_anew, False
        if asked:
            self._gripper = 0.0
        return asked

    def _press(self, key: int) -> None:
        self._held.add(key)
        if key == pygame.K_ESCAPE:
            self.leave = True
        elif key == pygame.K_BACKSPACE:
            self._begin_anew = True
        elif key == pygame.K_SPACE:
            self._gripper = -1.0 if self._gripper > 0 else 1.0


def main(config: PlayConfig) -> int:
    """Run `gwm play`."""
    require_display()
    env = make(config)
    try:
        print(HELP)
        play(env, config.seed, config.fps)
    finally:
        env.close()
        pygame.quit()
    return 0


def require_display() -> None:
    """Raise MissingDependency where no window can be opened."""
    if sys.platform == "linux" and not has_display() and "SDL_VIDEODRIVER" not in os.environ:
        raise MissingDependency(
            "`gwm play` opens a window, and there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set. "
            "Run it on a desktop or through `ssh -X`; `gwm demo` writes films without one."
        )


def make(config: PlayConfig) -> gym.Env[Any, Any]:
    """Make the environment without its time limit: the player decides when to begin anew."""
    model: dict[str, Any] = {} if config.model is None else {"model": config.model}
    if config.env.rpartition(":")[2] == WORLD_ID:
        model["time_limit"] = None
    try:
        env: gym.Env[Any, Any] = gym.make(config.env, render_mode="rgb_array", max_episode_steps=-1, **model)
    except (gym.error.Error, TypeError, ValueError) as error:
        raise ConfigError(f"--env {config.env} cannot be made: {error}") from error
    if env.action_space.shape != (len(spec.ACTION_NAMES),):
        raise ConfigError(f"--env {config.env} has actions {env.action_space}; the keys drive {spec.ACTION_NAMES}")
    return env


def play(env: gym.Env[Any, Any], seed: int = 0, fps: float = spec.CONTROL_RATE) -> None:
    """Show `env` in a window and step it by keyboard, `fps` times a second, until the player leaves."""
    pygame.display.init()
    keyboard, clock = Keyboard(), pygame.time.Clock()
    episodes, step, reward, ended = 0, 0, 0.0, True
    info: dict[str, Any] = {}
    while not keyboard.leave:
        if keyboard.begin_anew() or ended:
            _, info = env.reset(seed=seed + episodes)
            episodes, step, reward, ended = episodes + 1, 0, 0.0, False
        else:
            _, received, _, ended, info = env.step(keyboard.action())
            step, reward = step + 1, float(received)
        show(env.render(), caption(env, step, reward, info))
        clock.tick(fps)
        keyboard.listen()


def show(frame: Any, title: str) -> None:
    """Put a frame (H, W, 3) into the window."""
    surface = pygame.surfarray.make_surface(frame.swapaxes(0, 1))
    window = pygame.display.get_surface() or pygame.display.set_mode(surface.get_size())
    window.blit(surface, (0, 0))
    pygame.display.set_caption(title)
    pygame.display.flip()


def caption(env: gym.Env[Any, Any], step: int, reward: float, info: dict[str, Any]) -> str:
    """Title of the window: what the world says about this moment."""
    name = env.spec.id if env.spec else type(env.unwrapped).__name__
    parts = [name, f"step {step}", f"reward {reward:.2f}", "success" if info["success"] else "no success"]
    if "gwm/uncertainty" in info:
        parts.append(f"uncertainty {info['gwm/uncertainty']:.2f}")
    return " | ".join(parts)
