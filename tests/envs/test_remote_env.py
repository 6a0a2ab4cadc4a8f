"""Worlds on a server as environments here: the same as those on this machine, whatever happens on the way."""

import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from learned_worlds import HOLD, draw_actions
from servers import ROOT, Served, command, served, wait_until
from stable_baselines3.common import env_checker as sb3_checker

from gwm_sim.envs.learned.vector import LearnedEnv, LearnedVectorEnv
from gwm_sim.envs.remote.vector import RemoteEnv, RemoteVectorEnv
from gwm_sim.errors import RefusedRequest, RemoteError
from gwm_sim.model.world_model import WorldModel


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path) -> Iterator[Served]:
    with served(WorldModel.load(tiny_checkpoint)) as running:
        yield running


@pytest.fixture
def env(server: Served) -> Iterator[RemoteEnv]:
    env = RemoteEnv(server.url)
    yield env
    env.close()


def equal(a: Any, b: Any) -> bool:
    """Whether two outcomes of `reset` or `step` are the same to the last bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list) or (isinstance(a, np.ndarray) and a.dtype == object):
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and np.array_equal(a, b)


# --- the same world ---------------------------------------------------------------------------------------------------


def test_checkers_accept_the_environment(server: Served) -> None:
    env = gym.make("gwm_sim:GWM-Remote-v0", url=server.url)
    check_env(env.unwrapped)
    sb3_checker.check_env(env)
    env.close()


def test_spaces_and_metadata_are_those_of_the_local_environment(env: RemoteEnv, tiny_checkpoint: Path) -> None:
    local = LearnedEnv(model=tiny_checkpoint)
    assert env.observation_space == local.observation_space
    assert env.action_space == local.action_space
    assert env.metadata == local.metadata
    assert env.task == local.task


@pytest.mark.parametrize("options", [{}, {"task": "reach", "reward": "sparse"}])
def test_alone_it_is_the_local_environment_bit_for_bit(
    options: dict[str, Any], server: Served, tiny_checkpoint: Path
) -> None:
    remote, local = RemoteEnv(server.url, **options), LearnedEnv(model=tiny_checkpoint, **options)
    for seed in (3, None):  # the second episode goes on with the generator of the first
        assert equal(remote.reset(seed=seed), local.reset(seed=seed))
        assert all(equal(remote.step(action), local.step(action)) for action in draw_actions(12))
    remote.close()


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_the_vector_form_is_the_local_one_bit_for_bit(
    mode: AutoresetMode, server: Served, tiny_checkpoint: Path
) -> None:
    options: dict[str, Any] = {"max_episode_steps": 4, "autoreset_mode": mode}
    remote, local = (
        RemoteVectorEnv(server.url, num_envs=3, **options),
        LearnedVectorEnv(3, model=tiny_checkpoint, **options),
    )
    assert equal(remote.reset(seed=[5, 2, 9]), local.reset(seed=[5, 2, 9]))
    for action in draw_actions(10, 3):
        assert equal(remote.step(action), local.step(action))
    mask = {"reset_mask": np.array([True, False, True])}
    assert equal(remote.reset(seed=7, options=dict(mask)), local.reset(seed=7, options=dict(mask)))
    action = draw_actions(1, 3)[0]
    assert equal(remote.step(action), local.step(action))
    remote.close()


def test_make_vec_makes_the_native_form(server: Served) -> None:
    envs = gym.make_vec("gwm_sim:GWM-Remote-v0", num_envs=2, url=server.url)
    assert isinstance(envs.unwrapped, RemoteVectorEnv)
    observation, _ = envs.reset(seed=0)
    assert envs.observation_space.contains(observation)
    envs.close()


def test_reset_options_are_those_of_the_local_environment(env: RemoteEnv, tiny_checkpoint: Path) -> None:
    local = LearnedEnv(model=tiny_checkpoint)
    seen, goal = local.reset(seed=8)[0], local.reset(seed=4)[0]["pixels"]
    given = {"frames": np.stack([seen["pixels"]] * 2), "telemetry": np.stack([seen["agent_pos"]] * 2)}
    for options in (
        {"bank": 2},
        {"bank": 1, "properties": {"friction": 0.4}},
        {"properties": "random"},
        {"bank": 3, "goal": goal},
        given,
        {**given, "actions": HOLD[None]},
    ):
        assert equal(env.reset(seed=1, options=options), local.reset(seed=1, options=options)), options
        action = draw_actions(1)[0]
        assert equal(env.step(action), local.step(action)), options


def test_a_goal_lasts_unless_an_episode_has_another_one_or_none(server: Served, tiny_checkpoint: Path) -> None:
    local = LearnedEnv(model=tiny_checkpoint)
    usual, other = (local.reset(seed=seed)[0]["pixels"] for seed in (11, 12))
    local, remote = LearnedEnv(model=tiny_checkpoint, goal=usual), RemoteEnv(server.url, goal=usual)
    for goal in ({"goal": other}, {}, {"goal": None}, {}):
        options = {"bank": 0, **goal}
        assert equal(remote.reset(seed=0, options=options), local.reset(seed=0, options=options))
        assert equal(remote.step(HOLD), local.step(HOLD))
    remote.close()


def test_the_time_limit_is_that_of_the_checkpoint_or_what_is_asked_for(server: Served, tiny_checkpoint: Path) -> None:
    limit = LearnedEnv(model=tiny_checkpoint).world_model.config.time_limit
    for asked, expected in (("checkpoint", limit), (3, 3)):
        env = gym.make("gwm_sim:GWM-Remote-v0", url=server.url, time_limit=asked)
        env.reset(seed=0)
        ends = [env.step(HOLD)[2:4] for _ in range(expected)]
        assert ends == [(False, False)] * (expected - 1) + [(False, True)]
        env.close()


def test_render_is_that_of_the_local_environment(server: Served, tiny_checkpoint: Path) -> None:
    remote = RemoteEnv(server.url, render_mode="rgb_array")
    local = LearnedEnv(model=tiny_checkpoint, render_mode="rgb_array")
    remote.reset(seed=0)
    local.reset(seed=0)
    remote.step(HOLD)
    local.step(HOLD)
    np.testing.assert_array_equal(remote.render(), local.render())
    remote.close()


def test_beside_other_sessions_it_stays_near_the_local_environment(server: Served, tiny_checkpoint: Path) -> None:
    actions = draw_actions(10, 4)

    def drive(i: int) -> list[Any]:
        env = RemoteEnv(server.url)
        seen = [env.reset(seed=i)[0], *(env.step(action)[0] for action in actions[:, i])]
        env.close()
        return seen

    before = server.service.engine.ticks, server.service.engine.steps
    with ThreadPoolExecutor(4) as pool:
        remote = list(pool.map(drive, range(4)))
    ticks, steps = server.service.engine.ticks - before[0], server.service.engine.steps - before[1]
    assert steps == 40 and ticks < 36  # some of them did step together
    local = LearnedEnv(model=tiny_checkpoint)
    for i, seen in enumerate(remote):
        expected = [local.reset(seed=i)[0], *(local.step(action)[0] for action in actions[:, i])]
        for a, b in zip(seen, expected, strict=True):
            assert np.abs(a["pixels"].astype(int) - b["pixels"]).max() <= 3
            np.testing.assert_allclose(a["agent_pos"], b["agent_pos"], atol=1e-3)


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_what_the_model_cannot_do_is_refused(server: Served) -> None:
    for keywords in ({"task": "juggle"}, {"depth": True}, {"reward": "big"}, {"model": "other"}, {"render_mode": "x"}):
        with pytest.raises(ValueError, match=str(next(iter(keywords.values()))) + "|depth"):
            RemoteEnv(server.url, **keywords)


@pytest.mark.parametrize(
    "options",
    [{"bank": 10_000}, {"episode": "file.hdf5:0"}, {"properties": {"colour": 1.0}}, {"goal": np.zeros((3, 3))}],
)
def test_what_makes_no_sense_is_a_value_error_and_the_episode_goes_on(env: RemoteEnv, options: dict[str, Any]) -> None:
    env.reset(seed=0)
    with pytest.raises(ValueError, match=next(iter(options)) + "|index|colour|picture|bank|10000"):
        env.reset(options=options)
    env.step(HOLD)


def test_a_refusal_is_also_an_error_of_this_package(env: RemoteEnv) -> None:
    with pytest.raises(RefusedRequest, match="10000"):
        env.reset(options={"bank": 10_000})


def test_a_step_before_the_first_reset_is_refused(env: RemoteEnv) -> None:
    with pytest.raises(ResetNeeded):
        env.step(HOLD)


def test_a_wrong_token_is_told_at_once(server: Served) -> None:
    with pytest.raises(RemoteError, match="token"):
        RemoteEnv(f"http://127.0.0.1:{server.port}", token="another")
    with pytest.raises(ValueError, match="token"):
        RemoteEnv(f"http://127.0.0.1:{server.port}")
    with pytest.raises(ValueError, match="http://HOST"):
        RemoteEnv("127.0.0.1:8000", token="t")


def test_a_server_that_is_full_says_so(tiny_checkpoint: Path) -> None:
    with served(WorldModel.load(tiny_checkpoint), sessions=2) as server:
        envs = RemoteVectorEnv(server.url, num_envs=3)
        with pytest.raises(RemoteError, match="--sessions"):
            envs.reset(seed=0)
        envs.close()


def test_a_session_that_the_server_ended_can_begin_anew(server: Served, env: RemoteEnv) -> None:
    first = env.reset(seed=1)
    for session in list(server.service.sessions._sessions.values()):
        server.service.sessions.close(session)
    with pytest.raises(RemoteError, match="reset"):
        env.step(HOLD)
    with pytest.raises(ResetNeeded):
        env.step(HOLD)
    assert equal(env.reset(seed=1), first)


def test_closing_ends_the_sessions(server: Served) -> None:
    before = len(server.service.sessions)
    envs = RemoteVectorEnv(server.url, num_envs=3)
    envs.reset(seed=0)
    assert len(server.service.sessions) == before + 3
    envs.close()
    assert len(server.service.sessions) == before


# --- connections that are lost ----------------------------------------------------------------------------------------


@contextmanager
def cutting(port: int, lengths: Callable[[], int]) -> Iterator[int]:
    """A port that leads to another one, and cuts every connection after so many bytes."""
    with socket.create_server(("127.0.0.1", 0)) as entrance, ThreadPoolExecutor(16) as pool:
        pool.submit(admit, entrance, port, lengths, pool)
        try:
            yield entrance.getsockname()[1]
        finally:
            entrance.shutdown(socket.SHUT_RDWR)


def admit(entrance: socket.socket, port: int, lengths: Callable[[], int], pool: ThreadPoolExecutor) -> None:
    """Lead every connection on."""
    while True:
        try:
            near = entrance.accept()[0]
        except OSError:
            return
        pool.submit(lead, near, socket.create_connection(("127.0.0.1", port)), lengths())


def lead(near: socket.socket, far: socket.socket, left: int) -> None:
    """Pass bytes on between two ends, until so many were passed or one of them is closed."""
    with near, far:
        while left > 0:
            for source in select.select([near, far], [], [])[0]:
                try:
                    data = source.recv(min(max(left, 1), 4096))
                    (far if source is near else near).sendall(data)
                except OSError:
                    return
                left = left - len(data) if data else 0


def test_lost_connections_resume_where_they_were(server: Served, tiny_checkpoint: Path) -> None:
    rng = np.random.default_rng(0)
    with cutting(server.port, lambda: int(rng.integers(1, 60_000))) as port:
        remote, local = (
            RemoteEnv(f"http://127.0.0.1:{port}", token=server.token, patience=10),
            LearnedEnv(model=tiny_checkpoint),
        )
        assert equal(remote.reset(seed=2), local.reset(seed=2))
        assert all(equal(remote.step(action), local.step(action)) for action in draw_actions(40))
        remote.close()


def test_a_server_that_is_gone_is_told_within_two_seconds(tiny_checkpoint: Path) -> None:
    with served(WorldModel.load(tiny_checkpoint)) as server:
        env = RemoteEnv(server.url)
        env.reset(seed=0)
        env.step(HOLD)
    begun = time.monotonic()
    with pytest.raises(RemoteError, match="gwm serve"):
        env.step(HOLD)
    assert time.monotonic() - begun < 2
    env.close()


@pytest.mark.slow
def test_a_server_that_is_killed_in_the_middle_of_a_step_is_told_within_two_seconds() -> None:
    with command() as (process, url), ThreadPoolExecutor(1) as pool:
        envs = RemoteVectorEnv(url, num_envs=8)
        envs.reset(seed=0)

        def drive() -> float:
            with pytest.raises(RemoteError, match="gwm serve"):
                while True:
                    envs.step(np.zeros((8, 4), np.float32))
            return time.monotonic()

        driven = pool.submit(drive)
        wait_until(lambda: envs._steps.min() > 3)
        process.kill()
        begun = time.monotonic()
        assert driven.result() - begun < 2
        envs.close()


def test_neither_torch_nor_the_model_is_needed(server: Served) -> None:
    program = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {{"torch", "h5py", "av", "mujoco", "PIL", "tyro", "fastapi", "safetensors"}}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
import gymnasium as gym
env = gym.make("gwm_sim:GWM-Remote-v0", url={server.url!r}, render_mode="rgb_array")
env.reset(seed=0)
env.step(env.action_space.sample())
assert env.render().shape == (512, 512, 3)
env.close()
"""
    result = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
