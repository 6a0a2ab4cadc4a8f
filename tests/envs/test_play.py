"""`gwm play` turns held keys into actions, and says what is missing where no window can be opened."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest

from gwm_sim.envs.blocks.spec import COMMAND
from gwm_sim.envs.commands.play import PlayConfig, make, play
from gwm_sim.envs.table.spec import TIME_LIMIT
from gwm_sim.errors import ConfigError

ROOT = Path(__file__).parents[2]
FAST = 1000.0  # frames per second, so that the tests do not wait

Keys = dict[int, list[tuple[int, int]]]


class Player(gym.Wrapper[Any, Any, Any, Any]):
    """Presses and releases keys at given steps, leaves at the last one, and remembers what happened."""

    def __init__(self, env: gym.Env[Any, Any], keys: Keys) -> None:
        super().__init__(env)
        self._keys = keys
        self.seeds: list[int | None] = []
        self.actions: list[Any] = []
        self.commands: list[Any] = []
        self.captions: list[str] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self.seeds.append(seed)
        self.commands.append(observation["agent_pos"][COMMAND])
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        for kind, key in self._keys.get(len(self.actions), []):
            pygame.event.post(pygame.event.Event(kind, key=key))
        self.captions.append(pygame.display.get_caption()[0])
        self.actions.append(action)
        result = self.env.step(action)
        self.commands.append(result[0]["agent_pos"][COMMAND])
        return result


@pytest.fixture
def twin() -> Iterator[gym.Env[Any, Any]]:
    env = gym.make("MuJoCo-BlockStack-v0", rendering="fast", render_mode="rgb_array", max_episode_steps=-1)
    yield env
    env.close()
    pygame.quit()


def test_held_keys_move_the_arm_until_released(twin: gym.Env[Any, Any]) -> None:
    down, up = pygame.KEYDOWN, pygame.KEYUP
    keys: Keys = {0: [(down, pygame.K_d), (down, pygame.K_f)], 3: [(up, pygame.K_d)], 5: [(down, pygame.K_ESCAPE)]}
    player = Player(twin, keys)
    play(player, seed=4, fps=FAST)
    assert player.seeds == [4]
    moved = np.array([[0, 0, 0, 0], [0, 1, -1, 0], [0, 1, -1, 0], [0, 1, -1, 0], [0, 0, -1, 0], [0, 0, -1, 0]])
    np.testing.assert_array_equal(player.actions, moved)
    displacement = player.commands[-1] - player.commands[0]
    np.testing.assert_allclose(displacement, [0, 3 * 0.03, -5 * 0.03], atol=1e-6)


def test_space_closes_and_opens_and_backspace_begins_anew(twin: gym.Env[Any, Any]) -> None:
    down = pygame.KEYDOWN
    keys: Keys = {
        0: [(down, pygame.K_SPACE)],
        2: [(down, pygame.K_SPACE)],
        4: [(down, pygame.K_BACKSPACE)],
        6: [(pygame.QUIT, 0)],
    }
    player = Player(twin, keys)
    play(player, seed=4, fps=FAST)
    assert [action[3] for action in player.actions] == [0, 1, 1, -1, -1, 0, 0]
    assert player.seeds == [4, 5]
    assert player.captions[1].startswith("MuJoCo-BlockStack-v0 | step 1 | reward 0.")
    assert player.captions[5].startswith("MuJoCo-BlockStack-v0 | step 0 | reward 0.00 | no success")


def test_drives_the_learned_world_past_its_time_limit(tiny_checkpoint: Path) -> None:
    env = make(PlayConfig(env="GWM-BlockReach-v0", model=str(tiny_checkpoint)))
    player = Player(env, {40: [(pygame.KEYDOWN, pygame.K_ESCAPE)]})
    try:
        play(player, fps=FAST)
    finally:
        env.close()
        pygame.quit()
    assert player.seeds == [0] and len(player.actions) == 41
    assert "uncertainty " in player.captions[-1]


def test_shows_whether_what_is_to_be_done_is_done(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text("def done(told, things): return told['ee_z'] * 0 + 0.25, told['ee_z'] > 9\n")
    env = make(PlayConfig("GWM-World-v0", str(tiny_checkpoint), task=f"{tmp_path / 'task.py'}:done"))
    player = Player(env, {2: [(pygame.KEYDOWN, pygame.K_ESCAPE)]})
    try:
        play(player, fps=FAST)
    finally:
        env.close()
        pygame.quit()
    assert "reward 0.25 | no success" in player.captions[-1]


def test_a_table_is_played_for_a_task_and_without_its_time_limit() -> None:
    env = make(PlayConfig("MuJoCo-Table-v0", task="drop"))
    try:
        _, info = env.reset(seed=0)
        assert info["task"] == "drop"
        assert not any(env.step(np.zeros(4, np.float32))[3] for _ in range(TIME_LIMIT["drop"] + 1))
    finally:
        env.close()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (PlayConfig("MuJoCo-Table-v0", goal=Path("goal.png")), "--task for MuJoCo-Table-v0"),
        (PlayConfig("MuJoCo-Table-v0", task="reach"), r"task must be one of \('grasp'"),
        (PlayConfig("GWM-BlockStack-v0", goal=Path("goal.png")), "--task and --goal are for GWM-World-v0"),
        (PlayConfig("GWM-World-v0", task="pour"), "gwm-mini knows no --task pour; the labels of its data are reach"),
        (PlayConfig("GWM-World-v0", goal=Path("nowhere.png")), "--goal nowhere.png cannot be read"),
        (PlayConfig("GWM-World-v0", task="stack", goal=Path("goal.png")), "give either --task or --goal"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(config: PlayConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(config)


@pytest.mark.parametrize(("env", "model"), [("NoSuchEnv-v0", None), ("MuJoCo-BlockStack-v0", "gwm-mini")])
def test_impossible_environments_are_refused(env: str, model: str | None) -> None:
    with pytest.raises(ConfigError, match=f"--env {env} cannot be made"):
        make(PlayConfig(env=env, model=model))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a window system")
def test_says_that_there_is_no_display() -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    }
    command = [sys.executable, "-m", "gwm_sim", "play"]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 2
    assert "neither DISPLAY nor WAYLAND_DISPLAY" in result.stderr and "Traceback" not in result.stderr
