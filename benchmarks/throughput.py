"""How fast the learned world is, beside the physics twin on the same machine and in the same run.

python benchmarks/throughput.py --beside gwm-preview --json benchmarks/results/throughput.json

Every system takes its turn in every round, so that what else the machine does falls on all of them, and a rate is the
median of its rounds. Then one step of the models is measured with one, two and the chosen threads (`threads.py`).
The learned world runs in one process with the threads that it chooses: `decoded` is the vector environment
with frames, rewards and info, `latent` is `WorldModel.step_` alone, with the latents of every picture, `unwatched` the
same without pictures, as policies on readings and planners use it. The twin runs in two worker
processes at once, each with one environment or with a native vector environment; the faster of the two forms counts.
Actions are drawn and finished episodes are reset while the clock stands still.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command `gwm` does, before torch is imported

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from program import circumstances, launch
from subjects import (
    LEAST_STEPS,
    TASK,
    Environments,
    Product,
    Subject,
    TwinJob,
    TwinWorker,
    Worlds,
    clock,
    count_flops,
    rate,
)
from threads import LEAST_BLOCKS, ThreadsConfig
from threads import measure as measure_threads
from threads import summary as threads_summary

from gwm_sim.envs.blocks.spec import env_id
from gwm_sim.errors import ConfigError
from gwm_sim.files import write_json
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.worker_pool import WorkerPool
from gwm_sim.progress import Show, progress
from gwm_sim.protocol import FIRST_EVALUATION_SEED

Array = NDArray[Any]

KINDS: Final = ("unwatched", "latent", "decoded")
RENDERINGS: Final = ("fast", "rich")
TWIN_PROCESSES: Final = 2
DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MATRIX_SIZE: Final = {"cpu": 1024, "cuda": 8192}  # of the products that say what the machine can do
BESIDE_ROWS: Final = 16


@dataclass(frozen=True)
class ThroughputConfig:
    """Measure latency and throughput of the learned world and of the physics twin."""

    model: str = "gwm-mini"
    """Name of a shipped model, or the folder of one."""
    beside: tuple[str, ...] = ()
    """Further models, of which environments with frames take their turns in the same rounds, on the CPU."""
    batches: tuple[int, ...] = (1, 16, 64, 256)
    """Rows of the learned world."""
    twin_rows: tuple[int, ...] = (1, 16)
    """Rows of the twin in each worker process: one environment, or a native vector environment."""
    steps: int = 1000
    """Steps of the single environment, for the latency."""
    rounds: int = 5
    """Turns of each system."""
    seconds: float = 1.0
    """Length of a turn [s]."""
    seed: int = FIRST_EVALUATION_SEED
    """Seed of starts and actions."""
    thread_rows: tuple[int, ...] = ThreadsConfig.rows
    """Rows of the learned world where threads are compared."""
    quick: bool = False
    """Take a few steps only, to see that everything runs; the numbers mean little."""
    json: Path | None = None
    """Write the numbers here, and a plot beside it."""

    def __post_init__(self) -> None:
        for name, rows in (("--batches", self.batches), ("--twin-rows", self.twin_rows)):
            if not rows or min(rows) < 1:
                raise ConfigError(f"{name} must be numbers from 1, got {rows}")
        if self.rounds < 1 or self.steps < self.rounds:
            raise ConfigError(
                f"--rounds must be at least 1 and --steps at least as many, got {self.rounds} and {self.steps}"
            )


# --- the learned world ------------------------------------------------------------------------------------------------


class Learned:
    """Everything of the learned world on one device."""

    def __init__(self, config: ThroughputConfig, device: str) -> None:
        """Make and warm up the environments."""
        options: dict[str, Any] = {"model": config.model, "device": device}
        name = env_id("learned", TASK)
        self.single = Environments(gym.make(name, max_episode_steps=-1, **options), 1, config.seed)  # reset but once
        self.model: WorldModel = self.single.env.unwrapped.world_model
        size = MATRIX_SIZE[self.model.device.type] // (8 if config.quick else 1)
        self.products = {key: Product(dtype, self.model.device, size) for key, dtype in DTYPES.items()}
        self.worlds: dict[str, dict[int, Worlds | Environments]] = {kind: {} for kind in KINDS}
        for rows in config.batches:
            envs: Any = gym.make_vec(name, num_envs=rows, autoreset_mode=AutoresetMode.DISABLED, **options)
            self.worlds["decoded"][rows] = Environments(envs, rows, config.seed)
            for kind, draw in (("unwatched", False), ("latent", True)):
                self.worlds[kind][rows] = Worlds(envs.world_model, envs.get_state()[0], config.seed, draw)
        self.flops = {key: count_flops(subject) for key, subject in self.subjects().items() if key[0] in KINDS}
        for subject in self.subjects().values():
            clock(subject, config.seconds / 4)
        clock(self.single, config.seconds / 4)

    def subjects(self) -> dict[tuple[str, Any], Subject]:
        """Everything whose rate is measured, by kind and number of rows, or kind and type of numbers."""
        return {
            **{("product", key): product for key, product in self.products.items()},
            **{(kind, rows): subject for kind in KINDS for rows, subject in self.worlds[kind].items()},
        }


class Beside:
    """Environments of a further model: a single one, and a vector of `BESIDE_ROWS`."""

    def __init__(self, config: ThroughputConfig, model: str) -> None:
        """Make and warm them up."""
        name = env_id("learned", TASK)
        options: dict[str, Any] = {"model": model, "device": "cpu"}
        self.single = Environments(gym.make(name, max_episode_steps=-1, **options), 1, config.seed)
        envs: Any = gym.make_vec(name, num_envs=BESIDE_ROWS, autoreset_mode=AutoresetMode.DISABLED, **options)
        self.vector = Environments(envs, BESIDE_ROWS, config.seed)
        self.model: WorldModel = envs.world_model
        self.latencies: list[float] = []  # [s]
        self.rates: list[float] = []
        for subject in (self.single, self.vector):
            clock(subject, config.seconds / 4)

    def turn(self, config: ThroughputConfig) -> None:
        """Take a turn."""
        self.latencies += clock(self.single, 0.0, max(LEAST_STEPS, config.steps // config.rounds // 4)).tolist()
        self.rates.append(rate(self.vector, config.seconds))

    def report(self, numbers: dict[str, Any]) -> dict[str, Any]:
        """Numbers, and how many times as long a step takes as that of the model with these `numbers`."""
        p50, p99 = np.percentile(1e3 * np.array(self.latencies), (50, 99)).tolist()
        report = {"model_hash": self.model.digest(), "single_step_ms_p50": p50, "single_step_ms_p99": p99}
        report |= {f"decoded_{BESIDE_ROWS}": spread(self.rates), "step_over_model": p50 / numbers["single_step_ms_p50"]}
        if str(BESIDE_ROWS) in numbers["batches"]:
            own = numbers["batches"][str(BESIDE_ROWS)]["decoded"]["steps_per_second"]
            report["model_over_decoded"] = own / median(self.rates)
        return report


# --- the twin ---------------------------------------------------------------------------------------------------------


class Twins:
    """The twin in several worker processes that work at the same time; a context that ends with them."""

    def __init__(self, config: ThroughputConfig, size: int, cameras: tuple[str, ...]) -> None:
        """Start the processes, make the twins and warm them up."""
        self._exit = ExitStack()
        self._pools = [
            self._exit.enter_context(
                WorkerPool(partial(TwinWorker, size, cameras, config.seed + max(config.twin_rows) * i), workers=1)
            )
            for i in range(TWIN_PROCESSES)
        ]
        self._threads = self._exit.enter_context(ThreadPoolExecutor(TWIN_PROCESSES))
        self.forms = [(rendering, rows) for rendering in RENDERINGS for rows in config.twin_rows]
        for rendering, rows in self.forms:
            self.rate(rendering, rows, config.seconds / 4)

    def rate(self, rendering: str, rows: int, seconds: float) -> float:
        """Env-steps per second of all processes together."""
        job = partial(TwinWorker.rate, job=TwinJob(rendering, rows, seconds))
        return sum(self._threads.map(lambda pool: sum(pool.run([job])), self._pools))

    def __enter__(self) -> "Twins":
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()


# --- the report -------------------------------------------------------------------------------------------------------


class Rounds(NamedTuple):
    """What all rounds gave, by device for the learned world."""

    rates: dict[str, dict[tuple[str, Any], list[float]]]
    latencies: dict[str, list[float]]  # [s]
    twin: dict[tuple[str, int], list[float]]


def run_rounds(
    config: ThroughputConfig, learned: Mapping[str, Learned], beside: Mapping[str, Beside], twins: Twins, show: Show
) -> Rounds:
    """Give every system its turn in every round."""
    rounds = Rounds(
        rates={device: {key: [] for key in world.subjects()} for device, world in learned.items()},
        latencies={device: [] for device in learned},
        twin={form: [] for form in twins.forms},
    )
    for number in range(config.rounds):
        show(number / config.rounds, f"round {number + 1} of {config.rounds}")
        for rendering, rows in twins.forms:
            rounds.twin[rendering, rows].append(twins.rate(rendering, rows, config.seconds))
        for device, world in learned.items():
            rounds.latencies[device] += clock(world.single, 0.0, config.steps // config.rounds).tolist()
            for key, subject in world.subjects().items():
                rounds.rates[device][key].append(rate(subject, config.seconds))
        for other in beside.values():
            other.turn(config)
    show(1.0, "")
    return rounds


def spread(rates: Sequence[float]) -> dict[str, Any]:
    """Median and range of the rounds."""
    return {"steps_per_second": median(rates), "range": [min(rates), max(rates)]}


def over(rates: Sequence[float], others: Sequence[float]) -> float:
    """How many times as fast, round by round."""
    return median(a / b for a, b in zip(rates, others, strict=True))


def fastest(candidates: Iterator[list[float]]) -> list[float]:
    """The rounds with the highest median."""
    return max(candidates, key=median)


def device_report(world: Learned, rates: dict[tuple[str, Any], list[float]], latencies: list[float]) -> dict[str, Any]:
    """Numbers of the learned world on one device."""
    gflops = {key: median(rates["product", key]) * product.flops / 1e9 for key, product in world.products.items()}
    best = max(gflops.values())
    batches: dict[str, Any] = {}
    for rows in world.worlds["decoded"]:
        batches[str(rows)] = {
            kind: {
                **spread(rates[kind, rows]),
                "mflops_per_step": world.flops[kind, rows] / rows / 1e6,
                "matmul_share": median(rates[kind, rows]) * world.flops[kind, rows] / rows / (1e9 * best),
            }
            for kind in KINDS
        }
    p50, p99 = np.percentile(1e3 * np.array(latencies), (50, 99)).tolist()
    return {
        "single_step_ms_p50": p50,
        "single_step_ms_p99": p99,
        "batches": batches,
        "matmul_gflops": gflops,
    }


def measure(config: ThroughputConfig, show: Show = lambda share, text: None) -> dict[str, Any]:
    """Measure everything and return the report."""
    if config.quick:
        config = replace(config, batches=config.batches[:2], twin_rows=(1, 2), steps=20, rounds=2, seconds=0.05)
    begin = time.perf_counter()
    devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    learned = {device: Learned(config, device) for device in devices}
    beside = {name: Beside(config, name) for name in config.beside}
    model = learned["cpu"].model
    height, width = model.config.tokenizer.height, model.config.tokenizer.width
    if height != width:
        raise ConfigError(f"{model.config.name} imagines frames of {height}x{width} pixels, the twin draws square ones")
    with Twins(config, height, model.config.cameras) as twins:
        rounds = run_rounds(config, learned, beside, twins, show)
    twin: dict[str, Any] = {}
    for rendering in RENDERINGS:
        forms = {rows: rounds.twin[rendering, rows] for rows in config.twin_rows}
        rows = max(forms, key=lambda form: median(forms[form]))
        twin[rendering] = {
            **spread(forms[rows]),
            "rows_per_process": rows,
            "by_rows_per_process": {str(form): median(rates) for form, rates in forms.items()},
        }
    rich = rounds.twin["rich", twin["rich"]["rows_per_process"]]
    reports: dict[str, Any] = {}
    for device, world in learned.items():
        rates = rounds.rates[device]
        reports[device] = device_report(world, rates, rounds.latencies[device]) | {
            f"{kind}_over_rich": over(fastest(rates[kind, rows] for rows in config.batches), rich) for kind in KINDS
        }
    steps = ThreadsConfig((config.model, *config.beside), config.thread_rows, seed=config.seed)
    if config.quick:
        steps = replace(steps, rows=config.batches, blocks=LEAST_BLOCKS, block_seconds=0.0)
    about = circumstances()
    about["machine"] |= {
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if "cuda" in devices else None,
        "gl": os.environ.get("MUJOCO_GL"),
        "spin_count": os.environ["GOMP_SPINCOUNT"],
    }
    keys = ("single_step_ms_p50", "single_step_ms_p99", *(f"{kind}_over_rich" for kind in KINDS))
    return {
        "model": model.config.name,
        "model_hash": model.digest(),
        **{key: reports["cpu"][key] for key in keys},
        "devices": reports,
        "beside": {name: other.report(reports["cpu"]) for name, other in beside.items()},
        "twin": twin | {"processes": TWIN_PROCESSES},
        "threads": measure_threads(steps, show),
        "size": height,
        "seed": config.seed,
        "steps": config.steps,
        "rounds": config.rounds,
        "seconds_per_turn": config.seconds,
        **about,
        "seconds": round(time.perf_counter() - begin, 1),
    }


def draw(report: dict[str, Any], path: Path) -> None:
    """Plot rates, and shares of the machine's rate of matrix products, against the number of rows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (speed, share) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for (device, numbers), colour in zip(report["devices"].items(), ("C0", "C1"), strict=False):
        rows = [int(key) for key in numbers["batches"]]
        for kind, style in {"unwatched": "--s", "latent": "-o", "decoded": ":x"}.items():
            cells = [cell[kind] for cell in numbers["batches"].values()]
            label = f"learned, {kind}, {device}"
            speed.plot(rows, [cell["steps_per_second"] for cell in cells], colour + style, label=label, markersize=4)
            share.plot(rows, [100 * cell["matmul_share"] for cell in cells], colour + style, label=label, markersize=4)
    for rendering, style in {"fast": "k:", "rich": "k-"}.items():
        speed.axhline(
            report["twin"][rendering]["steps_per_second"], ls=style[1:], color=style[0], label=f"twin, {rendering}"
        )
    speed.set(yscale="log", ylabel="env-steps per second")
    share.set(ylim=(0, None), ylabel="share of the rate of matrix products [%]")
    for panel in (speed, share):
        panel.set(xscale="log", xlabel="rows")
        panel.set_xticks(rows, [str(row) for row in rows])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    speed.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def summary(report: dict[str, Any]) -> Iterator[str]:
    """The report in lines for people."""
    for device, numbers in report["devices"].items():
        rates = ", ".join(f"{value:,.0f} in {key}" for key, value in numbers["matmul_gflops"].items())
        p50, p99 = numbers["single_step_ms_p50"], numbers["single_step_ms_p99"]
        yield f"{device}: single step {p50:.2f} ms, 99th percentile {p99:.2f} ms"
        yield f"  matrix products [GFLOP/s]: {rates}"
        for rows, cell in numbers["batches"].items():
            parts = (
                f"{kind} {cell[kind]['steps_per_second']:9,.0f} steps/s ({cell[kind]['matmul_share']:5.1%})"
                for kind in KINDS
            )
            yield f"  {rows:>4} rows: " + "  ".join(parts)
        ratios = ", ".join(f"{kind} {numbers[f'{kind}_over_rich']:.2f}" for kind in KINDS)
        yield f"  over the twin with rich rendering: {ratios}"
    for name, numbers in report["beside"].items():
        p50, times = numbers["single_step_ms_p50"], numbers["step_over_model"]
        yield f"{name}: single step {p50:.2f} ms, {times:.1f} times as long"
    for rendering in RENDERINGS:
        forms = report["twin"][rendering]["by_rows_per_process"]
        yield f"twin, {rendering}: " + ", ".join(f"{r:,.0f} steps/s with {n} per process" for n, r in forms.items())
    yield from threads_summary(report["threads"])


def main(config: ThroughputConfig) -> None:
    """Measure, print and write."""
    with progress("throughput") as show:
        report = measure(config, show)
    print("\n".join(summary(report)))
    if config.json is not None:
        write_json(config.json, report)
        draw(report, config.json.with_suffix(".png"))


if __name__ == "__main__":
    launch(main, ThroughputConfig)
