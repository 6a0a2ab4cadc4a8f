"""Recordings of others as they are read: how the user wants it, what all episodes have in common, and one of them."""

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.errors import check_rate

Kind = Literal["delta", "target", "rate"]
"""How an action adds up over time: changes are summed, of absolute targets the last one counts, rates are averaged."""


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How recordings are read where their files leave it open or are wrong: options of `gwm import` and `gwm inspect`.

    A format heeds those that its `ImportFormat` names; any other one is refused before a file is opened.
    """

    camera: tuple[str, ...] = ()
    """Cameras to take; by default all."""
    actions: Kind | None = None
    """How actions add up where the source does not say: delta sums, target takes the last, rate averages."""
    source_fps: float | None = None
    """True frames per second of the recordings, where their files say none or a wrong number."""
    trim: bool = False
    """folder, json, lerobot, droid, roboturk: drop what is too much at the end of an episode whose rows and frames
    differ in number, which is refused else."""
    mask: str | None = None
    """robomimic, libero, json, rlds: take only the episodes of this mask or split, such as train."""
    state_key: str | None = None
    """lerobot, json, rlds: field that is the telemetry, where it has another name than usual; several with commas."""
    action_key: str | None = None
    """lerobot, json, rlds: field that is the action, where it has another name than usual; several with commas."""

    def __post_init__(self) -> None:
        check_rate(source_fps=self.source_fps)

    @property
    def given(self) -> dict[str, str]:
        """Flags of the options that say something, by their names."""
        said = (option.name for option in fields(SourceOptions) if getattr(self, option.name) != option.default)
        return {name: f"--{name.replace('_', '-')}" for name in said}


AS_STORED = SourceOptions()
"""Everything as the files say."""


@dataclass(frozen=True)
class Column:
    """A number that the robot reports."""

    name: str
    unit: str = ""


@dataclass(frozen=True)
class Action(Column):
    """A number that the robot is told."""

    kind: Kind | None = None
    """None when the source does not say."""
    low: float | None = None
    """Limit that the source declares; None leaves it to the data."""
    high: float | None = None


@dataclass(frozen=True)
class Layout:
    """What all episodes of a source have in common."""

    robot: str
    """Robot or environment that was recorded."""
    rate: float | None
    """Rows per second [Hz]; None when the source does not say."""
    telemetry: tuple[Column, ...]
    actions: tuple[Action, ...]
    cameras: tuple[str, ...]
    effector: tuple[int, ...] = ()
    """Columns of the telemetry that are the measured end-effector position [m]."""
    gripper: tuple[int, ...] = ()
    """Columns of the telemetry that are how far the gripper or each finger is open [m]."""
    task: str | None = None
    """Name of the task that the rewards speak of, where a recording does not name its own."""
    depth: tuple[str, ...] = ()
    """Cameras that measured depth as well."""


@dataclass(frozen=True)
class Recording:
    """The numbers of one episode: R rows and the actions between them."""

    where: str
    """File and place in it, for messages."""
    telemetry: Array
    """(R, P) float32."""
    actions: Array
    """(R-1, A) float32."""
    times: Array | None = None
    """Moments of the rows [s], (R,) float64, increasing; None when they follow the rate exactly."""
    reward: Array | None = None
    """Reward that stands at each row, (R,) float32."""
    success: Array | None = None
    """Whether the task is fulfilled at each row, (R,) bool."""
    succeeded: bool | None = None
    """How the episode ended; None when nobody wrote it down."""
    instruction: str | None = None
    """What the robot was asked to do, in words."""
    masks: tuple[str, ...] = ()
    """Filter keys that the episode belongs to, such as train."""
    task: str | None = None
    """Name of the task that reward and success speak of; None for that of the layout."""

    def __len__(self) -> int:
        """Return the number of rows R."""
        return len(self.telemetry)


def standing(rewards: Array, rows: int) -> Array:
    """Return the reward that stands at each row, (rows,) float32, of those that are given after each action, (N,).

    A success after the last row, which most recordings end with, is not lost.
    """
    stands = np.concatenate([np.zeros(1, np.float32), rewards])[:rows]
    if len(rewards) and rewards[-1] >= 1:
        stands[-1] = rewards[-1]
    return stands
