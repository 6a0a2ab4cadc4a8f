"""Recordings without labels: an episode file as a robot that nobody watches would have recorded it.

What stays is what cameras and robot report: pictures and depth, telemetry, actions, and what their columns mean. Where
objects are, how well a task stands, what was asked for, which behaviour acted and in what physics is left out, and so
is every setting that is not of the robot. `settings["raw"]` says that this was done; what learns from such a file says
so in its card. Seeds stay: they are how training refuses episodes for evaluation. Masks stay too.
"""

from dataclasses import replace
from pathlib import Path

from gwm_sim.data.cameras import Camera
from gwm_sim.data.episode_file import Episode, EpisodeWriter
from gwm_sim.data.exporters.recordings import ExportFormat, Recordings
from gwm_sim.data.schema import IMAGINED, RAW, Schema

UNKNOWN = "unknown"
"""Behaviour of episodes of which nobody knows what acted."""

_CALIBRATED = "calibrated"

_KEPT = ("action_kinds", "action_units", "angles", "turns", _CALIBRATED, IMAGINED)
"""Settings that say what the numbers of the robot mean, and that a model imagined them."""


def write_raw(recordings: Recordings, path: Path, calibration: bool = False) -> None:
    """Write episodes as an episode file without labels; `calibration` keeps where the cameras stand."""
    writer = EpisodeWriter(path, raw_schema(recordings.schema, calibration))
    for k, episode in enumerate(recordings):
        writer.write(k, raw_episode(episode))
    writer.merge()


def raw_schema(schema: Schema, calibration: bool) -> Schema:
    """The schema of a file without labels."""
    settings = {key: schema.settings[key] for key in _KEPT if key in schema.settings} | {RAW: True}
    cameras = schema.cameras
    if not calibration:
        settings |= {_CALIBRATED: False}
        cameras = {
            name: replace(Camera.uncalibrated(seen.height, seen.width), moving=seen.moving)
            for name, seen in cameras.items()
        }
    unlabelled = replace(schema.without_objects(), tasks=(), task=None)
    return replace(unlabelled, cameras=cameras, env_kwargs={}, settings=settings)


def raw_episode(episode: Episode) -> Episode:
    """What cameras and robot report of an episode, its seed and its masks."""
    return Episode(
        frames=episode.frames,
        depth=episode.depth,
        telemetry=episode.telemetry,
        actions=episode.actions,
        labels={},
        objects=None,
        properties={},
        seed=episode.seed,
        policy=UNKNOWN,
        masks=episode.masks,
    )


def left_out(recordings: Recordings, calibration: bool = False) -> list[str]:
    """Name what is not written."""
    schema = recordings.schema
    objects = [f"where objects are ({', '.join(schema.object_names)})"] if schema.object_names else []
    labels = [f"labels of {', '.join(schema.tasks)}"] if schema.tasks else []
    others = [f"the {name}" for name in recordings.attachments]
    cameras = [] if calibration else ["places and views of cameras"]
    return [*objects, *labels, *others, *cameras, "properties, behaviours, outcomes and instructions"]


FORMAT = ExportFormat(
    "raw",
    write_raw,
    options=("calibration",),
    keeps_objects=False,
    left_out=left_out,
    why=". Seeds stay: by them training refuses episodes for evaluation",
)
