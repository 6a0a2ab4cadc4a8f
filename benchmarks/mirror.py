"""The same motion in a mirror: left is right, so that every recording of a fast episode counts twice.

Arm, gripper, table and cubes of the twin are symmetric about the plane y = 0. What is mirrored is what could as well
have been recorded: telemetry, actions and poses change their signs, labels and properties stay. Pictures are left out:
light and shadows are not symmetric.

python benchmarks/mirror.py --motion runs/gwm-mini/handling.hdf5 --out runs/gwm-mini/mirrored.hdf5
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from program import launch

import gwm_sim
from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter, parts_folder
from gwm_sim.envs.blocks import spec
from gwm_sim.envs.tabletop.mujoco.kinematics import HOME
from gwm_sim.errors import ConfigError
from gwm_sim.files import exclusive
from gwm_sim.progress import progress

ODD_JOINTS: Final = (0, 2, 4, 6)  # turn the other way, about their places in the arm's home pose
SIDEWAYS: Final = ("ee_y", "cmd_y")
QUATERNION: Final = np.array([1.0, -1.0, 1.0, -1.0], np.float32)  # of a turn whose axis is mirrored, w first


@dataclass(frozen=True)
class MirrorConfig:
    """Mirror recorded motion."""

    motion: Path
    """Episode file of the twin."""
    out: Path
    """Episode file to write, without pictures; the same command goes on with it."""


def mirror(episode: Episode) -> Episode:
    """The episode as a mirror in the plane y = 0 shows it, without pictures."""
    assert episode.objects is not None
    telemetry, actions, objects = (x.copy() for x in (episode.telemetry, episode.actions, episode.objects))
    joints = telemetry[:, spec.JOINTS]  # a view
    for joint in ODD_JOINTS:
        joints[:, joint] = 2 * HOME[joint] - joints[:, joint]
    for name in SIDEWAYS:
        telemetry[:, spec.TELEMETRY_NAMES.index(name)] *= -1
    actions[:, spec.ACTION_NAMES.index("dy")] *= -1
    objects[..., 1] *= -1
    objects[..., 3:] *= QUATERNION
    return replace(episode, frames={}, depth={}, telemetry=telemetry, actions=actions, objects=objects)


def main(config: MirrorConfig) -> int:
    """Mirror what is missing in `config.out` and finish the file.

    Every episode keeps its number, which decides whether it is kept for validation.
    """
    file = EpisodeFile(config.motion)
    if not file.schema.object_names or file.schema.tracked or not file.schema.env_id.startswith("MuJoCo-"):
        raise ConfigError(f"{file.path} is not a recording of the twin")
    settings = {"mirrored": file.digest()[:16]}
    versions = {"gwm_sim": gwm_sim.__version__}
    schema = replace(file.schema, cameras={}, depth=(), settings=settings, versions=versions)
    writer = EpisodeWriter(config.out, schema)
    with exclusive(parts_folder(config.out) / "lock", str(config.out)), progress("mirror") as show:
        for k in range(len(file)):
            if not writer.has(k):
                writer.write(k, mirror(file.read(k, cameras=())))
            show((k + 1) / len(file), f"{k + 1:,} of {len(file):,} episodes")
        writer.merge()
    print(f"{config.out}: {len(file):,} episodes, digest {EpisodeFile(config.out).digest()}")
    return 0


if __name__ == "__main__":
    launch(main, MirrorConfig)
