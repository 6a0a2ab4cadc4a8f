"""`gwm run`: what is wrong is said before anything moves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import SCHEMA
from models import make_model

from gwm_sim import cli
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.errors import ConfigError
from gwm_sim.media.video import write_png, write_video
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.commands.run import RunConfig, main
from gwm_sim.policies.live.camera import CameraError


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return make_model(schema=SCHEMA)


@pytest.fixture(scope="module")
def checkpoint(model: WorldModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "random"
    model.save(folder)
    return folder


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a bench with a moving block."""
    path = tmp_path_factory.mktemp("films") / "bench.mp4"
    frames = np.full((30, 48, 64, 3), 120, np.uint8)
    for t, frame in enumerate(frames):
        frame[20:28, t : t + 8] = 220
    write_video(path, frames, rate=15.0)
    return path


@pytest.fixture
def goal(tmp_path: Path) -> Path:
    picture = np.full((48, 64, 3), 120, np.uint8)
    picture[20:28, 40:48] = 220
    write_png(tmp_path / "goal.png", picture)
    return tmp_path / "goal.png"


def test_run_on_a_video_file_records_and_reports(
    checkpoint: Path, film: Path, goal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cv2")
    out, numbers = tmp_path / "run.hdf5", tmp_path / "run.json"
    options = ["--model", str(checkpoint), "--camera", str(film), "--goal", str(goal), "--record", str(out)]
    slack = ["--max_age", "5", "--plan_deadline", "20", "--plan_seconds", "0.05"]
    code = cli.main(["run", *options, *slack, "--no-check_pictures", "--preview", "--json", str(numbers)])
    printed = capsys.readouterr()
    assert "dry run of null" in printed.out, printed
    assert ("the video is over" in printed.out) == (code == 0)  # a machine too busy for 10 Hz may end it as a fault
    assert numbers.is_file()
    with EpisodeFile(out) as file:
        assert file.schema.env_id == "robot:null" and len(file) == 1 and not file[0].actions.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"goal": (Path("nowhere.png"),)}, "--goal nowhere.png cannot be read: No such file"),
        ({"goal": ()}, "at least one picture"),
        ({"robot": "nul"}, "--robot nul is unknown; there are gym, mujoco, null. Did you mean null"),
        ({"camera": "no-such-film.mp4"}, "neither an index such as 0, nor a file that exists, nor a URL"),
        ({"camera": "robot"}, "--robot null has no camera of its own"),
        ({"rate": 20.0}, "--rate 20 is faster than the 10 Hz"),
        ({"rate": 0.0}, "rate must be positive"),
        ({"workspace": ("z",)}, "NAME=LOW:HIGH"),
        ({"dead_man": "space"}, "add --preview"),
        ({"record": Path(__file__)}, "exists already"),
    ],
)
def test_bad_input_is_refused_before_anything_moves(
    change: dict[str, Any], message: str, checkpoint: Path, film: Path, goal: Path
) -> None:
    pytest.importorskip("cv2")
    config = RunConfig(camera=str(film), goal=(goal,), model=str(checkpoint), move=True)
    with pytest.raises((ConfigError, CameraError), match=message):
        main(replace(config, **change))


def test_goals_that_do_not_fit_the_camera_are_refused(checkpoint: Path, film: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    config = RunConfig(camera=str(film), goal=(tmp_path / "goal.png",), model=str(checkpoint), move=True)
    write_png(tmp_path / "goal.png", np.full((50, 64, 3), 120, np.uint8))
    with pytest.raises(ConfigError, match="is 64 x 50 px, but the camera gives 64 x 48 and the model sees 32 x 32"):
        main(config)
    write_png(tmp_path / "goal.png", np.full((48, 64, 3), 60, np.uint8))
    with pytest.raises(ConfigError, match="is of another camera or scene"):
        main(config)
    (tmp_path / "goal.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match="neither PNG nor JPEG"):
        main(config)
