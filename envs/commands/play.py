"""`gwm play`: drive any environment by keyboard or gamepad in a window, in real time.

`gymnasium.utils.play` maps each combination of keys to one action: for three axes and a gripper that keeps closing
that table is longer than the loop below. It also has no key to begin anew, shows no numbers, and selects Tk for plots.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import pygame

from gwm_sim.envs import WORLD_ID
from gwm_sim.envs.controls import Controls
from gwm_sim.envs.gl import has_display
from gwm_sim.envs.learned.tasks import world_options
from gwm_sim.envs.single_env import SingleEnv
from gwm_sim.envs.table.spec import TWIN_ID
from gwm_sim.errors import ConfigError, MissingDependency
from gwm_sim.model.world_model import WorldModel

HELP: Final = """\
space               close the gripper, open it
tab                 move other actions, where there are more than keys
backspace           begin anew
escape              leave
gamepad             sticks move the first four, its buttons are space, tab and backspace"""

RATE: Final = 10.0  # steps per second of an environment that does not say its own
SHIPPED: Final = "gwm-mini"  # the world model where none is named
LINE: Final = 18  # height of a line of text [px]
WIDTH: Final = 320  # least width of the window [px]


@dataclass(frozen=True)
class PlayConfig:
    """Drive an environment by keyboard or gamepad in a window."""

    env: str = "GWM-BlockStack-v0"
    """Environment, learned or physics twin."""
    model: str | None = None
    """Name or folder of a world model, for learned environments; by default the shipped one."""
    task: str | None = None
    """In GWM-World-v0, what is to be done: a label of the model's data, or a function FILE.py:NAME. In MuJoCo-Table-v0
    grasp, stack, push, tower or drop."""
    goal: Path | None = None
    """In GWM-World-v0, a picture of what is to be reached, instead of a task."""
    seed: int = 0
    """Seed of the first start; each new start uses the next one."""
    fps: float | None = None
    """Steps per second, by default those of the environment, which is real time."""


BUTTONS: Final = (pygame.K_SPACE, pygame.K_TAB, pygame.K_BACKSPACE)
"""Keys that the first buttons of a gamepad stand for."""


class Hands:
    """Held keys and sticks, and what was pressed."""

    def __init__(self, controls: Controls) -> None:
        """Move what the controls say."""
        self.controls = controls
        self.leave = False
        self._begin_anew = False
        self._held: set[int] = set()
        pygame.joystick.init()
        self._pads = [pygame.joystick.Joystick(i) for i in range(pygame.joystick.get_count())]

    def listen(self) -> None:
        """Take in what happened since the last call."""
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                self.leave = True
            elif event.type == pygame.KEYUP:
                self._held.discard(event.key)
            elif event.type == pygame.KEYDOWN:
                self._held.add(event.key)
                self._press(event.key)
            elif event.type == pygame.JOYBUTTONDOWN and event.button < len(BUTTONS):
                self._press(BUTTONS[event.button])

    def action(self) -> Any:
        """Action (A,) of the present moment."""
        pad = self._pads[0] if self._pads else None
        sticks = [] if pad is None else [pad.get_axis(i) for i in range(pad.get_numaxes())]
        return self.controls.action(self._held, sticks)

    def begin_anew(self) -> bool:
        """Whether a new start was asked for; asking forgets it."""
        asked, self._begin_anew = self._begin_anew, False
        return asked

    def _press(self, key: int) -> None:
        if key == pygame.K_ESCAPE:
            self.leave = True
        elif key == pygame.K_BACKSPACE:
            self._begin_anew = True
        elif key == pygame.K_SPACE:
            self.controls.switch()
        elif key == pygame.K_TAB:
            self.controls.next_group()


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
    asked = config.task is not None or config.goal is not None
    if config.task is not None and config.goal is not None:
        raise ConfigError("give either --task or --goal: what is to be done is one of them")
    world = config.env.rpartition(":")[2]
    if world in (WORLD_ID, TWIN_ID):
        model["time_limit"] = None
    if asked and world == WORLD_ID:
        name = config.model or SHIPPED
        model |= world_options(WorldModel.load(name), name, config.task, config.goal)
    elif world == TWIN_ID and config.task is not None:
        model["task"] = config.task
    elif asked:
        raise ConfigError(
            f"--task and --goal are for {WORLD_ID}, the world of a --model, and --task for {TWIN_ID}: "
            f"--env is {config.env}"
        )
    try:
        env: gym.Env[Any, Any] = gym.make(config.env, render_mode="rgb_array", max_episode_steps=-1, **model)
    except (gym.error.Error, TypeError, ValueError) as error:
        raise ConfigError(f"--env {config.env} cannot be made: {error}") from error
    return env


def play(env: gym.Env[Any, Any], seed: int = 0, fps: float | None = None) -> None:
    """Show `env` in a window and step it by hand, `fps` times a second, until the player leaves.

    Raises:
        ConfigError: Keys cannot drive its actions.
    """
    controls = Controls(env)
    pygame.display.init()
    hands, clock = Hands(controls), pygame.time.Clock()
    rate = fps or env.metadata.get("render_fps") or RATE
    goes_on = isinstance(env.unwrapped, SingleEnv)  # also after a success
    episodes, step, reward, ended = 0, 0, 0.0, True
    info: dict[str, Any] = {}
    while not hands.leave:
        if hands.begin_anew() or ended:
            observation, info = env.reset(seed=seed + episodes)
            controls.begin(observation)
            action = controls.held
            episodes, step, reward, ended = episodes + 1, 0, 0.0, False
        else:
            action = hands.action()
            _, received, terminated, truncated, info = env.step(action)
            ended = truncated or (terminated and not goes_on)
            step, reward = step + 1, float(received)
        show(env.render(), caption(env, step, reward, info), controls.lines(action))
        clock.tick(rate)
        hands.listen()


def show(frame: Any, title: str, lines: Sequence[str] = ()) -> None:
    """Put a frame (H, W, 3) into the window, and lines of text under it."""
    picture = pygame.surfarray.make_surface(frame.swapaxes(0, 1))
    size = max(WIDTH, picture.get_width()), picture.get_height() + LINE * (len(lines) + bool(lines))
    window = pygame.display.get_surface()
    if window is None or window.get_size() != size:
        window = pygame.display.set_mode(size)
    window.fill("black")
    window.blit(picture, ((size[0] - picture.get_width()) // 2, 0))
    pygame.font.init()  # which does nothing the second time
    font = pygame.font.Font(None, LINE)
    for number, line in enumerate(lines):
        window.blit(font.render(line, True, "white"), (LINE / 2, picture.get_height() + LINE * (number + 0.5)))
    pygame.display.set_caption(title)
    pygame.display.flip()


def caption(env: gym.Env[Any, Any], step: int, reward: float, info: dict[str, Any]) -> str:
    """Title of the window: what the world says about this moment."""
    name = env.spec.id if env.spec else type(env.unwrapped).__name__
    parts = [name, f"step {step}", f"reward {reward:.2f}", "success" if info.get("success") else "no success"]
    if "gwm/uncertainty" in info:
        parts.append(f"uncertainty {info['gwm/uncertainty']:.2f}")
    return " | ".join(parts)
