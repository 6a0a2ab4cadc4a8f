"""How fast served worlds are, beside the native vector environment on the same cores and in the same run.

python benchmarks/serving.py --json benchmarks/results/serving.json

`gwm serve` runs in a process of its own; it and everything else here share the first `--cores` cores. Every system
takes its turn in every round, and a rate is the median of its rounds. `native` is the vector environment with frames,
rewards and info; `asyncio` are as many sessions of one client, each of which asks for its next step with raw frames
over one socket as soon as it has the last; `remote` is `GWM-Remote-v0` in vector form, whose rows step in one request.
The times of one player are those from a request to its picture: over a socket, in the remote environment and in the
native one.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import urlsplit

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command `gwm` does, before torch is imported

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from program import circumstances, launch
from websockets.asyncio.client import ClientConnection, connect

from gwm_sim.envs.remote.wire import array, unpack
from gwm_sim.errors import ConfigError
from gwm_sim.files import write_json
from gwm_sim.progress import Show, progress
from gwm_sim.protocol import FIRST_EVALUATION_SEED

ROOT: Final = Path(__file__).parents[1]
PICTURE: Final = "pixels"
WARM_UP: Final = 10  # steps before a clock starts


@dataclass(frozen=True)
class ServingConfig:
    """Measure throughput and latency of served worlds."""

    model: str = "gwm-mini"
    """Name of a shipped model, or the folder of one."""
    sessions: int = 16
    """Sessions, and rows of the vector environments."""
    cores: int = 2
    """Cores that client and server share."""
    rounds: int = 5
    """Turns of each system."""
    seconds: float = 3.0
    """Length of a turn [s]."""
    presses: int = 200
    """Steps of one player in each round, for the latency."""
    seed: int = FIRST_EVALUATION_SEED
    """Seed of starts and actions."""
    json: Path | None = None
    """Write the numbers here."""

    def __post_init__(self) -> None:
        for name in ("sessions", "cores", "rounds", "presses"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name} must be at least 1, got {getattr(self, name)}")


@contextmanager
def serving(config: ServingConfig) -> Iterator[str]:
    """A server in a process of its own, by the URL that it prints."""
    words = ["serve", "--port", "0", "--until-eof", "--model", config.model]
    program = [sys.executable, "-m", "gwm_sim", *words, "--sessions", str(2 * config.sessions + 2)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(program, stdin=pipe, stdout=pipe, cwd=ROOT, text=True, encoding="utf-8")
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate()


class Player:
    """Sessions of one client over one socket."""

    def __init__(self, socket: ClientConnection, actions: NDArray[np.float32]) -> None:
        """Talk over a socket; actions (N, A) are taken in turns."""
        self._socket, self._actions = socket, actions
        self._answers: dict[int, asyncio.Future[tuple[dict[str, Any], memoryview]]] = {}
        self._asked = 0
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            assert isinstance(message, bytes)
            header, tail = unpack(message)
            self._answers.pop(header["id"]).set_result((header, tail))

    async def ask(self, **asked: Any) -> tuple[dict[str, Any], memoryview]:
        """Ask, and wait for the answer."""
        self._asked += 1
        answer = self._answers[self._asked] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({**asked, "id": self._asked}))
        return await answer

    async def step(self, session: str, number: int) -> NDArray[Any]:
        """Step a session, and return its picture."""
        action = self._actions[number % len(self._actions)].tolist()
        header, tail = await self.ask(op="step", session=session, action=action, pictures="raw")
        picture: NDArray[Any] = array(header["moments"][0][0]["pictures"][PICTURE], tail)
        return picture

    async def close(self) -> None:
        """Stop listening."""
        self._reader.cancel()


@asynccontextmanager
async def talk(url: str, actions: NDArray[np.float32]) -> AsyncIterator[Player]:
    """A socket to a server."""
    parts = urlsplit(url)
    words: Any = ["gwm.v1", "gwm.token." + parts.fragment.removeprefix("token=")]
    options: dict[str, Any] = {"subprotocols": words, "proxy": None, "compression": None, "max_size": 2**26}
    async with connect(f"ws://{parts.netloc}/v1/socket", **options) as socket:
        player = Player(socket, actions)
        yield player
        await player.close()


async def stepped_by_asyncio(url: str, config: ServingConfig, actions: NDArray[np.float32]) -> float:
    """Steps per second of sessions that each ask as soon as they can."""
    async with talk(url, actions) as player:
        made, _ = await player.ask(op="create", count=config.sessions, seed=config.seed)
        names = [session["session"] for session in made["sessions"]]
        done = 0
        clock = asyncio.get_running_loop().time
        begun = until = 0.0

        async def go_on(name: str, place: int) -> None:
            nonlocal done
            number = place
            while clock() < until:
                await player.step(name, number)
                number, done = number + config.sessions, done + 1

        for seconds in (config.seconds / 4, config.seconds):  # the first of them warms up
            done, begun = 0, clock()
            until = begun + seconds
            await asyncio.gather(*(go_on(name, place) for place, name in enumerate(names)))
        rate = done / (clock() - begun)
        for name in names:
            await player.ask(op="close", session=name)
        return rate


async def pressed(url: str, config: ServingConfig, actions: NDArray[np.float32]) -> list[float]:
    """Times [s] from requests to their pictures, of one session."""
    async with talk(url, actions) as player:
        made, _ = await player.ask(op="create", seed=config.seed)
        name = made["sessions"][0]["session"]
        times = []
        for number in range(WARM_UP + config.presses):
            begun = time.perf_counter()
            await player.step(name, number)
            times.append(time.perf_counter() - begun)
        await player.ask(op="close", session=name)
        return times[WARM_UP:]


def stepped(envs: Any, config: ServingConfig, actions: NDArray[np.float32]) -> float:
    """Steps per second of a vector environment."""
    envs.reset(seed=config.seed)
    blocks = actions[: len(actions) // config.sessions * config.sessions].reshape(-1, config.sessions, actions.shape[1])
    for block in blocks[:WARM_UP]:
        envs.step(block)
    done, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < config.seconds:
        envs.step(blocks[done % len(blocks)])
        done += 1
    return done * config.sessions / (time.perf_counter() - begun)


def pressed_in(env: Any, config: ServingConfig, actions: NDArray[np.float32]) -> list[float]:
    """Times [s] of the steps of one environment."""
    env.reset(seed=config.seed)
    times = []
    for number in range(WARM_UP + config.presses):
        begun = time.perf_counter()
        env.step(actions[number % len(actions)])
        times.append(time.perf_counter() - begun)
    return times[WARM_UP:]


def measure(config: ServingConfig, show: Show) -> dict[str, Any]:
    """Take turns, and report."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: config.cores])  # children inherit it
    many: dict[str, Any] = {"num_envs": config.sessions, "autoreset_mode": AutoresetMode.DISABLED}
    with serving(config) as url:
        native: Any = gym.make_vec("GWM-World-v0", model=config.model, time_limit=None, **many)
        alone = gym.make("GWM-World-v0", model=config.model, time_limit=None).unwrapped
        remote: Any = gym.make_vec("GWM-Remote-v0", url=url, time_limit=None, **many)
        remote_alone = gym.make("GWM-Remote-v0", url=url, time_limit=None).unwrapped
        space = alone.action_space
        space.seed(config.seed)
        actions = np.stack([space.sample() for _ in range(64 * config.sessions)])
        rates: dict[str, Callable[[], float]] = {
            "native": lambda: stepped(native, config, actions),
            "asyncio": lambda: asyncio.run(stepped_by_asyncio(url, config, actions)),
            "remote": lambda: stepped(remote, config, actions),
        }
        times: dict[str, Callable[[], list[float]]] = {
            "native": lambda: pressed_in(alone, config, actions),
            "socket": lambda: asyncio.run(pressed(url, config, actions)),
            "remote": lambda: pressed_in(remote_alone, config, actions),
        }
        found: dict[str, list[float]] = {name: [] for name in rates}
        waited: dict[str, list[float]] = {name: [] for name in times}
        for turn in range(config.rounds):
            for name, rate in rates.items():
                found[name].append(rate())
            for name, wait in times.items():
                waited[name] += wait()
            show((turn + 1) / config.rounds, f"round {turn + 1}")
        for env in (native, alone, remote, remote_alone):
            env.close()
    return report(config, native.world_model.digest(), found, waited)


def report(
    config: ServingConfig, digest: str, found: dict[str, list[float]], waited: dict[str, list[float]]
) -> dict[str, Any]:
    """The numbers as JSON can hold them."""
    rates = {name: median(turns) for name, turns in found.items()}
    return {
        **circumstances(),
        "model_hash": digest,
        "sessions": config.sessions,
        "cores": config.cores,
        "seed": config.seed,
        "steps_per_second": rates,
        "steps_per_second_of_rounds": found,
        "over_native": {name: rates[name] / rates["native"] for name in ("asyncio", "remote")},
        "one_player_ms": {
            name: {f"p{share}": float(np.percentile(times, share) * 1e3) for share in (50, 95, 99)}
            for name, times in waited.items()
        },
        "presses": config.presses * config.rounds,
    }


def summary(told: dict[str, Any]) -> Iterator[str]:
    """The report in lines for people."""
    for name, rate in told["steps_per_second"].items():
        share = told["over_native"].get(name, 1.0)
        yield f"{name}: {rate:,.0f} steps/s with frames in {told['sessions']} rows or sessions, {share:.0%} of native"
    for name, times in told["one_player_ms"].items():
        yield f"{name}, one player: {times['p50']:.1f} ms, 95th percentile {times['p95']:.1f} ms"


def main(config: ServingConfig) -> None:
    """Measure, print and write."""
    with progress("serving") as show:
        told = measure(config, show)
    print("\n".join(summary(told)))
    if config.json is not None:
        write_json(config.json, told)


if __name__ == "__main__":
    launch(main, ServingConfig)
