"""What environments of any world say to each other and to models: keys of pictures, spaces, checked numbers.

Axes: B batch, H W image (channel last), V views, A action, P telemetry.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from gwm_sim.data.views import apart, side_by_side

Observation = dict[str, NDArray[Any]]
Ranges = Mapping[str, tuple[float, float]]

UNCERTAINTY: Final = "gwm/uncertainty"  # key of an info
SUCCESS_OF: Final = "success/"  # begins the key of an info that speaks of a further task
RENDER_SIZE: Final = 512  # least height of what an imagined world renders for people [px]
MAX_DEPTH: Final = 10.0  # farther depths are given as this [m]


def image_key(camera: str) -> str:
    """Observation key of a camera's frames: "pixels" for the front camera, "pixels_<camera>" for others."""
    return "pixels" if camera == "front" else f"pixels_{camera}"


def depth_key(camera: str) -> str:
    """Observation key of a camera's depth images."""
    return f"depth_{camera}"


def picture(observation: Mapping[str, NDArray[Any]], cameras: Sequence[str]) -> NDArray[np.uint8]:
    """What a model of these cameras is shown of an observation: their views side by side, (..., H, V*W, 3).

    Of an observation that lacks some of them only the main one, which is the first: a model draws the others itself.
    """
    shown = cameras if all(image_key(camera) in observation for camera in cameras) else cameras[:1]
    return np.asarray(side_by_side({camera: np.asarray(observation[image_key(camera)]) for camera in shown}, shown))


def observed(pictures: NDArray[np.uint8], cameras: Sequence[str]) -> Observation:
    """Entries of an observation that show pictures (..., H, V*W, 3)."""
    return {image_key(camera): view for camera, view in apart(pictures, cameras).items()}


def large(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame (H, W, 3) with its pixels repeated until it is large enough to look at."""
    factor = -(-RENDER_SIZE // frame.shape[0])
    return frame.repeat(factor, axis=0).repeat(factor, axis=1)


def robot_space(
    size: tuple[int, int], cameras: Sequence[str], depth: Collection[str], low: ArrayLike, high: ArrayLike
) -> spaces.Dict:
    """Observation space of a robot with cameras.

    Args:
        size: Height and width of the frames [px].
        cameras: Names of the cameras, each giving one entry of frames.
        depth: Those of them that also give a depth image (H, W, 1) [m].
        low: Bounds of the telemetry (P,).
        high: The same above.
    """
    entries: dict[str, spaces.Space[Any]] = {}
    for camera in cameras:
        entries[image_key(camera)] = spaces.Box(0, 255, (*size, 3), np.uint8)
        if camera in depth:
            entries[depth_key(camera)] = spaces.Box(0.0, MAX_DEPTH, (*size, 1), np.float32)
    entries["agent_pos"] = spaces.Box(np.asarray(low, np.float32), np.asarray(high, np.float32), dtype=np.float32)
    return spaces.Dict(entries)


def check_action(action: ArrayLike, space: spaces.Space[Any]) -> NDArray[np.float64]:
    """Return `action` clipped to its space, of one environment (A,) or of many (num_envs, A).

    Raises:
        ValueError: The shape is wrong, or a number is NaN or infinite.
    """
    assert isinstance(space, spaces.Box)
    values = np.asarray(action, dtype=np.float64)
    if values.shape != space.shape:
        raise ValueError(f"The action has shape {values.shape}, expected {space.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"The action must be finite, got {values.tolist()}; zeros hold the robot still")
    return values.clip(space.low, space.high)


def check_words(**given: tuple[str | None, Collection[str | None]]) -> None:
    """Refuse words that are not among the known ones; both are given by the name of the argument.

    Raises:
        ValueError: One is not.
    """
    for name, (word, known) in given.items():
        if word not in known:
            raise ValueError(f"{name} must be one of {tuple(known)}, got {word!r}")


def resolve_properties(
    requested: Mapping[str, float] | str | None,
    defaults: Mapping[str, float],
    ranges: Ranges,
    rng: np.random.Generator,
    slack: float = 0.0,
) -> dict[str, float]:
    """Physics properties of an episode.

    Args:
        requested: Values by name (others keep their default), "random" to draw all from their ranges, None for the
            defaults.
        defaults: Values of those that nobody asks for; a property may be without.
        ranges: Least and greatest value of every property there is.
        rng: The episode's generator, used only for "random".
        slack: How far a value may lie outside, as a share of its range or of the greatest value there.

    Raises:
        ValueError: An unknown name, or a value outside its range.
    """
    if requested is None:
        return dict(defaults)
    valid = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in ranges.items()) or "none"
    if isinstance(requested, str):
        if requested != "random":
            raise ValueError(f'properties must be "random" or a dict of values ({valid}), got {requested!r}')
        return {name: float(rng.uniform(low, high)) for name, (low, high) in ranges.items()}
    if unknown := sorted(set(requested) - set(ranges)):
        raise ValueError(f"Unknown properties {unknown}; valid properties: {valid}")
    for name, value in requested.items():
        low, high = ranges[name]
        margin = slack * max(high - low, abs(high))
        if not low - margin <= value <= high + margin:
            raise ValueError(f"Property {name}={value} is out of range; valid properties: {valid}")
    return {**defaults, **{name: float(value) for name, value in requested.items()}}
