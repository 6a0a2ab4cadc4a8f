"""Parts of a world model as ONNX files, which need neither torch nor this package to run.

Weights stay in the half precision in which checkpoints hold them and are widened where they are used, so nothing is
rounded and a file is half as large. What a file was made of is in its metadata, under `METADATA`; no path of this
machine is.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from safetensors.numpy import save

from gwm_sim.export.description import describe
from gwm_sim.export.parts import NEXT, STATE, Part, parts_of
from gwm_sim.export.starts import contexts
from gwm_sim.files import replacing
from gwm_sim.model.world_model import WorldModel
from gwm_sim.progress import Show

OPSET: Final = 18
METADATA: Final = "gwm_sim"
"""Key of the metadata that holds the description of the world as JSON."""
WORTH_HALVING: Final = 256
"""Numbers of a constant from which it is kept in half precision."""
PICTURE: Final = "picture."
"""What the names of the inner values of a picture begin with where it is joined to a step."""


def export_onnx(model: WorldModel, file: Path, starts: int, show: Show) -> int:
    """Write a world as `file`, which steps and draws it, and beside it the encoder and initial states to begin with;
    returns the number of these.

    Args:
        model: The world.
        file: Name of an ONNX file; those beside it get longer endings.
        starts: Number of initial states, as inputs of the encoder, fewer where the model has fewer.
        show: Told about the progress.

    Raises:
        ConfigError: The model is of a kind that cannot be exported.
    """
    world = describe(model)
    begun = contexts(model, world["properties"], starts)
    made = []
    for done, (name, part) in enumerate(zip(("encoder", "step", "picture"), parts_of(model), strict=True)):
        show(done / 3, name)
        made.append(to_onnx(part, world))
    encoder, step, picture = made
    _, encoder_file, starts_file = beside(file)
    write(encoder, encoder_file)
    with replacing(starts_file) as temporary:
        temporary.write_bytes(save(begun))
    write(joined(step, picture), file)
    return len(begun["frames"])


def beside(file: Path) -> tuple[Path, Path, Path]:
    """The names of an exported world: `file`, its encoder and its initial states."""
    return file, file.with_suffix(".encoder.onnx"), file.with_suffix(".starts.safetensors")


def to_onnx(part: Part, description: Mapping[str, Any]) -> onnx.ModelProto:
    """A part as an ONNX model, with a description of the world in its metadata."""
    rows = torch.export.Dim("rows", min=1)
    values = tuple(part.examples.values())
    with torch.no_grad(), _quietly():
        program = torch.onnx.export(
            part.eval(),
            values,
            input_names=part.inputs,
            output_names=part.outputs,
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=(tuple({0: rows} for _ in values),) if part.batched else None,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _forget_origins(model)
    _halve(model.graph)
    onnx.helper.set_model_props(model, {METADATA: json.dumps(description)})
    return model


def joined(step: onnx.ModelProto, picture: onnx.ModelProto) -> onnx.ModelProto:
    """A step and the picture of where it led to as one model, which is as well described as the step."""
    told = {item.name for item in step.graph.output}
    inner = onnx.compose.add_prefix(picture, PICTURE, rename_outputs=False)
    names = [item.name.removeprefix(PICTURE) for item in inner.graph.input]
    links = {name: NEXT + name.removeprefix(STATE) for name in names}
    links = {name: link for name, link in links.items() if link in told}
    whole = onnx.compose.merge_models(
        step,
        inner,
        io_map=[(link, PICTURE + name) for name, link in links.items()],
        outputs=[item.name for graph in (step.graph, picture.graph) for item in graph.output],
    )
    del whole.opset_import[1:]  # both have the same one
    own = {PICTURE + name: name for name in names if name not in links}
    for item in whole.graph.input:
        item.name = own.get(item.name, item.name)
    for node in whole.graph.node:
        node.input[:] = [own.get(name, name) for name in node.input]
    del whole.metadata_props[:]
    whole.metadata_props.extend(step.metadata_props)
    return whole


def write(model: onnx.ModelProto, path: Path) -> None:
    """Write an ONNX file, whole or not at all."""
    onnx.checker.check_model(model)
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Leave out what the exporter says of itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _forget_origins(model: onnx.ModelProto) -> None:
    """Take out where in whose source each node comes from."""
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *model.functions):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    graph.ClearField("value_info")


def _halve(graph: onnx.GraphProto) -> None:
    """Keep constants in half precision that this holds exactly."""
    widened = []
    for constant in graph.initializer:
        if constant.data_type != onnx.TensorProto.FLOAT or np.prod(constant.dims) < WORTH_HALVING:
            continue
        values = numpy_helper.to_array(constant)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values, equal_nan=True):
            continue
        name = constant.name
        constant.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        widened.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*widened, *graph.node]
    graph.ClearField("node")
    graph.node.extend(nodes)
