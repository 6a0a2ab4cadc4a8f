"""What is known of a scene beside the episodes that a model is tested on: its things, and every pose of the robot.

Both are found in pictures and telemetry alone. Where they cannot be found, a scene says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.tracking.poses import PoseLibrary
from gwm_sim.data.tracking.readiness import require
from gwm_sim.errors import DataError, MissingDependency
from gwm_sim.progress import Show

if TYPE_CHECKING:  # a tracker needs an extra
    from gwm_sim.data.tracking.tracker import Tracker

Found = TypeVar("Found")


@dataclass(frozen=True)
class Scene:
    """What measures of pictures may use beside the pictures."""

    tracker: Tracker | None = None
    untracked: str = "nobody looked for any"
    """Why there is no tracker."""
    poses: PoseLibrary | None = None
    unposed: str = "no training data to look the robot up in"
    """Why there are no poses."""

    def empty(self, telemetry: Array) -> Array | None:
        """The empty scene with the robot looked up by telemetry (B, S, P), pictures (B, S, H, W, 3) uint8; None where
        no poses are known."""
        if self.poses is None:
            return None
        pictures = self.poses.picture(telemetry.reshape(-1, telemetry.shape[-1]))
        return pictures.reshape(*telemetry.shape[:2], *pictures.shape[1:])


def find_tracker(
    file: EpisodeFile,
    camera: str,
    training: Sequence[EpisodeFile] = (),
    show: Show = lambda share, text: None,
) -> Tracker:
    """The tracker that an episode file brings along for a camera, else that of the training data, else one that is
    fitted to its true frames.

    Raises:
        NothingToTrack: Nothing in the file can be followed; the message says why.
        MissingDependency: Tracking needs an extra that is not installed.
    """
    require()
    from gwm_sim.data.tracking.tracker import Tracker  # which needs both

    for known in (file, *training):
        if (brought := brought_tracker(known, camera)) is not None:
            return brought
    return Tracker.fit(file, camera, show=show)


def brought_tracker(file: EpisodeFile, camera: str) -> Tracker | None:
    """The tracker that an episode file brings along for a camera."""
    arrays = file.attached("tracker")
    if arrays is None:
        return None
    require()
    from gwm_sim.data.tracking.tracker import Tracker  # which needs both

    tracker = Tracker.from_arrays(arrays)
    return tracker if tracker.camera == camera else None


def find_poses(training: EpisodeFile, camera: str, episodes: list[int] | None = None) -> PoseLibrary:
    """The poses of the robot in episodes that a model was trained on, by default all of a file.

    Raises:
        DataError: There are none; the message says why.
    """
    if not training.schema.telemetry_names:
        raise DataError("the robot reports nothing to look its poses up by")
    return PoseLibrary.of(training, camera, episodes)


def attempt(find: Callable[[], Found]) -> tuple[Found | None, str]:
    """What is found and an empty text, or None and why not."""
    try:
        return find(), ""
    except (DataError, MissingDependency) as error:
        return None, str(error).rstrip(".")


def find_scene(
    file: EpisodeFile,
    camera: str,
    training: EpisodeFile | None = None,
    episodes: list[int] | None = None,
    *,
    track: bool = True,
    tracked: Sequence[EpisodeFile] = (),
    show: Show = lambda share, text: None,
) -> Scene:
    """Find out what is known of the scene that a camera sees.

    Args:
        file: The episodes to test with, of which true frames alone tell what the things look like where no tracker is
            known.
        camera: The main camera.
        training: A file that the model was trained on, for the poses of the robot, and its tracker if it has one.
        episodes: Which episodes of it are asked, by default all.
        track: Whether things are looked for.
        tracked: Further files that bring a tracker along.
        show: Told about the progress.
    """
    scene, known = Scene(), (*([] if training is None else [training]), *tracked)
    if track:
        tracker, untracked = attempt(lambda: find_tracker(file, camera, known, show))
        scene = replace(scene, tracker=tracker, untracked=untracked)
    if training is not None:
        poses, unposed = attempt(lambda: find_poses(training, camera, episodes))
        scene = replace(scene, poses=poses, unposed=unposed)
    return scene
