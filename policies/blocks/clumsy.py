"""Hands that do not follow the script: pressed on, half closed, let go little by little, unsteady, absent, misled.

A policy that is still learning does all of this. A model that has only seen clean grips believes whatever it likes of
the others: fingers that close through a cube, or carry it without touching it. Data are made of them by `handle` and
`build`, policies to be ranked by `disturbed_expert`.
"""

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.blocks.sight import grasped_by_sight
from gwm_sim.envs.blocks.spec import CUBE_SIZE, GRIPPER, GRIPPER_MAX, GRIPPER_SCALE
from gwm_sim.envs.blocks.tasks import TaskState
from gwm_sim.errors import ConfigError
from gwm_sim.policies.blocks import behaviours
from gwm_sim.policies.blocks.behaviours import Rng
from gwm_sim.policies.blocks.experts import EXPERTS, ScriptedPolicy, ScriptFactory
from gwm_sim.policies.blocks.motions import Bench, Script, hold, hover, lift, move
from gwm_sim.policies.policy import Actions, Observation, Policy, Starts, State
from gwm_sim.policies.tabletop.hands import clumsy, habitual
from gwm_sim.policies.tabletop.motions import aside


def handle(bench: Bench, rng: Rng) -> Script:
    """Take cubes, carry and stack them for ever, each time with other habits."""
    yield from hold(int(rng.integers(0, 5)))
    while True:
        pieces = WHILE_HOLDING if behaviours.grasped(bench) is not None else PIECES
        piece = pieces[rng.integers(len(pieces))]
        yield from habitual(piece(bench, rng), rng)
        yield from hold(1)


def build(bench: Bench, rng: Rng) -> Script:
    """Stack red on blue and take it down for ever, each time with another steadiness: of a tower that falls, the cube
    was let go of aside, too high, or turned."""
    yield from hold(int(rng.integers(0, 5)))
    while True:
        tremor = rng.uniform(0.0, 0.4)
        lapse = 0.0 if rng.random() < 0.6 else rng.uniform(0.05, 0.4)
        yield from clumsy(behaviours.stack_up(bench, rng), rng, False, 1.0, tremor, lapse)
        yield from hold(1)


def half_grip(bench: Bench, rng: Rng) -> Script:
    """Close around a cube to some opening, wider than the cube or hardly narrower, and go up."""
    index = behaviours.choose_cube(bench, rng)
    offset = aside(rng, 0.0, 0.012)
    if not (yield from hover(bench, index, offset=offset, speed=rng.uniform(0.5, 1.0))):
        return
    yield from move(bench, lambda: bench.centre(index) + offset, tolerance=0.008, limit=8)
    wanted, steps = rng.uniform(CUBE_SIZE - 0.004, GRIPPER_MAX - 0.005), int(rng.integers(1, 4))
    rate = (GRIPPER_MAX - wanted) / GRIPPER_SCALE / steps
    yield from hold(steps, min(rate, 1.0))
    yield from lift(bench, bench.command[2] + rng.uniform(0.03, 0.15), rng.uniform(0.3, 1.0))
    beside = bench.command + aside(rng, 0.0, 0.08)
    yield from move(bench, lambda: beside, tolerance=0.02, limit=6)
    yield from hold(int(rng.integers(1, 6)))


def slacken(bench: Bench, rng: Rng) -> Script:
    """Open a little while something is grasped, standing or moving."""
    yield from lift(bench, bench.command[2] + rng.uniform(0.0, 0.1))
    drift = rng.uniform(-0.5, 0.5, 3) * (rng.random() < 0.5)
    for _ in range(int(rng.integers(1, 6))):
        yield np.append(drift, rng.uniform(-0.4, 0.0))
    yield from hold(int(rng.integers(1, 6)))


PIECES: Final[tuple[ScriptFactory, ...]] = (
    *(behaviours.stack_up,) * 3,
    *(behaviours.pick_up,) * 3,
    *(half_grip,) * 2,
    behaviours.around,
    behaviours.near_miss,
)
WHILE_HOLDING: Final[tuple[ScriptFactory, ...]] = (
    *(behaviours.stack_up,) * 2,
    *(behaviours.pick_up,) * 2,
    slacken,
    behaviours.put_down,
    behaviours.failed_stack,
    behaviours.drop,
)


DISTURBANCES: Final = ("noise", "lapse", "offset", "press")
"""What can be wrong with an expert, see `gwm_sim.policies.registry`."""

NOISY: Final = np.array([1.0, 1.0, 1.0, 0.0])  # the movements alone: an unsteady gripper drops whatever it holds


def disturbed_expert(env: Any, seed: int = 0, offset: float = 0.0, **disturbances: float) -> Policy:
    """The expert of an environment's task, which tells by sight what it grasps, with what is wrong with it.

    Args:
        env: The environment it will act in, single or vector.
        seed: Of what it draws.
        offset: By how much it misjudges where the cubes are [m].
        disturbances: Arguments of `Clumsy`.

    Raises:
        ConfigError: There is no expert for the environment.
    """
    task = getattr(env.unwrapped, "task", None)
    if task not in EXPERTS or not hasattr(env.unwrapped, "task_state"):
        raise ConfigError(f"no expert for {env.spec.id if env.spec else env}: it is scripted for {', '.join(EXPERTS)}")
    policy = ScriptedPolicy(BySight(env, offset, seed), EXPERTS[task], f"scripted-{task}", seed)
    return Clumsy(policy, seed, **disturbances) if disturbances else policy


class Clumsy:
    """A policy with Gaussian noise on its movements, random ones in place of a share of them, or a pressing hand."""

    def __init__(self, policy: Policy, seed: int, noise: float = 0.0, lapse: float = 0.0, press: float = 0.0) -> None:
        self._policy, self._noise, self._lapse, self._press = policy, noise, lapse, bool(press)
        self._rate: NDArray[np.float32] = np.zeros((), np.float32)  # of the gripper, the last one that was not zero
        self._rng = np.random.default_rng([seed, 2])

    def predict(
        self, observation: Observation, state: State = None, episode_start: Starts = None, deterministic: bool = False
    ) -> tuple[Actions, State]:
        begins = state is None
        action, state = self._policy.predict(observation, state, episode_start, deterministic)
        if self._press:
            rate = action[..., GRIPPER]
            fresh = begins if episode_start is None else episode_start.reshape(rate.shape)
            self._rate = np.where(rate == 0, np.where(fresh, 0.0, self._rate), rate)
            action = np.concatenate([action[..., :GRIPPER], self._rate[..., None]], axis=-1)
        noisy = (action + self._noise * self._rng.normal(size=action.shape) * NOISY).clip(-1.0, 1.0)
        lapses = self._rng.random((*action.shape[:-1], 1)) < self._lapse
        return np.where(lapses, self._rng.uniform(-1.0, 1.0, action.shape), noisy).astype(np.float32), state


class BySight:
    """An environment as it looks: nobody feels a cube, grasps are told by sight, and cubes may be misjudged.

    A policy must be told the same in both worlds to be compared. The twin's fingers lose touch for a moment whenever a
    grasped cube is pressed on something; an expert that minds picks again, and a learned world knows nothing of it.
    """

    def __init__(self, env: Any, offset: float = 0.0, seed: int = 0) -> None:
        """Look at `env`; its cubes seem to be `offset` [m] aside, in a direction drawn once per row."""
        self.unwrapped = self
        self._env: Any = env.unwrapped
        self._opening: NDArray[np.float64] | None = None
        angle = np.random.default_rng([seed, 3]).uniform(0, 2 * np.pi, getattr(env, "num_envs", 1))
        self._shift = offset * np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=-1)

    def task_state(self) -> TaskState:
        """Where everything seems to be."""
        state: TaskState = self._env.task_state()
        before = state.gripper_opening if self._opening is None else self._opening
        self._opening = np.array(state.gripper_opening)
        grasped = grasped_by_sight(state.position, state.end_effector, state.gripper_opening, before)
        if self._shift.any():
            state = replace(state, position=state.position + self._shift.reshape(*state.position.shape[:-2], 1, 3))
        return replace(state, grasped=grasped)
