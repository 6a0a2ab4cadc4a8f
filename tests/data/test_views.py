"""Worlds of several cameras: one that stands still and one on the arm, with depth, and with futures that differ."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import once
from rich.console import Console

from gwm_sim.commands.eval import EvalConfig, evaluate, show_report
from gwm_sim.commands.train import main as train
from gwm_sim.data.episode_file import DEPTH_UNIT, EpisodeFile
from gwm_sim.data.views import apart, main_view, side_by_side
from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.view_agreement import ViewAgreement, summarize
from gwm_sim.envs.spaces import depth_key, image_key
from gwm_sim.envs.tabletop.paired import start_pair, twin_options
from gwm_sim.envs.wrappers import GoalImage, VectorGoalImage
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.open_loop import OpenLoopTest
from gwm_sim.model.imagination import imagine_episode
from gwm_sim.model.rendering.renderer import project
from gwm_sim.model.state import PhysicalState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.blocks.experts import expert
from gwm_sim.policies.collection import CollectConfig
from gwm_sim.policies.commands.collect import main as collect
from gwm_sim.policies.planning import Goal
from gwm_sim.policies.planning.objectives import latent_distance
from gwm_sim.training.config import PRESETS, TrainConfig
from gwm_sim.training.dataset import load_training_data

CAMERAS = ("front", "wrist")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes of both cameras, with depth."""

    def record(path: Path) -> None:
        settings: dict[str, Any] = {"cameras": CAMERAS, "depth": True, "rendering": "fast", "size": 32}
        collect(CollectConfig(episodes=12, steps=12, out=path, workers=1, **settings))

    return once(tmp_path_factory, "views.hdf5", record)


@pytest.fixture(scope="module")
def checkpoint(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of both cameras that knows several futures."""

    def learn(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(PRESETS, "several", replace(PRESETS["tiny"], noise=3))
            train(TrainConfig(data=(recording,), out=folder, preset="several", steps=80, camera=CAMERAS, device="cpu"))

    return once(tmp_path_factory, "several", learn)


@pytest.fixture
def model(checkpoint: Path) -> WorldModel:
    return WorldModel.load(checkpoint, "cpu")


def opening(recording: Path, rows: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Frames, telemetry and actions of the beginning of an episode, as one row."""
    with EpisodeFile(recording) as file:
        episode = file.read(0, 0, rows)
    given = (side_by_side(episode.frames, CAMERAS), episode.telemetry, episode.actions)
    frames, telemetry, actions = (torch.from_numpy(x)[None] for x in given)
    return frames, telemetry, actions


def test_views_stand_side_by_side() -> None:
    views = {name: np.full((2, 3, 4, 3), i, np.uint8) for i, name in enumerate(("a", "b", "c"))}
    picture = side_by_side(views, ("b", "a"))
    assert picture.shape == (2, 3, 8, 3)
    assert apart(picture, ("b", "a")).keys() == {"a", "b"}
    for name in ("a", "b"):
        np.testing.assert_array_equal(apart(picture, ("b", "a"))[name], views[name])
    np.testing.assert_array_equal(main_view(picture, ("b", "a")), views["b"])
    assert side_by_side(views, ("c",)) is views["c"]


def test_recorded_depth_is_what_the_twin_measures(recording: Path) -> None:
    with EpisodeFile(recording) as file:
        episode = file[0]
        kwargs = file.schema.env_kwargs
        assert file.schema.depth == CAMERAS
    assert episode.depth["front"].shape == (13, 32, 32, 1)
    env = gym.make("MuJoCo-BlockStack-v0", **kwargs)
    observation, _ = env.reset(seed=episode.seed)
    for camera in CAMERAS:
        measured = observation[depth_key(camera)]
        np.testing.assert_allclose(episode.depth[camera][0] * DEPTH_UNIT, measured, atol=DEPTH_UNIT)
    env.close()


def test_a_camera_on_the_arm_is_followed(recording: Path, model: WorldModel) -> None:
    """Where the renderer expects a cube in the wrist's view, the twin's own camera has it, at every step."""
    env: Any = gym.make("MuJoCo-BlockStack-v0", cameras=CAMERAS, size=32, rendering="fast")
    env.reset(seed=0)
    token = model.config.tokenizer.token
    assert model.renderer is not None and model.renderer.rides == (False, True)
    for step in range(8):
        observation, *_ = env.step(np.array([0.5, -0.5 + 0.2 * step, -0.6, 0.0], np.float32))
        places = torch.from_numpy(env.unwrapped.objects()[:, :3])
        hand = torch.from_numpy(observation["agent_pos"][spec.EE])
        origins = (torch.zeros(3), hand)
        for view, camera, origin in zip(model.renderer.view, CAMERAS, origins, strict=True):
            tokens, _ = project(view, (places - origin).float())
            pixels = token * tokens + (token - 1) / 2
            np.testing.assert_allclose(pixels, env.unwrapped.camera_info()[camera].project(places), atol=0.5)
    env.close()


def test_both_views_are_encoded_imagined_and_decoded(recording: Path, model: WorldModel) -> None:
    frames, telemetry, actions = opening(recording)
    state = model.encode(frames, telemetry, actions)
    assert state.codes.shape[1] == model.config.dynamics.tokens == 2 * 2 * 2
    state = model.step(state, torch.zeros(1, 4))
    assert model.decode(state).shape == (1, 32, 64, 3)
    assert model.depth(state).shape == (1, 32, 32, 1)
    rollout = model.imagine(state, torch.zeros(1, 3, 4))
    assert model.decode(rollout).shape == (1, 3, 32, 64, 3)
    assert model.depth(rollout).shape == (1, 3, 32, 32, 1)


def test_views_are_coded_apart(recording: Path, model: WorldModel) -> None:
    frames, _, _ = opening(recording)
    other = frames.clone()
    other[..., 32:, :] = 255 - other[..., 32:, :]
    half = model.config.dynamics.tokens // 2
    codes, changed = model.tokenizer.encode(frames), model.tokenizer.encode(other)
    assert torch.equal(codes[..., :half, :], changed[..., :half, :])
    assert not torch.equal(codes[..., half:, :], changed[..., half:, :])
    assert torch.equal(model.tokenizer.decode(codes[..., :half, :]), model.tokenizer.decode(codes)[..., :32, :])


def test_the_main_view_alone_is_enough_to_begin(recording: Path, model: WorldModel) -> None:
    """What the other camera sees is then drawn for robot and objects."""
    frames, telemetry, actions = opening(recording)
    whole, alone = (model.encode(x, telemetry, actions) for x in (frames, frames[..., :32, :]))
    half = model.config.dynamics.tokens // 2
    assert torch.equal(alone.codes[:, :half], whole.codes[:, :half])
    assert torch.equal(alone.objects, whole.objects)
    body = PhysicalState(alone.telemetry[:, None], alone.objects[:, None])
    assert torch.equal(alone.codes[:, half:], model.unseen(body, alone.residual[:, None]))
    shown = model.decode(alone)
    assert torch.equal(shown[:, :, :32], frames[:, -1, :, :32])
    assert torch.equal(shown[:, :, 32:], model.tokenizer.decode(alone.codes)[:, :, 32:])
    with pytest.raises(ValueError, match="frames must have shape"):
        model.encode(frames[..., :48, :], telemetry, actions)


def test_the_environment_shows_both_views_and_depth(checkpoint: Path) -> None:
    env = gym.make("GWM-World-v0", model=checkpoint, depth=True, device="cpu")
    observation, _ = env.reset(seed=3)
    assert observation.keys() == {"pixels", "pixels_wrist", "depth_front", "agent_pos"}
    for _ in range(2):
        assert env.observation_space.contains(observation)
        observation, *_ = env.step(np.zeros(4, np.float32))
    rows = gym.make_vec("GWM-World-v0", num_envs=2, model=checkpoint, depth=True, device="cpu")
    batch, _ = rows.reset(seed=3)
    assert rows.observation_space.contains(batch)
    one, _ = env.reset(seed=3)
    for key, value in one.items():
        np.testing.assert_allclose(batch[key][0], value, atol=1e-5)
    with pytest.raises(ValueError, match="'front' and 'wrist', not"):
        gym.make("GWM-World-v0", model=checkpoint, cameras=("front",), device="cpu")


def test_the_twin_begins_where_a_world_of_both_views_does(checkpoint: Path, model: WorldModel) -> None:
    learned = gym.make("GWM-World-v0", model=checkpoint, device="cpu")
    twin = gym.make("MuJoCo-BlockStack-v0", **twin_options(model.config))
    start = start_pair(twin, learned, seed=5)
    assert start.frames.shape == (4, 32, 64, 3)
    world = learned.unwrapped.world_model  # type: ignore[attr-defined]
    state = learned.unwrapped.get_state()[0]  # type: ignore[attr-defined]
    seen = world.encode(*(torch.from_numpy(x)[None] for x in (start.frames, start.telemetry, start.actions)))
    assert torch.equal(state.codes, seen.codes)
    np.testing.assert_array_equal(learned.unwrapped.get_state()[1], start.frames[-1])  # type: ignore[attr-defined]
    future = int(state.future[0])
    start_pair(twin, learned, seed=5)
    assert int(learned.unwrapped.get_state()[0].future[0]) == future  # type: ignore[attr-defined]
    twin.close()


def test_a_world_begun_at_the_main_view_shows_both(checkpoint: Path, recording: Path) -> None:
    frames, telemetry, _ = opening(recording)
    main = frames[0, -1, :, :32].numpy()
    env = gym.make("GWM-World-v0", model=checkpoint, device="cpu")
    observation, _ = env.reset(options={"frames": main, "telemetry": telemetry[0, -1].numpy()})
    assert env.observation_space.contains(observation)
    np.testing.assert_array_equal(observation["pixels"], main)


def test_goals_are_pictures_of_the_main_camera(checkpoint: Path, recording: Path, model: WorldModel) -> None:
    frames, telemetry, actions = opening(recording)
    both, main = frames[0, -1].numpy(), frames[0, -1, :, :32].numpy()
    env = gym.make("GWM-World-v0", model=checkpoint, device="cpu")
    start = {"frames": frames[0].numpy(), "telemetry": telemetry[0].numpy(), "actions": actions[0].numpy()}
    for goal in (main, both):
        env.reset(seed=0, options={**start, "goal": goal})
        _, reward, *_ = env.step(np.zeros(4, np.float32))
        assert float(reward) <= 0
    rollout = model.imagine(model.encode(frames, telemetry, actions), torch.zeros(1, 2, 4))
    for goal in (main, both):
        measure = latent_distance(model.config.tokenizer.levels)
        assert measure(rollout, torch.zeros(1, 2, 4), Goal.image(model, goal)).shape == (1, 2)
    with pytest.raises(ValueError, match=r"must be \(32, 32, 3\) uint8"):
        Goal.image(model, main[:16])


def test_goals_of_the_wrappers_may_show_all_views_or_the_main_one(checkpoint: Path, recording: Path) -> None:
    frames, _, _ = opening(recording)
    for width in (32, 64):
        here = frames[0, -1, :, :width].numpy()
        goals = np.stack((here, 255 - here))
        env = GoalImage(gym.make("GWM-World-v0", model=checkpoint, device="cpu"), goals)
        vector = VectorGoalImage(gym.make_vec("GWM-World-v0", num_envs=2, model=checkpoint, device="cpu"), goals)
        assert env.observation_space.contains(env.reset(seed=0)[0])
        env.step(np.zeros(4, np.float32))
        one, _ = vector.reset(seed=0, options={"goal": 1})
        both, _ = vector.reset(seed=0, options={"goal": [0, 1]})
        np.testing.assert_array_equal(one["desired_goal"][1], both["desired_goal"][1])
        np.testing.assert_array_equal(one["desired_goal"][0], one["desired_goal"][1])
        assert np.abs(both["desired_goal"][0] - one["desired_goal"][0]).sum() > 0
        assert vector.observation_space.contains(vector.step(np.zeros((2, 4), np.float32))[0])


def test_a_seed_chooses_one_of_several_futures(checkpoint: Path) -> None:
    """The same start goes on in one way for one seed, and in others for others; in a batch as alone."""

    def follow(env: Any, seed: int) -> np.ndarray[Any, Any]:
        env.reset(seed=seed, options={"bank": 0})
        return np.stack([env.step(np.full(4, 0.3, np.float32))[0]["agent_pos"] for _ in range(6)])

    env = gym.make("GWM-World-v0", model=checkpoint, device="cpu")
    rows: Any = gym.make_vec("GWM-World-v0", num_envs=2, model=checkpoint, device="cpu")
    worlds: tuple[Any, ...] = (env, rows)
    for world in worlds:
        chance: Any = world.unwrapped.world_model.dynamics.chance
        with torch.no_grad():
            chance.weight.mul_(1000)  # hardly any of it is learned in a few steps
    rows.reset(seed=1, options={"bank": 0})
    batch = np.stack([rows.step(np.full((2, 4), 0.3, np.float32))[0]["agent_pos"] for _ in range(6)], axis=1)
    for row in range(2):
        np.testing.assert_allclose(batch[row], follow(env, 1 + row), atol=1e-4)
    rows.reset(seed=[5, 6], options={"reset_mask": np.array([True, False])})
    futures = rows.unwrapped.get_state()[0].future
    rows.reset(seed=[7, 6], options={"reset_mask": np.array([True, False])})
    again = rows.unwrapped.get_state()[0].future
    assert futures[0] != again[0] and futures[1] == again[1]
    np.testing.assert_array_equal(follow(env, 1), follow(env, 1))
    assert not np.array_equal(follow(env, 1), follow(env, 2))
    state = env.unwrapped.get_state()  # type: ignore[attr-defined]
    ahead = [env.step(np.zeros(4, np.float32))[0]["agent_pos"] for _ in range(3)]
    env.unwrapped.set_state(state)  # type: ignore[attr-defined]
    again = [env.step(np.zeros(4, np.float32))[0]["agent_pos"] for _ in range(3)]
    np.testing.assert_array_equal(ahead, again)


def test_without_a_seed_the_most_likely_future_comes(recording: Path, model: WorldModel) -> None:
    chance: Any = model.dynamics.chance
    start = model.encode(*opening(recording))
    start = type(start).join([start, start])
    actions = torch.zeros(2, 5, 4)
    one = model.imagine(start, actions)
    torch.testing.assert_close(one.telemetry[0], one.telemetry[1])
    start.future = torch.tensor([-1, 7])
    with torch.no_grad():
        chance.weight.mul_(1000)
    both = model.imagine(start, actions)
    torch.testing.assert_close(both.telemetry[0], one.telemetry[0])
    assert not torch.allclose(both.telemetry[1], one.telemetry[1])
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    sampled = model.step(start, actions[:, 0], generators).telemetry
    assert not torch.allclose(sampled[0], sampled[1])
    assert not torch.allclose(sampled[0], one.telemetry[0, 0])


def test_windows_and_episodes_hold_both_views(recording: Path, model: WorldModel, tmp_path: Path) -> None:
    with EpisodeFile(recording) as file:
        window = OpenLoopTest(file, [3], cameras=CAMERAS).opening(0, 3)
        assert window.frames.shape[1:] == (4, 32, 64, 3)
        imagined = imagine_episode(model, file.read(0, cameras=CAMERAS))
    assert {name: frames.shape for name, frames in imagined.frames.items()} == dict.fromkeys(CAMERAS, (13, 32, 32, 3))
    report = evaluate(EvalConfig(model=str(model.folder), data=recording, horizons=(1, 4), json=tmp_path / "e.json"))
    assert json.loads((tmp_path / "e.json").read_text())["horizons"].keys() == {"1", "4"}
    assert report["horizons"]["1"]["psnr"] > 0
    assert report["views"].keys() == {"model", "twin"}
    assert report["depth_error_mm"]["1"] > 0
    with (tmp_path / "words.txt").open("w") as words:
        show_report(report, Console(file=words, width=120))
    said = (tmp_path / "words.txt").read_text()
    assert "views agree on a held cube" in said and "depth error [mm]" in said


def test_a_known_world_is_learned_to_be_seen_otherwise(tiny_checkpoint: Path, recording: Path, tmp_path: Path) -> None:
    """Pictures of another size and number; what happens stays as it was learned."""
    words: dict[str, Any] = {"preset": "tiny", "steps": 4, "camera": CAMERAS, "device": "cpu"}
    out = tmp_path / "seen"
    train(TrainConfig(data=(recording,), out=out, init=str(tiny_checkpoint), phases=("tokenizer", "painter"), **words))
    before, after = (WorldModel.load(folder, "cpu") for folder in (tiny_checkpoint, out))
    theirs = before.state_dict()
    for name, value in after.state_dict().items():
        if name.startswith(("dynamics.", "task_head.")) and not name.startswith("dynamics.robot_points."):
            assert torch.equal(value, theirs[name]), name
    with pytest.raises(ConfigError, match="does not fit the data"):
        train(TrainConfig(data=(recording,), out=out, init=str(tiny_checkpoint), phases=("painter",), **words))


@pytest.mark.slow
def test_fine_tuning_keeps_futures_and_depth(checkpoint: Path, recording: Path, tmp_path: Path) -> None:
    words: dict[str, Any] = {"preset": "tiny", "steps": 3, "camera": CAMERAS, "device": "cpu", "init": str(checkpoint)}
    shallow = tmp_path / "shallow.hdf5"
    settings: dict[str, Any] = {"cameras": CAMERAS, "rendering": "fast", "size": 32, "workers": 1}
    collect(CollectConfig(episodes=12, steps=12, out=shallow, seed=40, **settings))  # the arm begins elsewhere
    before = WorldModel.load(checkpoint, "cpu")
    for data, learned in ((recording, ("dynamics",)), (shallow, ("painter",))):
        out = tmp_path / learned[0]
        train(TrainConfig(data=(data,), out=out, phases=learned, **words))
        after = WorldModel.load(out, "cpu")
        assert after.config.dynamics.noise == 3
        assert after.config.dynamics.view == before.config.dynamics.view
        assert before.depth_head is not None and after.depth_head is not None
        assert torch.equal(after.depth_head.background, before.depth_head.background)
    for asked in (("depth",), ("locator", "depth")):
        with pytest.raises(ConfigError, match="collect them with --depth"):
            train(TrainConfig(data=(shallow,), out=tmp_path / "no", phases=asked, **words))


def test_what_cannot_be_seen_is_refused(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="wrist rides on the robot"):
        train(TrainConfig(data=(recording,), out=tmp_path / "no", preset="tiny", steps=4, camera=("wrist", "front")))
    with pytest.raises(ConfigError, match="has no camera 'top'"):
        load_training_data([recording], ("front", "top"))


def test_views_agree_on_a_held_cube_unless_one_of_them_lacks_it() -> None:
    env: Any = gym.make("MuJoCo-BlockGrasp-v0", cameras=CAMERAS, size=64, rendering="fast")
    observation, _ = env.reset(seed=0)
    cameras, first = env.unwrapped.camera_info(), observation["agent_pos"][spec.EE]
    empty = observation["pixels_wrist"]
    policy, state = expert(env), None
    while not env.unwrapped.labels()["grasp"][1]:
        action, state = policy.predict(observation, state)
        observation, *_ = env.step(action)
    agreement = ViewAgreement(cameras, spec.OBJECT_NAMES, first)
    views = {camera: observation[image_key(camera)][None] for camera in CAMERAS}
    hand, places = observation["agent_pos"][None, spec.EE], env.unwrapped.objects()[None, :, :3]
    votes = agreement.votes(views, hand, places, hand)
    assert votes.tolist() == [[True, True]]
    assert agreement.in_hand(views["wrist"], "wrist", hand).tolist() == [[True, False]]
    lacking = agreement.votes({**views, "wrist": empty[None]}, hand, places, hand)
    assert lacking.tolist() == [[True, False]]
    away = places + [0.0, 0.0, 0.1]  # nothing is held: there is nothing to agree on
    assert agreement.votes(views, hand, away, hand).shape == (0, 2)
    lost = np.zeros((1, 2), bool)  # both views have lost it: they agree, and show it nowhere
    assert summarize(np.concatenate((votes, lacking, lost))) == {"agree": 2 / 3, "in_hand": 1 / 3, "n": 3}
    env.close()
