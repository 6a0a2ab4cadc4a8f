"""What is exported comes back the same, to the last action; imagined episodes say so wherever they go."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import models
import numpy as np
import pytest
import torch
from exporting import LENGTHS, SIZE, export, psnr, smooth_episode, smooth_schema, write_smooth
from importing import imported
from recordings import make_camera, make_schema, write_file

from gwm_sim import cli
from gwm_sim.commands.export import ExportConfig
from gwm_sim.commands.import_ import ImportConfig, import_episodes
from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter
from gwm_sim.data.exporters.summaries import Summaries
from gwm_sim.data.formats import detect
from gwm_sim.data.schema import Schema
from gwm_sim.errors import ConfigError, DataError
from gwm_sim.model.imagination import imagine_episode, imagine_episodes
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT

CAMERAS = {
    "robomimic": ("front", "wrist"),
    "lerobot": ("front", "wrist"),
    "minari": ("pixels", "pixels_wrist"),
}
"""What cameras `front` and `wrist` are called after export and import."""


@pytest.mark.parametrize(
    ("format", "options"),
    [("robomimic", {}), ("lerobot", {"codec": "av1"}), ("lerobot", {"codec": "h264"}), ("minari", {})],
)
def test_what_is_exported_comes_back_to_the_last_action(format: str, options: dict[str, Any], tmp_path: Path) -> None:
    file = write_smooth(tmp_path / "own.hdf5")
    out = export(format, file, tmp_path / "out-v0", **options)
    assert detect(out) == format
    rate = 10.0 if format == "minari" else None  # the one format that does not know it
    back = tmp_path / "back.hdf5"
    import_episodes(ImportConfig(format, out, back, size=SIZE, fps=rate))
    with EpisodeFile(file) as ours, EpisodeFile(back) as theirs:
        assert theirs.lengths == ours.lengths == list(LENGTHS)
        assert theirs.schema.rate == ours.schema.rate
        for own, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(other.telemetry, own.telemetry)
            np.testing.assert_array_equal(other.actions, own.actions)
            (labels,) = other.labels.values()
            np.testing.assert_array_equal(labels.reward[1:], own.labels["stack"].reward[1:])
            if format != "robomimic":  # which knows rewards only
                np.testing.assert_array_equal(labels.success[1:], own.labels["stack"].success[1:])
            for camera, name in zip(("front", "wrist"), CAMERAS[format], strict=True):
                assert psnr(other.frames[name], own.frames[camera]) > (30 if format == "lerobot" else 100)


def test_robomimic_needs_no_views_and_no_other_file(tmp_path: Path) -> None:
    own = EpisodeFile(write_file(tmp_path / "own.hdf5"))
    out = export("robomimic", own.path, tmp_path / "out.hdf5")
    with h5py.File(out, "r", swmr=True, libver="latest") as file:  # as SequenceDataset opens it
        virtual: list[str] = []
        file.visititems(
            lambda name, item: virtual.append(name) if isinstance(item, h5py.Dataset) and item.is_virtual else None
        )
        assert not virtual
        data = file["data"]
        assert data.attrs["total"] == sum(own.lengths)
        assert len(data) == 12
        assert json.loads(data.attrs["env_args"])["env_kwargs"] == {"size": 16, "control_freq": 10.0}
        for k in (0, 10):
            demo, episode = data[f"demo_{k}"], own[k]
            assert demo.attrs["num_samples"] == len(episode) and demo.attrs["seed"] == k
            np.testing.assert_array_equal(demo["obs/front_image"], episode.frames["front"][:-1])
            np.testing.assert_array_equal(demo["next_obs/front_image"], episode.frames["front"][1:])
            np.testing.assert_array_equal(demo["next_obs/agent_pos"], episode.telemetry[1:])
            np.testing.assert_array_equal(demo["rewards"], episode.labels["stack"].reward[1:])
            np.testing.assert_array_equal(demo["objects"], episode.objects)
            assert demo["dones"][:].tolist() == [0] * (len(episode) - 1) + [1]
            assert {len(demo[view][key]) for view in ("obs", "next_obs") for key in demo[view]} == {len(episode)}


def test_robomimic_masks_share_out_all_demos(tmp_path: Path) -> None:
    own = write_file(tmp_path / "own.hdf5")
    with h5py.File(export("robomimic", own, tmp_path / "out.hdf5", valid=0.25)) as file:
        train, valid = ([name.decode() for name in file[f"mask/{part}"]] for part in ("train", "valid"))
        assert len(valid) == 3
        assert sorted(train + valid) == sorted(file["data"])
    with pytest.raises(ConfigError, match="one episode cannot be split"):
        export("robomimic", own, tmp_path / "one.hdf5", valid=0.1, limit=1)


def test_minari_spaces_are_those_of_an_environment(tmp_path: Path) -> None:
    own = EpisodeFile(write_file(tmp_path / "own.hdf5"))
    out = export("minari", own.path, tmp_path / "my set-v3")
    metadata = json.loads((out / "data/metadata.json").read_text())
    assert metadata["dataset_id"] == "my-set-v3" and metadata["minari_version"] == "0.5.3"
    assert (metadata["total_episodes"], metadata["total_steps"]) == (12, sum(own.lengths))
    spaces = json.loads(metadata["observation_space"])["subspaces"]
    assert {key: (box["dtype"], box["shape"]) for key, box in spaces.items()} == {
        "agent_pos": ("float32", [3]), "pixels": ("uint8", [16, 16, 3]), "pixels_wrist": ("uint8", [8, 8, 3])
    }  # fmt: skip
    assert np.shape(spaces["pixels"]["high"]) == (16, 16, 3)
    action_space = json.loads(metadata["action_space"])
    assert (action_space["low"], action_space["high"]) == ([-1, -1], [1, 1])
    with h5py.File(out / "data/main_data.hdf5") as file:
        for k, length in enumerate(own.lengths):
            group, episode = file[f"episode_{k}"], own[k]
            assert (group.attrs["id"], group.attrs["total_steps"], group.attrs["seed"]) == (k, length, k)
            assert group.attrs["options/properties/friction"] == episode.properties["friction"]
            assert group["observations"].keys() == spaces.keys()
            assert len(group["observations/agent_pos"]) == length + 1
            assert group["rewards"].dtype == np.float64
            assert group["truncations"][:].tolist() == [False] * (length - 1) + [True]
            np.testing.assert_array_equal(group["infos/success"], episode.labels["stack"].success)
            np.testing.assert_array_equal(group["infos/labels/reach/reward"], episode.labels["reach"].reward)


@pytest.mark.parametrize("format", ["robomimic", "lerobot", "minari"])
def test_unlabelled_recordings_without_objects_are_exported(format: str, tmp_path: Path) -> None:
    schema = smooth_schema(tasks=(), task=None, object_names=())
    writer = EpisodeWriter(tmp_path / "own.hdf5", schema)
    writer.write(0, dataclasses.replace(smooth_episode(0, 6), labels={}, objects=None, seed=None))
    writer.merge()
    assert export(format, tmp_path / "own.hdf5", tmp_path / "out", codec="h264").exists()


@pytest.mark.parametrize("format", ["robomimic", "lerobot", "minari"])
@pytest.mark.parametrize("succeeded", [None, True, False])
def test_nobody_judges_what_was_never_judged(format: str, succeeded: bool | None, tmp_path: Path) -> None:
    schema = smooth_schema(tasks=(), task=None, object_names=())
    writer = EpisodeWriter(tmp_path / "own.hdf5", schema)
    plain = dataclasses.replace(smooth_episode(0, 6), labels={}, objects=None, seed=None, policy="demonstration")
    for k, instruction in enumerate((None, "put the cup away")):
        writer.write(k, dataclasses.replace(plain, succeeded=succeeded, instruction=instruction))
    writer.merge()
    out = export(format, tmp_path / "own.hdf5", tmp_path / "x" / "out-v0", codec="h264")
    file, episodes = imported(format, out, **({"fps": 10.0} if format == "minari" else {}))
    assert file.schema.tasks == () and not any(episode.labels for episode in episodes)
    if format == "robomimic":
        assert [episode.succeeded for episode in episodes] == [succeeded] * 2
    else:
        assert [episode.policy for episode in episodes] == ["demonstration"] * 2
    if format != "minari":  # which has no place for words
        assert [episode.instruction for episode in episodes] == [None, "put the cup away"]


@pytest.mark.parametrize("format", ["robomimic", "lerobot", "minari"])
def test_depth_that_is_left_out_is_named(format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = EpisodeWriter(tmp_path / "own.hdf5", smooth_schema(depth=("front",)))
    episode = smooth_episode(0, 6)
    writer.write(0, dataclasses.replace(episode, depth={"front": np.ones((7, 64, 64, 1), np.uint16)}))
    writer.merge()
    assert cli.main(["export", format, str(tmp_path / "own.hdf5"), str(tmp_path / "out-v0")]) == 0
    assert "left out: depth of front" in capsys.readouterr().out


@pytest.mark.parametrize("format", ["robomimic", "lerobot", "minari"])
def test_what_exists_is_not_overwritten(format: str, tmp_path: Path) -> None:
    own = write_file(tmp_path / "own.hdf5", (0,))
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for taken in (own, tmp_path, tmp_path / "link"):
        with pytest.raises(ConfigError, match="exists already and is not overwritten"):
            export(format, own, taken)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "own.hdf5"]


@pytest.mark.parametrize("format", ["robomimic", "lerobot", "minari"])
def test_failing_leaves_nothing_behind(format: str, tmp_path: Path) -> None:
    own = write_smooth(tmp_path / "own.hdf5")
    with h5py.File(own, "r+") as file:
        file["data/demo_2/telemetry"][3, 1] = np.nan
    with pytest.raises(DataError, match="holds nan at row 3 column 1"):
        export(format, own, tmp_path / "out", codec="h264")
    assert [path.name for path in tmp_path.iterdir()] == ["own.hdf5"]


def test_options_of_another_format_are_refused(tmp_path: Path) -> None:
    for options, message in (
        ({"valid": 0.1}, "--valid is for robomimic"),
        ({"task": "Stack."}, "--task is for lerobot"),
        ({"limit": 0}, "--limit must be at least 1"),
        ({"valid": 1.0}, "--valid must be a share"),
    ):
        with pytest.raises(ConfigError, match=message):
            ExportConfig("minari", tmp_path, tmp_path, **options)


def test_command_prints_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = write_file(tmp_path / "own.hdf5", range(2))
    words = ["export", "robomimic", str(own), str(tmp_path / "out.hdf5"), "--json", str(tmp_path / "numbers.json")]
    assert cli.main(words) == 0
    assert "2 episodes, 13 frames of front, wrist, 10 Hz" in capsys.readouterr().out
    assert json.loads((tmp_path / "numbers.json").read_text())["imagined"] is None
    assert cli.main(words) == cli.USAGE_ERROR


def test_summaries_of_parts_are_those_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    pictures, numbers = rng.integers(0, 256, (9, 4, 6, 3), np.uint8), rng.normal(size=(9, 2))
    parts, whole = Summaries(), Summaries()
    for rows in (slice(0, 2), slice(2, 9)):
        parts.add_pictures("picture", pictures[rows])
        parts.add_numbers("number", numbers[rows])
    whole.add_pictures("picture", pictures)
    whole.add_numbers("number", numbers)
    assert parts.of_all() == whole.of_all()


def imaginable_schema() -> Schema:
    """The schema of the world that the small random model of these tests knows."""
    numbers = [f"state_{i}" for i in range(models.TELEMETRY)]
    return dataclasses.replace(
        make_schema(),
        telemetry_names=tuple(numbers),
        telemetry_units=("m",) * models.TELEMETRY,
        telemetry_low=(0.0,) * models.TELEMETRY,
        telemetry_high=(1.0,) * models.TELEMETRY,
        action_names=("dx", "dy", "dz"),
        action_low=(-1.0,) * models.ACTIONS,
        action_high=(1.0,) * models.ACTIONS,
        cameras={"front": make_camera(32)},
        effector=(0, 1, 2),
    )


def write_imaginable(path: Path, lengths: Sequence[int] = (6, 3, 8)) -> Path:
    """Recordings of that world; the second is too short to imagine anything after its context."""
    writer = EpisodeWriter(path, imaginable_schema())
    for k, length in enumerate(lengths):
        rng, episode = np.random.default_rng(k), smooth_episode(300_000 + k, length)
        writer.write(
            k,
            dataclasses.replace(
                episode,
                frames={"front": episode.frames["front"][:, ::2, ::2]},
                telemetry=rng.random((length + 1, models.TELEMETRY), np.float32),
                actions=rng.uniform(-1, 1, (length, models.ACTIONS)).astype(np.float32),
            ),
        )
    writer.merge()
    return path


def test_imagined_episodes_follow_the_recorded_actions(tmp_path: Path) -> None:
    model = models.make_model(schema=imaginable_schema())
    recorded = EpisodeFile(write_imaginable(tmp_path / "recorded.hdf5"))
    assert imagine_episodes(model, recorded, tmp_path / "imagined.hdf5") == 2
    imagined = EpisodeFile(tmp_path / "imagined.hdf5")
    imagined.check()
    assert imagined.lengths == [6, 8] and imagined.seeds == [300_000, 300_002]
    assert imagined.schema.settings["imagined"] == {"model": "test", "hash": model.digest()}
    assert imagined.schema.settings["recordings"] == {"file": "recorded.hdf5", "digest": recorded.digest()}
    assert imagined.schema.tasks == ("reach", "stack") and imagined.schema.task == "stack"
    truth, dream = recorded[2], imagined[1]
    np.testing.assert_array_equal(dream.actions, truth.actions)
    np.testing.assert_array_equal(dream.frames["front"][:CONTEXT], truth.frames["front"][:CONTEXT])
    np.testing.assert_array_equal(dream.telemetry[:CONTEXT], truth.telemetry[:CONTEXT])
    frames, telemetry, actions = (
        torch.from_numpy(x)[None] for x in (truth.frames["front"], truth.telemetry, truth.actions)
    )
    friction = torch.tensor([[truth.properties["friction"], torch.nan]])
    state = model.encode(frames[:, :CONTEXT], telemetry[:, :CONTEXT], actions[:, : CONTEXT - 1], friction)
    rollout = model.imagine(state, actions[:, CONTEXT - 1 :])
    np.testing.assert_array_equal(dream.frames["front"][CONTEXT:], model.decode(rollout)[0].numpy())
    np.testing.assert_array_equal(dream.telemetry[CONTEXT:], rollout.telemetry[0].numpy())
    assert dream.objects is not None
    np.testing.assert_array_equal(dream.objects[CONTEXT:, :, :3], rollout.objects[0].numpy())
    np.testing.assert_array_equal(dream.objects[CONTEXT - 1, :, :3], state.objects[0].numpy())
    assert (dream.objects[..., 3:] == [1, 0, 0, 0]).all()
    np.testing.assert_array_equal(dream.labels["stack"].reward[CONTEXT:], rollout.reward[0, :, 1].numpy())
    np.testing.assert_array_equal(dream.labels["reach"].success[CONTEXT:], rollout.success[0, :, 0].numpy() > 0.5)


def test_model_without_objects_imagines_none(tmp_path: Path) -> None:
    model = models.make_model(objects=0, schema=imaginable_schema())
    recorded = EpisodeFile(write_imaginable(tmp_path / "recorded.hdf5", (5,)))
    imagine_episodes(model, recorded, tmp_path / "imagined.hdf5")
    assert EpisodeFile(tmp_path / "imagined.hdf5")[0].objects is None


def test_imagining_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.make_model(schema=imaginable_schema())
    recorded = EpisodeFile(write_imaginable(tmp_path / "recorded.hdf5"))
    imagine_episodes(model, recorded, tmp_path / "imagined.hdf5", limit=1)
    calls = []

    def counted(model: WorldModel, episode: Episode) -> Episode:
        calls.append(len(episode))
        return imagine_episode(model, episode)

    monkeypatch.setattr("gwm_sim.model.imagination.imagine_episode", counted)
    imagine_episodes(model, recorded, tmp_path / "imagined.hdf5")
    assert calls == [8]
    with pytest.raises(ConfigError, match="was made with other settings: settings.imagined.hash"):
        imagine_episodes(models.make_model(seed=1, schema=imaginable_schema()), recorded, tmp_path / "imagined.hdf5")


def test_too_short_recordings_are_refused(tmp_path: Path) -> None:
    recorded = EpisodeFile(write_imaginable(tmp_path / "recorded.hdf5", (3,)))
    with pytest.raises(ConfigError, match="no episode has 4 actions"):
        imagine_episodes(models.make_model(schema=imaginable_schema()), recorded, tmp_path / "imagined.hdf5")


def test_imagined_episodes_say_so_in_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = models.make_model(schema=imaginable_schema())
    recorded = EpisodeFile(write_imaginable(tmp_path / "recorded.hdf5", (6,)))
    own = tmp_path / "imagined.hdf5"
    imagine_episodes(model, recorded, own)
    who = {"model": "test", "hash": model.digest()}
    assert cli.main(["export", "robomimic", str(own), str(tmp_path / "out.hdf5")]) == 0
    assert f"imagined by test ({model.digest()})" in capsys.readouterr().out
    with h5py.File(tmp_path / "out.hdf5") as file:
        assert json.loads(file["data"].attrs["imagined"]) == who
    for format, path in (("lerobot", "meta/info.json"), ("minari", "data/metadata.json")):
        out = export(format, own, tmp_path / format, codec="h264")
        metadata = json.loads((out / path).read_text())
        assert metadata["imagined"] == metadata["gwm_sim"]["settings"]["imagined"] == who
    assert "Imagined by the world model test" in metadata["description"]
