"""Tables of outcomes on a robot: what they say, and what is refused before anything runs."""

from pathlib import Path

import pytest

from gwm_sim.errors import ConfigError
from gwm_sim.policies.outcomes import Outcomes, read_outcomes

POLICIES = ("act", "bc")
GOOD = "policy,start,success\nact,3,1\nact,4,0\nbc,4,0\nbc,3,0\n"


def read(folder: Path, text: str, policies: tuple[str, ...] = POLICIES, unpaired: bool = False) -> Outcomes:
    path = folder / "outcomes.csv"
    path.write_text(text, encoding="utf-8")
    return read_outcomes(path, policies, unpaired)


def test_trials_are_ordered_by_start_whatever_their_order(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert found.starts == (3, 4) and found.paired
    assert found.trials(POLICIES).successes.tolist() == [[1, 0], [0, 0]]
    assert found.records["act"].success_rate == 0.5 and found.records["act"].repeatability is None


def test_several_trials_say_how_well_the_robot_repeats_itself(tmp_path: Path) -> None:
    rows = [f"act,0,{trial},{int(trial < 3)}" for trial in range(4)] + [f"act,1,{trial},true" for trial in range(4)]
    found = read(tmp_path, "policy,start,trial,success\n" + "\n".join(rows), ("act",)).records["act"]
    assert found.success_rate == 7 / 8 and found.successes == 7
    assert found.repeatability == pytest.approx((0.5 + 1) / 2)


def test_stages_are_columns_of_verdicts_and_notes_are_none(tmp_path: Path) -> None:
    text = "policy,start,reached,grasped,notes,success\nact,0,1,1,slipped,0\nact,1,1,0,,0\n"
    found = read(tmp_path, text, ("act",))
    assert found.stages == ("reached", "grasped") and found.left_out == ("notes",)
    assert [trial.stages for trial in found.records["act"].trials] == [(True, True), (True, False)]


def test_episodes_are_found_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "takes.hdf5").touch()
    found = read(tmp_path, "policy,episode,success\nact,takes.hdf5:2,1\n", ("act",))
    assert found.starts == (f"{tmp_path / 'takes.hdf5'}:2",)


def test_rates_alone_need_no_starts(tmp_path: Path) -> None:
    found = read(tmp_path, "policy,success\nact,1\nact,0\nbc,1\n", unpaired=True)
    assert not found.paired and found.records["bc"].success_rate == 1.0
    assert found.trials(POLICIES).tried.tolist() == [[2], [1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no trial"),
        ("policy,start,success\n", "holds no trial"),
        ("policy,start\nact,3\n", "no column success"),
        ("policy,success\nact,1\nbc,1\n", "no column start or episode"),
        ("policy,start,episode,success\nact,3,a:1,1\n", "both columns start and episode"),
        (GOOD + "act,5\n", "line 6 has 2 cells, the header has 3"),
        (GOOD + "pi0,3,1\n", "line 6: 'pi0' is none of --policies act bc"),
        ("policy,start,success\nact,3,1\n", "no trial of bc"),
        (GOOD.replace("bc,3,0\n", ""), "lacks trials of bc from 3"),
        (GOOD + "act,,1\n", "line 6 does not say where the trial began"),
        (GOOD + "act,x,1\n", "start must be a whole number from 0, got 'x'"),
        (GOOD + "act,-1,1\n", "start must be a whole number"),
        (GOOD.replace("act,3,1", "act,3,2"), "line 2: success must be 0 or 1, got '2'"),
        (GOOD.replace("act,3,1", "act,3,"), "line 2: success must be 0 or 1, got ''"),
        (GOOD + "act,3,1\n", "lines 2 and 6 are both act from start 3: leave one out, or tell trials apart"),
        (
            "policy,start,trial,success\nact,3,1,1\nact,3,1,0\nbc,3,1,1\n",
            "lines 2 and 3 are both trial 1 of act from start 3",
        ),
        ("policy,episode,success\nact,gone.hdf5:0,1\n", "no episode file"),
        ("policy,episode,success\nact,gone.hdf5,1\n", 'must be "FILE:K"'),
        ("policy,start,grasped,success\nact,3,0,1\n", "success is 1 and grasped is 0"),
        ("policy,start,grasped,success\nact,3,1,1\nact,4,2,1\n", "line 3: grasped must be 0 or 1, got '2'"),
        ("policy,policy,success\nact,3,1\n", "the column 'policy' is there twice"),
        ("policy,start,success\n,3,1\n", "line 2 names no policy"),
        ("policy,start,success,\nact,3,1,\n", "column 4 has no name"),
        ("policy;start;success\nact;3;1\n", "no column policy and success; its columns are policy;start;success"),
        ('policy,start,success\nact,3,"' + "1" * 200_000, "line 2 is no CSV"),
    ],
)
def test_malformed_tables_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as told:
        read(tmp_path, text)
    assert message in str(told.value)


def test_a_table_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_outcomes(tmp_path / "missing.csv", POLICIES)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="not text in UTF-8"):
        read_outcomes(tmp_path / "binary.csv", POLICIES)


def test_starts_are_no_part_of_an_unpaired_comparison(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leave out --unpaired"):
        read(tmp_path, GOOD, unpaired=True)
