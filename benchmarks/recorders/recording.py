"""What a recorder hands over, and the two files that it becomes: a recording as of a robot, and the truth beside it.

The recording is in robomimic's layout: raw pixels, what the robot reports of itself, actions, and nothing else. What
only a simulator knows goes into `NAME.truth.npz`, which measures and never trains.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

CAMERA = "front"
"""How the only camera of each world is called."""


@dataclass(frozen=True)
class World:
    """What all episodes of a world share."""

    name: str
    """Of the environment."""
    rate: float
    """Of frames and actions [Hz]."""
    controller: str | None
    """robosuite's name for what the actions mean, if it has one."""
    things: tuple[str, ...]
    """What is there beside the robot; K of them."""


@dataclass(frozen=True)
class Take:
    """One episode: N actions between N+1 frames."""

    seed: int
    behaviour: str
    """Who acted, and with how much noise."""
    frames: Any
    """(N+1, H, W, 3) uint8."""
    telemetry: dict[str, Any]
    """What the robot reports, by robomimic's names, (N+1, P) each."""
    actions: Any
    """(N, A)."""
    centres: Any
    """Column and row of the middle of each thing [px], integers at pixel centres, (N+1, K, 2)."""
    visible: Any
    """Share of the silhouette of each thing that nothing covers, (N+1, K); 0 out of the picture."""
    succeeded: bool
    """By the environment's own rule, at any frame."""


def write(path: Path, world: World, takes: Iterable[Take]) -> None:
    """Write episodes to `path`, and their truth beside it, each whole or not at all."""
    truth: dict[str, Any] = {"things": np.array(world.things)}
    outcomes = []
    unfinished = path.with_suffix(".part")
    with h5py.File(unfinished, "w") as file:
        kwargs = {"control_freq": world.rate, "controller_configs": {"type": world.controller}}
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(
            {
                "env_name": world.name,
                "env_kwargs": kwargs if world.controller else kwargs | {"controller_configs": None},
            }
        )
        for k, take in enumerate(takes):
            demo = data.create_group(f"demo_{k}")
            demo.create_dataset(
                f"obs/{CAMERA}_image", data=take.frames, compression="gzip", chunks=(1, *take.frames.shape[1:])
            )
            for key, values in take.telemetry.items():
                demo[f"obs/{key}"] = np.asarray(values, np.float32)
            # The last frame has no action; robomimic stores one with every frame, and importers leave it out.
            demo["actions"] = np.concatenate([take.actions, take.actions[-1:]]).astype(np.float32)
            truth |= {
                f"{k}/centres": np.asarray(take.centres, np.float32),
                f"{k}/visible": np.asarray(take.visible, np.float32),
            }
            outcomes.append((take.seed, take.behaviour, take.succeeded))
    for key, values in zip(("seeds", "behaviours", "succeeded"), zip(*outcomes, strict=True), strict=True):
        truth[key] = np.array(values)
    np.savez_compressed(truth_of(path), **truth)
    unfinished.rename(path)


def truth_of(path: Path) -> Path:
    """Where the truth of a recording lies."""
    return path.with_suffix(".truth.npz")
