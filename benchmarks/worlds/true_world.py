"""A world that is not ours as an environment, though it lives in another process and has packages of its own."""

import base64
import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.schema import Schema
from gwm_sim.envs.spaces import Observation, image_key
from worlds.rows import HERE, environment


class TrueWorld(gym.Env[Observation, Array]):
    """Starts where a recorded episode was at some moment, and wants to be where it was later.

    `info["success"]` is the world's own rule. The episode is the seed's; where it starts and what it wants is asked for
    by the options `first` and `goal`, moments of it. Without the latter it wants what it was told by `aim`.
    """

    goal: Observation
    """What is seen and reported at the goal, as in observations."""
    displaced: dict[str, float]
    """How far things are from start to goal, in the world's own units."""
    counts: bool
    """Whether that is far enough, by the published protocol."""

    def __init__(self, world: str, schema: Schema, camera: str, venvs: Path) -> None:
        """Start the process of a world, a row of `own_worlds.py`, whose recordings have a schema."""
        self._schema, self._camera = schema, camera
        low, high = (np.array(side, np.float32) for side in (schema.action_low, schema.action_high))
        self.action_space: gym.spaces.Box = gym.spaces.Box(low, high)
        self._episode: tuple[int, int | None] | None = None
        self._process = subprocess.Popen(
            [environment(venvs, world), HERE / "act.py", world],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={"MUJOCO_GL": "egl", "PYTHONWARNINGS": "ignore", **os.environ},
        )

    def play(self, seed: int, most: int | None = None) -> int:
        """Act an episode out, up to so many moments, if that is not the last one; return how many it has."""
        if (seed, most) != self._episode:
            self._moments, self._episode = int(self._ask("play", seed=seed, most=most)["moments"]), (seed, most)
        return self._moments

    def aim(self, seed: int, goal: int) -> None:
        """Want to be where the episode of a seed was at a moment, whatever episode comes next."""
        self.play(seed)
        self.goal = self._seen(self._ask("aim", goal=goal))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Go to a moment of the episode of a seed."""
        assert seed is not None and options is not None
        if "goal" in options:
            self.aim(seed, options["goal"])
        else:
            self.play(seed, options["first"] + 1)
        told = self._ask("begin", first=options["first"])
        self.displaced, self.counts = told["displaced"], told["counts"]
        return self._seen(told), {"success": told["reached"]}

    def step(self, action: Array) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act for a step."""
        told = self._ask("step", action=np.asarray(action, np.float64).tolist())
        return self._seen(told), float(told["reached"]), False, False, {"success": told["reached"]}

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, do: str, **words: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": do, **words}) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process of the true world ended with {self._process.wait()}")
        return json.loads(answer)

    def _seen(self, told: dict[str, Any]) -> Observation:
        frame = np.frombuffer(base64.b64decode(told["frame"]), np.uint8).reshape(told["shape"])
        telemetry = np.array(told["telemetry"], np.float32)
        assert len(telemetry) == len(self._schema.telemetry_names)
        return {image_key(self._camera): frame, "agent_pos": telemetry}
