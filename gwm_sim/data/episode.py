"""An episode: what the cameras saw, what the robot reported, what was commanded, and how well it went."""

import json
from dataclasses import dataclass, field

import h5py

from gwm_sim.arrays import Array

DEPTH_UNIT = 1e-4
"""Metres per unit of a stored depth image."""

VALIDATION_MASKS = ("valid", "val", "validation")
"""Filter keys of episodes that are not trained on, as data sets call them."""

UNTOLD = "unlabelled"
"""What is written where a format asks for an instruction and nobody gave one."""


@dataclass(frozen=True)
class TaskLabels:
    """How well one task stands at every frame."""

    reward: Array
    """Dense reward in [0, 1], (N+1,) float32."""
    success: Array
    """Whether the task is fulfilled at this instant, (N+1,) bool."""


@dataclass(frozen=True)
class Episode:
    """One recording: N actions between N+1 frames."""

    frames: dict[str, Array]
    """Pictures per camera, (N+1, H, W, 3) uint8."""
    telemetry: Array
    """What the robot reported, (N+1, P) float32, columns as in `Schema.telemetry_names`."""
    actions: Array
    """Commands, (N, A) float32; action t leads from frame t to frame t+1."""
    labels: dict[str, TaskLabels]
    """Labels per task: of all tasks of the file, or of those alone that somebody judged it for."""
    objects: Array | None
    """Object poses as xyz [m] and quaternion wxyz, (N+1, K, 7) float32; None when they are unknown. Of tracked objects
    the turn is not known, and in the frame `image` there stand column, row and apparent size [px] for xyz. NaN of what
    is absent, where there are attributes."""
    properties: dict[str, float]
    """Physics properties of this episode, such as friction and gravity."""
    seed: int | None
    """Seed of the start and of the behaviour; None for recordings of a real robot."""
    policy: str
    """Name of the behaviour that acted."""
    depth: dict[str, Array] = field(default_factory=dict)
    """Depth images per camera in units of `DEPTH_UNIT`, (N+1, H, W, 1) uint16, 0 where nothing was measured; empty
    where nobody measured them."""
    succeeded: bool | None = None
    """How the recording as a whole ended; None when nobody wrote it down."""
    instruction: str | None = None
    """What was asked for, in words; None when nobody wrote it down."""
    masks: tuple[str, ...] = ()
    """Filter keys that the episode belongs to, such as train."""
    sightings: dict[str, Array] = field(default_factory=dict)
    """Where tracked objects are in the pictures per camera, and how surely: (N+1, K, 6) float32, columns as in
    `tracking.sightings.COLUMNS`; empty where objects were measured or are unknown."""
    objects_confidence: Array | None = None
    """How surely tracked objects are where `objects` says, (N+1, K) float32 in [0, 1]; 0 where that is a guess, the
    last or next known place. None where objects were measured or are unknown."""
    attributes: Array | None = None
    """What each object is like, (N+1, K, F) float32, columns as in `Schema.object_attributes`, NaN of what is absent;
    None where the schema has none. They may change, as where somebody edits a scene while it runs."""

    def __len__(self) -> int:
        """Return the number of actions N."""
        return len(self.actions)

    def labels_of(self, task: str | None) -> TaskLabels | None:
        """Return the labels of a task, or else of the first one that is labelled; None for the task None."""
        return None if task is None else self.labels.get(task, next(iter(self.labels.values()), None))


def write_attributes(demo: h5py.Group, episode: Episode) -> None:
    """Write what a demo says of itself."""
    demo.attrs["num_samples"] = len(episode)
    demo.attrs["policy"] = episode.policy
    demo.attrs["properties"] = json.dumps(episode.properties, sort_keys=True)
    if episode.seed is not None:
        demo.attrs["seed"] = episode.seed
    if episode.succeeded is not None:
        demo.attrs["succeeded"] = episode.succeeded
    if episode.instruction is not None:
        demo.attrs["instruction"] = episode.instruction
    if episode.masks:
        demo.attrs["masks"] = json.dumps(episode.masks)


def arrays_of(episode: Episode) -> dict[str, Array]:
    """Return all arrays of an episode by the names of their datasets."""
    arrays = {"actions": episode.actions, "telemetry": episode.telemetry}
    arrays |= {f"frames/{name}": frames for name, frames in episode.frames.items()}
    arrays |= {f"depth/{name}": depth for name, depth in episode.depth.items()}
    if episode.objects is not None:
        arrays["objects"] = episode.objects
    if episode.objects_confidence is not None:
        arrays["objects_confidence"] = episode.objects_confidence
    if episode.attributes is not None:
        arrays["attributes"] = episode.attributes
    arrays |= {f"sightings/{name}": seen for name, seen in episode.sightings.items()}
    for task, labels in episode.labels.items():
        arrays |= {f"labels/{task}/reward": labels.reward, f"labels/{task}/success": labels.success}
    return arrays
