"""What `throughput.py` clocks: environments, worlds in a model, matrix products, and twins in worker processes."""

import time
from typing import Any, Final, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from gwm_sim.envs.blocks.spec import env_id
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel

Array = NDArray[Any]

TASK: Final = "stack"
LEAST_STEPS: Final = 3  # of a turn, however long they take


class Subject(Protocol):
    """Something with `rows` worlds that can be advanced again and again."""

    rows: int

    def prepare(self) -> None:
        """Do what a step needs and what does not count."""

    def advance(self) -> None:
        """Take one step in every row and wait until it is done."""


class Environments:
    """A single or a vector environment, under random actions."""

    def __init__(self, env: Any, rows: int, seed: int) -> None:
        self.rows = rows
        self.env = env
        self._rng = np.random.default_rng(seed)
        self._finished = False
        env.reset(seed=seed)

    def prepare(self) -> None:
        if self._finished:
            self.env.reset()
        self._actions = self._rng.uniform(-1, 1, self.env.action_space.shape).astype(np.float32)

    def advance(self) -> None:
        _, _, _, truncated, _ = self.env.step(self._actions)
        self._finished = bool(np.all(truncated))


class Worlds:
    """Worlds in a model, under random actions, with the latents of their pictures or without."""

    def __init__(self, model: WorldModel, state: WorldState, seed: int, draw: bool) -> None:
        self.rows = len(state)
        self._draw = draw
        self._model = model
        self._state = state
        self._shape = (len(state), model.config.dynamics.actions)
        self._generator = torch.Generator().manual_seed(seed)

    def prepare(self) -> None:
        self._actions = 2 * torch.rand(self._shape, generator=self._generator) - 1

    def advance(self) -> None:
        self._state = self._model.step_(self._state, self._actions, draw=self._draw)
        if self._model.device.type == "cuda":
            torch.cuda.synchronize(self._model.device)


class Product:
    """A square matrix product, whose rate is what the machine can do."""

    rows = 1

    def __init__(self, dtype: torch.dtype, device: torch.device, size: int) -> None:
        self.flops = 2 * size**3
        self._factor: Tensor = torch.randn(size, size, generator=torch.Generator().manual_seed(0)).to(device, dtype)

    def prepare(self) -> None:
        pass

    def advance(self) -> None:
        torch.mm(self._factor, self._factor)
        if self._factor.is_cuda:
            torch.cuda.synchronize(self._factor.device)


def clock(subject: Subject, seconds: float, least: int = LEAST_STEPS) -> Array:
    """Durations [s] of as many steps as fit into `seconds`, but of `least` at least."""
    durations: list[float] = []
    end = time.perf_counter() + seconds
    while len(durations) < least or time.perf_counter() < end:
        subject.prepare()
        start = time.perf_counter()
        subject.advance()
        durations.append(time.perf_counter() - start)
    return np.array(durations)


def rate(subject: Subject, seconds: float) -> float:
    """Env-steps per second."""
    return float(subject.rows / clock(subject, seconds).mean())


def count_flops(subject: Subject) -> int:
    """Floating-point operations of one step's matrix products and convolutions.

    An operation that torch has no formula for counts nothing, so that a share of the machine's rate is a lower bound.
    """
    subject.prepare()
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        subject.advance()
    return int(counter.get_total_flops())


class TwinJob(NamedTuple):
    """A turn of the twin in one worker process."""

    rendering: str
    rows: int
    seconds: float


class TwinWorker:
    """Lives in a worker process and steps twins there; each is made for its first turn."""

    def __init__(self, size: int, cameras: tuple[str, ...], seed: int) -> None:
        self._options = {"size": size, "cameras": cameras}
        self._seed = seed
        self._subjects: dict[tuple[str, int], Environments] = {}

    def rate(self, job: TwinJob) -> float:
        """Return env-steps per second."""
        key = job.rendering, job.rows
        if key not in self._subjects:
            self._subjects[key] = Environments(self._make(*key), job.rows, self._seed)
        return rate(self._subjects[key], job.seconds)

    def _make(self, rendering: str, rows: int) -> Any:
        name = env_id("twin", TASK)
        options: dict[str, Any] = {"rendering": rendering, **self._options}
        if rows == 1:
            return gym.make(name, **options)
        return gym.make_vec(name, num_envs=rows, autoreset_mode=AutoresetMode.DISABLED, **options)
