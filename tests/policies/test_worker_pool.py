"""Workers report what they did, and one that dies is replaced."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path

import pytest

from gwm_sim.errors import ConfigError, GwmError
from gwm_sim.policies.worker_pool import WorkerPool


class Doubler:
    def __init__(self, possible: bool = True) -> None:
        if not possible:
            raise ConfigError("this cannot be made")

    def double(self, number: int) -> int:
        return 2 * number + 1 // (number - 100)

    def die_once(self, marker: Path) -> int:
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    def die(self) -> None:
        os._exit(3)

    def hang_up(self) -> None:
        os.closerange(3, 100)  # the pipe with them
        time.sleep(0.3)
        os._exit(4)

    def lock(self, marker: Path) -> object:
        marker.write_text(marker.read_text(encoding="utf-8") + "done ", encoding="utf-8")
        return threading.Lock()

    def pid(self) -> int:
        return os.getpid()


def doubles(numbers: range) -> list[partial[int]]:
    return [partial(Doubler.double, number=number) for number in numbers]


def test_all_jobs_are_done_by_the_same_processes() -> None:
    with WorkerPool(Doubler, workers=2) as pool:
        assert list(pool.run([])) == [] and not pool._processes
        for _ in range(3):
            assert sorted(pool.run(doubles(range(1, 8)))) == [2 * number - 1 for number in range(1, 8)]
        assert len(pool._processes) == 2


def test_jobs_may_depend_on_results() -> None:
    found = [5]

    def jobs() -> Iterator[partial[int]]:
        for _ in range(3):
            yield partial(Doubler.double, number=found[-1])

    with WorkerPool(Doubler, workers=1) as pool:
        for result in pool.run(jobs()):
            found.append(result)
    assert found == [5, 9, 17, 33]


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    with WorkerPool(Doubler, workers=2) as pool:
        (before,) = pool.run([Doubler.pid])
        jobs = [*doubles(range(1, 4)), partial(Doubler.die_once, marker=tmp_path / "killed"), *doubles(range(4, 8))]
        results = list(pool.run(jobs))
        assert len(results) == 8 and {2 * number - 1 for number in range(1, 8)} < set(results)
        os.kill(next(iter(pool._processes.values())).pid or before, signal.SIGKILL)  # and one that has nothing to do
        assert sorted(pool.run(doubles(range(1, 4)))) == [1, 3, 5]


def test_a_job_that_kills_its_workers_is_reported() -> None:
    with WorkerPool(Doubler, workers=2) as pool:
        with pytest.raises(GwmError, match="2 worker processes died over the same job, the last with exit code 3"):
            list(pool.run([Doubler.die]))
        assert list(pool.run(doubles(range(1, 2)))) == [1]


def test_the_exit_code_is_that_of_a_worker_which_takes_its_time_to_die() -> None:
    with WorkerPool(Doubler, workers=1) as pool, pytest.raises(GwmError, match="the last with exit code 4"):
        list(pool.run([Doubler.hang_up]))


def test_a_result_that_cannot_be_sent_is_an_error_of_a_job_done_once(tmp_path: Path) -> None:
    done = tmp_path / "done"
    done.touch()
    with WorkerPool(Doubler, workers=1) as pool:
        (before,) = pool.run([Doubler.pid])
        with pytest.raises(RuntimeError, match="cannot pickle '_thread.lock'"):
            list(pool.run([partial(Doubler.lock, marker=done)]))
        assert done.read_text() == "done " and list(pool.run([Doubler.pid])) == [before]


def test_results_may_be_given_up_after_the_pool() -> None:
    with WorkerPool(Doubler, workers=2) as pool:
        results = pool.run(doubles(range(1, 20)))
        next(results)
    assert isinstance(results, Generator)
    results.close()


def test_results_that_nobody_waits_for_are_not_mistaken_for_others() -> None:
    with WorkerPool(Doubler, workers=2) as pool:
        for result in pool.run(doubles(range(1, 20))):
            assert result > 0
            break
        assert sorted(pool.run(doubles(range(50, 53)))) == [99, 101, 103]


def test_errors_of_workers_arrive() -> None:
    with WorkerPool(partial(Doubler, possible=False)) as pool, pytest.raises(ConfigError, match="this cannot be made"):
        list(pool.run(doubles(range(1))))
    with WorkerPool(Doubler) as pool, pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(pool.run(doubles(range(100, 101))))
