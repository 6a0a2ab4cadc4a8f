"""What telemetry explains: the scene with the robot alone, as the pictures of the nearest poses show it."""

from __future__ import annotations

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import EpisodeFile


class PoseLibrary:
    """Pictures of many poses of the robot, to look poses up in."""

    @classmethod
    def of(cls, file: EpisodeFile, camera: str, episodes: list[int] | None = None) -> PoseLibrary:
        """Take pictures and telemetry from episodes, by default all, thinned out where there are very many."""
        raise NotImplementedError

    def picture(self, telemetry: Array, without: int | None = None) -> Array:
        """Return the scene with the robot alone: the median picture of the nearest poses, one per other episode.

        Args:
            telemetry: Poses, (T, P).
            without: Episode (by its place in the file) whose pictures are not asked.

        Returns:
            Pictures (T, H, W, 3) uint8.
        """
        raise NotImplementedError
