"""Goal pictures in files: read them, bring them to the model's size, and refuse those that another camera took."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from gwm_sim.data.images import SEEN, decode_picture, fit, part_of
from gwm_sim.errors import ConfigError, DataError
from gwm_sim.model.world_model import WorldModel

Picture = NDArray[np.uint8]

SAME_SCENE: Final = 10.0
"""Median difference between two pictures of one fixed camera in one light [grey levels]: most of a picture is bench,
which stays as it is. Front and wrist camera of the twin differ by 17 and more."""
FAMILIAR: Final = 3.0
"""Novelty up to which a model can make sense of a picture; 1 is usual for its data."""


def read_picture(path: Path, option: str = "--goal") -> Picture:
    """Read a PNG or JPEG file, (H, W, 3), that was given by an option.

    Raises:
        ConfigError: There is no such picture.
    """
    try:
        return np.asarray(decode_picture(path.read_bytes(), str(path)), np.uint8)
    except OSError as error:
        raise ConfigError(f"{option} {path} cannot be read: {error.strerror}") from error
    except DataError as error:
        raise ConfigError(f"{option} {error}") from error


def fit_goals(
    paths: Sequence[Path], pictures: Sequence[Picture], seen: Picture, size: tuple[int, int]
) -> list[Picture]:
    """Goal pictures, read from files, at height and width of the model's frames [px].

    Raises:
        ConfigError: A goal has neither the size of the camera's pictures nor that of the model's.
    """
    for path, picture in zip(paths, pictures, strict=True):
        height, width = picture.shape[:2]
        if picture.shape not in (seen.shape, (*size, 3)):
            raise ConfigError(
                f"--goal {path} is {width} x {height} px, but the camera gives {seen.shape[1]} x {seen.shape[0]} and "
                f"the model sees {size[1]} x {size[0]}. Take it with the same camera and settings."
            )
    return [fit(picture, size) for picture in pictures]


def check_pictures(
    model: WorldModel, paths: Sequence[Path], goals: Sequence[Picture], seen: Picture | None = None, way_out: str = ""
) -> None:
    """Refuse goals that look as if another camera, or this one elsewhere, had taken them.

    All pictures are (H, W, 3) at the model's size, what the camera has `seen` is None where there is none; messages
    name files and the option that is a way out.

    Raises:
        ConfigError: A goal differs from the camera's picture almost everywhere, or the model knows nothing like it.
    """
    remedy = f"Was it taken by the camera {model.config.camera!r}, from the same place, in this light?"
    if way_out:
        remedy += f" {way_out} goes on regardless."
    for path, goal in zip(paths, goals, strict=True):
        difference = 0.0 if seen is None else float(np.median(np.abs(goal.astype(np.int16) - seen)))
        if difference > SAME_SCENE:
            raise ConfigError(
                f"--goal {path} is of another camera or scene: half of it differs from what the camera sees by more "
                f"than {difference:.0f} grey levels. {remedy}"
            )
    named = [(f"--goal {path}", goal) for path, goal in zip(paths, goals, strict=True)]
    if seen is not None:
        named.insert(0, ("what the camera sees", seen))
    for name, picture in named:
        if (unknown := novelty(model, picture)) > FAMILIAR:
            raise ConfigError(
                f"{name} looks like nothing that {model.config.name} was trained on: its novelty is {unknown:.1f}, "
                f"usual is 1. {remedy}"
            )


def goal_picture(model: WorldModel, path: Path) -> NDArray[np.uint8]:
    """A picture of what is to be reached, at the size of the model's frames.

    Raises:
        ConfigError: It has other proportions, or the model knows nothing like it.
    """
    picture, (height, width) = read_picture(path), (model.config.tokenizer.height, model.config.tokenizer.width)
    rows, columns = picture.shape[:2]
    if abs(part_of(picture.shape, (height, width)).stretch((height, width)) - 1) > SEEN:
        raise ConfigError(
            f"--goal {path} is {columns} x {rows} px, {model.config.name} sees {width} x {height}: take it with the "
            "same camera and settings"
        )
    fitted = fit(picture, (height, width))
    check_pictures(model, [path], [fitted])
    return fitted


@torch.inference_mode()
def novelty(model: WorldModel, picture: Picture) -> float:
    """How unlike a model's data a picture (H, W, 3) is; 1 is usual."""
    return float(model.novelty(torch.from_numpy(picture[None])))
