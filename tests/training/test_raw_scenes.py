"""From raw recordings to a world that knows where things are, by one command and the tracker as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bar_scenes import write_scenes

from gwm_sim import cli
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.schema import TRACKER
from gwm_sim.model.world_model import WorldModel


@pytest.mark.slow
def test_a_world_is_learned_of_the_things_that_are_found(tmp_path: Path) -> None:
    files = [write_scenes(tmp_path / name, count)[0] for name, count in (("bar.hdf5", 16), ("more.hdf5", 3))]
    words = ["train", "--data", *(str(file.path) for file in files), "--out", str(tmp_path / "world")]
    assert cli.main([*words, "--preset", "tiny", "--steps", "4", "--device", "cpu"]) == 0
    model = WorldModel.load(tmp_path / "world", "cpu")
    report = json.loads((tmp_path / "world/report.json").read_text(encoding="utf-8"))
    assert set(model.config.schema.object_names) == {"red", "blue"} and model.config.schema.object_frame == "image"
    assert report["objects"]["found_in_training"]["tracked"] == ["bar.hdf5", "more.hdf5"]
    for name in ("bar", "more"):
        with EpisodeFile(tmp_path / f"world/tracked/{name}.hdf5") as copy:
            assert copy.schema.settings[TRACKER] == report["objects"]["tracker"]
    assert report["files"][0]["untracked"] == ""  # what was found measures the model as well
