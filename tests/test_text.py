"""Text of any language, in any locale."""

import json
from pathlib import Path

import pytest
from verbs import gwm

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.media.video import write_video

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_texts_with_accents_pass_an_ascii_locale(tiny_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    task, robot = "schiebe die Tasse zu Zoé 杯", "Roboter für 杯"
    assert gwm("export", "lerobot", tiny_data, tmp_path / "set", "--task", task, PYTHONUTF8="1").returncode == 0
    info = tmp_path / "set/meta/info.json"
    meta = json.loads(info.read_text(encoding="utf-8")) | {"robot_type": robot}
    text = json.dumps(meta, ensure_ascii=False)
    info.write_text("\ufeff" + text, encoding="utf-8")  # with the mark that editors of Windows put in front
    out, report = tmp_path / "épisodes.hdf5", tmp_path / "ü.json"
    done = gwm("import", "lerobot", tmp_path / "set", "--out", out, "--json", report, **ASCII)
    assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text(encoding="utf-8"))["imported"] == 50
    with EpisodeFile(out) as file:
        assert file.schema.env_id == robot
    shown = gwm("inspect", out, **ASCII)
    assert shown.returncode == 0 and "digest" in shown.stdout, shown.stderr


def test_a_table_with_accents_is_read_in_an_ascii_locale(tiny_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "log/ep0"
    with EpisodeFile(tiny_data) as file:
        write_video(folder / "front.mp4", file.read(0).frames["front"], 10)
    rows = "".join(f"{k / 10},{k / 100}\n" for k in range(13))
    (folder / "robot.csv").write_text(f"\ufeffstate.höhe [m],action.höhe [m]\n{rows}", encoding="utf-8")
    out = tmp_path / "log.hdf5"
    done = gwm("import", "folder", folder.parent, "--actions", "delta", "--fps", "10", "--out", out, **ASCII)
    assert done.returncode == 0, done.stderr
    with EpisodeFile(out) as file:
        assert file.schema.telemetry_names == ("höhe",)
    assert "h\\xf6he" in gwm("inspect", out, **ASCII).stdout


def test_a_name_that_the_locale_does_not_know_is_one_line(tiny_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    done = gwm("export", "lerobot", tiny_data, tmp_path / "set", "--task", "zu Zoé", **ASCII)
    assert done.returncode == 2 and "PYTHONUTF8=1" in done.stderr and "Traceback" not in done.stderr
