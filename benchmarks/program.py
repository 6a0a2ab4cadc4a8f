"""What the programs of this folder share: how they begin and end, and what a result says of how it was made."""

import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import tyro

import gwm_sim
from gwm_sim.commands.eval import processor
from gwm_sim.errors import GwmError
from gwm_sim.files import write_json
from gwm_sim.progress import progress


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


def runs_of(
    begun: Path | None,
    identity: Mapping[str, Any],
    names: Sequence[str],
    do: Callable[[list[str]], Iterable[tuple[str, Any]]],
    told: Callable[[dict[str, Any]], str],
) -> list[Any]:
    """What came of runs, which JSON can hold, in the order of their names.

    Each is kept as it ends in a file `begun`, if there is one, whose owner deletes it when all is written elsewhere: a
    program that was killed goes on.

    Args:
        begun: The file.
        identity: What makes runs comparable.
        names: Of all runs.
        do: Does those of some names, which end in any order.
        told: What is shown of those that are done.
    """
    report = resumed(begun, identity, {"done": {}})
    done: dict[str, Any] = report["done"]
    with progress(str(identity["runs of"])) as show:
        for name, found in do([name for name in names if name not in done]):
            done[name] = found
            if begun is not None:
                write_json(begun, report)
            show(len(done) / len(names), told(done))
    return [done[name] for name in names]
