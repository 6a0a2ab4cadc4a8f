"""Which windows an open-loop test cuts out of drawn episodes, and what they hold."""

from pathlib import Path

import numpy as np
import pytest
from drawings import write_file

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.evaluation.open_loop import OpenLoopTest, Slot, plan

STEPS = 10


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six episodes of 30 steps."""
    return write_file(tmp_path_factory.mktemp("drawn") / "test.hdf5")


def test_plan_begins_every_five_steps_and_rolls_first_windows_to_the_end() -> None:
    assert plan([16, 3], horizons=(1, 10)) == [Slot(0, 0, 13), Slot(0, 5, 1), Slot(0, 10, 1)]


def test_windows_hold_the_recording(path: Path) -> None:
    with EpisodeFile(path) as file:
        test = OpenLoopTest(file, [1, 10, 20])
        numbers = []
        for windows in test.batches(size=7):
            for row, number in enumerate(windows.number.tolist()):
                numbers.append(number)
                slot = test.slots[number]
                episode, last = file[slot.episode], slot.start + 3
                np.testing.assert_array_equal(windows.frames[row], episode.frames["front"][slot.start : last + 1])
                np.testing.assert_array_equal(windows.past_actions[row], episode.actions[slot.start : last])
                np.testing.assert_array_equal(windows.actions[row], episode.actions[last : last + slot.steps])
                asked = [last + horizon for horizon in test.reached(slot.steps)]
                np.testing.assert_array_equal(windows.true_telemetry[row], episode.telemetry[asked])
                assert windows.to_end[row] == (slot.start == 0)
                assert windows.true_success[row].tolist() == [slot.episode % 3 == 1, slot.episode % 3 == 2]
        assert sorted(numbers) == list(range(len(test.slots)))


def test_foreign_actions_are_a_permutation_without_fixed_points(path: Path) -> None:
    with EpisodeFile(path) as file:
        test = OpenLoopTest(file, [1, 10, 20])
        foreign = test.foreign_actions(STEPS)
        own = {
            number: file[slot.episode].actions[slot.start + 3 : slot.start + 3 + STEPS]
            for number, slot in enumerate(test.slots)
            if slot.steps >= STEPS
        }
    assert foreign.keys() == own.keys()
    assert all((foreign[number] != own[number]).any() for number in own)
    assert sorted(actions.tolist() for actions in foreign.values()) == sorted(a.tolist() for a in own.values())
