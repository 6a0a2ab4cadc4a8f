"""Workers report what they did, and one that dies is replaced: processes of this machine, the default."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import pytest

from gwm_sim.errors import ConfigError, GwmError
from gwm_sim.policies.engines.engine import Engine, EngineWorker, Reply
from gwm_sim.policies.engines.local import LocalEngine
from gwm_sim.policies.engines.options import EngineChoice, EngineOptions, OptionalWorkers
from gwm_sim.policies.testing.engine import Doubler, EngineConformance, doubles
from gwm_sim.policies.worker_pool import WorkerPool


class TestLocalEngine(EngineConformance):
    def make_engine(self) -> Engine:
        return LocalEngine()


class Suicidal(Doubler):
    def hang_up(self) -> None:
        os.closerange(3, 100)  # the pipe with them
        time.sleep(0.3)
        os._exit(4)


def test_a_process_begins_when_there_is_work_for_it() -> None:
    with WorkerPool(Doubler, workers=2) as pool:
        assert list(pool.run([])) == [] and not pool._all
        for _ in range(3):
            list(pool.run(doubles(range(1, 8))))
        assert len(pool._all) == 2


def test_a_job_without_a_name_is_reported_with_the_exit_code() -> None:
    with (
        WorkerPool(Doubler, workers=1) as pool,
        pytest.raises(GwmError, match="2 worker processes died over the same job, the last with exit code 3"),
    ):
        list(pool.run([Doubler.die]))


def test_the_exit_code_is_that_of_a_worker_which_takes_its_time_to_die() -> None:
    with WorkerPool(Suicidal, workers=1) as pool, pytest.raises(GwmError, match="the last with exit code 4"):
        list(pool.run([Suicidal.hang_up]))


def test_results_may_be_given_up_after_the_pool() -> None:
    with WorkerPool(Doubler, workers=2) as pool:
        results = pool.run(doubles(range(1, 20)))
        next(results)
    assert isinstance(results, Generator)
    results.close()


def test_jobs_that_cannot_be_read_are_told() -> None:
    Doubler.passing = partial(Doubler.double, number=1)  # type: ignore[attr-defined]
    with WorkerPool(Doubler, workers=1) as pool, pytest.raises(RuntimeError, match="AttributeError"):
        list(pool.run([Passing()]))


class Passing:
    """A job that exists in this process alone."""

    def __reduce__(self) -> tuple[object, ...]:
        return getattr, (Doubler, "passing")

    def __call__(self, worker: Doubler) -> int:
        return worker.double(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "dask"}, "--engine must be one of local, ray, got 'dask'"),
        ({"address": "auto"}, "--address auto is of a Ray cluster: add --engine ray"),
        ({"workers": 0}, "--workers must be at least 1, got 0"),
    ],
)
@pytest.mark.parametrize("kind", [EngineOptions, OptionalWorkers])
def test_impossible_options_are_refused(kind: type[EngineChoice], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**options)


class Absent(EngineWorker):
    """A worker that a busy cluster promises and does not bring."""

    started = False

    def give(self, job: Callable[[Any], Any]) -> None:
        """It waits."""

    def take(self) -> Reply:
        raise AssertionError("it has not begun")

    def stop(self) -> None:
        """It is given up."""


class BusyEngine(LocalEngine):
    """A machine with one core to spare, whatever is asked for."""

    def __init__(self) -> None:
        self.begun = 0

    def start(self, make_worker: Callable[[], Any]) -> EngineWorker:
        self.begun += 1
        return super().start(make_worker) if self.begun == 1 else Absent()


def test_jobs_do_not_wait_for_workers_that_never_come() -> None:
    with WorkerPool(Doubler, workers=3, engine=BusyEngine()) as pool:
        assert sorted(pool.run(doubles(range(1, 8)))) == [2 * number - 1 for number in range(1, 8)]
