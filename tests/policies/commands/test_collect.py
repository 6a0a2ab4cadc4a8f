"""Recording the twin: equal content for any number of workers, nothing lost to a kill, nothing overwritten."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("mujoco")

from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter, parts_folder
from gwm_sim.envs.blocks import spec
from gwm_sim.errors import ConfigError
from gwm_sim.files import exclusive
from gwm_sim.policies.blocks.recording import BlockRecorder as Recorder
from gwm_sim.policies.collection import CollectConfig, collect
from gwm_sim.policies.commands.collect import main
from gwm_sim.policies.uniform import HoldPolicy
from gwm_sim.policies.worker_pool import WorkerPool

SEED = 300_000
COMMAND = "--episodes 8 --steps 40 --seed 300000 --workers 2 --rendering fast".split()


def config(out: Path, **changes: object) -> CollectConfig:
    small = CollectConfig(episodes=8, out=out, seed=SEED, steps=40, workers=2, rendering="fast")
    return dataclasses.replace(small, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight mixed episodes of 40 steps, recorded without interruption by two workers."""
    path = tmp_path_factory.mktemp("recording") / "a.hdf5"
    assert main(config(path, json=path.with_suffix(".json"))) == 0
    return path


def digest(path: Path) -> str:
    with EpisodeFile(path) as file:
        return file.digest()


def test_recording_holds_what_was_asked_for(recording: Path) -> None:
    with EpisodeFile(recording) as file:
        assert file.lengths == [40] * 8
        assert file.seeds == list(range(SEED, SEED + 8))
        assert len(set(file.policies)) > 1
        episode = file[0]
    assert episode.frames["front"].shape == (41, 64, 64, 3)
    assert episode.labels.keys() == set(spec.TASKS)
    low, high = np.float32(spec.TELEMETRY_LOW), np.float32(spec.TELEMETRY_HIGH)
    assert ((episode.telemetry >= low) & (episode.telemetry <= high)).all()
    numbers = json.loads(recording.with_suffix(".json").read_text())
    assert (numbers["recorded"], numbers["digest"]) == (8, digest(recording))


def test_actions_lead_from_one_row_to_the_next(recording: Path) -> None:
    with EpisodeFile(recording) as file:
        for episode in file:
            command = episode.telemetry[:, spec.COMMAND].astype(float)
            expected = spec.integrate_command(command[:-1], episode.actions.astype(float))
            np.testing.assert_allclose(command[1:], expected, atol=1e-6)


def test_content_does_not_depend_on_the_number_of_workers(recording: Path, tmp_path: Path) -> None:
    collect(config(tmp_path / "b.hdf5", workers=1))
    assert digest(tmp_path / "b.hdf5") == digest(recording)


@pytest.mark.slow
def test_killed_recording_is_readable_and_resumes(recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "killed.hdf5"
    command = [sys.executable, "-m", "gwm_sim", "collect", *COMMAND, "--out", str(path)]
    with subprocess.Popen(command) as process:
        wait_for_parts(path, 1)
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    with EpisodeFile(path) as file:
        assert 1 <= len(file) < 8
        file.check()
    subprocess.run(command, check=True)
    assert digest(path) == digest(recording)
    assert not parts_folder(path).exists()


def test_interrupted_recording_says_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "interrupted.hdf5"
    more = ["--episodes", "5000"]  # than are recorded before the signal comes, however busy the machine is
    command = [sys.executable, "-m", "gwm_sim", "collect", *COMMAND, *more, "--out", str(path)]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which tests started in the background ignore
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        wait_for_parts(path, 1)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:  # people press again and again
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        _, message = process.communicate(timeout=40)
    assert "the same command goes on" in message
    assert process.returncode == 130, message


NOTHING, GO_ON = "No episode was finished: the same command begins anew", r"a\.hdf5\.parts: the same command goes on"


@pytest.mark.parametrize(
    ("moment", "told"),
    [((WorkerPool, "__enter__"), NOTHING), ((EpisodeWriter, "merge"), GO_ON), ((WorkerPool, "__exit__"), NOTHING)],
)
def test_interrupt_at_any_moment_says_how_to_go_on(
    moment: tuple[type, str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(*moment, interrupt)
    with pytest.raises(KeyboardInterrupt, match=told):
        collect(config(tmp_path / "a.hdf5", episodes=1, steps=2, workers=1))


def wait_for_parts(path: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(list(parts_folder(path).glob("*.hdf5"))) < count:
        assert time.monotonic() < deadline, "no episode was recorded in a minute"
        time.sleep(0.01)


@pytest.mark.slow
def test_finished_file_is_kept_and_extended(recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.hdf5"
    collect(config(path, episodes=3))
    assert collect(config(path, episodes=2)).summary.episodes == 3
    with pytest.raises(ConfigError, match=r"short\.hdf5 was made with other settings: settings\.seed: 300000, here 5"):
        collect(config(path, seed=5))
    assert collect(config(path)).recorded == 5
    assert digest(path) == digest(recording)


def test_steps_ignore_the_time_limit(tmp_path: Path) -> None:
    steps = spec.TIME_LIMIT["reach"] + 5
    recorder = Recorder(config(tmp_path / "c.hdf5", env="MuJoCo-BlockReach-v0", policy="hold", steps=steps))
    assert len(recorder.record(0)) == steps
    recorder.close()


def test_recorded_actions_are_the_executed_ones(tmp_path: Path) -> None:
    class Wild(HoldPolicy):
        def predict(self, *_: object, **__: object) -> tuple[NDArray[np.float64], None]:  # type: ignore[override]
            return np.array([3.0, -3.0, 0.1, 0.0]), None

    recorder = Recorder(config(tmp_path / "w.hdf5", steps=3), lambda env, seed: Wild(env.action_space))
    actions = recorder.record(0).actions
    recorder.close()
    assert actions.dtype == np.float32
    np.testing.assert_array_equal(actions, np.array([[1.0, -1.0, 0.1, 0.0]] * 3, np.float32))


def test_random_properties_are_drawn_and_stored(tmp_path: Path) -> None:
    recorder = Recorder(config(tmp_path / "d.hdf5", policy="hold", steps=1, properties="random"))
    drawn = [recorder.record(index).properties for index in range(3)]
    recorder.close()
    assert len({properties["gravity"] for properties in drawn}) == 3
    for name, (low, high) in spec.PROPERTY_RANGES.items():
        assert all(low <= properties[name] <= high for properties in drawn)


def test_stored_camera_projects_cubes_to_where_they_are_seen(tmp_path: Path) -> None:
    recorder = Recorder(config(tmp_path / "e.hdf5", policy="hold", steps=1))
    camera = recorder.schema().cameras["front"]
    for index in range(5):
        episode = recorder.record(index)
        assert episode.objects is not None
        red, green, blue = np.moveaxis(episode.frames["front"][0].astype(int), -1, 0)
        for cube, mask in enumerate([red - np.maximum(green, blue) > 50, blue - np.maximum(red, green) > 50]):
            rows, columns = np.nonzero(mask)
            column, row = camera.project(episode.objects[0, cube, :3])
            assert np.hypot(columns.mean() - column, rows.mean() - row) < 1.5
    recorder.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episodes": 0}, "--episodes must be at least 1, got 0"),
        ({"env": "CartPole-v1"}, "--env CartPole-v1 is no block environment"),
        ({"env": "MuJoCo-BlockStack-v9"}, "--env MuJoCo-BlockStack-v9 cannot be made"),
        ({"cameras": ("side",)}, "side"),
    ],
)
def test_impossible_options_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        collect(config(tmp_path / "f.hdf5", **changes))
    assert list(tmp_path.iterdir()) == []


def test_two_processes_cannot_record_one_file(tmp_path: Path) -> None:
    out = tmp_path / "a.hdf5"
    parts_folder(out).mkdir()
    with exclusive(parts_folder(out) / "lock", "it"), pytest.raises(ConfigError, match="another process works on"):
        collect(CollectConfig(episodes=1, steps=2, out=out, workers=1))
