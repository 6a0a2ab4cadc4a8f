"""`gwm compare --real`: outcomes on a robot in place of the twin."""

import json
from pathlib import Path
from typing import Any

import pytest

from gwm_sim.cli import main
from gwm_sim.data.episode_file import EpisodeFile

POLICIES = ("scripted", "scripted:noise=0.4", "hold")
EPISODES = 7  # no multiple of the rows


def compare(model: Path, folder: Path, *words: str, policies: tuple[str, ...] = POLICIES) -> dict[str, Any]:
    """Numbers of a comparison."""
    report = folder / "numbers.json"
    own = ["--model", str(model), "--rows", "3", "--workers", "1", "--json", str(report)]
    assert main(["compare", "--policies", *policies, *own, *words]) == 0
    return dict(json.loads(report.read_text(encoding="utf-8")))


def write_table(path: Path, numbers: dict[str, Any]) -> None:
    """The twin's outcomes as a table, the later starts first."""
    rows = [
        f"{entry['policy']},{run['seed']},{int(run['success'])}"
        for entry in numbers["policies"]
        for run in reversed(entry["twin"]["episodes"])
    ]
    path.write_text("\n".join(["policy,start,success", *rows]), encoding="utf-8")


def near(found: Any, expected: Any) -> None:
    """Equal, numbers to 1e-9."""
    assert type(found) is type(expected), (found, expected)
    if isinstance(found, dict):
        assert found.keys() == expected.keys()
        for key in found:
            near(found[key], expected[key])
    elif isinstance(found, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            near(one, other)
    elif isinstance(found, float):
        assert found == pytest.approx(expected, abs=1e-9)
    else:
        assert found == expected


def test_a_table_made_from_the_twin_gives_the_twins_numbers(tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = ("--task", "reach", "--episodes", str(EPISODES))
    twin = compare(tiny_checkpoint, tmp_path, *words)
    table = tmp_path / "outcomes.csv"
    write_table(table, twin)
    real = compare(tiny_checkpoint, tmp_path, "--task", "reach", "--real", str(table))
    assert real["worlds"] == ["real", "learned"] and twin["worlds"] == ["twin", "learned"]
    for key in ("pearson", "spearman", "mmrv", "mean_gap", "intervals", "starts", "task", "model_hash"):
        near(real[key], twin[key])
    for entry, other in zip(real["policies"], twin["policies"], strict=True):
        for key in ("policy", "learned", "gap", "agreement", "kappa"):
            near(entry[key], other[key])
        for key in ("n", "success_rate", "interval"):
            near(entry["real"][key], other["twin"][key])


def test_recorded_episodes_are_where_a_world_of_ones_own_begins(
    tiny_checkpoint: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, page = tmp_path / "outcomes.csv", tmp_path / "page.html"
    rows = [
        f"{policy},{tiny_data}:{k},{trial},{int(trial + k > 0)},{int(k)}"
        for policy in ("hold", "lazy")
        for k in (0, 1)
        for trial in (0, 1)
    ]
    table.write_text("\n".join(["policy,episode,trial,reach,success", *rows]), encoding="utf-8")
    words = ("--env", "GWM-World-v0", "--task", "stack", "--real", str(table), "--report", str(page))
    numbers = compare(tiny_checkpoint, tmp_path, *words, policies=("hold", "lazy=uniform"))
    (entry, lazy), (stage,) = numbers["policies"], numbers["stages"]
    assert lazy["policy"] == "lazy" and entry["real"]["success_rate"] == 0.5 and entry["real"]["n"] == 4
    assert entry["real"]["repeatability"] == 1.0 and entry["learned"]["n"] == 2
    assert stage["stage"] == "reach" and stage["policies"][0]["real"]["rate"] == 0.75
    assert {"rate", "interval", "n"} <= stage["policies"][0]["learned"].keys()
    assert [start["start"] for start in numbers["starts"]] == [f"{tiny_data}:{k}" for k in (0, 1)]
    shares = [[start["by_policy"][i] for start in numbers["starts"]] for i in (0, 1)]
    assert [sum(share) / 2 for share in shares] == [entry["agreement"], lazy["agreement"]]
    told = capsys.readouterr().out
    assert "real" in told and "reach:" in told and "Pearson r" in told
    html = page.read_text(encoding="utf-8")
    assert "on the robot" in html and "Starts that they agree on least" in html and "<h2>reach</h2>" in html


def test_rates_alone_are_compared_where_nobody_knows_the_starts(tiny_checkpoint: Path, tmp_path: Path) -> None:
    table = tmp_path / "outcomes.csv"
    table.write_text("policy,success\nhold,0\nhold,0\nuniform,1\n", encoding="utf-8")
    words = ("--env", "GWM-World-v0", "--task", "stack", "--real", str(table), "--unpaired", "--episodes", "2")
    numbers = compare(tiny_checkpoint, tmp_path, *words, policies=("hold", "uniform"))
    assert "starts" not in numbers and "agreement" not in numbers["policies"][0]
    assert numbers["policies"][1]["real"]["success_rate"] == 1.0 and numbers["mean_gap"] is not None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("policy,start,success\nhold,999,1\n", "start 999 is none of tiny, which has"),
        ("policy,episode,success\nhold,DATA:999,1\n", "number 999 is not among them"),
        ("policy,start,success\nhold,0,2\n", "success must be 0 or 1"),
    ],
)
def test_starts_that_are_not_there_are_refused_before_anything_runs(
    table: str, message: str, tiny_checkpoint: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "outcomes.csv"
    path.write_text(table.replace("DATA", str(tiny_data)), encoding="utf-8")
    words = ["--env", "GWM-World-v0", "--task", "stack", "--model", str(tiny_checkpoint), "--real", str(path)]
    assert main(["compare", "--policies", "hold", *words]) == 2
    assert message in capsys.readouterr().err


def test_recorded_episodes_are_no_starts_of_the_block_world(
    tiny_checkpoint: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with EpisodeFile(tiny_data) as file:
        assert len(file) > 1
    path = tmp_path / "outcomes.csv"
    path.write_text(f"policy,episode,success\nhold,{tiny_data}:0,1\n", encoding="utf-8")
    assert main(["compare", "--policies", "hold", "--model", str(tiny_checkpoint), "--real", str(path)]) == 2
    assert "add --env GWM-World-v0" in capsys.readouterr().err
