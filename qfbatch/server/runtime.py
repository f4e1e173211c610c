"""Running the application: socket, uvicorn, signals, the announcement, the parent's death."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from qfbatch.errors import UsageError
from qfbatch.server.connection import Connection, close_stalled

REQUEST_PATIENCE_S = 60.0  # how long a request may take to arrive completely
GRACE_S = 5  # how long answers in flight may take once the server is told to end
_KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that theirs is the decision
_SWEEP_S = 5
_ORPHAN_GRACE_S = 15.0  # an orphan that cannot end in order ends anyway


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Args:
        host: name or address to bind.
        port: 0 takes a free one.

    Raises:
        UsageError: it cannot be bound.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            hint="Choose another --port (0 takes a free one) or --host.",
        ) from None
    return sock


def base_url_of(sock: socket.socket) -> str:
    """The URL a bound socket is reached by."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - told apart, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: ASGIApp, sock: socket.socket, *, on_ready: Callable[[], None], exit_with_parent: bool) -> None:
    """Serve until SIGINT, SIGTERM or, where asked for, the parent's end.

    Args:
        app: the ASGI application.
        sock: a bound socket.
        on_ready: called once connections are accepted.
        exit_with_parent: end when stdin reaches its end, which is when the parent has died.
    """
    server: _Server

    async def sweep() -> None:
        """Close connections that stalled, and end with the parent where that was asked."""
        close_stalled(
            server.server_state,
            now=asyncio.get_running_loop().time(),
            patience_s=REQUEST_PATIENCE_S,
        )
        if exit_with_parent and os.getppid() != parent:
            server.should_exit = True

    parent = os.getppid()
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        loop="auto",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        callback_notify=sweep,
        timeout_notify=_SWEEP_S,
    )
    server = _Server(config, on_ready)
    if exit_with_parent:
        threading.Thread(target=_watch_stdin, args=(server,), daemon=True, name="parent-watch").start()
    server.run(sockets=[sock])


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it is ready and ends quietly at a signal."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, then say so."""
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in order; without grace, break what is still open so that nothing waits for it."""
        if self.force_exit:
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.reset()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End in order at SIGINT and SIGTERM; uvicorn would raise them again afterwards."""
        previous = {number: signal.signal(number, self._end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, action in previous.items():
                signal.signal(number, action)

    def _end(self, number: int, frame: object) -> None:
        del number, frame
        self.force_exit = self.should_exit  # the second time without grace
        self.should_exit = True


def _watch_stdin(server: _Server) -> None:
    """Wait for the parent's end of the pipe to close, then end the server."""
    while os.read(0, 4096):
        pass
    server.should_exit = True
    server.force_exit = True
    timer = threading.Timer(_ORPHAN_GRACE_S, os._exit, args=(1,))
    timer.daemon = True
    timer.start()


__all__ = ["GRACE_S", "REQUEST_PATIENCE_S", "base_url_of", "listen", "run"]
