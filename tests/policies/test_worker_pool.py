"""Workers report what they did, and nobody waits for a worker that is gone."""

from __future__ import annotations

import os
from functools import partial

import pytest

from gwm_sim.errors import ConfigError, GwmError
from gwm_sim.policies.worker_pool import WorkerPool


class Doubler:
    def __init__(self, greeting: str) -> None:
        if greeting == "impossible":
            raise ConfigError("this cannot be made")
        self.greeting = greeting

    def __call__(self, job: int) -> int:
        if job < 0:
            os._exit(3)
        return 2 * job + 1 // (job - 100)


def test_all_jobs_are_reported() -> None:
    with WorkerPool(partial(Doubler, "hello")) as crew:
        assert crew.greeting == "hello"
        assert list(crew.run([], workers=2)) == []
        assert sorted(crew.run(range(1, 8), workers=2)) == [2 * job - 1 for job in range(1, 8)]


def test_workers_of_one_run_do_the_next() -> None:
    with WorkerPool(partial(Doubler, "hello")) as crew:
        for _ in range(3):
            assert sorted(crew.run([1, 2, 3], workers=2)) == [1, 3, 5]
        assert len(crew._workers) == 2


def test_errors_of_workers_arrive() -> None:
    with pytest.raises(ConfigError, match="this cannot be made"):
        WorkerPool(partial(Doubler, "impossible"))
    with WorkerPool(partial(Doubler, "hello")) as crew, pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(crew.run([100], workers=1))
    with WorkerPool(partial(Doubler, "hello")) as crew, pytest.raises(GwmError, match="died with exit code 3"):
        list(crew.run([-1], workers=1))
