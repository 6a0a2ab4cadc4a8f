"""The client `runway-robotics-sdk`, as it is on PyPI, drives a world of `gwm serve`."""

import gc
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from learned_worlds import draw_actions
from numpy.typing import NDArray
from servers import command

from gwm_sim.data.pictures.videos import frame_count
from gwm_sim.envs.blocks import spec
from gwm_sim.media.video import enlarge
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.picture_start import picture_start
from gwm_sim.policies.planning import Guide

sdk: Any = pytest.importorskip("runway_robotics_sdk", reason="needs `pip install runway-robotics-sdk==0.1.0`")

pytestmark = pytest.mark.filterwarnings(  # pipes to ffmpeg that imageio leaves open
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

CHUNKS = (17, 6, 17)  # a short one is filled up by the client, which throws away what comes of that
LEAST_PSNR = 35.0  # of a film after its compression [dB]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, str]]:
    """Address and token of `gwm serve` in a process of its own."""
    with command() as (_, url):
        address, _, token = url.partition("/#token=")
        yield address, token
    gc.collect()  # while the warnings are expected


def path_of(actions: NDArray[np.float32], begins: NDArray[np.float32]) -> NDArray[np.float64]:
    """Poses (T, 7) to which actions (T, 4) lead from where the end-effector is commanded to be, the gripper open."""
    poses, command_ = [], begins.astype(np.float64)
    for action in actions:
        command_ = spec.integrate_command(command_, action)
        poses.append([*command_, 3.14, 0.0, 0.0, 0.0])
    return np.array(poses)


def moments(address: str, token: str, session: str) -> list[dict[str, Any]]:
    headers = {"authorization": f"Bearer {token}"}
    asked = urllib.request.Request(f"{address}/v1/sessions/{session}/moments", headers=headers)
    with urllib.request.urlopen(asked, timeout=20) as answer:
        told: list[dict[str, Any]] = json.load(answer)["moments"]
    return told


def test_the_film_that_the_sdk_gets_is_that_of_the_local_world(server: tuple[str, str], tmp_path: Path) -> None:
    address, token = server
    model = WorldModel.load("gwm-mini")
    env = gym.make("gwm_sim:GWM-World-v0", model=model, time_limit=None)
    picture = env.reset(seed=5)[0]["pixels"]
    begun, _ = env.reset(options=picture_start(model, Guide.beside(model, "gwm-mini"), picture, "the picture"))
    poses = path_of(0.9 * draw_actions(sum(CHUNKS)), begun["agent_pos"][spec.COMMAND])
    sessions = []

    def note(response: Any) -> None:
        response.read()
        sessions.append(response.json().get("session"))

    client = sdk.RunwayRobotics(api_key=token, base_url=f"{address}/runway/gwm-mini")
    client._client._client.event_hooks["response"].append(note)
    world = client.world_model.create(enlarge(picture, 4))
    for chunk in np.split(poses, np.cumsum(CHUNKS)[:-1]):
        out = world.step(chunk)
    world.save(tmp_path / "film.mp4")
    assert len(world.frames) == frame_count(tmp_path / "film.mp4") == sum(CHUNKS)
    assert np.array_equal(out.base_image, world.frames[-1]) and out.wrist_image is None
    assert len({session for session in sessions if session}) == 1  # one world all along

    for moment, pose, frame in zip(moments(address, token, sessions[-1])[1:], poses, world.frames, strict=True):
        observation, *_ = env.step(np.array(moment["action"], np.float32))
        assert observation["agent_pos"].tolist() == moment["agent_pos"]
        assert np.abs(observation["agent_pos"][spec.COMMAND] - pose[:3]).max() < 1e-5
        error = np.square(enlarge(observation["pixels"], 6).astype(np.float64) - frame).mean()
        assert 10 * np.log10(255**2 / error) >= LEAST_PSNR
    env.close()


def test_the_sdk_says_why_there_is_no_world(server: tuple[str, str]) -> None:
    address, token = server
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    pose = [[0.5, 0.0, 0.2, 3.14, 0.0, 0.0, 0.0]]
    client = sdk.RunwayRobotics(api_key=token, base_url=f"{address}/runway/gwm-mini")
    with pytest.raises(sdk.GenerationError, match="looks like nothing that gwm-mini was trained on"):
        client.world_model.create(noise).step(pose)
    with pytest.raises(sdk.GenerationError, match="proportions of one view, 64 x 64"):
        client.world_model.create(noise, noise).step(pose)
    stranger = sdk.RunwayRobotics(api_key="wrong", base_url=f"{address}/runway/gwm-mini")
    with pytest.raises(sdk.AuthenticationError):
        stranger.world_model.create(noise).step(pose)
    elsewhere = sdk.RunwayRobotics(api_key=token, base_url=f"{address}/runway/gwm-maxi")
    with pytest.raises(sdk.APIStatusError, match="no model 'gwm-maxi'"):
        elsewhere.world_model.create(noise).step(pose)
