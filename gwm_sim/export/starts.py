"""The first initial states of a model, as real frames to encode."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.views import side_by_side
from gwm_sim.errors import ConfigError
from gwm_sim.model.checkpoint import BANK_FILE
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT

STARTS: Final = 16
"""Initial states that go along with an exported world, unless somebody says otherwise."""


def contexts(model: WorldModel, properties: list[dict[str, Any]], count: int) -> dict[str, Array]:
    """Real frames that worlds begin with, S of them, as the inputs of the encoder: `frames` (S, C, H, V*W, 3) uint8,
    `telemetry` (S, C, P), `actions` (S, C-1, A) and `properties` (S, Q), their usual values or else what was recorded.
    Starts in which the task of the data is fulfilled are left out.

    Raises:
        ConfigError: The model has no initial states with enough frames.
    """
    config = model.config
    bank = None if model.folder is None else model.folder / BANK_FILE
    if bank is None or not bank.exists():
        raise ConfigError(f"{config.name} has no initial states ({BANK_FILE} beside its weights), so nothing can begin")
    bounds = (np.array(b, np.float32) for b in (config.schema.telemetry_low, config.schema.telemetry_high))
    low, high = bounds
    found: list[tuple[Array, ...]] = []
    with EpisodeFile(bank) as file:
        for k, length in enumerate(file.lengths):
            if len(found) == count:
                break
            if length < CONTEXT - 1:
                continue
            episode = file.read(k, length + 1 - CONTEXT, cameras=config.cameras)
            label = episode.labels.get(config.schema.task or "")
            if label is None or not label.success[-1]:
                told = [
                    episode.properties.get(p["name"], np.nan) if p["default"] is None else p["default"]
                    for p in properties
                ]
                frames = side_by_side(episode.frames, config.cameras)
                found.append((frames, episode.telemetry.clip(low, high), episode.actions, np.array(told, np.float32)))
    if not found:
        raise ConfigError(f"{config.name} has no initial state of {CONTEXT} frames ({bank}), so nothing can begin")
    names = "frames", "telemetry", "actions", "properties"
    return dict(zip(names, map(np.stack, zip(*found, strict=True)), strict=True))
