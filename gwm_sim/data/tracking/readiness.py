"""Whether tracking can work before a camera, and why not: said before anything is tracked, from a few pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import inf
from typing import NamedTuple

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.images import shrink
from gwm_sim.data.viewpoint import Move, moves, rides_along
from gwm_sim.errors import MissingDependency
from gwm_sim.extras import install_extra
from gwm_sim.media.sheets import spread

PACKAGES = ("cv2", "scipy")
"""What tracking needs beside the core, by the names under which it is imported."""

FEWEST_EPISODES = 8
"""Episodes without which nobody can tell a thing from what always lies where it lies."""

FEWEST_SHOWN = 3
"""Episodes of which the nearest poses still tell the robot from what lies elsewhere in each: as many it takes even
where a person shows the things."""

_WATCHED, _SIZE = 300, 64
"""Rows of an episode, and height and width of its pictures [px], by which a camera is judged."""

_SLIGHT = 9.0
"""Pixels of 64 by which a camera may have been moved between episodes: colours are found again, places are off."""

_CHANGE = 12
"""Grey levels that some pixel changes where anything moves; noise and codecs change it less."""


@dataclass(frozen=True)
class Scene:
    """What one camera saw in a recording, as far as its fitness for tracking goes."""

    camera: str
    episodes: int
    """How many there are."""
    telemetry: bool
    """Whether the robot reports anything."""
    rides: bool
    """Whether the camera is known to sit on the robot."""
    watched: dict[int, Array]
    """Pictures of some of them by their number, (F, 64, 64, 3) uint8 each."""


def scene_of(file: EpisodeFile, camera: str) -> Scene:
    """Look at a few episodes of a file."""
    watched = {
        k: np.stack([shrink(picture, _SIZE) for picture in _pictures(file, k, camera)]) for k in spread(len(file))
    }
    return Scene(camera, len(file), bool(file.schema.telemetry_names), file.schema.cameras[camera].moving, watched)


def _pictures(file: EpisodeFile, k: int, camera: str) -> Array:
    return file.read(k, stop=_WATCHED, cameras=(camera,), depth=False).frames[camera]


class Judgement(NamedTuple):
    """What is to be said of tracking before a camera, in sentences."""

    obstacles: list[str]
    """Why nothing can be tracked."""
    cautions: list[str]
    """What will make it worse."""


def judge(scene: Scene, *, told: bool = False) -> Judgement:
    """Say why nothing can be tracked before a camera, and what will make it worse.

    Args:
        scene: What it saw.
        told: Whether the things are known already, by clicks or by another file, and need not be found.
    """
    against, worse = [], []
    if not told and scene.episodes < FEWEST_EPISODES:
        count = "is 1 episode" if scene.episodes == 1 else f"are {scene.episodes} episodes"
        shown = ", or show one of each with --click" if scene.episodes >= FEWEST_SHOWN else ""
        against.append(
            f"there {count}, and finding things takes {FEWEST_EPISODES}, in which they lie elsewhere: record more"
            f"{shown}."
        )
    if not told and not scene.telemetry:
        against.append("there is no telemetry, so nothing tells things from the robot: show one of each with --click.")
    stretches = list(scene.watched.values())
    if scene.rides or rides_along(stretches):
        against.append(
            f"camera {scene.camera} moves all the time, as one on the arm does: choose one that stands still."
        )
    elif (move := _furthest(stretches)) is not None:
        said = f"camera {scene.camera} {move.words} by episode {list(scene.watched)[move.place]}"
        if told or (move.change.pixels is not None and move.change.pixels <= _SLIGHT):
            worse.append(f"{said}: places will be off by that.")
        else:
            against.append(f"{said}: import and track each view by itself.")
    elif max(int(np.ptp(frames, axis=0).max()) for frames in stretches) < _CHANGE:
        against.append(f"nothing moves before camera {scene.camera}.")
    return Judgement(against, worse)


def moved_since(scene: Scene, background: Array) -> str | None:
    """Say how a camera was moved since it saw an empty scene, (H, W, 3) in grey levels; None where it stands still."""
    before = np.stack([shrink(background.clip(0, 255).astype(np.uint8), _SIZE)] * 2)
    move = _furthest([before, *scene.watched.values()])
    return None if move is None else f"camera {scene.camera} {move.words}"


def _furthest(stretches: Sequence[Array]) -> Move | None:
    """Return the largest move of a camera; after one in which nothing is found again, nothing is larger."""

    def size(move: Move) -> float:
        return inf if move.change.pixels is None else move.change.pixels

    return max(moves(stretches), key=size, default=None)


def outlook(scenes: Sequence[Scene]) -> str:
    """Say in a sentence or two whether `gwm track` can work, from what each camera saw; the first that can is named."""
    judged = {scene.camera: judge(scene) for scene in scenes}
    fit = next((camera for camera, judgement in judged.items() if not judgement.obstacles), None)
    if fit is None:
        reasons = dict.fromkeys(reason for judgement in judged.values() for reason in judgement.obstacles)
        return f"gwm track will not work: {' '.join(reasons)}"
    first = scenes[0].camera
    if fit == first:
        words = [f"nothing speaks against gwm track before camera {fit}."]
    else:
        words = [f"nothing speaks against gwm track --camera {fit}, but", *judged[first].obstacles]
    words += judged[fit].cautions
    words += [] if installed() else [f"It needs {install_extra('track')} first."]
    return " ".join(words)


def installed() -> bool:
    """Return whether the packages that tracking needs are here."""
    return all(find_spec(package) is not None for package in PACKAGES)


def require() -> None:
    """Raise MissingDependency unless the packages that tracking needs are installed."""
    if not installed():
        missing = ", ".join(package for package in PACKAGES if find_spec(package) is None)
        raise MissingDependency(f"tracking needs {missing}, which is not installed. Run: {install_extra('track')}")
