"""`SB3VecEnv` behaves as SB3's own `DummyVecEnv` does, on Gymnasium's vector environments and on native ones."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray
from stable_baselines3 import PPO, SAC, HerReplayBuffer
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecMonitor, VecNormalize, VecTransposeImage

from gwm_sim.envs.wrappers import VectorGoalImage
from gwm_sim.policies.rl.sb3_adapter import SB3VecEnv

NUM_ENVS = 3
LIMIT = 6


class PointMass(gym.Env[Any, Any]):
    """A point on a line that moves by its action: it terminates beyond 1 and shows its position as brightness."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = spaces.Dict(
        {"pixels": spaces.Box(0, 255, (36, 36, 3), np.uint8), "position": spaces.Box(-9, 9, (1,), np.float32)}
    )
    action_space = spaces.Box(-1, 1, (1,), np.float32)
    render_mode = "rgb_array"
    mass = 1.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        super().reset(seed=seed)
        drawn = self.np_random.uniform(-0.5, 0.5)
        self.position = np.float32((options or {}).get("position", drawn))
        return self._observation(), {"is_success": False, "start": float(self.position)}

    def step(self, action: NDArray[np.float32]) -> tuple[dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        self.position += action[0] / np.float32(self.mass)
        beyond = bool(self.position > 1)
        info: dict[str, Any] = {"is_success": beyond}
        if beyond:
            info["overshoot"] = float(self.position - 1)
        return self._observation(), float(self.position), beyond, False, info

    def render(self) -> NDArray[np.uint8]:
        return self._observation()["pixels"]

    def place(self, position: float) -> str:
        self.position = np.float32(position)
        return f"at {position}"

    def _observation(self) -> dict[str, NDArray[Any]]:
        brightness = np.uint8(np.clip(100 + 50 * self.position, 0, 255))
        return {"pixels": np.full((36, 36, 3), brightness), "position": np.array([self.position], np.float32)}


def make_point_mass() -> gym.Env[Any, Any]:
    return gym.wrappers.TimeLimit(PointMass(), LIMIT)


def make_adapter() -> SB3VecEnv:
    return SB3VecEnv(SyncVectorEnv([make_point_mass] * NUM_ENVS, autoreset_mode=AutoresetMode.SAME_STEP))


def draw_actions(steps: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-0.7, 1, (steps, NUM_ENVS, 1)).astype(np.float32)


def assert_same(ours: Any, theirs: Any) -> None:
    np.testing.assert_equal(ours, theirs)
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            assert_same(ours[key], value)
    else:
        assert type(ours) is type(theirs)


def test_steps_like_the_vec_env_of_sb3() -> None:
    ours, theirs = make_adapter(), DummyVecEnv([make_point_mass] * NUM_ENVS)
    ours.seed(7)
    theirs.seed(7)
    assert_same(ours.reset(), theirs.reset())
    ended: list[bool] = []
    for actions in draw_actions(30):
        observations, rewards, dones, infos = ours.step(actions)
        their_observations, their_rewards, their_dones, their_infos = theirs.step(actions)
        assert_same(observations, their_observations)
        assert_same(rewards, their_rewards)
        assert_same(dones, their_dones)
        for row, their_info in enumerate(their_infos):
            info = infos[row]
            if dones[row]:  # the new episode's info lies beneath: see `SB3VecEnv.step_wait`
                info = {key: value for key, value in info.items() if key in their_info}
                ended.append(info["TimeLimit.truncated"])
                assert info["is_success"] is not info["TimeLimit.truncated"]
            assert_same(info, their_info)
            assert_same(ours.reset_infos[row], theirs.reset_infos[row])
    assert {True, False} == set(ended)  # both by the time limit and by termination


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_refuses_other_autoreset_modes(mode: AutoresetMode) -> None:
    with pytest.raises(ValueError, match="SAME_STEP"):
        SB3VecEnv(SyncVectorEnv([make_point_mass], autoreset_mode=mode))


def test_seeds_and_options_are_used_once() -> None:
    env = make_adapter()
    env.seed(7)
    env.set_options({"position": 0.25})
    first: Any = env.reset()
    np.testing.assert_array_equal(first["position"], np.full((NUM_ENVS, 1), 0.25, np.float32))
    env.seed(7)
    seeded: Any = env.reset()
    assert len(np.unique(seeded["position"])) == NUM_ENVS
    after: Any = env.reset()
    assert not np.isin(after["position"], seeded["position"]).any()


def test_refuses_different_options_for_its_rows() -> None:
    env = make_adapter()
    env.set_options([{"position": 0.0}, {"position": 0.5}, {}])
    with pytest.raises(ValueError, match="share their reset options"):
        env.reset()


def test_attributes_and_methods_of_rows() -> None:
    env = make_adapter()
    env.reset()
    env.set_attr("mass", 2.0, indices=[1])
    assert env.get_attr("mass") == [1.0, 2.0, 1.0]
    assert env.get_attr("mass", indices=1) == [2.0]
    assert env.env_method("place", 0.5, indices=[0, 2]) == ["at 0.5", "at 0.5"]
    assert env.env_is_wrapped(gym.wrappers.TimeLimit) == [True] * NUM_ENVS
    assert env.env_is_wrapped(Monitor, indices=0) == [False]
    assert env.has_attr("mass") and not env.has_attr("colour")


def test_images_are_those_of_the_rows() -> None:
    env = make_adapter()
    observations: Any = env.reset()
    np.testing.assert_array_equal(env.get_images(), observations["pixels"])
    tiled = env.render()
    assert tiled is not None and tiled.shape == (2 * 36, 2 * 36, 3)


def test_works_under_the_wrappers_of_sb3() -> None:
    env = VecFrameStack(VecTransposeImage(VecMonitor(make_adapter(), info_keywords=("is_success",))), n_stack=2)
    env.seed(0)
    observations: Any = env.reset()
    assert observations["pixels"].shape == (NUM_ENVS, 6, 36, 36)
    for step in range(LIMIT):
        before = observations
        observations, _, dones, infos = env.step(np.full((NUM_ENVS, 1), 0.01, np.float32))
        assert dones.all() == (step == LIMIT - 1)
    for row, info in enumerate(infos):
        assert info["episode"]["l"] == LIMIT and info["episode"]["is_success"] is False
        terminal = info["terminal_observation"]
        assert terminal["pixels"].shape == (6, 36, 36)
        # Of the two stacked positions the older one is the present one of a step ago.
        assert terminal["position"][0] == before["position"][row, 1]
        assert terminal["position"][1] == pytest.approx(terminal["position"][0] + 0.01, abs=1e-6)
        assert observations["position"][row, 0] == 0  # the new episode has no past


def test_telemetry_alone_is_normalised() -> None:
    env = VecNormalize(VecMonitor(make_adapter()), norm_obs_keys=["position"], norm_reward=True)
    env.seed(0)
    observations: Any = env.reset()
    for actions in draw_actions(30):
        observations, _, dones, infos = env.step(actions)
        for row in np.flatnonzero(dones):
            terminal = infos[row]["terminal_observation"]
            assert terminal["pixels"].dtype == np.uint8 and np.abs(terminal["position"]).max() <= 10
    original: Any = env.get_original_obs()
    np.testing.assert_array_equal(observations["pixels"], original["pixels"])
    assert observations["pixels"].dtype == np.uint8
    assert not np.array_equal(observations["position"], original["position"])


def test_hindsight_asks_the_wrapper_for_rewards_whatever_the_batch(tiny_checkpoint: Path) -> None:
    vector: Any = gym.make_vec("GWM-BlockReach-v0", num_envs=4, model=tiny_checkpoint)
    vector.unwrapped.set_attr("_max_episode_steps", 5)
    pictures = vector.reset(seed=0)[0]["pixels"]
    env = VecMonitor(SB3VecEnv(VectorGoalImage(vector, pictures)))
    for batch in (1, 4, 7):  # 4 is the number of rows, whose results are not to be dealt out among them
        achieved = np.zeros((batch, 320), np.float32)
        rewards = env.env_method("compute_reward", achieved, achieved, [{}] * batch, indices=[0])
        np.testing.assert_array_equal(rewards[0], np.zeros(batch))
    agent = SAC(
        "MultiInputPolicy",
        env,
        replay_buffer_class=HerReplayBuffer,
        learning_starts=30,
        batch_size=4,
        policy_kwargs={"net_arch": [16]},
        device="cpu",
    )
    agent.learn(60)
    assert agent.num_timesteps == 60


@pytest.mark.parametrize("world", ["MuJoCo", "GWM"])
def test_native_vector_environments_end_with_their_last_frame(world: str, tiny_checkpoint: Path) -> None:
    options: dict[str, Any] = {"rendering": "fast"} if world == "MuJoCo" else {"model": tiny_checkpoint}
    vector = gym.make_vec(f"{world}-BlockReach-v0", num_envs=2, render_mode="rgb_array", **options)
    vector.unwrapped.set_attr("_max_episode_steps", 3)  # type: ignore[attr-defined]
    env = SB3VecEnv(vector)
    env.seed(5)
    env.reset()
    actions = np.zeros((2, 4), np.float32)
    for _ in range(2):
        before: Any
        before, _, dones, infos = env.step(actions)
        assert not dones.any() and not any("terminal_observation" in info for info in infos)
    observations, rewards, dones, infos = env.step(actions)
    assert dones.all() and rewards.dtype == np.float32
    for row, info in enumerate(infos):
        assert info["TimeLimit.truncated"] is True
        assert type(info["is_success"]) is bool and "final_info" not in info and "final_obs" not in info
        near, far = info["terminal_observation"]["agent_pos"], observations["agent_pos"][row]  # type: ignore[call-overload]
        assert np.abs(near - before["agent_pos"][row]).max() < np.abs(far - before["agent_pos"][row]).max()
        assert set(env.reset_infos[row]) >= {"is_success", "success"}
    assert len(env.get_images()) == 2
    env.close()


def test_ppo_learns_in_the_learned_world(tiny_checkpoint: Path) -> None:
    env = VecMonitor(SB3VecEnv(gym.make_vec("GWM-BlockReach-v0", num_envs=4, model=tiny_checkpoint)))
    model = PPO("MultiInputPolicy", env, n_steps=32, batch_size=64, n_epochs=1, seed=0, device="cpu")
    model.learn(128)
    assert model.ep_info_buffer is not None and len(model.ep_info_buffer) == 4


@pytest.mark.slow
def test_ppo_runs_in_the_shipped_stack_world() -> None:
    env = VecMonitor(SB3VecEnv(gym.make_vec("GWM-BlockStack-v0", num_envs=8)))
    model = PPO("MultiInputPolicy", env, n_steps=125, batch_size=250, n_epochs=2, seed=0, device="cpu")
    model.learn(2000)
    assert model.num_timesteps == 2000
    assert model.ep_info_buffer is not None and {episode["l"] for episode in model.ep_info_buffer} == {80}
