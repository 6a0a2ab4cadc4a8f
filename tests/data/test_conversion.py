"""An import that was interrupted goes on where it stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import layouts
import numpy as np
import pytest
from importing import SIZE, config, imported

from gwm_sim import cli
from gwm_sim.commands.import_ import import_episodes
from gwm_sim.data.conversion.conversion import Conversion
from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter, parts_folder
from gwm_sim.errors import ConfigError


def digest(path: Path) -> str:
    with EpisodeFile(path) as file:
        return file.digest()


def command(source: Path, out: Path) -> list[str]:
    words = ["import", "folder", str(source), "--out", str(out), "--size", str(SIZE)]
    return [sys.executable, "-m", "gwm_sim", *words]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 120
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline, "nothing was imported in two minutes"
        time.sleep(0.005)


def kill(source: Path, out: Path, parts: int) -> int:
    """Kill an import when it has finished some episodes; return how many survived."""
    with subprocess.Popen(command(source, out)) as process:
        wait_for(lambda: len(list(parts_folder(out).glob("*.hdf5"))) >= parts, process)
        process.send_signal(signal.SIGKILL)
    if not out.exists():
        with EpisodeFile(out) as file:
            file.check()
            return len(file)
    return len(EpisodeFile(out))


@pytest.mark.slow
def test_killed_import_goes_on_where_it_stopped(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", [60] * 20)
    import_episodes(config("folder", tmp_path / "takes", tmp_path / "whole.hdf5"))
    out = tmp_path / "killed.hdf5"
    survived = kill(tmp_path / "takes", out, 2)
    assert survived >= 2
    result = import_episodes(config("folder", tmp_path / "takes", out))
    assert result.imported == 20 - survived
    assert digest(out) == digest(tmp_path / "whole.hdf5")
    assert not parts_folder(out).exists()
    assert import_episodes(config("folder", tmp_path / "takes", out)).imported == 0


@pytest.mark.parametrize(
    ("moment", "told"),
    [
        ((Conversion, "__init__"), "No episode was finished: the same command begins anew"),
        ((EpisodeWriter, "merge"), r"a\.hdf5\.parts: the same command goes on"),
    ],
)
def test_interrupt_at_any_moment_says_how_to_go_on(
    moment: tuple[type, str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    layouts.write_folder(tmp_path / "takes", [6])
    monkeypatch.setattr(*moment, interrupt)
    with pytest.raises(KeyboardInterrupt, match=told):
        import_episodes(config("folder", tmp_path / "takes", tmp_path / "a.hdf5"))


@pytest.mark.slow
def test_twenty_kills_lose_no_finished_episode(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", [60] * 20)
    whole, rng = tmp_path / "whole.hdf5", np.random.default_rng(0)
    began = time.monotonic()
    subprocess.run(command(tmp_path / "takes", whole), check=True)
    seconds = time.monotonic() - began
    for attempt in range(20):
        out = tmp_path / f"{attempt}.hdf5"
        with subprocess.Popen(command(tmp_path / "takes", out)) as process:
            time.sleep(rng.uniform(0.1, 1) * seconds)
            finished = {path.name for path in parts_folder(out).glob("*.hdf5")}
            process.send_signal(signal.SIGKILL)
        complete, kept = out.exists(), {path.name for path in parts_folder(out).glob("*.hdf5")}
        assert complete or finished <= kept
        result = import_episodes(config("folder", tmp_path / "takes", out))
        assert result.imported == (0 if complete else 20 - len(kept))
        assert digest(out) == digest(whole)


def test_other_settings_do_not_mix(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", (8, 8))
    imported("folder", tmp_path / "takes")
    with pytest.raises(ConfigError, match=r"was made with other settings: cameras\.front\.height: 32, here 16"):
        imported("folder", tmp_path / "takes", size=16)


def test_command_line_imports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layouts.write_folder(tmp_path / "takes", (8, 8))
    out, report = tmp_path / "a.hdf5", tmp_path / "a.json"
    words = ["import", "folder", str(tmp_path / "takes"), "--out", str(out), "--camera", "side", "--json", str(report)]
    assert cli.main(words) == 0
    assert "imported 2 episodes" in capsys.readouterr().out
    assert json.loads(report.read_text())["cameras"] == {"side": [64, 64]}
    assert cli.main(["import", "lerobot", str(tmp_path / "takes"), "--out", str(tmp_path / "b.hdf5")]) == 2
    assert "Give the folder of a LeRobot dataset" in capsys.readouterr().err


def test_rewards_beyond_one_are_no_labels_even_where_their_row_is_left_out(tmp_path: Path) -> None:
    layouts.write_robomimic(tmp_path / "demo.hdf5", (30, 30))
    with h5py.File(tmp_path / "demo.hdf5", "r+") as file:
        for demo in file["data"].values():
            demo["rewards"][...] = 0
            demo["rewards"][10] = 10  # row 11 is none of every fourth
    result = import_episodes(config("robomimic", tmp_path / "demo.hdf5", tmp_path / "a.hdf5", fps=5))
    assert any("from 0 to 10 were left out" in note for note in result.notes)
    with EpisodeFile(tmp_path / "a.hdf5") as file:
        assert file.schema.tasks == ()
