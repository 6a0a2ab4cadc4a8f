"""Workers in a Ray cluster: one that is there already, or one that begins and ends with the pool on this machine.

What workers make comes back over the network to this process, the head, which alone writes. What they read, such as a
model folder that an option names, must be found under the same path on every machine.
"""

import os
import pickle
import platform
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from logging import CRITICAL
from types import FrameType
from typing import Any, Final

from gwm_sim.errors import ConfigError, GwmError
from gwm_sim.extras import missing
from gwm_sim.policies.engines import ray_actor
from gwm_sim.policies.engines.engine import Engine, EngineWorker, Reply, WorkerDied
from gwm_sim.policies.engines.job_runner import FAILED

ANSWERING: Final = 5.0  # time for a cluster to accept a connection, and for an idle worker to answer [s]
LOOKING_EVERY: Final = 20.0  # time without a reply, after which the user is told if no worker has come yet [s]
OBJECT_STORE: Final = 512 * 2**20  # of a cluster on this machine [bytes]; what does not fit goes to its folder
PASSED_ON: Final = ("GOMP_SPINCOUNT", "MUJOCO_GL", "PYOPENGL_PLATFORM")
"""Variables of the environment that workers take over from the head."""
QUIET: Final = {"RAY_USAGE_STATS_ENABLED": "0"}
IMPATIENT: Final = {"RAY_NUM_REDIS_GET_RETRIES": "5", "RAY_CLIENT_MAX_CONNECTION_TIMEOUT_S": "5"}
"""How long Ray tries to be let into a cluster that answers and refuses: seconds, or three times as many for ray://."""
REMEDY: Final = "Start one with `ray start --head`, or leave --address out to start one for this command."


class RayEngine(Engine):
    """A Ray cluster."""

    def __init__(self, address: str | None = None) -> None:
        """Connect to nothing yet.

        Args:
            address: "auto" for the cluster that this machine belongs to, "HOST:PORT" for one that it belongs to by
                name, "ray://HOST:PORT" for any; None starts one on this machine.
        """
        self._address = address
        self._ray: Any = None
        self._folder: str | None = None
        self._place: str | None = None  # at which the cluster of others answers
        self._terminate: Any = None
        self._begun = False

    def open(self, workers: int | None) -> int:
        """Connect, or start; returns the number of cores unless `workers` says less or more.

        Raises:
            MissingDependency: Ray is not installed.
            ConfigError: There is no cluster at the address, or of other versions.
        """
        self._ray = _import_ray(guarded=self._address is None)
        import_module("ray.cloudpickle").register_pickle_by_value(ray_actor)
        self._terminate = signal.getsignal(signal.SIGTERM)  # of which Ray makes an exit
        try:
            if self._address is None:
                self._start(len(os.sched_getaffinity(0)) if workers is None else workers)
            else:
                self._connect(self._address)
        except BaseException:
            self.close()
            raise
        cores = int(self._ray.cluster_resources().get("CPU", 0))
        return max(1, cores) if workers is None else workers

    def close(self) -> None:
        """Leave the cluster; one that began with this ends, with its processes and its folder."""
        if self._ray is None:
            return
        with _uninterrupted():
            self._ray.shutdown()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, self._terminate)
        self._ray = self._folder = None

    def start(self, make_worker: Callable[[], Any]) -> EngineWorker:
        """Ask for a worker on one core, wherever the cluster has one."""
        here = {
            "versions": ray_actor.versions(),
            "environment": {name: os.environ[name] for name in PASSED_ON if name in os.environ},
            "folder": os.getcwd(),
            "modules": sys.path,
        }
        options = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0}
        actor_class = self._ray.remote(**options)(ray_actor.Actor)
        packed = self._ray.cloudpickle.dumps(make_worker)
        actor = actor_class.remote(here, packed)
        return _ActorWorker(self._ray, actor)

    def wait(self, workers: Collection[EngineWorker]) -> list[EngineWorker]:
        """Wait for replies; says so once if no worker comes.

        Raises:
            ConfigError: The cluster has gone, of which Ray would make the end of this process, a minute later.
        """
        replies = {worker.reply: worker for worker in workers if isinstance(worker, _ActorWorker)}
        done, _ = self._ray.wait(list(replies), num_returns=1, timeout=LOOKING_EVERY)
        while not done:
            if self._place is not None:
                _knock(self._place)
            if not self._begun and not any(worker.started for worker in workers):
                print("note: waiting for a free core of the Ray cluster", file=sys.stderr, flush=True)
                self._begun = True
            done, _ = self._ray.wait(list(replies), num_returns=1, timeout=LOOKING_EVERY)
        self._begun = True
        return [replies[reply] for reply in done]

    def _start(self, cores: int) -> None:
        """Begin a cluster of so many cores that only this process can use, and that ends with it."""
        self._folder = tempfile.mkdtemp(prefix="gwm-ray-")
        try:
            self._ray.init(
                address="local",
                num_cpus=cores,
                num_gpus=0,
                object_store_memory=OBJECT_STORE,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=CRITICAL,
                _node_ip_address="127.0.0.1",
                _temp_dir=self._folder,
                _system_config={"worker_niceness": 0},  # as other processes of the user's
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise GwmError(f"no Ray cluster can be started on this machine: {_first_line(error)}") from error
        _silence(self._ray)

    def _connect(self, address: str) -> None:
        """Join a cluster.

        Raises:
            ConfigError: There is none, or it refuses.
        """
        self._place = _found() if address == "auto" else address
        _knock(self._place)
        try:
            with _hushed():
                self._ray.init(address=address, log_to_driver=False, logging_level=CRITICAL)
        except Exception as error:
            raise ConfigError(
                f"--address {address}: {_first_line(error).rstrip('.')}. A cluster must have the same Ray and Python; "
                "for one that asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN."
            ) from error
        _silence(self._ray)


class _ActorWorker(EngineWorker):
    def __init__(self, ray: Any, actor: Any) -> None:
        self.reply: Any = None
        self._ray, self._actor = ray, actor
        self._ready = actor.ready.remote()

    @property
    def started(self) -> bool:
        return bool(self._ray.wait([self._ready], timeout=0)[0])

    def give(self, job: Callable[[Any], Any]) -> None:
        if self.reply is not None:  # it may have gone, with its whole machine, while it had nothing to do
            try:
                self._ray.get(self._actor.ready.remote(), timeout=ANSWERING)
            except self._ray.exceptions.RayError as error:
                raise WorkerDied(_how(error)) from error
        self.reply = self._actor.work.remote(self._ray.cloudpickle.dumps(job))

    def take(self) -> Reply:
        errors = self._ray.exceptions
        try:
            machine, theirs, packed = self._ray.get(self.reply)
        except errors.RayTaskError as error:
            raise RuntimeError(f"{FAILED}: {error}") from error
        except errors.RayError as error:
            raise WorkerDied(_how(error)) from error
        _check_versions(machine, theirs)
        result, raised = pickle.loads(packed)
        if isinstance(raised, GwmError) and machine != platform.node():
            raised = type(raised)(f"{raised} (on {machine}: files that options name must be there, too)")
        return result, raised

    def stop(self) -> None:
        with suppress(Exception):  # nothing is left to stop where the connection is lost
            self._ray.kill(self._actor)


def _import_ray(guarded: bool) -> Any:
    """Ray, which reads the environment when it is imported and never again.

    Args:
        guarded: Whether a cluster is going to be started. Its ports are open to the network, so that it needs a token:
            one that nobody else knows, unless the environment has one or Ray has been imported and sees to it.
    """
    wanted = QUIET | ({} if guarded else IMPATIENT)
    if guarded and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        wanted |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    os.environ.update({name: value for name, value in wanted.items() if name not in os.environ})
    try:
        return import_module("ray")
    except ModuleNotFoundError as error:
        raise missing("ray", "--engine ray") from error


def _check_versions(machine: str, theirs: dict[str, str]) -> None:
    """Refuse workers that may compute something else, or could not be understood.

    Raises:
        ConfigError: A version is another one.
    """
    ours = ray_actor.versions()
    differ = [name for name in ours if ours[name] != theirs.get(name)]
    if differ:
        told = "; ".join(f"{name} is {ours[name]} here and {theirs.get(name)} there" for name in differ)
        raise ConfigError(
            f"the Ray worker on {machine} has other versions: {told}. Install the same on all machines, or start the "
            "cluster from the same environment."
        )


def _found() -> str:
    """Address of the cluster that this machine belongs to, which may be one of yesterday.

    Raises:
        ConfigError: It belongs to none.
    """
    services: Any = import_module("ray._private.services")
    try:
        return str(services.get_ray_address_from_environment("auto", None))
    except ConnectionError as error:
        raise ConfigError(f"--address auto: this machine belongs to no Ray cluster. {REMEDY}") from error


def _knock(address: str) -> None:
    """See whether anybody listens at an address and speaks as Ray does, which Ray itself tries for minutes.

    Raises:
        ConfigError: It is no address, nobody does, or something else.
    """
    place = address.removeprefix("ray://")
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"--address must be auto, HOST:PORT or ray://HOST:PORT, got {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERING).close()
    except OSError as error:
        raise ConfigError(f"no Ray cluster answers at {address} ({error}). {REMEDY}") from error
    grpc: Any = import_module("grpc")
    with import_module("ray._private.grpc_utils").init_grpc_channel(place) as channel:
        try:
            grpc.channel_ready_future(channel).result(ANSWERING)
        except grpc.FutureTimeoutError as error:
            raise ConfigError(f"what answers at {address} is no Ray cluster. {REMEDY}") from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _how(error: BaseException) -> str:
    """Where and how a worker ended: the one sentence of Ray's that is about it."""
    text = str(error)
    where, why = re.search(r"^\s*ip: (\S+)", text, re.MULTILINE), re.search(r"exit detail: ([^.]+)", text)
    return f"on {where[1] if where else 'an unknown machine'}: {why[1] if why else _first_line(error)}"


def _silence(ray: Any) -> None:
    """Keep Ray from printing on the output of this process what its own processes say, such as that a worker died."""
    worker: Any = import_module("ray._private.worker")
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None


@contextmanager
def _hushed() -> Iterator[None]:
    """Let the errors that Ray prints of a connection, once in a second, be told by the exception alone."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let nobody's Ctrl-C leave half a cluster behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Callable[[int, FrameType | None], Any] | int | None = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
