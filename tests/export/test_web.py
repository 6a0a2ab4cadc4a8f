"""A world as a page: a folder that is whole, small, and needs nobody; and the runtime that it takes along."""

import base64
import hashlib
import io
import json
import re
import tarfile
from contextlib import redirect_stdout
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import exported
import numpy as np
import onnxruntime
import pytest
import torch
from learned_worlds import image_world
from safetensors.numpy import load_file

from gwm_sim.commands.export import ExportConfig, export_model, main
from gwm_sim.errors import ConfigError
from gwm_sim.export import runtime, web
from gwm_sim.export.parts import parts_of
from gwm_sim.export.starts import contexts
from gwm_sim.model.world_model import WorldModel

REACHES_NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def package() -> bytes:
    """What stands for ONNX Runtime Web."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for size, name in enumerate(chain(*runtime.BUILDS), 1):
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = 1000 * size
            archive.addfile(entry, io.BytesIO(np.random.default_rng(size).bytes(entry.size)))
    return buffer.getvalue()


class Written(NamedTuple):
    """A small world as a page, with three initial states."""

    folder: Path
    printed: list[str]
    config: ExportConfig


@pytest.fixture(scope="module")
def written(tiny_checkpoint: Path, package: bytes, tmp_path_factory: pytest.TempPathFactory) -> Written:
    parent = tmp_path_factory.mktemp("web")
    (parent / "runtime.tgz").write_bytes(package)
    config = ExportConfig("web", tiny_checkpoint, parent / "page", starts=3, runtime=parent / "runtime.tgz")
    checksum = base64.b64encode(hashlib.sha512(package).digest()).decode()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.setattr(runtime, "INTEGRITY", checksum)
        assert main(config) == 0
    return Written(config.out, printed.getvalue().splitlines(), config)


@pytest.fixture
def folder(written: Written) -> Path:
    return written.folder


def world_of(folder: Path) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((folder / "world/world.json").read_text(encoding="utf-8"))
    return about


def test_everything_that_a_page_loads_is_in_its_folder(folder: Path) -> None:
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert 'data-world="./onnx_world.js"' in index
    for name in re.findall(r'(?:src|href)="([^":]+)"', index):
        assert (folder / name).is_file(), name
    modules = list((folder / "page").glob("*.js"))
    assert not {"served.js", "wire.js"} & {module.name for module in modules}
    for module in modules:
        text = module.read_text(encoding="utf-8")
        for name in re.findall(r'(?:from|import) "(\./[^"]+)"|new URL\("([^"]+\.js)"', text):
            assert (module.parent / max(name)).is_file(), f"{module.name} loads {max(name)}"
        assert not set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}, module.name
    builds = re.search(r"BUILDS = (\{.*?\})", (folder / "page/onnx_worker.js").read_text(encoding="utf-8"))
    assert builds is not None and set(re.findall(r'"(ort.*?)"', builds[1])) == {build[0] for build in runtime.BUILDS}
    about = world_of(folder)
    assert [(folder / f"world/{part}.onnx").is_file() for part in about["parts"]] == [True, True]
    assert about["starts"] == 3 and about["planning"]["three_level"] == [3]


def test_a_page_knows_what_a_served_one_knows(folder: Path) -> None:
    contract = (folder / "page/world.js").read_text(encoding="utf-8")
    about = contract[contract.index("@typedef {object} About") : contract.index("@typedef {object} Camera")]
    needed = {name for name in re.findall(r"@property \{.*\} (\w+)", about)}
    assert needed and needed <= set(world_of(folder))


def test_its_initial_states_go_on_as_the_model_does(folder: Path, tiny_checkpoint: Path) -> None:
    starts = load_file(folder / "world/starts.safetensors")
    model = WorldModel.load(tiny_checkpoint, "cpu")
    step = onnxruntime.InferenceSession(folder / "world/step.onnx")
    given = starts | {"action": np.full((3, 4), 0.5, np.float32)}
    made = exported.run(step, {item.name: given[item.name] for item in step.get_inputs()})
    encoder, _, _ = parts_of(model)
    begun = contexts(model, world_of(folder)["properties"], 3)
    state = model.encode(*(torch.from_numpy(begun[name]) for name in encoder.inputs))
    then = model.step(state, torch.full((3, 4), 0.5))
    np.testing.assert_allclose(made["next.telemetry"], then.telemetry, atol=1e-5)
    np.testing.assert_allclose(made["next.objects"], then.objects, atol=1e-5)
    np.testing.assert_array_equal(starts["frame"], begun["frames"][:, -1])
    np.testing.assert_allclose(starts["reward"], model.judge(state)[0], atol=1e-5)


def test_the_larger_build_counts_and_not_both(folder: Path) -> None:
    sizes = [sum((folder / "runtime" / name).stat().st_size for name in build) for build in runtime.BUILDS]
    shared = {p: p.stat().st_size for p in folder.rglob("*") if p.is_file() and p.parent.name != "runtime"}
    models = sum(size for path, size in shared.items() if path.suffix in (".onnx", ".safetensors"))
    sent = web.transferred(folder)
    assert models + max(sizes) < sent < sum(shared.values()) + 1.01 * max(sizes)


@pytest.mark.slow
def test_worlds_of_things_in_pictures_go_the_same_way_and_can_be_planned_in(package: bytes, tmp_path: Path) -> None:
    own = image_world(tmp_path)
    config = exported.ExportedConfig(str(own), ("uniform",), starts=2, steps=10)
    row = exported.compare(config, tmp_path / "world.onnx")["policies"]["uniform"]["10"]
    assert row["agree_percent"] == 100
    model = WorldModel.load(own, "cpu")
    web.export_web(model, package, tmp_path / "page", 2, lambda *_: None)
    starts = load_file(tmp_path / "page/world/starts.safetensors")
    points = onnxruntime.InferenceSession(tmp_path / "page/world/points.onnx")
    (found,) = points.run(None, {"telemetry": starts["state.telemetry"]})
    there = model.dynamics.points(torch.from_numpy(starts["state.telemetry"]))[:, 0].detach()
    np.testing.assert_allclose(found, there, atol=1e-3)
    about = world_of(tmp_path / "page")
    assert about["object_frame"] == "image" and about["planning"]["hand"] == []
    assert about["cameras"][0]["calibration"] is None


def test_a_runtime_that_is_another_one_is_refused_before_anything_is_written(
    package: bytes, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.tgz").write_bytes(package)
    out = tmp_path / "page"
    with pytest.raises(ConfigError, match=rf"is not onnxruntime-web {re.escape(runtime.VERSION)}"):
        main(ExportConfig("web", tiny_checkpoint, out, runtime=tmp_path / "other.tgz"))
    with pytest.raises(ConfigError, match="is no file: give what `npm pack"):
        main(ExportConfig("web", tiny_checkpoint, out, runtime=tmp_path / "missing.tgz"))
    for registry, complaint in ((REACHES_NOBODY, "npm pack"), ("file:///etc", "must be an http address")):
        monkeypatch.setenv("npm_config_registry", registry)
        with pytest.raises(ConfigError, match=complaint):
            main(ExportConfig("web", tiny_checkpoint, out))
    with pytest.raises(ConfigError, match="--runtime is for web"):
        ExportConfig("onnx", tiny_checkpoint, out, runtime=tmp_path / "other.tgz")
    assert [path.name for path in tmp_path.iterdir()] == ["other.tgz"]


def test_the_command_says_how_much_of_it_is_loaded_and_replaces_nothing(written: Written) -> None:
    assert "tiny with 3 initial states" in written.printed[0]
    assert re.fullmatch(r"a browser loads \d+\.\d MB of it at most, where the host compresses", written.printed[-1])
    assert {path.name for path in written.folder.parent.iterdir()} == {"page", "runtime.tgz"}
    with pytest.raises(ConfigError, match="exists already"):
        export_model(written.config)
