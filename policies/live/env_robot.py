"""Any environment as a robot with a camera: rehearse in a simulator of your own before hardware moves.

    gwm run --model my-world --camera robot --goal goal.png --robot gym --robot_options env=my_package:MyEnv-v0 --move

The environment observes a Dict as those of this package do, pictures and `agent_pos`; its actions are those of the
model's data. The loop cannot tell it from hardware: the camera looks at its own rate, and time goes on while it plans.
"""

from threading import Event
from typing import Any, Final

import gymnasium as gym
import numpy as np

from gwm_sim.envs.spaces import image_key
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.policies.live.camera import Picture, check_picture
from gwm_sim.policies.live.robots import SimulatedRobot
from gwm_sim.policies.live.timing import Clock, Schedule
from gwm_sim.protocol import FIRST_EVALUATION_SEED

LOOKS: Final = 2  # pictures that the camera takes in a control period
NOISE: Final = 0.5  # of a simulated camera, standard deviation [grey levels]: no real sensor gives a picture twice


class EnvRobot(SimulatedRobot):
    """A single environment. Time passes with every action by one control period, and stands still once it is over."""

    def __init__(
        self,
        env: gym.Env[Any, Any],
        world: WorldModelConfig,
        seed: int = FIRST_EVALUATION_SEED,
        options: dict[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Reset an environment.

        Args:
            env: Observes the model's main camera and `agent_pos`, in the order of the model's telemetry.
            world: The model that will drive it.
            seed: Of the reset.
            options: Of the reset.
            clock: Of the loop.

        Raises:
            ValueError: It observes or does something else.
        """
        super().__init__(world.schema.telemetry_names, world.schema.action_names)
        self.steps = 0
        """Control periods that have passed."""
        self.succeeded_at: int | None = None
        """Steps until the environment first said that it was successful."""
        self._env, self._key, self._over = env, image_key(world.camera), False
        self._seen, _ = env.reset(seed=seed, options=options)
        given = sorted(self._seen) if isinstance(self._seen, dict) else type(self._seen).__name__
        if not isinstance(self._seen, dict) or not {self._key, "agent_pos"} <= self._seen.keys():
            raise ValueError(f"the environment must observe a Dict with {self._key!r} and 'agent_pos', not {given}")
        widths = np.shape(self._seen["agent_pos"]), env.action_space.shape
        needed = (len(world.schema.telemetry_names),), (len(world.schema.action_names),)
        if widths != needed:
            raise ValueError(f"the environment's agent_pos and actions have the shapes {widths}, the model's {needed}")
        self.camera = EnvCamera(self, LOOKS * world.schema.rate, seed, Clock() if clock is None else clock)

    def get_observation(self) -> dict[str, float]:
        return dict(zip(self.observation_features, np.asarray(self._seen["agent_pos"]).tolist(), strict=True))

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        space: Any = self._env.action_space
        values = np.clip(np.array([action[name] for name in self.action_features], np.float32), space.low, space.high)
        if not self._over:
            self._seen, _, terminated, truncated, info = self._env.step(values)
            self.steps, self._over = self.steps + 1, bool(terminated or truncated)
            if self.succeeded_at is None and info.get("success", info.get("is_success", False)):
                self.succeeded_at = self.steps
        return dict(zip(self.action_features, values.tolist(), strict=True))

    def disconnect(self) -> None:
        super().disconnect()
        self._env.close()

    @property
    def succeeded(self) -> bool:
        """Whether the environment has said at any step that it was successful."""
        return self.succeeded_at is not None

    @property
    def picture(self) -> Picture:
        """What is seen now, (H, W, 3); may be asked for from any thread."""
        return check_picture(self._seen[self._key])


class EnvCamera:
    """Looks at an environment at its own rate, with a little noise; a `FrameSource`."""

    def __init__(self, robot: EnvRobot, rate: float, seed: int, clock: Clock) -> None:
        self._robot, self._clock = robot, clock
        self._rng = np.random.default_rng(seed)
        self._schedule = Schedule(rate, clock.now())
        self._never = Event()

    def read(self) -> Picture:
        """Wait for the next picture."""
        self._clock.wait(self._never, self._schedule.next - self._clock.now())
        self._schedule.advance(self._clock.now())
        return noisy(self._robot.picture, self._rng)


def noisy(picture: Picture, rng: np.random.Generator) -> Picture:
    """A picture as a sensor gives it."""
    return np.asarray((picture + rng.normal(0.0, NOISE, picture.shape)).round().clip(0, 255), np.uint8)


def make(world: WorldModelConfig, env: str, seed: str = str(FIRST_EVALUATION_SEED)) -> EnvRobot:
    """Make the robot `gym` of an environment by its id, such as my_package:MyEnv-v0, without its time limit.

    Raises:
        ValueError: There is no such environment, it does not fit, or the seed is no number.
    """
    try:
        made = gym.make(env, max_episode_steps=-1)
    except gym.error.Error as error:
        raise ValueError(str(error)) from error
    return EnvRobot(made, world, int(seed))
