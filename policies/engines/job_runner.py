"""The side of the worker: it does jobs and packs what came of them, errors included."""

import pickle
import traceback
from collections.abc import Callable
from typing import Any, Final

from gwm_sim.errors import GwmError, StorageError
from gwm_sim.policies.engines.engine import Reply
from gwm_sim.storage import trouble

FAILED: Final = "a worker process failed"


class JobRunner:
    """Does one job after the other with a worker that it makes for the first."""

    def __init__(self, make_worker: Callable[[], Any]) -> None:
        self._make_worker = make_worker
        self._worker: Any = None

    def reply(self, job: bytes) -> bytes:
        """Do a job, given pickled; returns the `Reply`, pickled, whatever happens."""
        reply = self._do(job)
        try:
            return pickle.dumps(reply)
        except Exception:  # the result cannot be pickled
            return pickle.dumps((None, RuntimeError(f"{FAILED}: {traceback.format_exc()}")))

    def _do(self, job: bytes) -> Reply:
        try:
            self._worker = self._make_worker() if self._worker is None else self._worker
            return pickle.loads(job)(self._worker), None
        except GwmError as error:
            return None, error
        except Exception as error:
            why = trouble(error)  # such as a full disk, of which a traceback says nothing more
            return None, StorageError(f"{why}.") if why else RuntimeError(f"{FAILED}: {traceback.format_exc()}")
