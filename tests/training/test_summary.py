"""The closing report says in words what its numbers mean, and says so when it cannot know."""

from pathlib import Path

import pytest

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT
from gwm_sim.training.summary import HORIZONS, choose, closing_report, copying, keeping, listening


def test_it_measures_the_validation_episodes_alone(tiny_data: Path, tiny_checkpoint: Path) -> None:
    model = WorldModel.load(tiny_checkpoint, "cpu")
    with EpisodeFile(tiny_data) as file:
        validation = [k % 10 == 9 for k in range(len(file))]
    report = closing_report(model, [tiny_data], validation)
    (numbers,) = report["files"]
    assert numbers["file"] == "tiny.hdf5"
    assert numbers["episodes"] == 5
    assert numbers["windows"] == 5 * (12 - CONTEXT + 1)
    assert set(numbers["horizons"]) == {"1", "5"}  # fewer than 20 windows reach 10 steps
    assert len(report["words"]) == 3
    assert "listens to the actions is not known" in report["words"][0]


def test_too_few_episodes_are_named(tiny_data: Path, tiny_checkpoint: Path) -> None:
    model = WorldModel.load(tiny_checkpoint, "cpu")
    report = closing_report(model, [tiny_data, tiny_data], [k == 3 for k in range(100)])
    assert all("too little was left for validation" in sentence for sentence in report["words"])
    assert report["words"][0].startswith("tiny.hdf5: ")


def test_windows_stay_in_their_episodes_and_are_not_too_many() -> None:
    lengths = [400, 12, 3]
    slots = choose(lengths, [0, 1, 2], 100)
    assert len(slots) == 100
    assert {slot.episode for slot in slots} == {0, 1}
    assert slots == sorted(slots)
    for slot in slots:
        assert slot.steps in HORIZONS
        assert slot.start + CONTEXT - 1 + slot.steps <= lengths[slot.episode]


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [(2.3, "it listens"), (1.2, "it hardly listens"), (1.0, "it is deaf"), (None, "is not known")],
)
def test_the_shuffle_ratio_is_judged(ratio: float | None, verdict: str) -> None:
    assert verdict in listening(ratio)


def column(fg_psnr: float | None, permanence: float | None = None) -> dict[str, float | int | None]:
    floor = None if fg_psnr is None else 20.0
    return {
        "fg_psnr": fg_psnr,
        "fg_psnr_floor": floor,
        "psnr": 30.0,
        "psnr_floor": 31.0,
        "object_permanence": permanence,
        "visible_objects": 0 if permanence is None else 9,
    }


def test_copying_ends_at_the_first_horizon_that_is_no_better() -> None:
    assert "up to 5 steps (0.5 s)." in copying({1: column(25), 5: column(21), 10: column(19), 25: column(22)}, 10)
    assert "up to 5 steps (0.2 s), the farthest" in copying({1: column(25), 5: column(21)}, 25)
    later = {1: column(19), 5: column(21), 10: column(22)}
    assert "from 5 to 10 steps (1.0 s), the farthest that was tried, and worse before" in copying(later, 10)
    assert "at 10 steps (1.0 s)" in copying({5: column(19), 10: column(21)}, 10)
    assert "no better than copying" in copying({1: column(None)}, 10)  # no foreground: the whole picture counts


def test_objects_are_kept_lost_or_unknown() -> None:
    assert "keeps objects: after 10 steps, 95%" in keeping({1: column(25, 1.0), 10: column(25, 0.95)}, ("red",))
    assert "loses objects: after 10 steps, 40%" in keeping({1: column(25, 1.0), 10: column(25, 0.4)}, ("red",))
    assert "no colour in their names (mug)" in keeping({1: column(25)}, ("mug",))
    assert "tracks no objects" in keeping({1: column(25)}, ())
