"""Calls from the event loop's own sockets: the way of nearly all runs, where no proxy stands between.

A third of a full HTTP library's processor time for each call, in one thread, and a call that is given up
ends at the service too, for its connection is closed; a library that works in threads of its own lets it go
on, at the user's expense. Measured in docs/performance.md.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from qfbatch._version import __version__
from qfbatch.records import Action, ErrorKind, Failure
from qfbatch.transport.environment import authorities
from qfbatch.transport.http1 import LATE, UNANSWERED, Http1Connection
from qfbatch.transport.outbox import Outbox
from qfbatch.transport.reaching import addresses_of, reach
from qfbatch.transport.seam import (
    CANNOT_BE_BUILT,
    DRAIN_BYTES,
    DRAIN_S,
    MAX_BODY_BYTES,
    Answer,
    HttpCall,
    TransportError,
)
from qfbatch.transport.trust import Trust

IDLE_S = 60.0  # a connection unused for longer is not trusted: what stands between may have forgotten it
# Servers built on cpp-httplib, llama.cpp's among them, close a connection right after a stream although they
# announce (`Keep-Alive: timeout=5, max=100`) that they keep it; a call already on its way is then lost.
SETTLE_S = 0.05
HEADS = 64  # different heads of calls that are remembered; a run has one a model, or a fresh one every call

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TARGET_SAFE = "%/:=&?~+!$,;'@()*[]-._"
_DEFAULT_PORTS = {"http": 80, "https": 443}

# Why there is no connection. Of a foreign exception only the class is told: its text may hold the address.
_NO_CONNECTION = (
    (ssl.SSLCertVerificationError, "the service's certificate cannot be verified"),
    (ssl.SSLError, "TLS could not be agreed on with the service"),
    (socket.gaierror, "the name of the service's host is not known"),
    (ConnectionRefusedError, "the connection was refused: nothing listens at the service's address"),
    (ConnectionError, "the connection was reset while it was made"),
    (OSError, "no connection to the service's address"),
)
_CONNECTING_LATE = Failure(ErrorKind.TIMEOUT, Action.RETRY, "no connection in time")
_LOST_AT_ONCE = Failure(ErrorKind.CONNECTION, Action.RETRY, "the connection was reset while it was made")
_CLOSED = Failure(ErrorKind.CONNECTION, Action.RETRY, "the run's connections are closed")


class Origin(NamedTuple):
    """Where connections lead."""

    scheme: str
    host: str
    port: int


class _Head(NamedTuple):
    """What calls to one address with the same headers have in common."""

    headers: dict[str, str]
    origin: Origin
    text: bytes


class DirectTransport:
    """`Transport` over the event loop's own sockets; made where that loop runs.

    Args:
        base_url: where the calls will go; not needed here, each call has its address.
        connect_timeout_s: longest duration of connecting, TLS included.
        environ: SSL_CERT_FILE, REQUESTS_CA_BUNDLE; without them the system's authorities are trusted.
        max_body_bytes: of an answer, unpacked.

    Raises:
        UsageError: if a CA file from the environment cannot be used.
    """

    def __init__(
        self,
        *,
        base_url: str,  # noqa: ARG002 - what makes a transport need not know which one it makes
        connect_timeout_s: float,
        environ: Mapping[str, str],
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._max_body_bytes = max_body_bytes
        self._authorities = authorities(environ)
        self._tls: ssl.SSLContext | None = None
        self._heads: dict[str, _Head] = {}
        self._idle: dict[Origin, list[Http1Connection]] = {}
        self._connections: set[Http1Connection] = set()
        self._trust = Trust()
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(self._loop)
        self._lost = asyncio.Event()
        self._closed = False

    async def ask(self, call: HttpCall) -> Answer:
        """Send the call, and take its answer as a whole; see `Transport.ask`."""
        origin, connection = await self._answered(call, stream=False)
        answer = connection.answer()
        self._give_back(origin, connection)
        return answer

    @asynccontextmanager
    async def stream(self, call: HttpCall) -> AsyncIterator[Http1Connection]:
        """Send the call, whose answer is taken piece by piece; see `Transport.stream`."""
        origin, connection = await self._answered(call, stream=True)
        try:
            yield connection
            if not connection.complete:
                await _drain(connection)
        finally:
            self._give_back(origin, connection, doubtful=connection.header("keep-alive") is not None)

    async def close(self) -> None:
        """Release all connections."""
        self._closed = True
        for connection in list(self._connections):
            connection.abort()
        while self._connections:
            self._lost.clear()
            await self._lost.wait()

    async def _answered(self, call: HttpCall, *, stream: bool) -> tuple[Origin, Http1Connection]:
        """The connection on which the call was answered: with all of the answer, or with its head.

        Raises:
            TransportError: if it was not.
        """
        head = self._heads.get(call.url)
        if head is None or head.headers != call.headers:
            head = self._remember(call)
        request = b"%scontent-length: %d\r\n\r\n%s" % (head.text, len(call.body), call.body)
        origin, left_s = head.origin, call.timeout_s
        kept = connection = self._idle_one(origin)
        if connection is None:
            began = self._loop.time()
            connection = await self._connect(origin, left_s)
            left_s -= self._loop.time() - began
        try:
            await connection.send(request, timeout_s=left_s, stream=stream)
            if not connection.complete:
                await connection.answered()
        except BaseException as error:
            connection.abort()
            if kept is not None and isinstance(error, TransportError) and error.failure is UNANSWERED:
                self._trust.lost(origin, self._loop.time())
            raise
        if kept is not None:
            self._trust.answered(origin)
        return origin, connection

    def _idle_one(self, origin: Origin) -> Http1Connection | None:
        """A connection kept from an earlier call, now taken."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()  # the one used last: the others may grow old and go
            if connection.usable and self._loop.time() - connection.idle_since < IDLE_S:
                return connection
            connection.abort()
        return None

    async def _connect(self, origin: Origin, timeout_s: float) -> Http1Connection:
        """A new connection.

        Raises:
            TransportError: if none can be made.
        """
        loop = self._loop
        tls = None
        if origin.scheme == "https":
            tls = self._tls = self._tls or self._trusting()
        limit_s = min(self._connect_timeout_s, timeout_s)
        try:
            async with asyncio.timeout(limit_s):
                reached = await reach(await addresses_of(origin.host, origin.port))
                _prepare(reached)
                _, connection = await loop.create_connection(
                    lambda: Http1Connection(loop, self._outbox, self._max_body_bytes, self._forget),
                    sock=reached,
                    ssl=tls,
                    server_hostname=None if tls is None else origin.host,
                )
        except TimeoutError:
            raise TransportError(LATE if limit_s == timeout_s else _CONNECTING_LATE) from None
        except UnicodeError:
            raise TransportError(CANNOT_BE_BUILT) from None
        except OSError as error:
            raise TransportError(_no_connection(error)) from None
        if connection.lost:  # made, and lost again before anybody could use it
            raise TransportError(_LOST_AT_ONCE)
        self._connections.add(connection)
        if self._closed:
            connection.abort()
            raise TransportError(_CLOSED)
        return connection

    def _give_back(self, origin: Origin, connection: Http1Connection, *, doubtful: bool = False) -> None:
        """A call is over. A doubtful connection must first stay open for a moment."""
        now = self._loop.time()
        if not connection.reusable or self._closed or not self._trust.keeps(origin, now, doubtful=doubtful):
            connection.abort()
            return
        connection.release(now)
        if doubtful:
            self._loop.call_later(SETTLE_S, self._settled, origin, connection)
        else:
            self._idle.setdefault(origin, []).append(connection)

    def _settled(self, origin: Origin, connection: Http1Connection) -> None:
        """The connection is still open some time after its call: the next one may have it."""
        if connection.reusable and not self._closed:
            self._idle.setdefault(origin, []).append(connection)
            return
        if connection.lost:
            self._trust.left(origin)
        connection.abort()

    def _trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        for path in self._authorities.values():
            context.load_verify_locations(cafile=path)
        return context

    def _forget(self, connection: Http1Connection) -> None:
        self._connections.discard(connection)
        self._lost.set()

    def _remember(self, call: HttpCall) -> _Head:
        if len(self._heads) >= HEADS:
            self._heads.clear()
        head = self._heads[call.url] = _head(call)
        return head


async def _drain(connection: Http1Connection) -> None:
    """Read what little is left after a stream's end event: only then can its connection be kept."""
    size = 0
    try:
        async with asyncio.timeout(DRAIN_S):
            async for piece in connection.chunks(gap_s=2 * DRAIN_S):
                size += len(piece)
                if size > DRAIN_BYTES:
                    return
    except (TransportError, TimeoutError):
        return  # then the next call opens a connection of its own


def _head(call: HttpCall) -> _Head:
    """The request line and headers of calls like this one, all but the length of their body.

    Raises:
        TransportError: no HTTP call can carry them.
    """
    try:
        parts = urlsplit(call.url)
        host, port = parts.hostname, parts.port
        if parts.scheme not in _DEFAULT_PORTS or not host or parts.username is not None or port == 0:
            raise TransportError(CANNOT_BE_BUILT)
        if _CONTROL.search(host) or any(character in host for character in ' /%<>\\^|`{}"'):
            raise TransportError(CANNOT_BE_BUILT)
        target = quote(parts.path or "/", safe=_TARGET_SAFE)
        if parts.query:
            target += "?" + quote(parts.query, safe=_TARGET_SAFE)
        address = f"[{host}]" if ":" in host else host.encode("idna").decode()
        if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
            address += f":{port}"
        headers = {"Host": address, "User-Agent": f"qfbatch/{__version__}", "Accept": "*/*"}
        given = {name.lower() for name in call.headers}
        lines = [f"POST {target} HTTP/1.1\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in headers.items() if name.lower() not in given]
        for name, value in call.headers.items():
            if not _TOKEN.fullmatch(name) or _CONTROL.search(value):
                raise TransportError(CANNOT_BE_BUILT)
            lines.append(f"{name}: {value}\r\n")
        text = "".join(lines).encode("latin-1")
    except ValueError:  # a port that is none, a host that has no name, a character that no header can hold
        raise TransportError(CANNOT_BE_BUILT) from None
    return _Head(call.headers, Origin(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme]), text)


def _prepare(reached: socket.socket) -> None:
    reached.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # An answer may be minutes of silence away; what stands between must not take that for the end.
    reached.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _no_connection(error: OSError) -> Failure:
    for kind_of_error, message in _NO_CONNECTION:
        if isinstance(error, kind_of_error):
            return Failure(ErrorKind.CONNECTION, Action.RETRY, message)
    raise AssertionError("the last entry takes every OSError")
