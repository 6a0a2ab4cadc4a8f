"""Frames are encoded once: what was finished is kept, several processes share the work, equal files share latents."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gwm_sim.model.world_model import WorldModel
from gwm_sim.training import encoding
from gwm_sim.training.dataset import TrainingData, load_training_data
from gwm_sim.training.encoding import Encoding, encode_all


@pytest.fixture
def data(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingData:
    monkeypatch.setattr(encoding, "FRAMES_OF_A_PART", 40)
    return load_training_data([tiny_data])


@pytest.fixture
def model(tiny_checkpoint: Path) -> WorldModel:
    return WorldModel.load(tiny_checkpoint, "cpu")


@pytest.fixture
def whole(model: WorldModel, data: TrainingData, tmp_path: Path) -> Tensor:
    codes = encode_all(model, data, tmp_path / "whole.safetensors")
    assert isinstance(codes, Tensor)
    return codes


def test_frames_that_were_encoded_are_not_encoded_again(
    model: WorldModel, data: TrainingData, whole: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, tokenize, asked, most = tmp_path / "latents.safetensors", model.tokenize, list[int](), 60

    def watched(frames: Any) -> Any:
        asked.append(len(frames))
        if sum(asked) > most:
            raise KeyboardInterrupt
        return tokenize(frames)

    monkeypatch.setattr(model, "tokenize", watched)
    with pytest.raises(KeyboardInterrupt):
        encode_all(model, data, cache)
    assert not cache.exists()
    asked.clear()
    most = 10_000
    codes = encode_all(model, data, cache)
    assert isinstance(codes, Tensor) and torch.equal(codes, whole)
    assert sum(asked) == len(data.frames) - 40 and not cache.with_name(f"{cache.name}.parts").exists()
    assert torch.equal(load_file(cache)["codes"], whole)
    asked.clear()
    encode_all(model, data, cache)
    assert asked == []
    encode_all(model, replace(data, digest="other"), cache)
    assert sum(asked) == len(data.frames)


def test_shares_of_several_processes_are_the_whole(
    model: WorldModel, data: TrainingData, whole: Tensor, tmp_path: Path
) -> None:
    for share in (2, 0, 1):
        apart = Encoding(model, data, tmp_path / "latents.safetensors")
        assert not apart.done
        apart.make(share, 3)
    apart.join()
    codes = Encoding(model, data, tmp_path / "latents.safetensors").open()
    assert isinstance(codes, Tensor) and torch.equal(codes, whole)


def test_files_that_hold_the_same_share_their_latents(
    model: WorldModel, whole: Tensor, tiny_data: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copyfile(tiny_data, tmp_path / "copy.hdf5"))
    thrice = load_training_data([tiny_data, copy, tiny_data])
    codes = encode_all(model, thrice, tmp_path / "latents.safetensors")
    assert len(codes) == len(thrice.frames) == 3 * len(whole)
    assert torch.equal(load_file(tmp_path / "latents.safetensors")["codes"], whole)
    frames = torch.tensor([[0, 5], [len(whole) + 5, 3 * len(whole) - 1]])
    assert torch.equal(codes[frames], whole[frames % len(whole)])


def test_latents_are_mapped_and_not_loaded(whole: Tensor, tmp_path: Path) -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("this system does not tell what is mapped")
    assert str(tmp_path / "whole.safetensors") in maps.read_text(encoding="utf-8")
