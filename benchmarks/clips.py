"""Short clips of recorded motion, drawn anew: other cameras, another size, rich light.

What a painter lacks is not time in front of a scene but scenes. Fast recordings have those by the thousand, so moments
of them are drawn again, a few steps each, from what they say of joints, gripper and cubes. Where cubes seldom lie, as
behind the arm or at the table's edges, they are drawn worst; `--alike places` shows such places as often as others.
Most of the cost of a rich picture is its shadow map of 4096 x 4096 pixels; one of half as many in either direction
takes half the time for pictures that are within 40 dB of the usual ones.

python benchmarks/clips.py --motion runs/gwm-mini/handling.hdf5 --clips 1000 --out runs/gwm-preview/see-clips.hdf5
"""

import os
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from program import launch

import gwm_sim
from gwm_sim.data.demos import pack
from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter, parts_folder
from gwm_sim.data.schema import Schema
from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.mujoco.scene import make_model
from gwm_sim.envs.spaces import image_key
from gwm_sim.envs.tabletop.mujoco.rendering import FrameRenderer
from gwm_sim.errors import ConfigError
from gwm_sim.files import exclusive
from gwm_sim.policies.engines.options import EngineOptions
from gwm_sim.progress import progress

SQUARE: Final = 0.04  # side of a place [m]
FEW: Final = 100  # moments; places with fewer of them are shown less often, or the same moments would come again


@dataclass(frozen=True)
class ClipsConfig(EngineOptions):
    """Draw clips of recorded motion."""

    motion: tuple[Path, ...]
    """Episode files of the twin; their pictures do not count."""
    out: Path
    """Episode file to write; the same command goes on with it."""
    clips: int = 6000
    """How many."""
    alike: Literal["moments", "places"] = "moments"
    """What is drawn alike: all moments of the files, or all squares of the table in view that a cube ever was above."""
    steps: int = 7
    """Length of a clip in steps."""
    size: int = 128
    """Height and width of the frames in pixels."""
    cameras: tuple[str, ...] = ("front", "wrist")
    """Cameras to draw."""
    shadows: int = 2048
    """Height and width of the shadow map in pixels; MuJoCo's default is 4096."""
    seed: int = 0
    """Which moments."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("clips", "steps", "size", "shadows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name} must be at least 1, got {getattr(self, name)}")


class Studio:
    """Draws clips, in a worker process, by number, each as a part of the file."""

    def __init__(self, config: ClipsConfig) -> None:
        self._config = config
        self._files = [EpisodeFile(path) for path in config.motion]
        for file in self._files:
            if not file.schema.object_names or not file.schema.env_id.startswith("MuJoCo-"):
                raise ConfigError(f"{file.path} is not a recording of the twin")
        # (moments, 3): file, episode and first frame of every clip that there could be
        self._moments = np.array(
            [
                (number, k, start)
                for number, file in enumerate(self._files)
                for k, length in enumerate(file.lengths)
                for start in range(length - config.steps + 1)
            ]
        )
        if not len(self._moments):
            raise ConfigError(f"no episode has {config.steps} steps; ask for shorter clips (--steps)")
        self._odds = np.cumsum(self._rarity()) if config.alike == "places" else None
        model = make_model("rich")
        model.vis.quality.shadowsize = config.shadows
        self._renderer = FrameRenderer(model, config.size, config.cameras)
        self._qpos = np.zeros(model.nq)
        self._joints = [model.joint(f"joint_{i + 1}").qposadr[0] for i in range(7)]
        self._fingers = [model.joint(f"{side}_finger").qposadr[0] for side in ("left", "right")]
        self._cubes = [model.joint(name).qposadr[0] for name in spec.OBJECT_NAMES]

    def part(self, index: int) -> tuple[int, bytes]:
        """Draw clip `index` as a part of the file, which the process that writes it adds under this number."""
        return index, pack(index, self.draw(index), self._schema)

    def draw(self, index: int) -> Episode:
        """Draw clip `index`."""
        clip = self._recorded(index)
        assert clip.objects is not None
        drawn = [
            self._renderer.observe(self._place(telemetry, poses))
            for telemetry, poses in zip(clip.telemetry, clip.objects, strict=True)
        ]
        frames = {name: np.stack([seen[image_key(name)] for seen in drawn]) for name in self._config.cameras}
        return replace(clip, frames=frames)

    def _recorded(self, index: int) -> Episode:
        """What is known of clip `index` without pictures."""
        rng = np.random.default_rng([self._config.seed, index])
        if self._odds is None:
            moment = rng.integers(len(self._moments))
        else:
            moment = np.searchsorted(self._odds, rng.random() * self._odds[-1], side="right")
        number, k, start = self._moments[moment].tolist()
        return self._files[number].read(k, start, start + self._config.steps + 1, cameras=())

    def _rarity(self) -> NDArray[np.float64]:
        """How often each moment is drawn compared with others, (moments,): one over the number of those that have the
        same cube above the same square, at least `FEW`, of the cube for which they are fewest; 0 where none is in view.
        """
        middle = self._config.steps // 2
        cubes = np.concatenate(
            [
                episode.objects[middle : middle + count, :, :3]
                for file in self._files
                for episode in (file.read(k, cameras=()) for k in range(len(file)))
                if episode.objects is not None and (count := len(episode) - self._config.steps + 1) > 0
            ]
        )  # (moments, K, 3)
        view = next(camera for camera in self._files[0].schema.cameras.values() if not camera.moving)
        seen = view.project(cubes)
        inside: NDArray[np.bool_] = (seen > 0) & (seen < (view.width - 1, view.height - 1))
        shown: NDArray[np.bool_] = np.asarray(inside.all(axis=-1))  # (moments, K); behind the camera `seen` is NaN
        if not shown.any():
            raise ConfigError("no cube is ever in view: draw clips of all moments alike (--alike moments)")
        squares = np.floor(cubes[..., :2] / SQUARE).astype(int)
        rarest = np.zeros(len(cubes))
        for square, in_view in zip(squares.swapaxes(0, 1), shown.T, strict=True):
            _, same, counts = np.unique(square, axis=0, return_inverse=True, return_counts=True)
            rarest = np.maximum(rarest, np.where(in_view, 1 / counts[same].clip(FEW), 0))
        return rarest

    def _place(self, telemetry: np.ndarray, poses: np.ndarray) -> np.ndarray:
        """Generalised positions of the twin; it closes both fingers alike."""
        self._qpos[self._joints] = telemetry[spec.JOINTS]
        self._qpos[self._fingers] = telemetry[spec.EE.stop] / 2
        for address, pose in zip(self._cubes, poses, strict=True):
            self._qpos[address : address + 7] = pose
        return self._qpos

    def schema(self) -> Schema:
        """Describe the file that the clips belong to."""
        config, usual, first = self._config, self._files[0].schema, self._recorded(0)
        assert first.objects is not None
        self._place(first.telemetry[0], first.objects[0])
        return replace(
            usual,
            cameras=self._renderer.camera_info(self._qpos),
            env_kwargs={"size": config.size, "cameras": list(config.cameras), "rendering": "rich"},
            settings={
                "motion": [file.digest()[:16] for file in self._files],
                "steps": config.steps,
                "seed": config.seed,
                "shadows": config.shadows,
                "alike": config.alike,
            },
            versions={
                "gwm_sim": gwm_sim.__version__,
                "mujoco": version("mujoco"),
                "mujoco_gl": os.environ.get("MUJOCO_GL", "default"),
            },
        )

    @cached_property
    def _schema(self) -> Schema:
        return self.schema()


def main(config: ClipsConfig) -> int:
    """Draw what is missing in `config.out` and finish the file."""
    with config.pool(partial(Studio, config)) as pool:
        (schema,) = pool.run([Studio.schema])
        writer = EpisodeWriter(config.out, schema)
        with exclusive(parts_folder(config.out) / "lock", str(config.out)):
            missing = [index for index in range(config.clips) if not writer.has(index)]
            with progress("draw") as show:
                jobs = [partial(Studio.part, index=index) for index in missing]
                for done, part in enumerate(pool.run(jobs), start=1):
                    writer.add(*part)
                    show(done / len(missing), f"{done} of {len(missing)} clips")
            writer.merge()
    print(f"{config.out}: {config.clips} clips of {config.steps} steps, digest {EpisodeFile(config.out).digest()}")
    return 0


if __name__ == "__main__":
    launch(main, ClipsConfig)
