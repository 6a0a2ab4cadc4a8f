"""Labels say what a person said, go into a new file, and are kept when the person goes on later."""

from pathlib import Path

import numpy as np
import pytest
from recordings import write_file

from gwm_sim.commands.label import LabelConfig, Later, label_episodes, main, parse_episodes
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.errors import ConfigError


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_file(tmp_path / "recording.hdf5", range(5))  # of 5, 6, 7, 8 and 5 steps


def never(question: str) -> str:
    raise AssertionError("nobody is asked when the answers are given")


def test_given_episodes_become_labels_in_a_new_file(recording: Path, tmp_path: Path) -> None:
    before, out = recording.read_bytes(), tmp_path / "labelled.hdf5"
    config = LabelConfig(recording, out, success=("0", "2-3", "4@1"), task="pour")
    assert label_episodes(config, never) == {0: 1, 1: None, 2: 3, 3: 4, 4: 1}
    assert recording.read_bytes() == before
    with EpisodeFile(recording) as old, EpisodeFile(out) as new:
        assert new.schema.tasks == (*old.schema.tasks, "pour")
        assert new.schema.task == old.schema.task
        for k, (episode, labelled) in enumerate(zip(old, new, strict=True)):
            pour = labelled.labels["pour"]
            np.testing.assert_array_equal(pour.reward, pour.success)
            assert pour.success.sum() == [5, 0, 5, 5, 5][k]
            np.testing.assert_array_equal(labelled.frames["wrist"], episode.frames["wrist"])
            np.testing.assert_array_equal(labelled.labels["reach"].reward, episode.labels["reach"].reward)
            np.testing.assert_array_equal(labelled.actions, episode.actions)


def test_labels_that_are_there_can_be_replaced(recording: Path, tmp_path: Path) -> None:
    label_episodes(LabelConfig(recording, tmp_path / "out.hdf5", success=("none",), task="stack"), never)
    with EpisodeFile(tmp_path / "out.hdf5") as file:
        assert file.schema.tasks == ("reach", "stack")
        assert not any(episode.labels["stack"].success.any() for episode in file)


def test_a_person_is_asked_and_may_go_on_later(recording: Path, tmp_path: Path) -> None:
    config = LabelConfig(recording, tmp_path / "out.hdf5")
    asked: list[str] = []

    def answers(*words: str) -> None:
        left = iter(words)

        def ask(question: str) -> str:
            asked.append(question)
            return next(left)

        label_episodes(config, ask)

    with pytest.raises(Later):
        answers("y", "what?", "99", "2", "q")
    assert not config.out.exists()
    assert "0 to 6: from that step on" in asked[2]
    answers("n", "no", "0")
    assert [question for question in asked if question.startswith("episode 0")] == asked[:1]
    with EpisodeFile(config.out) as file:
        assert [int(episode.labels["task"].success.sum()) for episode in file] == [5, 5, 0, 0, 6]
    assert len(list((tmp_path / "out-pictures").glob("episode-*.png"))) == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [(["7"], "no episode 7"), (["1-x"], "such as 3, 5-9"), (["0@9"], "ends at step 5"), (["none", "0"], "got 'none'")],
)
def test_impossible_answers_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_episodes(words, [5, 6])


def test_other_answers_do_not_mix_with_those_of_a_killed_run(recording: Path, tmp_path: Path) -> None:
    config = LabelConfig(recording, tmp_path / "out.hdf5")
    with pytest.raises(Later):
        label_episodes(config, lambda question: "q")
    with pytest.raises(Later):  # nothing was written yet, so everything is still open
        label_episodes(LabelConfig(recording, config.out, task="other"), lambda question: "q")
    left = iter(["y", "q"])
    with pytest.raises(Later):
        label_episodes(config, lambda question: next(left))
    with pytest.raises(ConfigError, match="other settings"):
        label_episodes(LabelConfig(recording, config.out, success=("1",)), never)


def test_the_command_counts_and_warns(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.hdf5"
    assert main(LabelConfig(recording, out, success=("0-4",), json=tmp_path / "n.json")) == 0
    printed = capsys.readouterr().out
    assert "task in 5 of 5 episodes" in printed and "caution" in printed
    assert (tmp_path / "n.json").exists()
    with pytest.raises(ConfigError, match="exists already"):
        main(LabelConfig(recording, out, success=("0",)))
    with pytest.raises(ConfigError, match="one word"):
        main(LabelConfig(recording, tmp_path / "other.hdf5", task="a/b"))
