"""The process that serves: one event loop, one thread that imagines, and an end that leaves nothing behind."""

import logging
import os
import socket
from threading import Timer
from types import FrameType
from typing import Final

import uvicorn

from gwm_sim.envs.remote.wire import MOST_BYTES
from gwm_sim.policies.serving.api.app import application
from gwm_sim.policies.serving.api.connections import Connection
from gwm_sim.policies.serving.service import Service

CONNECTIONS: Final = 512  # at a time; others are turned away
QUEUED: Final = 16  # messages of a socket that wait to be read
GRACE: Final = 3  # seconds that are left to connections when the server ends
LATEST: Final = 5.0  # seconds after which the process ends whatever is being computed


class Server(uvicorn.Server):
    """A server that ends in time when its process is told to.

    What a thread computes cannot be interrupted, and a process waits for its threads. Nothing is lost by not waiting:
    a server has no file of its own.
    """

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end, for a signal."""
        if not self.should_exit:
            last = Timer(LATEST, os._exit, [128 + sig])
            last.daemon = True
            last.start()
        super().handle_exit(sig, frame)


def prepared(service: Service, host: str, token: str) -> Server:
    """A server for a socket that listens at a host."""
    names = {"localhost", host.lower(), socket.gethostname().lower()}
    app = application(service, token, names)
    settings = uvicorn.Config(
        app,
        http=Connection,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # which would let clients say who they are
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
        ws_max_size=MOST_BYTES,
        ws_max_queue=QUEUED,
        ws_per_message_deflate=False,  # pictures are small, and a step must not wait for it
        lifespan="on",
    )
    return Server(settings)


def serve(service: Service, host: str, token: str, listening: socket.socket) -> None:
    """Serve over a socket that listens at a host, until the process is told to end."""
    logging.basicConfig(format="gwm serve: %(message)s", level=logging.WARNING)
    prepared(service, host, token).run(sockets=[listening])
