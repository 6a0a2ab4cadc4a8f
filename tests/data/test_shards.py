"""The parts of an import are together the import without parts, for whoever reads them or trains on them."""

from pathlib import Path

import h5py
import layouts
import numpy as np
import pytest
import torch
from importing import config

from gwm_sim import cli
from gwm_sim.commands.import_ import import_episodes
from gwm_sim.data.conversion.shards import Shard, parse_shard
from gwm_sim.data.episode import arrays_of
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.errors import ConfigError
from gwm_sim.training.dataset import load_training_data

DEMOS, PARTS = 12, 3


def write_demos(path: Path, valid: range) -> Path:
    layouts.write_robomimic(path, [6] * DEMOS)
    with h5py.File(path, "r+") as file:
        if len(valid):
            file["mask/valid"] = np.array([f"demo_{k}" for k in valid], dtype="S")
    return path


def import_parts(source: Path) -> list[Path]:
    """Import the parts, the last one first."""
    paths = [source.parent / f"part-{number}.hdf5" for number in range(1, PARTS + 1)]
    for number, path in reversed(list(enumerate(paths, 1))):
        import_episodes(config("robomimic", source, path, shard=f"{number}/{PARTS}"))
    return paths


def import_whole(source: Path) -> Path:
    import_episodes(config("robomimic", source, source.parent / "whole.hdf5"))
    return source.parent / "whole.hdf5"


@pytest.mark.parametrize("valid", [range(0), range(8, DEMOS)], ids=["no masks", "all of the last part"])
def test_parts_are_together_the_whole(valid: range, tmp_path: Path) -> None:
    source = write_demos(tmp_path / "demo.hdf5", valid)
    whole, parts = EpisodeFile(import_whole(source)), [EpisodeFile(path) for path in import_parts(source)]
    assert [len(part) for part in parts] == [4, 4, 4]
    assert [number for part in parts for number in part.numbers] == whole.numbers == list(range(DEMOS))
    assert all(part.schema.differences(whole.schema) == [] for part in parts)
    for ours, theirs in zip((episode for part in parts for episode in part), whole, strict=True):
        assert ours.masks == theirs.masks
        for (name, array), other in zip(arrays_of(ours).items(), arrays_of(theirs).values(), strict=True):
            np.testing.assert_array_equal(array, other, name)
    one, many = (load_training_data(files, ["agentview"]) for files in ([whole.path], [part.path for part in parts]))
    assert torch.equal(many.validation(), one.validation()) and one.validation().any()
    assert torch.equal(many.split, one.split) and torch.equal(many.telemetry, one.telemetry)


def test_parts_may_go_into_one_file(tmp_path: Path) -> None:
    source = write_demos(tmp_path / "demo.hdf5", range(0))
    for number in (2, 1, 3):
        import_episodes(config("robomimic", source, tmp_path / "joined.hdf5", shard=f"{number}/{PARTS}"))
    with EpisodeFile(tmp_path / "joined.hdf5") as joined, EpisodeFile(import_whole(source)) as whole:
        assert joined.digest() == whole.digest()


@pytest.mark.parametrize("text", ["0/3", "4/3", "x", "1/0", "-1/3", "1/2/3", ""])
def test_what_is_no_part_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="--shard must be I/N, .* such as 1/3"):
        parse_shard(text)
    words = ["import", "robomimic", str(tmp_path), "--out", str(tmp_path / "a.hdf5"), f"--shard={text}"]
    assert cli.main(words) == 2
    assert f"got {text!r}" in capsys.readouterr().err


def test_every_recording_is_in_one_part() -> None:
    for recordings in (5, 12, 17):
        parts = [Shard(number, 5).part_of(recordings) for number in range(1, 6)]
        assert [k for part in parts for k in part] == list(range(recordings))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    with pytest.raises(ConfigError, match="--shard 1/5 is empty: there are 3 recordings"):
        Shard(1, 5).part_of(3)


def test_things_are_not_looked_for_in_a_part(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gwm track --like"):
        config("robomimic", tmp_path, tmp_path / "a.hdf5", shard="1/3", track=True)
