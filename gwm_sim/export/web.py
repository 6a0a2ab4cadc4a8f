"""A folder that any static host serves: the page of `gwm serve`, and a world that runs in the browser.

index.html, page/     the page; `page/onnx_world.js` brings the world where `served.js` does behind a server
world/world.json      what the numbers mean (`description.py`), and what a search for plans is told
world/*.onnx          step and picture (`parts.py`), and where the robot is in it
world/starts.safetensors      initial states by name, (S, ...), with the frame that each shows and its properties
runtime/              ONNX Runtime Web (`runtime.py`)
"""

from __future__ import annotations

import gzip
import shutil
from importlib import resources
from pathlib import Path
from pkgutil import resolve_name
from typing import Final

import torch
from safetensors.numpy import save

from gwm_sim.arrays import Array
from gwm_sim.export.description import describe
from gwm_sim.export.onnx import to_onnx, write
from gwm_sim.export.parts import Encoder, parts_of, points_of
from gwm_sim.export.runtime import BUILDS, unpack
from gwm_sim.export.starts import contexts
from gwm_sim.files import write_json
from gwm_sim.model.world_model import WorldModel
from gwm_sim.progress import Show

PAGE: Final = "gwm_sim.policies.serving"
"""Package that holds the page, in `page`."""
NEEDS_A_SERVER: Final = "served.js", "wire.js"
FACTS: Final = "gwm_sim.policies.planning.facts:facts"
"""Who knows what a search for plans is told of a world."""
COMPRESSED: Final = (".html", ".css", ".js", ".mjs", ".json", ".wasm")
"""Endings of files that static hosts send compressed."""


def export_web(model: WorldModel, package: bytes, folder: Path, starts: int, show: Show) -> int:
    """Write a world as a page into a new folder; returns the number of initial states.

    Args:
        model: The world.
        package: ONNX Runtime Web, see `runtime.py`.
        folder: What to make.
        starts: Number of initial states, fewer where the model has fewer.
        show: Told about the progress.

    Raises:
        ConfigError: The model is of a kind that cannot be exported.
    """
    about = describe(model)
    encoder, step, picture = parts_of(model)
    begun = contexts(model, about["properties"], starts)
    add_page(folder)
    unpack(package, folder / "runtime")
    world = folder / "world"
    world.mkdir()
    named = {"step": step, "picture": picture, "points": points_of(step)}
    parts = {name: part for name, part in named.items() if part is not None}
    for done, (name, part) in enumerate(parts.items()):
        show(done / len(parts), name)
        write(to_onnx(part, about), world / f"{name}.onnx")
    (world / "starts.safetensors").write_bytes(save(states(encoder, begun)))
    noise = step.examples.get("noise")
    own = {
        "starts": len(begun["frames"]),
        "parts": list(parts),
        "noise": None if noise is None else list(noise.shape[1:]),
        "planning": resolve_name(FACTS)(model),
    }
    write_json(world / "world.json", about | own)
    return len(begun["frames"])


def add_page(folder: Path) -> None:
    """Make a folder with the page in its serverless form."""
    with resources.as_file(resources.files(PAGE) / "page") as page:
        shutil.copytree(page, folder / "page", ignore=shutil.ignore_patterns(*NEEDS_A_SERVER))
    with resources.as_file(resources.files(__package__) / "page") as own:
        shutil.copytree(own, folder / "page", dirs_exist_ok=True)
    index = folder / "page" / "index.html"
    text = index.read_text(encoding="utf-8")
    (folder / "index.html").write_text(text.replace("./served.js", "./onnx_world.js"), encoding="utf-8")
    index.unlink()


def states(encoder: Encoder, begun: dict[str, Array]) -> dict[str, Array]:
    """States of S worlds that begin with some frames, by the names of the encoder's outputs, with `reward` and
    `success` where tasks are judged, the `frame` (S, H, V*W, 3) that each shows and `properties`."""
    model, rows = encoder.model, []
    with torch.no_grad():
        for i in range(len(begun["frames"])):
            context = {name: torch.from_numpy(begun[name][i : i + 1]) for name in begun}
            row = dict(zip(encoder.outputs, encoder(*(context[name] for name in encoder.inputs)), strict=True))
            if model.tasks:
                row |= dict(zip(("reward", "success"), model.judge(model.encode(**context)), strict=True))
            rows.append(row)
    told = {name: torch.cat([row[name] for row in rows]).numpy() for name in rows[0]}
    return told | {"frame": begun["frames"][:, -1].copy(), "properties": begun["properties"]}


def transferred(folder: Path) -> int:
    """Bytes that a browser loads of such a folder at most: with the larger build of the runtime, and compressed what
    static hosts compress."""
    sizes = {path: _sent(path) for path in folder.rglob("*") if path.is_file()}
    shared = sum(size for path, size in sizes.items() if path.parent.name != "runtime")
    return shared + max(sum(sizes[folder / "runtime" / name] for name in build) for build in BUILDS)


def _sent(path: Path) -> int:
    data = path.read_bytes()
    return len(gzip.compress(data, 6)) if path.suffix in COMPRESSED else len(data)
