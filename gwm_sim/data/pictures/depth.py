"""Distances in the files of strangers: which camera a depth map belongs to, and how its numbers become metres.

Only what says that it is depth, and in which unit, becomes depth. A depth buffer, as renderers fill it, holds numbers
in [0, 1] that only the simulator can turn into metres.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.errors import DataError

_DEPTH, _COLOUR = {"depth", "depths"}, {"rgb", "color", "colour", "image", "images", "img", "pixels"}

BUFFER = "depth buffer"
"""The unit of what a renderer fills, or may have filled."""

_UNITS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6}
"""Metres of a unit, by the names that metadata give it."""


@dataclass(frozen=True)
class Scale:
    """What the numbers of a depth map are."""

    metres: float = 1e-3
    """Distance of one level [m]."""
    near: float = 0.0
    """Distance of level 0 [m], where levels are spread between two distances; nothing as near was measured."""
    shift: float | None = None
    """What is added to a distance before levels are spread over its logarithm [m]; None where they are spread evenly.
    `metres` is then a step of the logarithm."""

    def distances(self, levels: Array) -> Array:
        """Return how far away things are (H, W) float32 [m], 0 where nothing was measured."""
        values = np.asarray(levels, np.float64)
        values = np.where(np.isfinite(values) & (values > 0), values, 0.0)
        if self.shift is None:
            distances = self.near + self.metres * values
        else:
            distances = np.exp(np.log(self.near + self.shift) + self.metres * values) - self.shift
        return np.where(values > 0, distances, 0.0).astype(np.float32)


@dataclass(frozen=True)
class DepthMap:
    """Where the depth of a camera is found."""

    name: str
    scale: Scale


@dataclass(frozen=True)
class Shown:
    """What is known of pictures before they are read."""

    name: str
    bits: int | None
    """Of each number, where they show no colours; 0 where they do, None where that could not be seen."""
    is_depth: bool
    """Whether metadata call it a depth map; its name may, too."""
    said: Mapping[str, Any]
    """Metadata, see `scale_of`."""


def sort_cameras(
    shown: Iterable[Shown], where: str, known: Iterable[str] = ()
) -> tuple[list[str], dict[str, DepthMap], list[str]]:
    """Tell pictures from depth maps.

    Args:
        shown: What there is to see.
        where: For messages.
        known: What the user has to know already.

    Returns:
        The cameras, the depth maps by the camera that they belong to, and what the user has to know of the others.

    Raises:
        DataError: No camera is left.
    """
    every = list(shown)
    cameras = [view.name for view in every if not view.bits and not view.is_depth]
    depths: dict[str, DepthMap] = {}
    remarks = list(known)
    for view in every:
        if view.name in cameras:
            if view.bits == 0 and says_depth(view.name):
                remarks.append(f"{view.name} holds pictures of 8 bits, which are no distances: it is a camera")
            continue
        place = colours_of(view.name, cameras)
        scale = scale_of(view.said, view.bits or 8)
        problem = _problem(view, place, scale)
        if problem or place is None or scale is None:
            remarks.append(f"{view.name} was left out: {problem}")
        elif place in depths:
            remarks.append(f"{view.name} was left out: {depths[place].name} is the depth of {place} already")
        else:
            depths[place] = DepthMap(view.name, scale)
            if view.bits == 16 and scale == Scale() and not view.said.keys() & {"depth_unit", "unit", "depth_scale"}:
                remarks.append(f"the numbers of {view.name} are taken as millimetres: nothing says another unit")
    if not cameras:
        raise DataError(f"{where}: no camera shows colours. {'. '.join(remarks)}.")
    return cameras, depths, remarks


def _problem(view: Shown, place: str | None, scale: Scale | None) -> str:
    """Say why pictures that are no camera become no depth, or nothing."""
    if not view.is_depth and not says_depth(view.name):
        return (
            f"it holds numbers of {view.bits} bits, and nothing says that they are depth. Name it after its camera "
            "and depth, such as front_depth, or write 8-bit pictures"
        )
    if not view.bits:
        return "it is a depth map, but holds pictures, which nobody can turn into metres"
    if scale is None and view.said.get("unit") == BUFFER:
        return (
            "its numbers lie in [0, 1] as those of a depth buffer, which only the simulator turns into metres, such as "
            "robosuite's get_real_depth_map. Write metres, with an attribute unit that says m"
        )
    if scale is None:
        return f"it is a depth map, but nothing says what its numbers of {view.bits} bits are in metres"
    return "it is a depth map, and there is no camera of its name" if place is None else ""


def says_depth(name: str) -> bool:
    """Return whether a name has the word depth in it, as `front_depth` or `depth.front`."""
    return bool(_DEPTH & set(_words(name)))


def colours_of(name: str, cameras: Collection[str]) -> str | None:
    """Return the camera whose depth a map of some name is, such as `front`, `front_rgb` or `front_image` of
    `front_depth`; None where there is none, or more than one."""
    found = [camera for camera in cameras if _place(camera) == _place(name)]
    return found[0] if len(found) == 1 else None


def _words(name: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)  # as in frontDepth
    return [word for word in re.split(r"[^a-z0-9]+", apart.lower()) if word]


def _place(name: str) -> list[str]:
    return [word for word in _words(name) if word not in _DEPTH | _COLOUR]


def scale_of(said: Mapping[str, Any], bits: int) -> Scale | None:
    """Return what metadata say about the numbers of a depth map; None where they leave it open.

    Args:
        said: LeRobot's `info` of a feature, or attributes: `depth_unit` or `unit` (m, cm, mm, um), `depth_scale`
            [m per level], and for films of 12 bits `video.depth_min`, `.depth_max`, `.shift` [m] and `.use_log`.
        bits: Of each number; those of 16 bits are millimetres where nothing else is said.
    """
    if bits == 12:
        return _spread(said) if said.get("is_depth_map") or "video.depth_min" in said else None
    factor, unit = said.get("depth_scale"), said.get("depth_unit", said.get("unit"))
    if isinstance(factor, int | float) and not isinstance(factor, bool):
        return Scale(float(factor)) if 0 < factor <= 1 else None
    if unit is not None:
        return Scale(_UNITS[str(unit)]) if str(unit) in _UNITS else None
    return Scale() if bits == 16 else None


def _spread(said: Mapping[str, Any]) -> Scale | None:
    """Return how LeRobot spreads distances over 12 bits; what is missing is as its recorder has it by default."""
    defaults = {"depth_min": 0.01, "depth_max": 10.0, "shift": 3.5}
    values = {name: said.get(f"video.{name}", default) for name, default in defaults.items()}
    if not all(isinstance(value, int | float) and np.isfinite(value) for value in values.values()):
        return None
    near, far, shift = values["depth_min"], values["depth_max"], values["shift"]
    if not 0 <= near < far or near + shift <= 0:
        return None
    if said.get("video.use_log", True):
        return Scale((np.log(far + shift) - np.log(near + shift)) / 4095, near, shift)
    return Scale((far - near) / 4095, near)
