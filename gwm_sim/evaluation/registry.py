"""Metrics by world: those that can be taken in any, and those of its own."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from importlib import import_module

from gwm_sim.evaluation.metrics import Depth, Metric, Telemetry
from gwm_sim.evaluation.pictures import Pictures, Rollouts, Sharpness
from gwm_sim.evaluation.tracked import Robot, Things

GENERAL: tuple[type[Metric], ...] = (Telemetry, Things, Robot, Pictures, Sharpness, Depth, Rollouts)
"""What can be measured in any world, if its data have it."""

WORLD_METRICS = {"*": "gwm_sim.envs.blocks.metrics"}
"""Module whose `METRICS` a world has beside those of any world, by pattern of its id; the longest that fits counts.

The block world's are for all others, too: boxes that are told by their colour are in anybody's data.
"""


def find_metrics(env_id: str) -> tuple[type[Metric], ...]:
    """The metrics of data that bear this id, those of their world first."""
    fitting = [pattern for pattern in WORLD_METRICS if fnmatchcase(env_id, pattern)]
    own: Sequence[type[Metric]] = import_module(WORLD_METRICS[max(fitting, key=len)]).METRICS if fitting else ()
    return (*own, *GENERAL)
