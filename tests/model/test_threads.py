"""The number of threads follows the work, and nobody else's changes."""

import os
import threading
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from models import make_context, make_model

from gwm_sim.model import checkpoint, threads
from gwm_sim.model.threads import all_threads, rows_for_all, spins, threads_for
from gwm_sim.model.world_model import WorldModel

MUCH = 10 * threads.WORTHWHILE


@pytest.fixture(params=(1, 2, 3))
def given(request: pytest.FixtureRequest) -> Iterator[int]:
    """What the user allows."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def seen() -> Iterator[set[int]]:
    """Numbers of threads with which the parts of a model compute."""
    numbers: set[int] = set()

    def noted(layer: torch.nn.Module, *_: Any) -> None:
        numbers.add(torch.get_num_threads())

    handle = torch.nn.modules.module.register_module_forward_pre_hook(noted)
    yield numbers
    handle.remove()


def test_little_work_takes_one_thread_and_much_takes_all(given: int) -> None:
    with threads_for(0):
        assert torch.get_num_threads() == 1
    with threads_for(MUCH):
        assert torch.get_num_threads() == given
    assert torch.get_num_threads() == given


def test_a_block_within_another_chooses_anew_among_what_the_caller_gave(given: int) -> None:
    with threads_for(0):
        with threads_for(MUCH):
            assert torch.get_num_threads() == given
            with threads_for(0):
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == given
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == given


def test_an_error_gives_the_threads_back(given: int) -> None:
    with pytest.raises(KeyError), threads_for(MUCH), threads_for(0):
        raise KeyError
    assert torch.get_num_threads() == given
    torch.set_num_threads(given + 1)  # what is given next counts, not what was given before
    with threads_for(MUCH):
        assert torch.get_num_threads() == given + 1


def test_another_thread_keeps_its_number() -> None:
    numbers, began, changed = [], threading.Event(), threading.Event()

    def work() -> None:
        torch.set_num_threads(2)
        began.set()
        assert changed.wait(10)
        numbers.append(torch.get_num_threads())
        with threads_for(MUCH):
            numbers.append(torch.get_num_threads())

    other = threading.Thread(target=work)
    other.start()
    assert began.wait(10)
    with threads_for(0):
        changed.set()
        other.join()
    assert numbers == [2, 2]


def test_all_threads_are_used_where_that_is_asked_for(given: int) -> None:
    with all_threads(), threads_for(0):
        assert torch.get_num_threads() == given
    with threads_for(0):
        assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, True),
        ({"GOMP_SPINCOUNT": "1000"}, False),
        ({"GOMP_SPINCOUNT": "300000"}, True),
        ({"GOMP_SPINCOUNT": "infinity"}, True),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, False),
        ({"OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": "0"}, False),
    ],
)
def test_it_is_known_how_threads_wait(environment: dict[str, str], expected: bool) -> None:
    assert spins(environment) is expected


@pytest.mark.parametrize("objects", [2, 0])
def test_a_model_computes_a_row_with_one_thread_and_gives_them_back(objects: int, given: int, seen: set[int]) -> None:
    model = make_model(objects)
    state = model.encode(*make_context(model, rows=1, length=2))
    model.judge(model.step(state, torch.zeros(1, model.config.dynamics.actions)))
    model.decode(state)
    rollout = model.imagine(state, torch.zeros(1, 2, model.config.dynamics.actions), draw=False)
    model.decode(model.step(rollout.final, torch.zeros(1, model.config.dynamics.actions)))
    assert seen == {1}
    assert torch.get_num_threads() == given


def test_a_model_computes_many_rows_with_all_threads(
    given: int, seen: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    context = make_context(model, rows=4, length=2)
    monkeypatch.setattr(threads, "WORTHWHILE", 1)
    model.decode(model.step(model.encode(*context), torch.zeros(4, model.config.dynamics.actions)))
    assert seen == {given}


def test_parts_of_a_step_choose_for_themselves(given: int, seen: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    state = model.encode(*make_context(model, rows=1, length=2))
    assert model.work["step"] < model.work["picture"]
    monkeypatch.setattr(threads, "WORTHWHILE", model.work["picture"])
    seen.clear()
    model.step(state, torch.zeros(1, model.config.dynamics.actions), draw=False)
    assert seen == {1}
    model.step(state, torch.zeros(1, model.config.dynamics.actions))
    assert seen == {1, given}


def test_a_failing_step_gives_the_threads_back(given: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    state = model.encode(*make_context(model, rows=1, length=2))

    def fail(*_: Any) -> None:
        raise ArithmeticError

    monkeypatch.setattr(model.dynamics, "next_picture", fail)
    with pytest.raises(ArithmeticError):
        model.step(state, torch.zeros(1, model.config.dynamics.actions))
    assert torch.get_num_threads() == given


@pytest.mark.parametrize("name", ["gwm-mini", "gwm-preview"])
def test_shipped_models_wait_longer_for_their_threads_where_these_sleep(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "multiplies_bfloat16", lambda _: True)  # else decoding is more work
    model = WorldModel.load(name, "cpu")
    monkeypatch.setattr(threads, "WORTHWHILE", 8.5e8)  # as under the command `gwm`
    assert rows_for_all(model.work["decoding"]) > 1
    assert rows_for_all(model.work["step"]) > 256  # the planners' searches, which nobody draws


def test_an_environment_leaves_the_threads_as_they_were_and_repeats(given: int) -> None:
    frames = []
    for _ in range(2):
        env = gym.make("GWM-BlockStack-v0", device="cpu")
        env.reset(seed=3)
        assert torch.get_num_threads() == given
        for _ in range(3):
            observation, *_ = env.step(np.ones(4, np.float32))
            assert torch.get_num_threads() == given
        with pytest.raises(ValueError, match="shape"):
            env.step(np.ones(3, np.float32))
        assert torch.get_num_threads() == given
        frames.append(observation["pixels"])
        env.close()
    np.testing.assert_array_equal(*frames)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("work", [0, MUCH])
def test_a_child_that_is_forked_within_a_block_keeps_one_thread_after_it(work: float, given: int) -> None:
    numbers = []
    with threads_for(work):
        child = os.fork()
        numbers.append(torch.get_num_threads())
        with threads_for(MUCH):
            numbers.append(torch.get_num_threads())
    numbers.append(torch.get_num_threads())
    with threads_for(MUCH):
        numbers.append(torch.get_num_threads())
    if child == 0:
        os._exit(int(numbers != [1] * 4))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert torch.get_num_threads() == given
