"""A world that begins at a picture alone: what the robot reports is read from it."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gwm_sim.data.views import main_view
from gwm_sim.envs.learned.goal_pictures import FAMILIAR, novelty
from gwm_sim.errors import ConfigError
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning import GUIDE_FILE, Guide


def picture_start(model: WorldModel, guide: Guide | None, picture: NDArray[np.uint8], what: str) -> dict[str, Any]:
    """Reset options of a world that begins at a picture (H, W, 3) of the main view, or (H, V*W, 3) of all views.

    Args:
        model: Imagines the world.
        guide: Reads the robot; without one the model itself does, if it learned that.
        picture: At the size of the model's frames.
        what: Names the picture in messages.

    Raises:
        ConfigError: Nobody can read the picture, or the model knows nothing like it.
    """
    name = model.config.name
    if (unknown := novelty(model, picture)) > FAMILIAR:
        raise ConfigError(
            f"{what} looks like nothing that {name} was trained on: its novelty is {unknown:.1f}, usual is 1. Take it "
            "with the model's camera, from its place and in its light."
        )
    whole = picture.shape[1] == model.config.tokenizer.frame[1]
    seen = np.ascontiguousarray(main_view(picture, model.config.cameras if whole else model.config.cameras[:1]))
    read = model.guess_telemetry(torch.from_numpy(seen[None])) if guide is None else guide.read(seen).telemetry
    if read is None:
        raise ConfigError(
            f"{what} is no start for {name}: it has no {GUIDE_FILE}, which reads the robot from a picture"
        )
    telemetry = read[0].cpu().numpy()
    for command in model.config.schema.commands:  # a robot that stands still is where it was told to be
        telemetry[command.telemetry] = telemetry[command.measured]
    return {"frames": picture, "telemetry": telemetry}
