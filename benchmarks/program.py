"""What the programs of this folder share: how they begin and end, and what a result says of how it was made."""

import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import tyro

import gwm_sim
from gwm_sim.commands.eval import processor
from gwm_sim.errors import GwmError


def launch(main: Callable[[Any], int | None], config: Any) -> None:
    """Read the options, do what they ask for, and exit; a mistake of the user's is one line and exit code 2."""
    try:
        sys.exit(main(tyro.cli(config, description=sys.modules[main.__module__].__doc__)))
    except GwmError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2)


def circumstances(device: object = "cpu") -> dict[str, Any]:
    """Command, versions and machine of a measurement."""
    versions = {"gwm_sim": gwm_sim.__version__, "torch": torch.__version__, "mujoco": version("mujoco")}
    return {
        "command": " ".join(["python", *sys.argv]),
        "versions": versions | {"python": platform.python_version()},
        "machine": {"cpu": processor(), "cores": os.cpu_count(), "device": str(device)},
    }


def resumed(path: Path | None, identity: Mapping[str, Any], fresh: dict[str, Any]) -> dict[str, Any]:
    """The report that a killed run left, if what identifies it is the same, else a fresh one; with the machine."""
    before = json.loads(path.read_text(encoding="utf-8")) if path is not None and path.exists() else {}
    same = before and all(before.get(key) == value for key, value in identity.items())
    machine = f"{os.cpu_count()} cores of {processor()}, {platform.system()}"
    return (before if same else fresh) | {**identity, "gwm_sim": gwm_sim.__version__, "machine": machine}
