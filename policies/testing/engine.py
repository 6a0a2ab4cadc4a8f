"""Whether an engine keeps what `gwm_sim.policies.engines.engine` promises worker pools.

class TestMyEngine(EngineConformance):
    def make_engine(self) -> Engine:
        return MyEngine()
"""

import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gwm_sim.errors import ConfigError, GwmError
from gwm_sim.policies.engines.engine import Engine
from gwm_sim.policies.worker_pool import Job, WorkerPool


class Doubler:
    """A worker that doubles numbers, and dies if told to."""

    def __init__(self, possible: bool = True) -> None:
        if not possible:
            raise ConfigError("this cannot be made")

    def double(self, number: int) -> int:
        """Twice the number, with an error at 100."""
        return 2 * number + 1 // (number - 100)

    def die_once(self, marker: Path) -> int:
        """Die unless the file is there, which is made before."""
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def die(self) -> None:
        """End this process with exit code 3."""
        os._exit(3)

    def lock(self, marker: Path) -> object:
        """Write that this was done, and return what cannot be sent."""
        marker.write_text(marker.read_text(encoding="utf-8") + "done ", encoding="utf-8")
        return threading.Lock()

    def pid(self) -> int:
        """Number of this process."""
        return os.getpid()


def doubles(numbers: range) -> list[partial[int]]:
    """Jobs that double numbers."""
    return [partial(Doubler.double, number=number) for number in numbers]


class EngineConformance(ABC):
    """Tests of one engine, whose workers are processes of this machine."""

    @abstractmethod
    def make_engine(self) -> Engine:
        """A new engine, which is not open."""

    def pool(self, workers: int, possible: bool = True) -> WorkerPool[Doubler]:
        """A pool of workers that live there."""
        return WorkerPool(partial(Doubler, possible), workers, self.make_engine())

    def test_it_says_for_how_many_workers_it_is_ready(self) -> None:
        engine = self.make_engine()
        try:
            assert engine.open(3) == 3
        finally:
            engine.close()
        engine.close()

    def test_all_jobs_are_done_by_the_same_processes(self) -> None:
        with self.pool(2) as pool:
            assert list(pool.run([])) == []
            found = set()
            for _ in range(3):
                assert sorted(pool.run(doubles(range(1, 8)))) == [2 * number - 1 for number in range(1, 8)]
                found |= set(pool.run([Doubler.pid, Doubler.pid]))
            assert len(found) <= 2 and os.getpid() not in found

    def test_jobs_may_depend_on_results(self) -> None:
        found = [5]

        def jobs() -> Iterator[partial[int]]:
            for _ in range(3):
                yield partial(Doubler.double, number=found[-1])

        with self.pool(1) as pool:
            for result in pool.run(jobs()):
                found.append(result)
        assert found == [5, 9, 17, 33]

    def test_a_worker_that_is_killed_is_replaced(self, tmp_path: Path) -> None:
        with self.pool(2) as pool:
            fatal = partial(Doubler.die_once, marker=tmp_path / "killed")
            jobs: list[partial[int]] = [*doubles(range(1, 4)), fatal, *doubles(range(4, 8))]
            assert sorted(pool.run(jobs)) == [0, *(2 * number - 1 for number in range(1, 8))]
            for idle in set(pool.run([Doubler.pid, Doubler.pid])):
                os.kill(idle, signal.SIGKILL)  # all that have nothing to do
            assert sorted(pool.run(doubles(range(1, 4)))) == [1, 3, 5]

    def test_a_job_that_kills_its_workers_is_reported_by_its_name(self) -> None:
        with self.pool(2) as pool:
            with pytest.raises(GwmError, match="2 worker processes died over episode 7, the last "):
                list(pool.run([Job("episode 7", Doubler.die)]))
            assert list(pool.run(doubles(range(1, 2)))) == [1]

    def test_a_result_that_cannot_be_sent_is_an_error_of_a_job_done_once(self, tmp_path: Path) -> None:
        done = tmp_path / "done"
        done.touch()
        with self.pool(1) as pool:
            (before,) = pool.run([Doubler.pid])
            with pytest.raises(RuntimeError, match="cannot pickle '_thread.lock'"):
                list(pool.run([partial(Doubler.lock, marker=done)]))
            assert done.read_text(encoding="utf-8") == "done " and list(pool.run([Doubler.pid])) == [before]

    def test_results_that_nobody_waits_for_are_not_mistaken_for_others(self) -> None:
        with self.pool(2) as pool:
            for result in pool.run(doubles(range(1, 20))):
                assert result > 0
                break
            assert sorted(pool.run(doubles(range(50, 53)))) == [99, 101, 103]

    def test_errors_of_workers_arrive(self) -> None:
        with self.pool(1) as pool, pytest.raises(RuntimeError, match="ZeroDivisionError"):
            list(pool.run(doubles(range(100, 101))))
        with self.pool(1, possible=False) as pool, pytest.raises(ConfigError, match="this cannot be made"):
            list(pool.run(doubles(range(1))))

    def test_no_process_is_left_behind(self) -> None:
        with self.pool(2) as pool:
            found = set(pool.run([Doubler.pid] * 4))
            results = pool.run(doubles(range(1, 20)))
            next(results)
        patience = time.monotonic() + 10
        while any(map(_alive, found)) and time.monotonic() < patience:
            time.sleep(0.05)
        assert not any(map(_alive, found))


def _alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is still listed does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
