"""How long a step takes with one thread, with two, with all, and with those that the model chooses.

python benchmarks/threads.py --json benchmarks/results/threads.json

`throughput.py` does the same as a part of its run. `decoded` is the environment with frames, rewards and info, and
`undrawn` a step of the model that nobody looks at. For every number of rows all ways take turns in short blocks, in an
order that changes from block to block, so that what else the machine does falls on all of them. A time is the median of
its blocks; how far the choice is from the best is the median over the blocks of what it takes beside each other way.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command `gwm` does, before torch is imported

import gymnasium as gym
import torch
from gymnasium.vector import AutoresetMode
from program import circumstances, launch
from subjects import TASK, Environments, Subject, Worlds, clock

from gwm_sim.envs.blocks.spec import env_id
from gwm_sim.errors import ConfigError
from gwm_sim.files import write_json
from gwm_sim.model.threads import all_threads, rows_for_all, spins
from gwm_sim.progress import Show, progress
from gwm_sim.protocol import FIRST_EVALUATION_SEED

CHOSEN: Final = "chosen"
FORMS: Final = ("decoded", "undrawn")
LEAST_BLOCKS: Final = 5


@dataclass(frozen=True)
class ThreadsConfig:
    """Measure steps with one thread, two, all, and those that the model chooses."""

    models: tuple[str, ...] = ("gwm-mini", "gwm-preview")
    """Names of shipped models, or folders."""
    rows: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 256)
    """Rows of the learned world."""
    blocks: int = 21
    """Blocks of each way and number of rows; fewer, but 5, where they take longer than `--seconds` altogether."""
    block_seconds: float = 0.05
    """Length of a block [s]; at least one step."""
    seconds: float = 20.0
    """Longest time for a number of rows [s]."""
    seed: int = FIRST_EVALUATION_SEED
    """Seed of starts and actions."""
    json: Path | None = None
    """Write the numbers here."""

    def __post_init__(self) -> None:
        if not self.rows or min(self.rows) < 1:
            raise ConfigError(f"--rows must be numbers from 1, got {self.rows}")
        if self.blocks < LEAST_BLOCKS:
            raise ConfigError(f"--blocks must be at least {LEAST_BLOCKS}, got {self.blocks}")


def ways(given: int) -> dict[str, int]:
    """The ways to compute by name, and the number of threads that each gives."""
    return {str(count): count for count in sorted({1, min(2, given), given})} | {CHOSEN: given}


@contextmanager
def computing(way: str, given: int) -> Iterator[None]:
    """Compute in one of the ways."""
    before = torch.get_num_threads()
    torch.set_num_threads(given)
    try:
        with nullcontext() if way == CHOSEN else all_threads():
            yield
    finally:
        torch.set_num_threads(before)


def subject(model: str, form: str, rows: int, seed: int) -> Subject:
    """Worlds to step: for one row the single environment."""
    name = env_id("learned", TASK)
    options: dict[str, Any] = {"model": model, "device": "cpu"}
    if form == "decoded" and rows == 1:
        return Environments(gym.make(name, max_episode_steps=-1, **options), 1, seed)
    envs: Any = gym.make_vec(name, num_envs=rows, autoreset_mode=AutoresetMode.DISABLED, **options)
    decoded = Environments(envs, rows, seed)
    return decoded if form == "decoded" else Worlds(envs.world_model, envs.get_state()[0], seed, draw=False)


def blocks_of(stepped: Subject, config: ThreadsConfig, given: int) -> dict[str, list[float]]:
    """Median step of every block [s], by way."""
    names = ways(given)
    times: dict[str, list[float]] = {way: [] for way in names}
    begin, turn = perf_counter(), 0
    while turn < config.blocks and (turn < LEAST_BLOCKS or perf_counter() - begin < config.seconds):
        order = list(names) if turn % 2 else list(reversed(names))
        for way in order:
            with computing(way, names[way]):
                _, *durations = clock(stepped, config.block_seconds, least=2)  # the first one wakes the threads
            times[way].append(median(durations))
        turn += 1
    return times


def summed_up(times: dict[str, list[float]]) -> dict[str, Any]:
    """Numbers of one subject: milliseconds by way, and how many times as long as the best way the choice takes."""
    others = [way for way in times if way != CHOSEN]
    beside = {way: median(a / b for a, b in zip(times[CHOSEN], times[way], strict=True)) for way in others}
    return {
        "ms": {way: 1e3 * median(blocks) for way, blocks in times.items()},
        "range_ms": {way: [1e3 * min(blocks), 1e3 * max(blocks)] for way, blocks in times.items()},
        "chosen_over": beside,
        "chosen_over_best": max(beside.values()),
        "blocks": len(times[CHOSEN]),
    }


def measure(config: ThreadsConfig, show: Show = lambda share, text: None) -> dict[str, Any]:
    """Measure everything and return the report."""
    given = torch.get_num_threads()
    models: dict[str, Any] = {}
    tasks = [(model, form, rows) for model in config.models for form in FORMS for rows in config.rows]
    for done, (model, form, rows) in enumerate(tasks):
        show(done / len(tasks), f"{model}, {form}, {rows} rows")
        stepped = subject(model, form, rows, config.seed)
        if model not in models:
            world: Any = stepped.env.unwrapped.world_model  # type: ignore[attr-defined]  # the first form is decoded
            all_from = {part: rows_for_all(work) for part, work in world.work.items() if work}
            models[model] = {"model_hash": world.digest(), "all_threads_from_rows": all_from}
        models[model].setdefault(form, {})[str(rows)] = summed_up(blocks_of(stepped, config, given))
    show(1.0, "")
    about = circumstances()
    about["machine"] |= {
        "threads": given,
        "spin_count": os.environ["GOMP_SPINCOUNT"],
        "spins": spins(os.environ),
        "load": list(os.getloadavg()),
    }
    cells_of = [model[form] for model in models.values() for form in FORMS]
    worst = max(cell["chosen_over_best"] for cells in cells_of for cell in cells.values())
    return {"models": models, "worst_chosen_over_best": worst, "seed": config.seed, **about}


def summary(report: dict[str, Any]) -> Iterator[str]:
    """The report in lines for people."""
    machine = report["machine"]
    yield (
        f"{machine['cores']} cores of {machine['cpu']}, {machine['threads']} threads, "
        f"spin count {machine['spin_count']}, load {machine['load'][0]:.1f}"
    )
    for model, numbers in report["models"].items():
        parts = ", ".join(f"{part} {rows}" for part, rows in numbers["all_threads_from_rows"].items())
        yield f"{model}, hash {numbers['model_hash']}; all threads from rows: {parts}"
        for form in FORMS:
            cells = numbers[form]
            yield table_line(f"{form}, a step [ms], rows", list(cells))
            for way in next(iter(cells.values()))["ms"]:
                name = "chosen" if way == CHOSEN else f"{way} thread{'s' * (way != '1')}"
                yield table_line(name, [f"{cell['ms'][way]:.2f}" for cell in cells.values()])
            yield table_line("chosen over best", [f"{cell['chosen_over_best']:.2f}" for cell in cells.values()])
    yield f"chosen is at most {report['worst_chosen_over_best']:.2f} times the best"


def table_line(name: str, cells: Sequence[str]) -> str:
    """One line of a table of fixed width."""
    return f"  {name:<30}" + "".join(f"{cell:>9}" for cell in cells)


def main(config: ThreadsConfig) -> None:
    """Measure, print and write."""
    with progress("threads") as show:
        report = measure(config, show)
    print("\n".join(summary(report)))
    if config.json is not None:
        write_json(config.json, report)


if __name__ == "__main__":
    launch(main, ThreadsConfig)
