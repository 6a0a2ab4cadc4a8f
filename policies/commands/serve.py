"""`gwm serve`: learned worlds for any client that speaks HTTP, and a page to play them."""

import os
import secrets
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread

from gwm_sim.errors import ConfigError, MissingDependency, check_at_least_one
from gwm_sim.extras import install_command
from gwm_sim.model.checkpoint import find_checkpoint
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.serving.twin import has_twin


@dataclass(frozen=True)
class ServeConfig:
    """Serve learned worlds over HTTP."""

    model: tuple[str, ...] = ("gwm-mini",)
    """Names of shipped models, or folders; clients ask for them by name, the first one is the usual one."""
    twin: bool = False
    """Let sessions have the physics twin beside them, of models that have one; needs MuJoCo."""
    host: str = "127.0.0.1"
    """Address to listen at. Beyond this machine only what you name here, and nothing is encrypted: use a tunnel."""
    port: int = 8000
    """Port to listen at; 0 for any free one."""
    sessions: int = 16
    """Most sessions at a time."""
    idle: float = 600.0
    """Seconds after which a session ends that nobody asks for."""
    device: str | None = None
    """Such as "cpu" or "cuda"; by default a GPU if there is one."""
    until_eof: bool = False
    """End when standard input does, as it does when the program or the ssh that started the server is gone."""

    def __post_init__(self) -> None:
        check_at_least_one(sessions=self.sessions)
        if not 0 <= self.port < 65536:
            raise ConfigError(f"--port must be from 0 to 65535, got {self.port}")
        if not self.idle > 0:
            raise ConfigError(f"--idle must be above 0, got {self.idle:g}")


def main(config: ServeConfig) -> int:
    """Run `gwm serve`."""
    from gwm_sim.policies.serving.api.server import serve  # late: what it needs is an extra
    from gwm_sim.policies.serving.service import Service
    from gwm_sim.policies.serving.sessions import Sessions

    if config.until_eof:
        Thread(target=end_with_input, daemon=True).start()
    service = Service(load(config), Sessions(config.sessions, config.idle), config.twin)
    with listen(config.host, config.port) as listening:
        port = listening.getsockname()[1]
        token = secrets.token_urlsafe(24)
        host = f"[{config.host}]" if ":" in config.host else config.host
        shown = "127.0.0.1" if config.host in ("0.0.0.0", "::") else host
        print(f"http://{shown}:{port}/#token={token}", flush=True)
        serve(service, config.host, token, listening)
    return 0


def end_with_input() -> None:
    """Read standard input to its end, and have the process end then."""
    with suppress(OSError):  # there is none, or its terminal is gone
        while os.read(0, 4096):  # of the descriptor: who waits for `sys.stdin` hinders the end of the interpreter
            pass
    os.kill(os.getpid(), signal.SIGTERM)


def load(config: ServeConfig) -> dict[str, WorldModel]:
    """The models by the names that clients ask for.

    Raises:
        ConfigError: Two have one name, or there is no twin.
        MissingDependency: The twin needs MuJoCo.
    """
    models: dict[str, WorldModel] = {}
    for name in config.model:
        model = WorldModel.load(find_checkpoint(name), config.device)
        if model.config.name in models:
            raise ConfigError(f"--model {name} has the name of another one, {model.config.name}: serve them apart")
        models[model.config.name] = model
    if config.twin and not any(has_twin(model.config) for model in models.values()):
        if any(model.config.schema.action_names == ("dx", "dy", "dz", "gripper") for model in models.values()):
            raise MissingDependency(f"--twin needs MuJoCo. Run: {install_command('mujoco')}")
        raise ConfigError(f"--twin: {', '.join(models)} has no twin, it is of another world than the blocks'")
    return models


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: There is no such address, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)  # told TCP, asyncio does not hold small packets back
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise ConfigError(f"--host {host} --port {port}: {error.strerror}; --port 0 takes any free one") from error
    return listening
