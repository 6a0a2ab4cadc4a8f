"""Recordings of the block world for trackers: one motion, drawn in several looks, and what is truly in sight of it.

The motion is what `gwm collect` records. Other looks are drawn from what a recording says of joints, gripper and cubes,
so that cubes move alike in all of them. Knows the twin.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import mujoco
import numpy as np
from recorders.filming import Camera

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter
from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.mujoco.scene import make_model
from gwm_sim.envs.gl import open_display
from gwm_sim.envs.tabletop.mujoco.rendering import FrameRenderer, Rendering
from gwm_sim.files import replacing
from gwm_sim.progress import progress
from worlds.rows import gwm

CAMERA, SIZE, STEPS = "front", 64, 100

DIMMED = 0.7
"""What is left of the light at the end of an episode, in every other one at its beginning."""
NOISE, QUALITY = 5.0, 80
"""Of a sensor, standard deviation [levels], and of JPEG pictures."""

RED = (0.85, 0.04, 0.04)
GRIPPER_GREY = (0.50, 0.51, 0.53)
"""Colours of the scene, as shares of the brightest."""


@dataclass(frozen=True)
class Look:
    """How a motion is drawn."""

    title: str
    rendering: Rendering = "fast"
    paint: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    """Colours of cubes, by their names."""
    worn: bool = False
    """Whether the light dims, the sensor is noisy and pictures are compressed."""
    alike: bool = False
    """Whether cubes look the same, so that which of them is which is nobody's to say."""
    metres: bool = False
    """Whether places are compared, too."""


LOOKS = {
    "plain": Look("plain rendering", metres=True),
    "rich": Look("rich rendering", "rich", metres=True),
    "reds": Look("both cubes red", paint={"blue": RED}, alike=True),
    "grey": Look("one cube in the gripper's grey", paint={"blue": GRIPPER_GREY}),
    "worn": Look("light that dims by 30 %, noise of 5 levels, JPEG 80", worn=True),
}


class Stage:
    """The scene of the twin as a recording says that it was."""

    def __init__(self, model: Any) -> None:
        """Prepare to place joints, fingers and cubes of a model."""
        self._qpos = np.zeros(model.nq)
        self._joints = [model.joint(f"joint_{i + 1}").qposadr[0] for i in range(7)]
        self._fingers = [model.joint(f"{side}_finger").qposadr[0] for side in ("left", "right")]
        self._cubes = [model.joint(name).qposadr[0] for name in spec.OBJECT_NAMES]

    def qpos(self, telemetry: Array, poses: Array) -> Array:
        """Return generalised positions at one instant, (nq,); the twin closes both fingers alike."""
        self._qpos[self._joints] = telemetry[spec.JOINTS]
        self._qpos[self._fingers] = telemetry[spec.OPENING] / 2
        for address, pose in zip(self._cubes, poses, strict=True):
            self._qpos[address : address + 7] = pose
        return self._qpos


def collect(out: Path, episodes: int, seed: int) -> None:
    """Record the motion with its labels, if it is not there yet."""
    if not out.exists():
        words = ["--episodes", episodes, "--steps", STEPS, "--seed", seed, "--rendering", "fast"]
        gwm("collect", *words, "--size", SIZE, "--cameras", CAMERA, "--out", out)


def draw(motion: Path, look: Look, raw: Path) -> None:
    """Make what a user would have of a motion: other pictures, and no labels. Resumes what was killed."""
    if raw.exists():
        return
    drawn = raw.with_suffix(".labelled.hdf5")
    picture = artist(look)
    with EpisodeFile(motion) as file, progress("draw") as show:
        schema = replace(file.schema, env_kwargs=file.schema.env_kwargs | {"rendering": look.rendering})
        writer = EpisodeWriter(drawn, schema)
        with writer.finishing():
            for k in range(len(file)):
                if not writer.has(k):
                    episode = file.read(k)
                    writer.write(k, replace(episode, frames={CAMERA: picture(episode)}))
                show((k + 1) / len(file), f"{k + 1} of {len(file)} episodes")
    gwm("export", "raw", drawn, raw)


def artist(look: Look) -> Callable[[Episode], Array]:
    """Return what draws the frames (T, H, W, 3) of an episode of the plain motion."""
    if look.worn:
        return lambda episode: worn(episode.frames[CAMERA], episode.seed or 0)
    if look.rendering == "fast" and not look.paint:
        return lambda episode: episode.frames[CAMERA]
    model = make_model(look.rendering)
    for name, color in look.paint.items():
        model.geom(name).rgba[:3] = color
    stage, renderer = Stage(model), FrameRenderer(model, SIZE, (CAMERA,), rendering=look.rendering)

    def drawn(episode: Episode) -> Array:
        assert episode.objects is not None
        instants = zip(episode.telemetry, episode.objects, strict=True)
        return np.stack([renderer.frame(stage.qpos(*instant), CAMERA) for instant in instants])

    return drawn


def worn(frames: Array, seed: int) -> Array:
    """Return frames (T, H, W, 3) as a cheap camera stores them while the light changes."""
    light = np.linspace(1, DIMMED, len(frames))[:: -1 if seed % 2 else 1]
    noise = np.random.default_rng(seed).normal(0, NOISE, frames.shape)
    levels = (frames * light[:, None, None, None] + noise).round().clip(0, 255).astype(np.uint8)
    return np.stack([_compressed(frame) for frame in levels])


def _compressed(frame: Array) -> Array:
    _, code = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    picture = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture[..., ::-1])


def write_truth(motion: Path, out: Path) -> None:
    """Write where cubes are in the pictures, and how much of each is in sight, as `truth.recorded` reads it."""
    if out.exists():
        return
    open_display()
    model = make_model("fast")
    data, stage = mujoco.MjData(model), Stage(model)
    film = Camera(model, data, CAMERA, spec.OBJECT_NAMES)

    def visible(telemetry: Array, poses: Array) -> Array:
        data.qpos[:] = stage.qpos(telemetry, poses)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)
        return np.asarray(film.visible())

    with EpisodeFile(motion) as file, progress("truth") as show:
        told: dict[str, Any] = {"seeds": file.seeds}
        for k, episode in enumerate(file):
            assert episode.objects is not None
            told[f"{k}/centres"] = file.schema.cameras[CAMERA].project(episode.objects[..., :3])
            told[f"{k}/visible"] = np.stack(list(map(visible, episode.telemetry, episode.objects)))
            show((k + 1) / len(file), f"{k + 1} of {len(file)} episodes")
    with replacing(out, ".tmp.npz") as temporary:
        np.savez(temporary, **told)
