"""Episodes that were judged for some tasks alone teach nothing of the others, and masks say which ones validate."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recordings import TASKS, make_episode, make_schema

from gwm_sim import cli
from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter
from gwm_sim.evaluation.open_loop import OpenLoopTest
from gwm_sim.model.heads import TaskHead
from gwm_sim.training.config import PRESETS
from gwm_sim.training.dataset import load_training_data


def own_task(k: int) -> str:
    return TASKS[k % 2]


def judged_for_one(k: int) -> Episode:
    episode = make_episode(k)
    return replace(episode, labels={own_task(k): episode.labels[own_task(k)]})


def write(path: Path, episodes: list[Episode], tracked: bool = True) -> Path:
    schema = make_schema()
    writer = EpisodeWriter(path, schema if tracked else replace(schema, object_names=()))
    for k, episode in enumerate(episodes):
        writer.write(k, episode if tracked else replace(episode, objects=None))
    writer.merge()
    return path


def head_loss(reward: torch.Tensor, success: torch.Tensor, weight: torch.Tensor | None = None) -> list[torch.Tensor]:
    """Both losses of fixed logits, and their gradients."""
    logits = torch.linspace(-2, 2, 2 * reward.numel()).view(2, *reward.shape).requires_grad_()
    head = TaskHead.__new__(TaskHead)
    losses = TaskHead.loss(head, (logits[0], logits[1]), reward, success, weight)
    (losses[0] + losses[1]).backward()
    assert logits.grad is not None
    return [*losses, logits.grad]


def test_labels_of_one_task_come_back_alone(tmp_path: Path) -> None:
    file = EpisodeFile(write(tmp_path / "a.hdf5", [judged_for_one(k) for k in range(4)]))
    assert file.labelled == [("reach",), ("stack",), ("reach",), ("stack",)]
    for k, episode in enumerate(file):
        assert list(episode.labels) == [own_task(k)]
        np.testing.assert_array_equal(episode.labels[own_task(k)].reward, make_episode(k).labels[own_task(k)].reward)
    whole = EpisodeFile(write(tmp_path / "b.hdf5", [make_episode(k) for k in range(4)]))
    assert file.digest() != whole.digest() and whole.labelled == [TASKS] * 4


def test_loss_without_gaps_is_the_plain_mean_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    reward, success = torch.rand(3, 5, 2, generator=generator), torch.rand(3, 5, 2, generator=generator) < 0.5
    for weight in (None, (torch.rand(3, 5, 1, generator=generator) < 0.5).float()):
        got = head_loss(reward, success, weight)
        logits = torch.linspace(-2, 2, 60).view(2, 3, 5, 2).requires_grad_()
        error = (logits[0].sigmoid() - reward).square()
        entropy = F.binary_cross_entropy_with_logits(logits[1], success.float(), reduction="none")
        factor = torch.ones(1) if weight is None else weight
        expected = (error * factor).mean(), (entropy * factor).mean()
        (expected[0] + expected[1]).backward()
        for ours, plain in zip(got, (*expected, logits.grad), strict=True):
            assert plain is not None and torch.equal(ours, plain)


def test_what_nobody_judged_has_no_share_in_the_loss() -> None:
    reward = torch.rand(3, 5, 2, generator=torch.Generator().manual_seed(0))
    success = reward > 0.5
    known = torch.ones_like(success)
    known[0, :, 1] = known[2, :, 0] = False
    hidden = torch.where(known, reward, torch.nan)
    first = head_loss(hidden, success)
    second = head_loss(hidden, torch.where(known, success, ~success))
    for ours, other in zip(first, second, strict=True):
        assert torch.equal(ours, other) and torch.isfinite(ours).all()
    assert (first[2][:, ~known] == 0).all() and (first[2][:, known] != 0).all()
    errors = (torch.linspace(-2, 2, 60).view(2, 3, 5, 2)[0].sigmoid() - reward).square()
    torch.testing.assert_close(first[0], errors[known].mean())
    nothing = head_loss(torch.full_like(reward, torch.nan), success)
    assert nothing[0] == nothing[1] == 0 and (nothing[2] == 0).all()


def test_rewards_of_other_tasks_are_unknown_in_training_data(tmp_path: Path) -> None:
    data = load_training_data([write(tmp_path / "a.hdf5", [judged_for_one(k) for k in range(12)])])
    _, reward, _ = data.batch(None, data.starts, 3)
    for k in range(12):
        own = TASKS.index(own_task(k))
        assert reward[k, :, own].isfinite().all() and reward[k, :, 1 - own].isnan().all()


@pytest.mark.parametrize("tracked", [True, False])
def test_a_world_of_two_tasks_learns(tracked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], frames_per_window=4, rollouts=(6,)))
    path = write(tmp_path / "a.hdf5", [judged_for_one(k) for k in range(12)], tracked)
    words = ["train", "--data", str(path), "--out", str(tmp_path / "world"), "--preset", "tiny", "--steps", "8"]
    assert cli.main([*words, "--camera", "front", "--device", "cpu"]) == 0


def test_open_loop_says_of_which_tasks_an_end_is_known(tmp_path: Path) -> None:
    episodes = [judged_for_one(k) for k in range(4)]
    with EpisodeFile(write(tmp_path / "a.hdf5", episodes)) as file:
        test = OpenLoopTest(file, [1])
        for windows in test.batches(3):
            for number, judged, success in zip(
                windows.number.tolist(), windows.judged, windows.true_success, strict=True
            ):
                k = test.slots[number].episode
                own = TASKS.index(own_task(k))
                assert judged[own] and not judged[1 - own] and not success[1 - own]
                assert success[own] == episodes[k].labels[own_task(k)].success[-1]


def masked(k: int, *masks: str) -> Episode:
    return replace(make_episode(k), masks=masks)


@pytest.mark.parametrize("mask", ["valid", "val", "validation"])
def test_a_validation_mask_decides_which_episodes_validate(mask: str, tmp_path: Path) -> None:
    chosen = {3, 4, 11}
    episodes = [masked(k, mask if k in chosen else "train") for k in range(12)]
    ruled, plain = (
        write(tmp_path / "a.hdf5", episodes),
        write(tmp_path / "b.hdf5", [make_episode(k) for k in range(12)]),
    )
    found = load_training_data([ruled]).validation()
    assert set(torch.nonzero(found).flatten().tolist()) == chosen
    both = load_training_data([plain, ruled]).validation()
    assert set(torch.nonzero(both).flatten().tolist()) == {9, *(12 + k for k in chosen)}


@pytest.mark.parametrize("masks", [("train",), ("valid",), ("20_percent_valid",)])
def test_masks_that_split_nothing_change_nothing(masks: tuple[str, ...], tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdf5", [masked(k, *masks) for k in range(12)])
    assert torch.nonzero(load_training_data([path]).validation()).flatten().tolist() == [9]


def test_training_says_that_masks_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], frames_per_window=4))
    episodes = [masked(k, "valid" if k in (2, 5) else "train") for k in range(8)]
    path = write(tmp_path / "a.hdf5", episodes, tracked=False)
    words = ["train", "--data", str(path), "--out", str(tmp_path / "world"), "--preset", "tiny", "--steps", "4"]
    assert cli.main([*words, "--camera", "front", "--device", "cpu"]) == 0
    assert "2 episodes are for validation alone, as their masks say" in capsys.readouterr().out
