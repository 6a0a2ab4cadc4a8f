"""The process of a worker in a Ray cluster, which looks at its versions before it does anything else.

Ray sends this module by value. So it also runs where gwm_sim is missing or another one, and imports nothing but the
standard library until that is known.
"""

import importlib
import os
import pickle
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any


def versions() -> dict[str, str]:
    """What must be the same on all machines: results depend on it, and so does whether they can be read."""
    found = {"python": "{}.{}".format(*sys.version_info), "gwm_sim": "none"}
    try:
        found["gwm_sim"] = importlib.import_module("gwm_sim").__version__
    except ImportError:
        pass
    for package in ("ray", "mujoco", "torch"):
        try:
            found[package] = metadata.version(package).partition("+")[0]  # built for whatever device
        except metadata.PackageNotFoundError:
            found[package] = "none"
    return found


class Actor:
    """Does jobs for the pool of another process, the head."""

    def __init__(self, head: Mapping[str, Any], make_worker: bytes) -> None:
        """Be as like the head as can be.

        Args:
            head: Its `versions`; variables of its `environment` that change what workers compute; its working `folder`,
                to which relative paths belong, and the folders of its `modules`, where they exist here.
            make_worker: Pickled; makes the worker.
        """
        os.environ.update(head["environment"])
        if os.path.isdir(head["folder"]):
            os.chdir(head["folder"])
        sys.path += [path for path in head["modules"] if path not in sys.path and os.path.isdir(path)]
        self._expected, self._make_worker = dict(head["versions"]), make_worker
        self._runner: Any = None

    def ready(self) -> None:
        """Return as soon as it exists."""

    def work(self, job: bytes) -> tuple[str, dict[str, str], bytes]:
        """Do a job, given pickled, unless versions differ; returns the machine, its versions and the pickled reply."""
        own = versions()
        if own != self._expected:
            return platform.node(), own, b""
        if self._runner is None:
            runner = importlib.import_module("gwm_sim.policies.engines.job_runner")
            self._runner = runner.JobRunner(lambda: pickle.loads(self._make_worker)())
        return platform.node(), own, self._runner.reply(job)
