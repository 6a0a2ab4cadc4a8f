"""Options that say where the workers of a command live, the same for all that have some."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Final, Literal, TypeVar

from gwm_sim.errors import ConfigError, check_at_least_one
from gwm_sim.policies.engines.engine import Engine
from gwm_sim.policies.engines.local import LocalEngine
from gwm_sim.policies.engines.ray_cluster import RayEngine
from gwm_sim.policies.worker_pool import WorkerPool

Worker = TypeVar("Worker")
Result = TypeVar("Result")

ENGINES: Final = ("local", "ray")


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """Where workers live; results do not depend on it."""

    engine: Literal["local", "ray"] = "local"
    """Where workers live: local, processes of this machine, or ray, a Ray cluster."""
    address: str | None = None
    """Ray cluster to use: auto, HOST:PORT or ray://HOST:PORT; by default one is started on this machine."""

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ConfigError(f"--engine must be one of {', '.join(ENGINES)}, got {self.engine!r}")
        if self.address is not None and self.engine != "ray":
            raise ConfigError(f"--address {self.address} is of a Ray cluster: add --engine ray")

    def make_engine(self) -> Engine:
        """The engine, which is not open."""
        return LocalEngine() if self.engine == "local" else RayEngine(self.address)


@dataclass(frozen=True, kw_only=True)
class EngineOptions(EngineChoice):
    """Where workers live, and how many, for what workers always do."""

    workers: int | None = None
    """Workers at most; by default one for every core, of this machine or of the cluster."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(workers=self.workers)

    @staticmethod
    def names() -> set[str]:
        """Names of these options, which reports leave out: nothing in them depends on it."""
        return {field.name for field in fields(EngineOptions)}

    def pool(self, make_worker: Callable[[], Worker]) -> WorkerPool[Worker]:
        """A pool of workers that live there."""
        return WorkerPool(make_worker, self.workers, self.make_engine())


@dataclass(frozen=True, kw_only=True)
class OptionalWorkers(EngineChoice):
    """Where workers live, and how many, for what one process can do as well, with all its threads."""

    workers: int | None = None
    """Workers at most, each with one thread; by default this process alone does it, or with --engine ray one worker for
    every core of the cluster."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(workers=self.workers)

    @property
    def alone(self) -> bool:
        """Whether nobody asked for workers."""
        return self.engine == "local" and self.workers is None

    def run(self, jobs: Iterable[Callable[[Worker], Result]], make_worker: Callable[[], Worker]) -> Iterator[Result]:
        """Do jobs as `WorkerPool.run` does, here where nobody asked for workers."""
        if self.alone:
            worker = make_worker()
            yield from (job(worker) for job in jobs)
        else:
            with WorkerPool(make_worker, self.workers, self.make_engine()) as pool:
                yield from pool.run(jobs)
