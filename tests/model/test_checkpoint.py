"""A model goes to a folder and comes back as it was, with huggingface_hub and without, and never by the network."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gwm_sim.errors import CheckpointError
from gwm_sim.model.checkpoint import COMPANIONS, CONFIG_FILE, WEIGHTS_FILE
from gwm_sim.model.world_model import WorldModel

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt to connect is a failure."""

    def refuse(*_: Any) -> None:
        raise AssertionError("something looked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_saved_model_comes_back_with_bank_card_and_numbers(tiny_checkpoint: Path, tmp_path: Path) -> None:
    model = WorldModel.load(tiny_checkpoint, "cpu")
    model.save_pretrained(tmp_path / "shared")
    expected = {CONFIG_FILE, WEIGHTS_FILE} | (set(COMPANIONS) & names(tiny_checkpoint))
    assert names(tmp_path / "shared") == expected
    for name in expected:
        assert (tmp_path / "shared" / name).read_bytes() == (tiny_checkpoint / name).read_bytes(), name
    assert "guide.safetensors" in COMPANIONS  # without it planners compare whole pictures
    back = WorldModel.from_pretrained(tmp_path / "shared", device="cpu")
    assert back.digest() == model.digest()
    assert back.folder == tmp_path / "shared"


def test_saving_a_model_onto_itself_changes_nothing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    model = WorldModel.load(tiny_checkpoint, "cpu")
    model.save_pretrained(tmp_path / "shared")
    again = WorldModel.from_pretrained(tmp_path / "shared", device="cpu")
    again.save_pretrained(tmp_path / "shared")
    assert WorldModel.load(tmp_path / "shared", "cpu").digest() == model.digest()


def test_a_folder_without_a_model_is_told_from_an_id(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No model"):
        WorldModel.from_pretrained(tmp_path, device="cpu")


def test_without_huggingface_hub_models_are_plain_folders(tiny_checkpoint: Path, tmp_path: Path) -> None:
    program = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "huggingface_hub":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
from gwm_sim import MissingDependency, WorldModel

model = WorldModel.from_pretrained({str(tiny_checkpoint)!r}, device="cpu")
model.save_pretrained({str(tmp_path / "shared")!r})
assert WorldModel.load({str(tmp_path / "shared")!r}, "cpu").digest() == model.digest()
for call in (lambda: model.push_to_hub("me/my-world"), lambda: WorldModel.from_pretrained("me/my-world")):
    try:
        call()
    except MissingDependency as error:
        print(error)
"""
    command = [sys.executable, "-W", "error", "-c", program]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count('pip install "gwm-sim[hub]"') == 2
    assert (tmp_path / "shared" / "bank.hdf5").exists()


def test_the_hub_gets_the_folder_of_the_model(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    uploaded: dict[str, bytes] = {}

    def create_repo(self: Any, repo_id: str, **_: Any) -> Any:
        return hub.RepoUrl(f"https://huggingface.co/{repo_id}")

    def upload_folder(self: Any, folder_path: Path, **_: Any) -> str:
        uploaded.update({path.name: path.read_bytes() for path in Path(folder_path).iterdir()})
        return "commit"

    def snapshot_download(repo_id: str, allow_patterns: list[str], **_: Any) -> str:
        folder = tmp_path / repo_id
        folder.mkdir(parents=True)
        for name in allow_patterns:
            if name in uploaded:
                (folder / name).write_bytes(uploaded[name])
        return str(folder)

    monkeypatch.setattr(hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(hub.HfApi, "upload_folder", upload_folder)
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", lambda **_: str(tiny_checkpoint / CONFIG_FILE))
    model = WorldModel.load(tiny_checkpoint, "cpu")
    model.push_to_hub("me/my-world")
    assert WEIGHTS_FILE in uploaded and "bank.hdf5" in uploaded
    assert not [name for name in uploaded if name.endswith((".pkl", ".pt", ".bin"))]
    assert WorldModel.from_pretrained("me/my-world", device="cpu").digest() == model.digest()
