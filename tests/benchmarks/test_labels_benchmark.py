"""`benchmarks/labels.py`: both kinds learn by the same command from the same frames, and are measured alike."""

import json
from pathlib import Path
from typing import Any

import labels
import numpy as np
import pytest
from recordings import make_episode, make_schema

from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter


def write(path: Path) -> None:
    writer = EpisodeWriter(path, make_schema())
    writer.write(0, make_episode(0))
    writer.merge()


def test_both_are_made_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def gwm(*words: object) -> None:
        told = [str(word) for word in words]
        commands.append(told)
        given = dict(zip(told[1:], told[2:], strict=False))
        if told[0] == "collect":
            write(Path(given["--out"]))
        elif told[0] == "export":
            write(Path(told[3]))
        elif told[0] == "train":
            out = Path(given["--out"])
            out.mkdir()
            (out / "report.json").write_text('{"words": ["it listens"]}')
            (out / "run.json").write_text('{"options": {"minutes": 1.0}}')
        else:
            Path(given["--json"]).write_text(json.dumps({"data": Path(given["--data"]).name}))

    monkeypatch.setattr(labels, "gwm", gwm)
    monkeypatch.setattr(labels, "unwatched", lambda model: 1000.0)
    config = labels.LabelsConfig(minutes=1, folder=tmp_path / "runs", results=tmp_path / "results")
    labels.main(config)
    one, other = (words for words in commands if words[0] == "train")
    differing = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    assert [Path(a).name for a, _ in differing] == ["train.hdf5", "raw", "blocks-raw"]
    assert [Path(b).name for _, b in differing] == ["train.labelled.hdf5", "labelled", "blocks-labelled"]
    result: dict[str, Any] = json.loads((tmp_path / "results/short.json").read_text())
    for kind in ("raw", "labelled"):
        assert result[kind]["test"]["data"] == "test.labelled.hdf5" and result[kind]["dim"]["data"] == "test.dim.hdf5"
    before = len(commands)
    labels.main(config)
    assert len(commands) == before, "nothing is made again"


def test_the_second_test_is_darker(tmp_path: Path) -> None:
    write(tmp_path / "test.hdf5")
    labels.dimmed(tmp_path / "test.hdf5", tmp_path / "dim.hdf5")
    with EpisodeFile(tmp_path / "test.hdf5") as bright, EpisodeFile(tmp_path / "dim.hdf5") as dark:
        for name, frames in bright[0].frames.items():
            np.testing.assert_allclose(dark[0].frames[name], 0.7 * frames.astype(float), atol=0.51)
        np.testing.assert_array_equal(dark[0].telemetry, bright[0].telemetry)
