"""`gwm imagine` writes the episodes that a model imagines, says whose they are, and refuses what cannot be."""

import json
from pathlib import Path

import pytest

from gwm_sim import EpisodeFile, WorldModel, cli
from gwm_sim.commands.imagine import ImagineConfig
from gwm_sim.errors import ConfigError
from gwm_sim.protocol import CONTEXT


def test_recordings_become_imagined_episodes(
    tiny_data: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report = tmp_path / "imagined.hdf5", tmp_path / "numbers" / "imagined.json"
    words = ["imagine", "--data", str(tiny_data), "--out", str(out), "--model", str(tiny_checkpoint), "--limit", "2"]
    assert cli.main([*words, "--device", "cpu", "--json", str(report)]) == 0
    printed, numbers = capsys.readouterr().out, json.loads(report.read_text())
    digest = WorldModel.load(tiny_checkpoint).digest()
    assert f"imagined by tiny ({digest})" in printed and f"digest {numbers['digest']}" in printed
    assert numbers["settings"]["imagined"] == {"model": "tiny", "hash": digest}
    assert (numbers["episodes"], numbers["left_out"]) == (2, 0)
    with EpisodeFile(tiny_data) as recorded, EpisodeFile(out) as imagined:
        for real, dream in zip((recorded[0], recorded[1]), imagined, strict=True):
            assert (dream.actions == real.actions).all()
            assert (dream.telemetry[:CONTEXT] == real.telemetry[:CONTEXT]).all()
            assert (dream.telemetry[CONTEXT:] != real.telemetry[CONTEXT:]).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"limit": 0}, "at least 1"), ({"out": Path("a.hdf5")}, "never changed"), ({"device": "cuda"}, "no GPU here")],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ImagineConfig(**{"data": Path("a.hdf5"), "out": Path("b.hdf5"), **options})  # type: ignore[arg-type]
