"""Reset options of an environment as a request says them. Nothing on this machine's disk is read for a server."""

import base64
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

OPTIONS: Final = ("bank", "frames", "telemetry", "actions", "properties", "goal")


def begins(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a request says of how an episode begins.

    Raises:
        ValueError: Unknown options, or pictures that are none.
    """
    if unknown := sorted(options.keys() - set(OPTIONS)):
        hint = ": read the file, and give frames and telemetry" if "episode" in unknown else ""
        raise ValueError(f"Unknown reset options {unknown}{hint}; a remote world takes {', '.join(OPTIONS)}")
    start: dict[str, Any] = {}
    if "bank" in options:
        start["bank"] = int(options["bank"])
    if "frames" in options:
        start["frames"] = [picture(frame) for frame in np.asarray(options["frames"])]
    for name in ("telemetry", "actions"):
        if name in options:
            start[name] = np.asarray(options[name], np.float32).tolist()
    told: dict[str, Any] = {"start": start}
    if "properties" in options:
        wanted = options["properties"]
        told["properties"] = wanted if isinstance(wanted, str) else {k: float(v) for k, v in wanted.items()}
    if "goal" in options:
        goal = options["goal"]
        told |= {"forget_goal": True} if goal is None else {"goal": picture(goal)}
    return told


def picture(image: ArrayLike) -> dict[str, Any]:
    """A picture (H, W, 3) uint8 as a request carries it.

    Raises:
        ValueError: It is none.
    """
    values = np.asarray(image)
    if values.dtype != np.uint8 or values.ndim != 3 or values.shape[2] != 3:
        raise ValueError(f"A picture is uint8 (H, W, 3), got {values.dtype} {values.shape}")
    data = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
    return {"data": data, "shape": list(values.shape)}
