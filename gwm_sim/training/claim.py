"""Whose a run's folder is: command, options, versions and data of the run that began there, in `run.json`."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import torch

import gwm_sim
from gwm_sim.errors import ConfigError
from gwm_sim.files import write_json
from gwm_sim.training.config import TrainConfig

RUN_FILE = "run.json"
MAY_DIFFER = ("data", "motion", "out", "resume", "json", "memory")
"""Options that a run which is resumed may be given anew; what the data hold is compared by their digest."""


def claim(config: TrainConfig, digest: str, things: Mapping[str, Any]) -> None:
    """Make the folder and write down command, options, versions, the data's `digest` and where the `things` in them
    come from, or see that it is this run's.

    Raises:
        ConfigError: The folder holds another run, or one that was not asked to be resumed.
    """
    if check_claim(config, digest):
        return
    versions = {"python": platform.python_version(), "torch": torch.__version__, "gwm_sim": gwm_sim.__version__}
    command = " ".join(["gwm", *sys.argv[1:]])
    told = {"command": command, "versions": versions, "data": digest, "options": options_of(config), "things": things}
    write_json(config.out / RUN_FILE, told)


def check_claim(config: TrainConfig, digest: str) -> bool:
    """Return whether the folder holds this run already; refuse one that holds another, see `claim`."""
    before, options = begun(config), options_of(config)
    if before is None:
        return False
    if not config.resume:
        raise ConfigError(f"{config.out} holds a run already: go on with it by --resume, or give another --out")
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
    return True


def begun(config: TrainConfig) -> dict[str, Any] | None:
    """What is written down of the run that began in the folder; None where none did."""
    path = config.out / RUN_FILE
    if not path.exists():
        return None
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return told


def options_of(config: TrainConfig) -> dict[str, Any]:
    """The options that must not differ when a run is resumed."""
    return {key: value for key, value in plain(asdict(config)).items() if key not in MAY_DIFFER}


def plain(value: dict[str, Any]) -> dict[str, Any]:
    """What JSON would give back."""
    result: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return result
