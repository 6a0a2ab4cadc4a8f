"""The folder of a run: what it was started with, so that nothing else goes on in it."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict, fields
from typing import Any

import torch

import gwm_sim
from gwm_sim.errors import ConfigError
from gwm_sim.files import write_json
from gwm_sim.training.config import TrainConfig

MAY_DIFFER = ("data", "motion", "out", "resume", "json")
"""Options that a run which is resumed may be given anew; what the data hold is compared by their digest."""


def claim(config: TrainConfig, digest: str) -> None:
    """Make the folder and write down command, options and versions, or see that they are those of the run in it.

    Args:
        config: The options.
        digest: Of the contents of the data.

    Raises:
        ConfigError: The folder holds another run, or one that was not asked to be resumed.
    """
    options = {key: value for key, value in plain(asdict(config)).items() if key not in MAY_DIFFER}
    path = config.out / "run.json"
    if not path.exists():
        versions = {"python": platform.python_version(), "torch": torch.__version__, "gwm_sim": gwm_sim.__version__}
        command = " ".join(["gwm", *sys.argv[1:]])
        write_json(path, {"command": command, "versions": versions, "data": digest, "options": options})
        return
    if not config.resume:
        raise ConfigError(f"{config.out} holds a run already: go on with it by --resume, or give another --out")
    before = json.loads(path.read_text())
    defaults = plain({item.name: item.default for item in fields(config)})  # of options that an older version lacked
    then = {key: before["options"].get(key, defaults[key]) for key in options}
    if isinstance(then["camera"], str):  # of a version that knew one camera, and no depth
        then |= {"camera": [then["camera"]], "phases": [*then["phases"], *({"depth"} & set(config.phases))]}
    changed = [key for key, value in options.items() if then[key] != value]
    changed += ["data"] if before["data"] != digest else []
    if changed:
        raise ConfigError(
            f"{config.out} was started with other settings ({', '.join(changed)}): "
            "resume with the same ones, or give another --out"
        )


def plain(value: dict[str, Any]) -> dict[str, Any]:
    """What JSON would give back."""
    result: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return result
