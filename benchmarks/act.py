"""Act in a world that is not ours, on behalf of another process: each line of JSON that comes in is answered by one.

Runs in the environment of the world, see benchmarks/README.md, and needs numpy, h5py and tyro beside it. Lines are

    {"do": "play", "seed": S, "most": N}            act an episode out, at most N moments of it; answers how many
    {"do": "aim", "goal": G}                        want things to be where they are at its moment G, from now on
    {"do": "begin", "first": F}                     go to its moment F
    {"do": "step", "action": [...]}                 act for a step

The three last answer `frame` (base64 of the raw pixels), `shape`, `telemetry` and `reached`; `begin` says beside it how
far things are `displaced` at the goal, and whether that `counts`.
"""

import base64
import importlib
import json
import os
import sys
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import tyro


@dataclass(frozen=True)
class ActConfig:
    """Act in a world that is not ours, on behalf of another process."""

    world: tyro.conf.Positional[Literal["fetch", "pusht", "cube"]]
    """A module in benchmarks/recorders/."""


class Server:
    """One world, and the episode of it that was played last."""

    def __init__(self, stage: Any) -> None:
        self._stage = stage
        self._moments: list[Any] = []
        self._poses: list[Any] = []
        self._goal: Any = None

    def play(self, seed: int, most: int | None) -> dict[str, Any]:
        """Act an episode out, and keep its moments."""
        self._moments, self._poses = [], []
        for _ in islice(self._stage.play(seed), most):
            self._stage.telemetry()  # which may count turns
            self._moments.append(self._stage.save())
            self._poses.append(self._stage.pose())
        return {"moments": len(self._moments)}

    def aim(self, goal: int) -> dict[str, Any]:
        """Look at the goal of this episode and of those to come."""
        self._goal = self._poses[goal]
        self._stage.restore(self._moments[goal])
        return self._look()

    def begin(self, first: int) -> dict[str, Any]:
        """Go to the start."""
        displaced = self._stage.displaced(self._poses[first], self._goal)
        self._stage.restore(self._moments[first])
        return self._look() | {"displaced": displaced, "counts": self._stage.counts(displaced)}

    def step(self, action: list[float]) -> dict[str, Any]:
        """Act for a step."""
        self._stage.step(np.array(action, np.float32))
        return self._look()

    def _look(self) -> dict[str, Any]:
        frame, telemetry = self._stage.frame(), self._stage.telemetry()
        return {
            "frame": base64.b64encode(frame.tobytes()).decode(),
            "shape": frame.shape,
            "telemetry": [float(x) for name in sorted(telemetry) for x in np.atleast_1d(telemetry[name])],
            "reached": self._stage.reached(self._goal),
        }


def main(config: ActConfig) -> int:
    """Answer until nobody asks; return the exit code."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what packages print is no answer
    server = Server(importlib.import_module(f"recorders.{config.world}").Stage())
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(getattr(server, asked.pop("do"))(**asked)), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(ActConfig, description=__doc__)))
