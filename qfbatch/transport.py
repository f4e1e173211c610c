"""HTTP: one call out, one response back. The only module that knows the HTTP library.

The seam is one method, `Transport.exchange`. Foreign exceptions are translated in one place, and nothing of
their text is kept but a fixed sentence per class: their messages carry the whole URL, access token included.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from msgspec import Struct
from pyreqwest import exceptions as foreign
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response as ForeignResponse

from qfbatch._version import __version__
from qfbatch.errors import UsageError
from qfbatch.records import Action, ErrorKind, Failure
from qfbatch.service.http_failures import bad_answer

MAX_BODY_BYTES = 64 * 1024 * 1024
READ_BYTES = 1024 * 1024
DRAIN_S = 0.1  # how long a stream that is left may take to end by itself, so that its connection can be kept
DRAIN_BYTES = 64 * 1024


class HttpCall(Struct, frozen=True, gc=False):
    """One call, complete with credentials.

    Attributes:
        url: whole, perhaps with a token in its query: never shown.
        headers: all of them, perhaps with a signature: never shown.
        body: bytes to send.
        timeout_s: for the whole exchange, body included.
        stream: whether the body is to be had piece by piece, as it arrives.
    """

    url: str
    headers: dict[str, str]
    body: bytes
    timeout_s: float
    stream: bool = False

    def __repr__(self) -> str:
        return f"HttpCall({len(self.body)} bytes, timeout_s={self.timeout_s})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What rich shows, in its tracebacks too: no more than `repr`."""
        return [("bytes", len(self.body)), ("timeout_s", self.timeout_s)]


class TransportError(Exception):
    """The exchange failed below HTTP's own statuses; carries the row-level `Failure` it amounts to."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Response(Protocol):
    """A response whose body is still to be read."""

    @property
    def status(self) -> int:
        """HTTP status."""

    def header(self, name: str) -> str | None:
        """A header by its lower-case name; None where absent."""

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            TransportError: if it breaks off, times out or exceeds `MAX_BODY_BYTES`.
        """

    def chunks(self, *, gap_s: float) -> AsyncIterator[bytes]:
        """The body as it arrives.

        Args:
            gap_s: longest silence between two chunks, seconds.

        Raises:
            TransportError: as for `read`, and after too long a silence.
        """


class Transport(Protocol):
    """Carries calls to the service. Connections are kept and reused."""

    def exchange(self, call: HttpCall) -> AbstractAsyncContextManager[Response]:
        """Send the call; the response's head is there on entry, everything is released on exit.

        Raises:
            TransportError: on entry, if there is no response.
        """

    async def close(self) -> None:
        """Release all connections."""


class ReqwestTransport:
    """`Transport` over a Rust HTTP client.

    Args:
        base_url: where the calls will go; loopback addresses never go through a proxy.
        connect_timeout_s: longest duration of connecting.
        environ: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY (either case), SSL_CERT_FILE,
            REQUESTS_CA_BUNDLE.

    Raises:
        UsageError: if a proxy or a CA file from the environment cannot be used.
    """

    def __init__(self, *, base_url: str, connect_timeout_s: float, environ: Mapping[str, str]) -> None:
        builder = (
            ClientBuilder()
            .user_agent(f"qfbatch/{__version__}")
            .connect_timeout(timedelta(seconds=connect_timeout_s))
            .follow_redirects(False)  # noqa: FBT003 - the library's own signature
            .error_for_status(False)  # noqa: FBT003 - the library's own signature
        )
        builder = _with_proxies(builder, base_url, environ)
        builder = _with_certificates(builder, environ)
        try:
            self._client: Client = builder.build()
        except (foreign.PyreqwestError, ValueError):
            raise UsageError(
                "the proxies or certificates that the environment names cannot be used.",
                hint="Check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, SSL_CERT_FILE and REQUESTS_CA_BUNDLE.",
            ) from None

    def exchange(self, call: HttpCall) -> ReqwestExchange:
        """Send the call; see `Transport.exchange`."""
        try:
            builder = (
                self._client.post(call.url)
                .headers(call.headers)
                .body_bytes(call.body)
                .timeout(timedelta(seconds=call.timeout_s))
            )
            if call.stream:
                # The library reads ahead before it hands out the head; a stream's first piece must not wait.
                builder = builder.streamed_read_buffer_limit(0)
            return ReqwestExchange(builder.build_streamed(), stream=call.stream)
        except (foreign.BuilderError, ValueError):
            raise TransportError(_CANNOT_BE_BUILT) from None

    async def close(self) -> None:
        """Release all connections."""
        await self._client.close()


class ReqwestExchange:
    """One exchange: entered, it is the response."""

    def __init__(self, request: StreamRequest, *, stream: bool) -> None:
        self._request = request
        self._response: ForeignResponse | None = None
        self._left_over = stream  # whether the body may have an unread rest worth reading

    async def __aenter__(self) -> Self:
        try:
            self._response = await self._request.__aenter__()
        except foreign.PyreqwestError as error:
            raise translate(error) from None
        self.status = self._response.status
        return self

    def header(self, name: str) -> str | None:
        """A header; one that is not ASCII text says nothing that could be understood."""
        assert self._response is not None, "an exchange is entered before it is read"  # noqa: S101
        try:
            return self._response.get_header(name)
        except ValueError:
            return None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and self._left_over:
            await self._drain()
        try:
            await self._request.__aexit__(kind, error, traceback)
        except foreign.PyreqwestError:
            # Releasing a connection that broke: what mattered of it was raised by the reads.
            return

    async def _drain(self) -> None:
        """Read what little is left after a stream's end event: only then can its connection be kept."""
        assert self._response is not None, "an exchange is entered before it is left"  # noqa: S101
        size = 0
        try:
            async with asyncio.timeout(DRAIN_S):
                while (
                    size <= DRAIN_BYTES
                    and (chunk := await self._response.body_reader.read_chunk()) is not None
                ):
                    size += len(chunk)
        except (foreign.PyreqwestError, TimeoutError):
            return  # then the next call opens a connection of its own

    async def read(self) -> bytes:
        """The whole body; see `Response.read`."""
        assert self._response is not None, "an exchange is entered before it is read"  # noqa: S101
        reader = self._response.body_reader
        try:
            body = bytes(await reader.read(READ_BYTES) or b"")
            if str(len(body)) == self.header("content-length"):
                return body
            rest = [body]
            size = len(body)
            while chunk := await reader.read(READ_BYTES):
                rest.append(bytes(chunk))
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    raise TransportError(bad_answer(f"the answer is larger than {MAX_BODY_BYTES} bytes"))
        except foreign.PyreqwestError as error:
            raise translate(error) from None
        return b"".join(rest)

    async def chunks(self, *, gap_s: float) -> AsyncIterator[bytes]:
        """The body as it arrives; see `Response.chunks`."""
        assert self._response is not None, "an exchange is entered before it is read"  # noqa: S101
        reader = self._response.body_reader
        size = 0
        while True:
            self._left_over = False  # unless this chunk arrives and is not the last
            try:
                async with asyncio.timeout(gap_s):
                    chunk = await reader.read_chunk()
            except foreign.PyreqwestError as error:
                raise translate(error) from None
            except TimeoutError:
                message = f"nothing arrived for {gap_s:g} s in the middle of a stream"
                raise TransportError(Failure(ErrorKind.TIMEOUT, Action.RETRY, message)) from None
            if chunk is None:
                return
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise TransportError(bad_answer(f"the stream is larger than {MAX_BODY_BYTES} bytes"))
            self._left_over = True
            yield bytes(chunk)


# The same for every row: an address or header that no HTTP call can carry.
_CANNOT_BE_BUILT = Failure(
    ErrorKind.INVALID_REQUEST,
    Action.JOB,
    "the call cannot be built: check service.base_url and the credentials for stray characters",
)

# Most specific first. A total timeout before the response is reported by the library as a connect timeout,
# so the two share one sentence.
_TRANSLATIONS: tuple[tuple[type[foreign.PyreqwestError], ErrorKind, str], ...] = (
    (foreign.ReadTimeoutError, ErrorKind.TIMEOUT, "the answer did not arrive in time"),
    (foreign.PoolTimeoutError, ErrorKind.TIMEOUT, "no connection became free in time"),
    (foreign.RequestTimeoutError, ErrorKind.TIMEOUT, "no connection or no answer in time"),
    # Also a connection that was closed before any answer.
    (
        foreign.ConnectError,
        ErrorKind.CONNECTION,
        "no connection (refused, reset, unknown host, or TLS failure)",
    ),
    (foreign.NetworkError, ErrorKind.CONNECTION, "the connection broke before the answer was complete"),
    (foreign.DecodeError, ErrorKind.BAD_ANSWER, "the answer's body is broken"),
    (foreign.PyreqwestError, ErrorKind.CONNECTION, "the HTTP exchange failed"),
)


def translate(error: foreign.PyreqwestError) -> TransportError:
    """The library's exception as ours, without its text."""
    if isinstance(error, foreign.BuilderError):
        return TransportError(_CANNOT_BE_BUILT)
    for kind_of_error, kind, message in _TRANSLATIONS:
        if isinstance(error, kind_of_error):
            return TransportError(Failure(kind, Action.RETRY, message))
    raise AssertionError("the last translation takes every library error")


def _with_proxies(builder: ClientBuilder, base_url: str, environ: Mapping[str, str]) -> ClientBuilder:
    builder = builder.no_proxy()  # the library would read the process environment by itself
    if _is_loopback(urlsplit(base_url).hostname or ""):
        return builder

    def setting(name: str) -> str | None:
        return environ.get(name) or environ.get(name.lower()) or None

    except_for = setting("NO_PROXY")
    for name, make in (
        ("HTTPS_PROXY", ProxyBuilder.https),
        ("HTTP_PROXY", ProxyBuilder.http),
        ("ALL_PROXY", ProxyBuilder.all),
    ):
        address = setting(name)
        if address is None:
            continue
        if "://" not in address:
            address = f"http://{address}"  # as other clients read HOST:PORT
        try:
            builder = builder.proxy(make(address).no_proxy(except_for))
        except (foreign.PyreqwestError, ValueError):
            # The address may hold a password, so it is not repeated.
            raise UsageError(
                f"the environment variable {name} is not a proxy address.", hint="Correct or unset it."
            ) from None
    return builder


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _with_certificates(builder: ClientBuilder, environ: Mapping[str, str]) -> ClientBuilder:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        path = environ.get(name)
        if not path:
            continue
        try:
            # The library reports a file that it cannot use only later, or not at all.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
            bundle = Path(path).read_bytes()
            for block in bundle.split(b"-----BEGIN CERTIFICATE-----")[1:]:
                builder = builder.add_root_certificate_pem(b"-----BEGIN CERTIFICATE-----" + block)
        except (OSError, foreign.PyreqwestError, ValueError):
            raise UsageError(
                f"the environment variable {name} names {path}, which cannot be read as PEM certificates.",
                hint="Correct or unset it.",
            ) from None
    return builder
