"""One client connection: uvicorn's HTTP/1.1 protocol with the edges this server needs.

- Headers and body leave in one write: two writes cost the client 40 ms where it delays its ACK.
- A head without end, or a request that never completes, ends the connection.
- The application can break the connection on purpose (`connection_of(scope).reset()`).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, cast

from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

HEAD_LIMIT = 64 * 1024  # bytes of request line and headers, beside what their first read brought
_EXTENSION = "qfbatch.connection"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 seconds


class OneWriteTransport(asyncio.Transport):
    """A transport that joins all that is written within one turn of the event loop."""

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._inner = inner
        self._loop = loop
        self._pending: list[bytes] = []

    def write(self, data: Any) -> None:
        """Send with whatever else this turn writes."""
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(data)

    def _flush(self) -> None:
        if self._pending:
            pending, self._pending = self._pending, []
            if not self._inner.is_closing():
                self._inner.write(pending[0] if len(pending) == 1 else b"".join(pending))

    def close(self) -> None:
        """Send what is pending, then close."""
        self._flush()
        self._inner.close()

    def abort(self) -> None:
        """Close at once; what is pending is lost."""
        self._pending.clear()
        self._inner.abort()

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._inner.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the inner transport has it."""
        return self._inner.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """As the inner transport does."""
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        """As the inner transport does."""
        self._inner.resume_reading()


class Connection(HttpToolsProtocol):
    """A client connection.

    Attributes:
        receiving_since: loop time since when an incomplete request is being received (a fresh connection
            counts as one); None while none is.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.receiving_since: float | None = self.loop.time()
        self._head_bytes = 0
        self._in_head = True
        self._begun = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected."""
        super().connection_made(OneWriteTransport(transport, self.loop))

    def data_received(self, data: bytes) -> None:
        """Bytes arrived; a head that grows without end is refused."""
        begun = self._begun
        super().data_received(data)
        if self._in_head and begun == self._begun:  # all of this data belongs to one unfinished head
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT and not self.transport.is_closing():
                self.send_400_response("Request head too large.")

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self.scope["extensions"] = {_EXTENSION: cast("dict[object, object]", self)}
        self.receiving_since = self.loop.time()
        self._in_head = True
        self._head_bytes = 0
        self._begun += 1

    def on_headers_complete(self) -> None:
        """The head is complete: the application starts."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is complete."""
        self.receiving_since = None
        super().on_message_complete()

    def close(self) -> None:
        """End the connection in order, whatever was promised; what was written is still sent."""
        self._abandon()
        self.transport.close()

    def reset(self) -> None:
        """End the connection with a reset; what was written may be lost."""
        self._abandon()
        sock: socket.socket | None = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def _abandon(self) -> None:
        """Tell uvicorn that nobody listens, so that it does not complete the response itself."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()


def connection_of(scope: Scope) -> Connection:
    """The connection an ASGI request came by."""
    connection: Connection = scope["extensions"][_EXTENSION]
    return connection


def close_stalled(state: ServerState, *, now: float, patience_s: float) -> None:
    """Close connections whose request has been incomplete for too long.

    Args:
        state: the server's open connections.
        now: loop time, seconds.
        patience_s: how long a request may take to arrive.
    """
    for connection in list(state.connections):
        if isinstance(connection, Connection):
            since = connection.receiving_since
            if since is not None and now - since > patience_s:
                connection.close()


__all__ = ["HEAD_LIMIT", "Connection", "OneWriteTransport", "close_stalled", "connection_of"]
